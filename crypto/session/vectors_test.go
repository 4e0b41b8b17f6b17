//go:build !standin

package session

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/crypto/vectortest"
)

const vectorFile = "../../docs/vectors/session.json"

// vectors is the file, which docs/vectors/model/session.mjs writes.
type vectors struct {
	About        string           `json:"about"`
	Initiator    vectorDevice     `json:"initiator"`
	Responder    vectorDevice     `json:"responder"`
	Prekey       vectorPrekey     `json:"prekey"`
	Handshake    vectorHandshake  `json:"handshake"`
	Derivations  []derivation     `json:"derivations"`
	Steps        []vectorStep     `json:"steps"`
	FirstFlights []vectorFlight   `json:"first_flights"`
	States       []vectortest.Hex `json:"states"`
	Refused      []vectorEnvelope `json:"refused"`
	RefusedFirst []vectorEnvelope `json:"refused_first"`
}

type vectorDevice struct {
	User     vectortest.Hex `json:"user"`
	SignSeed vectortest.Hex `json:"sign_seed"`
	IK       vectortest.Hex `json:"ik"`
	Epoch    uint32         `json:"head_epoch"`
	Seq      uint64         `json:"head_seq"`
	Hash     vectortest.Hex `json:"head_hash"`
}

type vectorPrekey struct {
	SPK        vectortest.Hex `json:"spk"`
	PQSeed     vectortest.Hex `json:"pq_seed"`
	Generation uint64         `json:"generation"`
	Number     uint64         `json:"number"`
	Issued     int64          `json:"issued"`
	NotAfter   int64          `json:"not_after"`
	Bundle     vectortest.Hex `json:"bundle"`
}

type vectorHandshake struct {
	EA       vectortest.Hex `json:"ea"`
	KEM      vectortest.Hex `json:"kem_entropy"`
	D1       vectortest.Hex `json:"d1"`
	D2       vectortest.Hex `json:"d2"`
	SS       vectortest.Hex `json:"ss"`
	CT       vectortest.Hex `json:"ct"`
	T1       vectortest.Hex `json:"t1"`
	CK       vectortest.Hex `json:"ck"`
	KID      vectortest.Hex `json:"kid"`
	Block    vectortest.Hex `json:"identity_block"`
	SealedID vectortest.Hex `json:"sealed_identity"`
	D3       vectortest.Hex `json:"d3"`
	Root     vectortest.Hex `json:"root"`
	HeadA    vectortest.Hex `json:"head_a"`
	HeadB    vectortest.Hex `json:"head_b"`
	AD       vectortest.Hex `json:"ad"`
}

// derivation is one key derivation by itself.
type derivation struct {
	What    string           `json:"what"`
	Inputs  []vectortest.Hex `json:"inputs"`
	Outputs []vectortest.Hex `json:"outputs"`
}

// vectorFlight is the key that a step's envelope has in the cache of first flights.
type vectorFlight struct {
	Step   int            `json:"step"`
	Prekey vectortest.Hex `json:"prekey"`
	EA     vectortest.Hex `json:"ea"`
}

// vectorEnvelope must not open.
type vectorEnvelope struct {
	Rule     string         `json:"rule"`
	Envelope vectortest.Hex `json:"envelope"`
	TooFar   bool           `json:"too_far"`
}

// vectorStep seals a message (Entropy, body, Envelope) or opens that of an earlier step (Opens,
// Now), which gives the body of that step, or the error of Open.
type vectorStep struct {
	By       string         `json:"by"`
	Entropy  vectortest.Hex `json:"entropy,omitempty"`
	Counter  uint64         `json:"counter,omitempty"`
	OwnHead  vectortest.Hex `json:"own_head,omitempty"`
	YourHead vectortest.Hex `json:"your_head,omitempty"`
	Token    vectortest.Hex `json:"token,omitempty"`
	Content  vectortest.Hex `json:"content,omitempty"`
	Standing []uint64       `json:"standing,omitempty"` // generation, received, sent
	Envelope vectortest.Hex `json:"envelope,omitempty"`
	Opens    *int           `json:"opens,omitempty"`
	Now      int64          `json:"now,omitempty"`
	KEM      vectortest.Hex `json:"kem_entropy,omitempty"`
	Fails    bool           `json:"fails,omitempty"`
}

func readVectors(t *testing.T) *vectors {
	t.Helper()
	var v vectors
	vectortest.ReadWhole(t, vectorFile, &v)
	return &v
}

// vectorRun is both sides while the steps of the file are carried out.
type vectorRun struct {
	*vectors
	a, b  *device
	sides map[string]*Session
}

func (v vectorDevice) device(t *testing.T) *device {
	t.Helper()
	ik, err := agree.NewPrivate(v.IK)
	if err != nil {
		t.Fatal(err)
	}
	keys := &identity.DeviceKeys{Sign: signature.NewKey(v.SignSeed), IK: ik}
	head := identity.Head{Epoch: v.Epoch, Seq: v.Seq, Hash: [32]byte(v.Hash)}
	return &device{Self: Self{User: identity.UserID(v.User), Keys: keys, Head: head}}
}

