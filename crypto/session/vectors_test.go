package session

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/mlkem"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

const vectorFile = "../../docs/vectors/session.json"

var update = flag.Bool("update", false, "write "+vectorFile+" anew")

// hexBytes are bytes that JSON shows as hex.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

type vectors struct {
	About     string          `json:"about"`
	Initiator vectorDevice    `json:"initiator"`
	Responder vectorDevice    `json:"responder"`
	Prekey    vectorPrekey    `json:"prekey"`
	Handshake vectorHandshake `json:"handshake"`
	Steps     []vectorStep    `json:"steps"`
	States    []hexBytes      `json:"states"`
}

type vectorDevice struct {
	User     hexBytes `json:"user"`
	SignSeed hexBytes `json:"sign_seed"`
	IK       hexBytes `json:"ik"`
	Epoch    uint32   `json:"head_epoch"`
	Seq      uint64   `json:"head_seq"`
	Hash     hexBytes `json:"head_hash"`
}

type vectorPrekey struct {
	SPK    hexBytes `json:"spk"`
	PQSeed hexBytes `json:"pq_seed"`
	Bundle hexBytes `json:"bundle"`
}

type vectorHandshake struct {
	EA       hexBytes `json:"ea"`
	KEM      hexBytes `json:"kem_entropy"`
	D1       hexBytes `json:"d1"`
	D2       hexBytes `json:"d2"`
	SS       hexBytes `json:"ss"`
	CT       hexBytes `json:"ct"`
	T1       hexBytes `json:"t1"`
	CK       hexBytes `json:"ck"`
	KID      hexBytes `json:"kid"`
	Block    hexBytes `json:"identity_block"`
	SealedID hexBytes `json:"sealed_identity"`
	D3       hexBytes `json:"d3"`
	Root     hexBytes `json:"root"`
	HeadA    hexBytes `json:"head_a"`
	HeadB    hexBytes `json:"head_b"`
	AD       hexBytes `json:"ad"`
}

// vectorStep seals a message (Entropy, body, Envelope) or opens that of an earlier step (Opens,
// Now), which gives the body of that step, or the error of Open.
type vectorStep struct {
	By       string   `json:"by"`
	Entropy  hexBytes `json:"entropy,omitempty"`
	Counter  uint64   `json:"counter,omitempty"`
	OwnHead  hexBytes `json:"own_head,omitempty"`
	YourHead hexBytes `json:"your_head,omitempty"`
	Token    hexBytes `json:"token,omitempty"`
	Content  hexBytes `json:"content,omitempty"`
	Envelope hexBytes `json:"envelope,omitempty"`
	Opens    *int     `json:"opens,omitempty"`
	Now      int64    `json:"now,omitempty"`
	KEM      hexBytes `json:"kem_entropy,omitempty"`
	Fails    bool     `json:"fails,omitempty"`
}

const about = `Vectors of crypto/session (docs/protocol.md, "Session"). Bytes are hex, now is unix milliseconds. ` +
	`handshake holds the initiator's secrets and everything both sides derive; steps are carried out in order, each by one side: ` +
	`"entropy" is what Seal draws (X25519 private key 32 if a DH step is due, then guard 8, then the ML-KEM seed 64 if an epoch ` +
	`is proposed); "opens" is the index of the step whose envelope is opened, with "fails" where it must not open and with ` +
	`"kem_entropy" where an epoch is answered. states are both sides' stored state at the end.`

// counted is a readable pattern of n bytes.
func counted(from byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = from + byte(i)
	}
	return out
}

