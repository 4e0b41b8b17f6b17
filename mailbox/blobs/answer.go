package blobs

import (
	"crypto/ed25519"
	"errors"
	"io"
	"time"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/blobs/pb"
	"github.com/kith-im/kith/mailbox/relay/frame"
)

// answer answers one question. Its error ends the stream.
func (x *session) answer(ask *pb.Ask) error {
	switch w := ask.What.(type) {
	case *pb.Ask_Put:
		return x.put(w.Put)
	case *pb.Ask_Get:
		return x.get(Digest(w.Get.GetDigest()))
	case *pb.Ask_Has:
		return x.has(split(w.Has.GetDigests()))
	case *pb.Ask_Drop:
		return x.drop(w.Drop)
	}
	return frame.ErrInvalid
}

// put stores a chunk for a box that proves itself. What has to be refused is
// refused before a byte of the chunk has come.
func (x *session) put(p *pb.Put) error {
	d := Digest(p.GetDigest())
	c, err := x.claimOf(p.GetKey(), mailbox.VerbPutChunk, putContent(d, p.GetSize(), p.GetExpiresMs()), p.GetSig(), p.GetExpiresMs())
	if err != nil {
		return x.refuse(refusal(err))
	}
	if !x.start() {
		return x.refuse(&mailbox.Refusal{Code: mailbox.RateLimited})
	}
	defer x.finish()
	in, err := x.keeps.begin(d, int64(p.GetSize()), c)
	if err != nil {
		return x.refuse(refusal(err))
	}
	if in == nil {
		return x.send(&pb.Answer{What: &pb.Answer_Done{Done: &pb.Done{}}})
	}
	defer in.end()
	if err := x.send(&pb.Answer{What: &pb.Answer_Go{Go: &pb.Go{}}}); err != nil {
		return err
	}
	from := &noting{from: drink{x.wire, time.Now().Add(x.s.times.chunk)}}
	err = in.receive(from)
	switch {
	case from.err != nil: // the stream is over
		return from.err
	case errors.Is(err, ErrInvalid):
		x.s.counts.bad.Add(1)
		x.owe(badCost)
	case err == nil:
		x.s.counts.received.Add(1)
		x.s.counts.in.Add(in.size)
		return x.send(&pb.Answer{What: &pb.Answer_Done{Done: &pb.Done{}}})
	}
	if err := x.refuse(refusal(err)); err != nil || from.n < in.size {
		return errors.Join(err, frame.ErrGone) // what is left of the chunk would read as a question
	}
	return nil
}

// noting is a reader that tells its own failure from that of who writes on.
type noting struct {
	from io.Reader
	n    int64
	err  error
}

func (r *noting) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	r.n += int64(n)
	if err != nil {
		r.err = err
	}
	return n, err
}

// claimOf is the claim of a box that signed content, if it may have one here
// until a time.
func (x *session) claimOf(key []byte, verb mailbox.Verb, content, sig []byte, expiresMillis uint64) (claim, error) {
	if x.admit == nil {
		return claim{}, &mailbox.Refusal{Code: mailbox.NotServing}
	}
	if !mailbox.VerifyRequest(key, []byte(x.s.host.ID()), verb, content, sig) {
		x.owe(badCost)
		return claim{}, &mailbox.Refusal{Code: mailbox.Malformed, Detail: "signature"}
	}
	box := mailbox.IDOf(ed25519.PublicKey(key))
	now, err := x.admit(box)
	if err != nil {
		return claim{}, err
	}
	expires := time.UnixMilli(int64(expiresMillis))
	if !now.Before(expires) {
		return claim{}, &mailbox.Refusal{Code: mailbox.Expired}
	}
	if last := now.Add(mailbox.MaxTTL); expires.After(last) {
		expires = last
	}
	return claim{owner: box, day: dayOf(expires)}, nil
}

// get gives a chunk to whoever knows its digest.
func (x *session) get(d Digest) error {
	if !x.start() {
		return x.refuse(&mailbox.Refusal{Code: mailbox.RateLimited})
	}
	defer x.finish()
	for _, st := range []*Store{x.own, x.keeps} {
		if st == nil {
			continue
		}
		begun := int64(0)
		err := st.read(d, func(size int64) (io.Writer, error) {
			begun = size
			return pour{x.wire, time.Now().Add(x.s.times.chunk)}, x.send(&pb.Answer{What: &pb.Answer_Chunk{Chunk: uint32(size)}})
		})
		switch {
		case err == nil:
			x.s.counts.sent.Add(1)
			x.s.counts.out.Add(begun)
			x.s.cfg.Log.Debug("blobs: chunk given out", "chunk", d.String())
			return nil
		case begun > 0: // the rest of the chunk cannot follow
			return errors.Join(err, frame.ErrGone)
		case !errors.Is(err, ErrNotHere):
			return x.refuse(refusal(err))
		}
	}
	return x.send(&pb.Answer{What: &pb.Answer_Missing{Missing: &pb.Missing{}}})
}

// has says which chunks are here.
func (x *session) has(ds []Digest) error {
	here := make([]byte, len(ds))
	for _, st := range []*Store{x.own, x.keeps} {
		if st == nil {
			continue
		}
		for i, has := range st.Has(ds) {
			if has {
				here[i] = 1
			}
		}
	}
	return x.send(&pb.Answer{What: &pb.Answer_Has{Has: here}})
}

// drop ends the claims of a box that proves itself; those that it has not are
// over already.
func (x *session) drop(p *pb.Drop) error {
	if x.keeps == nil {
		return x.refuse(&mailbox.Refusal{Code: mailbox.NotServing})
	}
	if !mailbox.VerifyRequest(p.GetKey(), []byte(x.s.host.ID()), mailbox.VerbDropChunks, p.GetDigests(), p.GetSig()) {
		x.owe(badCost)
		return x.refuse(&mailbox.Refusal{Code: mailbox.Malformed, Detail: "signature"})
	}
	if err := x.keeps.dropAll(split(p.GetDigests()), mailbox.IDOf(p.GetKey())); err != nil {
		return x.refuse(refusal(err))
	}
	return x.send(&pb.Answer{What: &pb.Answer_Done{Done: &pb.Done{}}})
}
