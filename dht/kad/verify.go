package kad

import (
	"crypto/sha256"
	"sync"
	"time"

	record "github.com/libp2p/go-libp2p-record"

	"github.com/kith-im/kith/dht"
)

// verifier is the one gate through which values enter and leave: kad-dht's
// validator and ours. It remembers the claims of values that it verified, so
// that a value is verified once and judged against the clock every time.
type verifier struct {
	now     func() time.Time
	inspect func(key string, value []byte) (dht.Claim, error) // dht.Inspect, but for the control that shows why

	mu            sync.Mutex
	young, elders map[[32]byte]dht.Claim // two generations: the elders are dropped when the young are full
}

func newVerifier(now func() time.Time) *verifier {
	return &verifier{now: now, inspect: dht.Inspect, young: map[[32]byte]dht.Claim{}}
}

// claim verifies value under key; it does not look at the clock.
func (v *verifier) claim(key string, value []byte) (dht.Claim, error) {
	id := claimID(key, value)
	v.mu.Lock()
	c, ok := v.young[id]
	if !ok {
		c, ok = v.elders[id]
	}
	v.mu.Unlock()
	if ok {
		return c, nil
	}
	c, err := v.inspect(key, value)
	if err != nil {
		return dht.Claim{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.young) >= maxClaims/2 {
		v.young, v.elders = map[[32]byte]dht.Claim{}, v.young
	}
	v.young[id] = c
	return c, nil
}

func claimID(key string, value []byte) [32]byte {
	h := sha256.New()
	h.Write([]byte{byte(len(key))})
	h.Write([]byte(key))
	h.Write(value)
	return [32]byte(h.Sum(nil))
}

// valid is claim and the clock.
func (v *verifier) valid(key string, value []byte) (dht.Claim, error) {
	c, err := v.claim(key, value)
	if err != nil {
		return dht.Claim{}, err
	}
	if !c.Valid(v.now()) {
		return dht.Claim{}, dht.ErrInvalid
	}
	return c, nil
}

// Validate implements record.Validator.
func (v *verifier) Validate(key string, value []byte) error {
	_, err := v.valid(key, value)
	return err
}

// Select implements record.Validator: the highest, the first among equals.
func (v *verifier) Select(key string, values [][]byte) (int, error) {
	var best dht.Claim
	at := -1
	for i, value := range values {
		c, err := v.claim(key, value)
		if err == nil && (at < 0 || c.Compare(best) > 0) {
			best, at = c, i
		}
	}
	if at < 0 {
		return 0, dht.ErrInvalid
	}
	return at, nil
}

// namespaces is the validator that kad-dht gets: kith's three kinds, nothing else.
func (v *verifier) namespaces() record.NamespacedValidator {
	return record.NamespacedValidator{"kith-u": v, "kith-d": v, "kith-m": v}
}