// begin makes the responder's bundle and the initiator's session, from the inputs of the file.
func begin(t *testing.T) *vectorRun {
	t.Helper()
	v := readVectors(t)
	r := &vectorRun{v, v.Initiator.device(t), v.Responder.device(t), map[string]*Session{}}
	f := identity.BundleFields{
		User: r.b.User, Generation: v.Prekey.Generation, Number: v.Prekey.Number,
		Issued: time.Unix(v.Prekey.Issued, 0), NotAfter: time.Unix(v.Prekey.NotAfter, 0),
	}
	var err error
	r.b.bundle, r.b.pre, err = identity.NewBundle(io.MultiReader(bytes.NewReader(v.Prekey.SPK), bytes.NewReader(v.Prekey.PQSeed)), r.b.Keys, f)
	if err != nil || !bytes.Equal(r.b.bundle.Bytes(), v.Prekey.Bundle) {
		t.Fatalf("another bundle: %v", err)
	}
	s, err := initiate(bytes.NewReader(v.Handshake.EA), r.a.Self, r.b.bundle, seededKEM(t, bytes.NewReader(v.Handshake.KEM)))
	if err != nil {
		t.Fatal(err)
	}
	r.sides["initiator"] = s
	return r
}

// TestVectors carries out the steps of the file and compares every byte.
func TestVectors(t *testing.T) {
	r := begin(t)
	for i, step := range r.Steps {
		if step.Opens == nil {
			r.seal(t, i, step)
		} else {
			r.open(t, i, step)
		}
	}
	if diff := cmp.Diff(r.Handshake, handshakeOf(t, r.b, r.Handshake, r.Steps[0].Envelope)); diff != "" {
		t.Errorf("the model and the code disagree about the handshake (-model +code):\n%s", diff)
	}
	for i, side := range []string{"initiator", "responder"} {
		if !bytes.Equal(r.sides[side].Marshal(), r.States[i]) {
			t.Errorf("the state of the %s is another", side)
		}
		if s, err := ParseSession(r.States[i]); err != nil || !bytes.Equal(s.Marshal(), r.States[i]) {
			t.Errorf("the state of the %s does not parse: %v", side, err)
		}
	}
	if epoch := r.sides["initiator"].Epoch(); epoch != 3 || len(r.FirstFlights) == 0 {
		t.Errorf("the steps end in epoch %d", epoch)
	}
	for _, f := range r.FirstFlights {
		got, ok := ParseFirstFlight(r.Steps[f.Step].Envelope)
		if !ok || !bytes.Equal(got.Prekey[:], f.Prekey) || !bytes.Equal(got.EA[:], f.EA) {
			t.Errorf("step %d: another key in the cache of first flights", f.Step)
		}
	}
}

func (r *vectorRun) seal(t *testing.T, i int, step vectorStep) {
	t.Helper()
	b := Body{Counter: step.Counter, Token: step.Token, Content: step.Content}
	copy(b.OwnHead[:], step.OwnHead)
	copy(b.YourHead[:], step.YourHead)
	if len(step.Standing) == 3 {
		b.Generation, b.Received, b.Sent = step.Standing[0], step.Standing[1], step.Standing[2]
	}
	entropy := bytes.NewReader(step.Entropy)
	envelope, err := r.sides[step.By].Seal(entropy, b)
	if err != nil || entropy.Len() > 0 || !bytes.Equal(envelope, step.Envelope) {
		t.Fatalf("step %d: another envelope (%v, %d bytes of entropy left)", i, err, entropy.Len())
	}
}

func (r *vectorRun) open(t *testing.T, i int, step vectorStep) {
	t.Helper()
	var got Body
	var err error
	said, now := r.Steps[*step.Opens], time.UnixMilli(step.Now)
	if s := r.sides[step.By]; s != nil {
		got, err = s.open(said.Envelope, now, seededKEM(t, bytes.NewReader(step.KEM)))
	} else {
		r.sides[step.By], _, got, err = Accept(r.b.Self, r.b.pre, trust, said.Envelope, now)
	}
	if (err != nil) != step.Fails || err != nil && err != ErrOpen {
		t.Fatalf("step %d: %v", i, err)
	}
	want := Body{Counter: said.Counter, Token: said.Token, Content: said.Content}
	copy(want.OwnHead[:], said.OwnHead)
	copy(want.YourHead[:], said.YourHead)
	if err == nil && (got.Counter != want.Counter || got.OwnHead != want.OwnHead || got.YourHead != want.YourHead ||
		!bytes.Equal(got.Token, want.Token) || !bytes.Equal(got.Content, want.Content)) {
		t.Fatalf("step %d says %+v", i, got)
	}
	standing := []uint64{got.Generation, got.Received, got.Sent}
	if none := got.Generation == 0; err == nil && (none != (len(step.Standing) == 0) || !none && !slices.Equal(standing, step.Standing)) {
		t.Fatalf("step %d stands at %v", i, standing)
	}
}

