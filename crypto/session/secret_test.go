//go:build !standin

package session

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Somebody took all of B's state and knows everything that B draws from then on but for what ML-KEM draws: it reads along
// until an epoch begins that B answered, and no further. In the control no epoch is ever due.
func TestAnEpochLocksOutWhoKnowsEverythingElse(t *testing.T) {
	for _, due := range []bool{true, false} {
		p := newPair(t)
		thief, same := p.sb.Clone(), rand.NewChaCha8([32]byte{77})
		p.b.rng = rand.NewChaCha8([32]byte{77})
		locked := -1
		for i := range 3 * epochMessages {
			if !due {
				p.sa.epoch.since, p.sb.epoch.since = 0, 0
			}
			env := p.a.seal(t, p.sa, "secret")
			mustOpen(t, p.sb, env, "secret")
			if locked < 0 {
				if _, err := thief.Open(env, day0); err != nil {
					locked = i
				}
			}
			env = p.b.seal(t, p.sb, "answer")
			mustOpen(t, p.sa, env, "answer")
			if locked < 0 {
				if _, err := thief.Seal(same, Body{Content: []byte("answer")}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if due != (locked >= 0) || locked > epochMessages {
			t.Errorf("epochs %t: locked out after message %d", due, locked)
		}
	}
}

// There is no way down from the hybrid handshake: whatever stands in the place of ct, or of the agreed epoch, neither
// opens nor begins anything, and gives the same error as everything else.
func TestAttackPostQuantumDowngrade(t *testing.T) {
	a, b := newDevice(t, 1), newDevice(t, 2)
	env := a.seal(t, a.initiate(t, b), "hello")
	_, foreign := encapsulateTo(t, seeded(5), newDevice(t, 5).bundle)
	_, fresh := encapsulateTo(t, seeded(6), b.bundle)
	at := 1 + prekeyIDSize + keySize
	for name, ct := range map[string][]byte{
		"none": make([]byte, ctSize), "for another's key": foreign, "the attacker's": fresh, "all ones": bytes.Repeat([]byte{0xff}, ctSize),
	} {
		t.Run(name, func(t *testing.T) {
			bad := bytes.Clone(env)
			copy(bad[at:], ct)
			mustNotAccept(t, b, bad)
		})
	}
	mustNotAccept(t, b, append(bytes.Clone(env[:at]), env[at+ctSize:]...)) // the classical handshake's length
	b.accept(t, env)                                                       // control

	// In a session: an epoch that both agreed on cannot be left out of the chain that begins it.
	p := newPair(t)
	p.talk(t, epochMessages)
	for p.sa.epoch.role != epochReady {
		p.talk(t, 2)
	}
	classical := stored(t, p.sa)
	classical.epoch.role, classical.epoch.secret = epochIdle, nil
	plain, silent := stored(t, p.sb), p.a.seal(t, classical, "without")
	if _, err := plain.Open(silent, day0); err != nil {
		t.Fatal("the peer itself may begin an epoch later:", err)
	}
	chosen := p.a.seal(t, p.sa, "with")
	if p.sa.Epoch() != 1 {
		t.Fatal("control: no epoch began")
	}
	mustRefuse(t, plain, chosen, ErrOpen) // nor are two chains from one state taken
	mustOpen(t, p.sb, chosen, "with")
	if p.sb.Epoch() != 1 {
		t.Fatal("control: the epoch is not followed")
	}
}
