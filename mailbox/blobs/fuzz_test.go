package blobs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox/blobs/pb"
	"github.com/kith-im/kith/mailbox/relay/frame"
	"github.com/kith-im/kith/mailbox/relay/rate"
)

// script is a stream whose other end says what a fuzzer made up.
type script struct {
	io.Reader
	said bytes.Buffer
}

func (s *script) Write(b []byte) (int, error)    { return s.said.Write(b) }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }
func (*script) Reset() error                     { return nil }
func (*script) Close() error                     { return nil }

func framed(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := frame.Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzServer: whatever comes on a stream, the server ends it or answers, and
// keeps nothing that nobody may put.
func FuzzServer(f *testing.F) {
	w := newWorld(f, Options{}, Config{Rate: rate.Limit{PerSecond: -1}})
	d := put(f, w.store, 1, 100, later, alice)
	w.server.times.room = 0
	f.Add(framed(f, &pb.Ask{What: &pb.Ask_Get{Get: &pb.Get{Digest: d[:]}}}))
	f.Add(framed(f, &pb.Ask{What: &pb.Ask_Has{Has: &pb.Has{Digests: make([]byte, 96)}}}))
	f.Add(framed(f, &pb.Ask{What: &pb.Ask_Drop{Drop: &pb.Drop{Digests: d[:], Key: make([]byte, 32), Sig: make([]byte, 64)}}}))
	f.Add(append(framed(f, &pb.Ask{What: &pb.Ask_Put{Put: &pb.Put{
		Digest: d[:], Size: 10, ExpiresMs: 1, Key: make([]byte, 32), Sig: make([]byte, 64),
	}}}), make([]byte, 10)...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, raw []byte) {
		st := &script{Reader: bytes.NewReader(raw)}
		w.server.serve(peer.ID("fuzz"), netip.Prefix{}, st)
		if got := w.store.Stats().Usage; got != (Usage{Chunks: 1, Bytes: 100}) {
			t.Fatalf("%+v", got)
		}
		if len(w.server.slots) != 0 || w.server.Stats().Streams != 0 {
			t.Fatal("something is still held")
		}
	})
}

// FuzzClient: whatever a server answers, a client returns the chunk that it
// asked for or an error.
func FuzzClient(f *testing.F) {
	d, b := chunk(1, 100)
	f.Add(append(framed(f, &pb.Answer{What: &pb.Answer_Chunk{Chunk: 100}}), b...))
	f.Add(framed(f, &pb.Answer{What: &pb.Answer_Missing{Missing: &pb.Missing{}}}))
	f.Add(framed(f, &pb.Answer{What: &pb.Answer_Has{Has: []byte{1}}}))
	f.Add(framed(f, &pb.Answer{What: &pb.Answer_Refusal{Refusal: &pb.Refusal{Code: 2, Detail: "full"}}}))
	f.Add(framed(f, &pb.Answer{What: &pb.Answer_Chunk{Chunk: blob.MaxChunk}}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &Client{late: time.Minute, each: map[string]*lanes{}}
		c.self, c.stop = context.WithCancel(t.Context())
		defer c.Close()
		c.open = func(context.Context, dht.Peer) (stream, error) { return &script{Reader: bytes.NewReader(raw)}, nil }
		got, err := c.Get(t.Context(), dht.Peer{ID: []byte("server")}, d, nil)
		if err == nil && !bytes.Equal(got, b) {
			t.Fatalf("%d bytes that nobody asked for", len(got))
		}
		if err != nil && got != nil {
			t.Fatal("a chunk and an error")
		}
		if _, err := c.Has(t.Context(), dht.Peer{ID: []byte("server")}, []Digest{d}); errors.Is(err, network.ErrReset) {
			t.Fatal("never reset")
		}
		_ = c.Put(t.Context(), dht.Peer{ID: []byte("server")}, box, d, b, later)
	})
}

func FuzzParseRow(f *testing.F) {
	d, _ := chunk(1, 10)
	r := &row{size: 10}
	r.claim(claim{alice, 5})
	r.claim(claim{bob, 6})
	f.Add(r.encode(d))
	f.Add([]byte{0, 0, 0, 1, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, b := range [][]byte{raw, append(bytes.Clone(raw), rowCheck(d, raw)...)} {
			if r := parseRow(d, b); r != nil && !bytes.Equal(r.encode(d), b) {
				t.Fatal("a row has two spellings")
			}
		}
	})
}