// script is who seals and who opens what: first flights out of order, both chains, a message
// kept over a turn, a duplicate, every field of a body and two size classes; then, weeks later, two
// epochs, each proposed by another side, with a message of the first's chain kept over the second;
// then a third, whose halves have to wait for a message with room, and the proposal of a fourth that waits.
var script = []struct {
	by    int
	opens int // -1: seal
	body  Body
	fails bool
	week  bool // it happens a week later than what stands before
}{
	0:  {by: 0, opens: -1, body: Body{Counter: 1, OwnHead: [12]byte(counted(0xa0, 12)), Content: []byte("first")}},
	1:  {by: 0, opens: -1, body: Body{Counter: 2, Content: bytes.Repeat([]byte("long "), 100)}},
	2:  {by: 1, opens: 1},
	3:  {by: 1, opens: 0},
	4:  {by: 1, opens: 0, fails: true},
	5:  {by: 1, opens: -1, body: Body{Counter: 1, OwnHead: [12]byte(counted(0xb0, 12)), YourHead: [12]byte(counted(0xc0, 12)), Token: []byte("pass"), Content: []byte("reply")}},
	6:  {by: 1, opens: -1, body: Body{Counter: 2, Content: []byte("kept")}},
	7:  {by: 1, opens: -1, body: Body{Counter: 3}},
	8:  {by: 0, opens: 5},
	9:  {by: 0, opens: -1, body: Body{Counter: 3, Content: []byte("turn")}},
	10: {by: 1, opens: 9},
	11: {by: 1, opens: -1, body: Body{Counter: 4, Content: []byte("turn back")}},
	12: {by: 0, opens: 11},
	13: {by: 0, opens: 6},
	14: {by: 0, opens: -1, body: Body{Counter: 4, Content: []byte("after a week")}, week: true},
	15: {by: 1, opens: 14},
	16: {by: 1, opens: -1, body: Body{Counter: 5, Content: []byte("makes it due")}},
	17: {by: 0, opens: 16},
	18: {by: 0, opens: -1, body: Body{Counter: 5, Content: []byte("proposes epoch 1")}},
	19: {by: 1, opens: 18},
	20: {by: 1, opens: -1, body: Body{Counter: 6, Content: []byte("answers")}},
	21: {by: 0, opens: 20},
	22: {by: 0, opens: -1, body: Body{Counter: 6, Content: []byte("first of epoch 1")}},
	23: {by: 0, opens: -1, body: Body{Counter: 7, Content: []byte("second of epoch 1")}},
	24: {by: 1, opens: 23},
	25: {by: 1, opens: -1, body: Body{Counter: 7, Content: []byte("in epoch 1 as well")}},
	26: {by: 0, opens: 25},
	27: {by: 0, opens: -1, body: Body{Counter: 8, Content: []byte("another week")}, week: true},
	28: {by: 1, opens: 27},
	29: {by: 1, opens: -1, body: Body{Counter: 8, Content: []byte("proposes epoch 2")}},
	30: {by: 0, opens: 29},
	31: {by: 0, opens: -1, body: Body{Counter: 9, Content: []byte("answers")}},
	32: {by: 1, opens: 31},
	33: {by: 1, opens: -1, body: Body{Counter: 9, Content: []byte("first of epoch 2")}},
	34: {by: 0, opens: 33},
	35: {by: 1, opens: 22},
	36: {by: 0, opens: -1, body: Body{Counter: 10, Content: bytes.Repeat([]byte("end "), 300)}},
	37: {by: 1, opens: 36},
	38: {by: 1, opens: -1, body: Body{Counter: 10, Content: []byte("a third week")}, week: true},
	39: {by: 0, opens: 38},
	40: {by: 0, opens: -1, body: Body{Counter: 11, Content: bytes.Repeat([]byte("no room "), 200)}},
	41: {by: 0, opens: -1, body: Body{Counter: 12, Content: []byte("proposes epoch 3")}},
	42: {by: 1, opens: 41},
	43: {by: 1, opens: -1, body: Body{Counter: 11, Content: bytes.Repeat([]byte("room up to the end "), 140)}},
	44: {by: 0, opens: 43},
	45: {by: 1, opens: 40},
	46: {by: 1, opens: -1, body: Body{Counter: 12, Content: bytes.Repeat([]byte("room "), 100)}},
	47: {by: 0, opens: -1, body: Body{Counter: 13, Content: []byte("first of epoch 3")}},
	48: {by: 1, opens: 47},
	49: {by: 1, opens: -1, body: Body{Counter: 13, Content: []byte("a fourth week")}, week: true},
	50: {by: 0, opens: 49},
	51: {by: 0, opens: -1, body: Body{Counter: 14, Content: []byte("makes it due")}},
	52: {by: 1, opens: 51},
	53: {by: 1, opens: -1, body: Body{Counter: 14, Content: bytes.Repeat([]byte("owes "), 300)}},
}

func vectorSide(user, seed byte) (*device, vectorDevice) {
	v := vectorDevice{counted(user, 32), counted(seed, 32), counted(seed+0x20, 32), 1, uint64(seed), counted(seed+0x40, 32)}
	ik, err := ecdh.X25519().NewPrivateKey(v.IK)
	if err != nil {
		panic(err)
	}
	keys := &identity.DeviceKeys{Sign: ed25519.NewKeyFromSeed(v.SignSeed), IK: ik}
	head := identity.Head{Epoch: v.Epoch, Seq: v.Seq, Hash: [32]byte(v.Hash)}
	return &device{Self: Self{User: identity.UserID(v.User), Keys: keys, Head: head}}, v
}

// vectorHandshakeOf carries out the responder's side with everything in view.
func vectorHandshakeOf(t *testing.T, b *device, ea, kem, envelope []byte) vectorHandshake {
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
	v := vectorHandshake{EA: ea, KEM: kem, CT: f.ct(), T1: o.t1[:], CK: o.ck, KID: o.kid, Block: block, SealedID: f.sealedID()}
	v.D1, v.D2 = mustAgree(t, r.spk, [32]byte(f.ea())), mustAgree(t, r.ik, [32]byte(f.ea()))
	v.D3 = mustAgree(t, r.spk, from.IK)
	ss, err := r.pq.Decapsulate(f.ct())
	if err != nil {
		t.Fatal(err)
	}
	v.SS = ss
	a := o.finish(block, f.sealedID(), from.IK[:], v.D3)
	v.Root, v.HeadA, v.HeadB, v.AD = a.root[:], a.headA[:], a.headB[:], a.ad[:]
	return v
}