// handshakeOf carries out the responder's side with everything in view.
func handshakeOf(t *testing.T, b *device, v vectorHandshake, envelope []byte) vectorHandshake {
	t.Helper()
	f, ok := parseFirstFlight(envelope)
	if !ok {
		t.Fatal("not a first flight")
	}
	r := responderOf(b.Self, b.pre)
	o, block, from, ok := r.sender(b.Self, f)
	if !ok {
		t.Fatal("no sender")
	}
	v = vectorHandshake{EA: v.EA, KEM: v.KEM, CT: f.ct(), T1: o.t1[:], CK: o.ck, KID: o.kid, Block: block, SealedID: f.sealedID()}
	v.D1, v.D2 = mustAgree(t, r.spk, [32]byte(f.ea())), mustAgree(t, r.ik, [32]byte(f.ea()))
	v.D3 = mustAgree(t, r.spk, from.IK)
	ss, err := agree.Decapsulate(r.pq, f.ct())
	if err != nil {
		t.Fatal(err)
	}
	v.SS = ss
	a := o.finish(block, f.sealedID(), from.IK[:], v.D3)
	v.Root, v.HeadA, v.HeadB, v.AD = a.root[:], a.headA[:], a.headB[:], a.ad[:]
	return v
}

// TestVectorsOfDerivations computes single steps of the key schedule.
func TestVectorsOfDerivations(t *testing.T) {
	v := readVectors(t)
	if len(v.Derivations) == 0 {
		t.Fatal("no derivations")
	}
	for _, d := range v.Derivations {
		var got []vectortest.Hex
		in := [32]byte(d.Inputs[0])
		switch d.What {
		case "header key and tag key of a chain":
			k := newHeadKey(in)
			k.derive()
			got = []vectortest.Hex{k.seal[:], k.tag[:]}
		case "tag of message 0", "tag of message 70000":
			k := newHeadKey(in)
			tag := k.tagOf(binary.BigEndian.Uint32(d.Inputs[1]))
			got = []vectortest.Hex{tag[:]}
		case "message key and next chain key":
			message, next := stepChain(in)
			got = []vectortest.Hex{message[:], next[:]}
		case "root step: root, chain and next header key":
			root, chain, head := stepRoot(in[:], d.Inputs[1], 0, nil)
			got = []vectortest.Hex{root[:], chain[:], head[:]}
		case "root step into epoch 9: root, chain and next header key":
			root, chain, head := stepRoot(in[:], d.Inputs[1], binary.BigEndian.Uint32(d.Inputs[2]), d.Inputs[3])
			got = []vectortest.Hex{root[:], chain[:], head[:]}
		}
		if diff := cmp.Diff(d.Outputs, got); diff != "" {
			t.Errorf("%s: the model and the code disagree (-model +code):\n%s", d.What, diff)
		}
	}
}

// TestVectorsAreRefused opens what must not open, and then what must: nothing has changed.
func TestVectorsAreRefused(t *testing.T) {
	r := begin(t)
	if min(len(r.Refused), len(r.RefusedFirst)) == 0 {
		t.Fatal("nothing to refuse")
	}
	for _, c := range r.RefusedFirst {
		if _, _, _, err := Accept(r.b.Self, r.b.pre, trust, c.Envelope, time.UnixMilli(r.Steps[2].Now)); err != ErrOpen {
			t.Errorf("first flight: %s: %v", c.Rule, err)
		}
	}
	last := r.Steps[len(r.Steps)-1].Now
	s, err := ParseSession(r.States[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Refused {
		want := ErrOpen
		if c.TooFar {
			want = ErrTooFar
		}
		if _, err := s.Open(c.Envelope, time.UnixMilli(last)); err != want {
			t.Errorf("%s: %v", c.Rule, err)
		}
	}
	if !bytes.Equal(s.Marshal(), r.States[0]) {
		t.Error("what was refused has changed the session")
	}
	peer, err := ParseSession(r.States[1])
	if err != nil {
		t.Fatal(err)
	}
	good, err := peer.Seal(seeded(1), Body{Counter: 18})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(good, time.UnixMilli(last)); err != nil {
		t.Errorf("control: a good message does not open: %v", err)
	}
}

func TestVectorsCoverTheLibraryEncapsulation(t *testing.T) {
	// The one thing the vectors replace is the encapsulation; the real one must fit as well.
	a, b := newDevice(t, 1), newDevice(t, 2)
	for _, kem := range []func(*agree.Encapsulator) (ss, ct []byte){agree.Encapsulate, seededKEM(t, seeded(3))} {
		s, err := initiate(a.rng, a.Self, b.bundle, kem)
		if err != nil {
			t.Fatal(err)
		}
		b.accept(t, a.seal(t, s, "hello"))
	}
}