func makeVectors(t *testing.T) vectors {
	t.Helper()
	v := vectors{About: about}
	var a, b *device
	a, v.Initiator = vectorSide(0x10, 0x20)
	b, v.Responder = vectorSide(0x11, 0x80)
	v.Prekey = vectorPrekey{SPK: counted(0x01, 32), PQSeed: counted(0x30, 64)}
	b.rng = io.MultiReader(bytes.NewReader(v.Prekey.SPK), bytes.NewReader(v.Prekey.PQSeed))
	b.publish(t)
	v.Prekey.Bundle = b.bundle.Bytes()

	ea, kem := counted(0x51, 32), counted(0x61, 32)
	sa, err := initiate(bytes.NewReader(ea), a.Self, b.bundle, seededKEM(t, bytes.NewReader(kem)))
	if err != nil {
		t.Fatal(err)
	}
	sides := [2]*Session{sa, nil}
	for i, step := range script {
		out := vectorStep{By: []string{"initiator", "responder"}[step.by]}
		if step.opens < 0 {
			sealVector(t, sides[step.by], step.body, i, &out)
		} else {
			sides[step.by] = openVector(t, b, sides[step.by], v.Steps[step.opens].Envelope, script[step.opens].body, i, &out)
			out.Opens, out.Now, out.Fails = &step.opens, vectorTime(i).UnixMilli(), step.fails
		}
		v.Steps = append(v.Steps, out)
	}
	if sides[0].Epoch() != 3 || sides[1].Epoch() != 3 || !sides[1].epoch.owed {
		t.Fatalf("epochs %d and %d", sides[0].Epoch(), sides[1].Epoch())
	}
	v.Handshake = vectorHandshakeOf(t, b, ea, kem, v.Steps[0].Envelope)
	for _, s := range sides {
		v.States = append(v.States, s.Marshal())
	}
	return v
}

func vectorTime(step int) time.Time {
	at := day0.Add(time.Duration(step) * time.Second)
	for _, s := range script[:step+1] {
		if s.week {
			at = at.Add(epochLife)
		}
	}
	return at
}

func sealVector(t *testing.T, s *Session, b Body, step int, out *vectorStep) {
	t.Helper()
	pool := sha256.Sum256(fmt.Appendf(nil, "entropy of step %d", step))
	more := sha256.Sum256(fmt.Appendf(nil, "seed of step %d", step))
	entropy := slices.Concat(pool[:], pool[:guardSize], more[:], more[:])
	if s.send.live {
		entropy = entropy[keySize:]
	}
	role := s.epoch.role
	in := bytes.NewReader(entropy)
	env, err := s.Seal(in, b)
	if err != nil {
		t.Fatal(err)
	}
	if entropy = entropy[:len(entropy)-in.Len()]; (s.epoch.role == epochProposed && role == epochIdle) != (len(entropy) >= 64+guardSize) {
		t.Fatalf("step %d drew %d bytes", step, len(entropy))
	}
	out.Entropy, out.Envelope, out.Counter, out.Token, out.Content = entropy, env, b.Counter, b.Token, b.Content
	if b.OwnHead != [12]byte{} {
		out.OwnHead = b.OwnHead[:]
	}
	if b.YourHead != [12]byte{} {
		out.YourHead = b.YourHead[:]
	}
}

func openVector(t *testing.T, b *device, s *Session, env []byte, want Body, step int, out *vectorStep) *Session {
	t.Helper()
	var got Body
	var err error
	if s == nil {
		s, _, got, err = Accept(b.Self, b.pre, trust, env, vectorTime(step))
	} else {
		role, kem := s.epoch.role, sha256.Sum256(fmt.Appendf(nil, "encapsulation of step %d", step))
		if got, err = s.open(env, vectorTime(step), seededKEM(t, bytes.NewReader(kem[:]))); role == epochIdle && s.epoch.role == epochAnswered {
			out.KEM = kem[:]
		}
	}
	if (err != nil) != script[step].fails || err == nil && (got.Counter != want.Counter || !bytes.Equal(got.Content, want.Content)) {
		t.Fatalf("step %d: %+v %v", step, got, err)
	}
	return s
}

func TestVectors(t *testing.T) {
	got, err := json.MarshalIndent(makeVectors(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(vectorFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the bytes have changed: other builds will not understand this one (-update writes the file anew)")
	}
}

func TestVectorsCoverTheLibraryEncapsulation(t *testing.T) {
	// The one thing the vectors replace is the encapsulation; the real one must fit as well.
	a, b := newDevice(t, 1), newDevice(t, 2)
	for _, kem := range []func(*mlkem.EncapsulationKey768) (ss, ct []byte){(*mlkem.EncapsulationKey768).Encapsulate, seededKEM(t, seeded(3))} {
		s, err := initiate(a.rng, a.Self, b.bundle, kem)
		if err != nil {
			t.Fatal(err)
		}
		b.accept(t, a.seal(t, s, "hello"))
	}
}
