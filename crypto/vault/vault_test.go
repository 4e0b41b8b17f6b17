package vault

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func entropy(name string) io.Reader {
	return rand.NewChaCha8(sha256.Sum256([]byte(name)))
}

// quick stands in for Argon2id, which TestVectors runs for real.
func quick(passphrase []byte, salt [saltSize]byte) [keySize]byte {
	return sha256.Sum256(append(salt[:], passphrase...))
}

func newVault(t testing.TB, passphrase string) ([]byte, *Vault) {
	t.Helper()
	v, err := create(entropy("vault "+passphrase), []byte(passphrase), born, quick)
	if err != nil {
		t.Fatal(err)
	}
	return fileOf(t, v), v
}

// born is when the keys of the tests are made, if nothing else is said.
var born = time.UnixMilli(1_700_000_000_000)

func fileOf(t testing.TB, v *Vault) []byte {
	t.Helper()
	file, err := v.File(entropy("file"))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func reopen(t testing.TB, file []byte, passphrase string) *Vault {
	t.Helper()
	v, err := openFile(file, []byte(passphrase), quick)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func seal(t testing.TB, v *Vault, place, plaintext string) []byte {
	t.Helper()
	sealed, err := v.Seal(entropy(place+plaintext), Fleeting, []byte(place), []byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// resum gives a file whatever sum it needs, as a thoughtful attacker would.
func resum(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

func TestVaultOpensWhatItSealed(t *testing.T) {
	for _, passphrase := range []string{"", "correct horse"} {
		file, v := newVault(t, passphrase)
		sealed := seal(t, v, "contacts\x00bob", "a secret")
		again := reopen(t, file, passphrase)
		got, err := again.Open(Fleeting, []byte("contacts\x00bob"), sealed)
		if err != nil || string(got) != "a secret" {
			t.Errorf("passphrase %q: %q, %v", passphrase, got, err)
		}
		if v.Protected() != (passphrase != "") || again.Protected() != v.Protected() {
			t.Errorf("passphrase %q: protected %v, %v", passphrase, v.Protected(), again.Protected())
		}
		if len(sealed) != len("a secret")+Overhead || v.Blind([]byte("bob")) != again.Blind([]byte("bob")) {
			t.Errorf("%d bytes sealed, or another blinded name", len(sealed))
		}
		if empty := seal(t, v, "", ""); len(empty) != Overhead {
			t.Errorf("%d bytes for nothing", len(empty))
		} else if got, err := again.Open(Fleeting, nil, empty); err != nil || len(got) != 0 {
			t.Errorf("%x, %v", got, err)
		}
	}
}

func TestEachReasonNotToOpenIsItsOwn(t *testing.T) {
	locked, _ := newVault(t, "correct horse")
	open, _ := newVault(t, "")
	for _, c := range []struct {
		name       string
		file       []byte
		passphrase string
		want       error
	}{
		{"the right passphrase", locked, "correct horse", nil},
		{"no passphrase", locked, "", ErrNeedPassphrase},
		{"a wrong passphrase", locked, "correct horse ", ErrPassphrase},
		{"a passphrase beyond the limit", locked, strings.Repeat("x", MaxPassphrase+1), ErrPassphrase},
		{"a passphrase where none is", open, "anything", nil},
		{"nothing", nil, "", ErrDamaged},
		{"another file", bytes.Repeat([]byte("hello "), 30), "", ErrDamaged},
		{"a file of a later version", resum(append([]byte("kith1 vault\x03"), open[12:len(open)-sumSize]...)), "", ErrNewer},
		{"a file of no version", resum(append([]byte("kith1 vault\x00"), open[12:len(open)-sumSize]...)), "", ErrDamaged},
		{"an unknown kind of lock", resum(append([]byte(magic+"\x02"), open[13:len(open)-sumSize]...)), "", ErrDamaged},
		{"a lock without salt", resum([]byte(magic + "\x01salt")), "correct horse", ErrDamaged},
		{"a file without keys", resum(append([]byte(magic), make([]byte, 1+keySize+1)...)), "", ErrDamaged},
		{"a file that never ends", append(bytes.Clone(open), make([]byte, MaxFile)...), "", ErrDamaged},
	} {
		v, err := openFile(c.file, []byte(c.passphrase), quick)
		if err != c.want || (v == nil) != (err != nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// clearFile1 is a version 1 file without passphrase that holds store keys of
// these numbers.
func clearFile1(numbers ...int) []byte {
	ring := append(make([]byte, keySize), byte(len(numbers)))
	for _, n := range numbers {
		ring = append(append(ring, byte(n)), make([]byte, keySize)...)
	}
	return resum(append([]byte("kith1 vault\x01\x00"), ring...))
}

// clearFile is one of this version, with so many keys of each class.
func clearFile(lasting, fleeting int) []byte {
	ring := make([]byte, keySize)
	for _, n := range []int{lasting, fleeting} {
		ring = append(append(ring, 0xff, 0xff, 0xff, 0xff, byte(n)), make([]byte, n*keyEntry)...)
	}
	return resum(append([]byte(magic+"\x00"), ring...))
}

func TestKeyringIsWellFormed(t *testing.T) {
	seventeen := make([]int, MaxKeys+1)
	for i := range seventeen {
		seventeen[i] = i
	}
	for _, c := range []struct {
		name string
		file []byte
		want error
	}{
		{"one key", clearFile1(7), nil},
		{"as many as may wait", clearFile1(seventeen[:MaxKeys]...), nil},
		{"numbers that begin again", clearFile1(254, 255, 0), nil},
		{"no key", clearFile1(), ErrDamaged},
		{"a key too many", clearFile1(seventeen...), ErrDamaged},
		{"one number twice", clearFile1(3, 3), ErrDamaged},
		{"a number left out", clearFile1(3, 5), ErrDamaged},
		{"numbers that count down", clearFile1(3, 2), ErrDamaged},
		{"one key of each class", clearFile(1, 1), nil},
		{"as many of each class", clearFile(MaxKeys, MaxKeys), nil},
		{"no lasting key", clearFile(0, 1), ErrDamaged},
		{"no fleeting key", clearFile(1, 0), ErrDamaged},
		{"a lasting key too many", clearFile(MaxKeys+1, 1), ErrDamaged},
		{"a fleeting key too many", clearFile(1, MaxKeys+1), ErrDamaged},
		{"a byte more", resum(append(clearFile(1, 1)[:len(clearFile(1, 1))-sumSize], 0)), ErrDamaged},
	} {
		if _, err := openFile(c.file, nil, quick); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// A damaged file is called damaged before the passphrase is tried; the control
// is the same damage with a matching sum, which looks like a wrong passphrase.
func TestDamageIsNotMistakenForAWrongPassphrase(t *testing.T) {
	file, _ := newVault(t, "correct horse")
	tried := 0
	counting := func(p []byte, salt [saltSize]byte) [keySize]byte {
		tried++
		return quick(p, salt)
	}
	for bit := range len(file) * 8 {
		file[bit/8] ^= 1 << (bit % 8)
		if _, err := openFile(file, []byte("correct horse"), counting); err != ErrDamaged {
			t.Errorf("bit %d of byte %d flipped: %v", bit%8, bit/8, err)
		}
		file[bit/8] ^= 1 << (bit % 8)
	}
	for n := range file {
		if _, err := openFile(file[:n], []byte("correct horse"), counting); err != ErrDamaged {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
	if tried != 0 {
		t.Errorf("the passphrase was stretched %d times for damaged files", tried)
	}
	wrong := 0
	body := file[:len(file)-sumSize]
	for bit := (len(magic) + 1) * 8; bit < len(body)*8; bit++ {
		body[bit/8] ^= 1 << (bit % 8)
		v, err := openFile(resum(body), []byte("correct horse"), quick)
		if v != nil {
			t.Errorf("bit %d of byte %d flipped under a new sum: opens", bit%8, bit/8)
		}
		if err == ErrPassphrase {
			wrong++
		}
		body[bit/8] ^= 1 << (bit % 8)
	}
	if wrong == 0 {
		t.Error("control: without the sum no damage looks like a wrong passphrase, so the sum is untested")
	}
}

// Without a passphrase the file has no integrity beyond its sum: who can write
// it can put in other keys. Values of the old keys then do not open.
func TestReplacedKeysOpenNothing(t *testing.T) {
	file, v := newVault(t, "")
	sealed := seal(t, v, "place", "a secret")
	body := file[:len(file)-sumSize]
	body[len(body)-1] ^= 1 // the last byte of the store key
	other := reopen(t, resum(body), "")
	if _, err := other.Open(Fleeting, []byte("place"), sealed); err != ErrDamaged {
		t.Errorf("got %v", err)
	}
}

func TestValueOpensInItsPlaceOnly(t *testing.T) {
	_, v := newVault(t, "")
	_, other := newVault(t, "other")
	sealed := seal(t, v, "sessions\x00bob", "a secret")
	if _, err := v.Open(Fleeting, []byte("sessions\x00bob"), sealed); err != nil {
		t.Fatalf("control: %v", err)
	}
	for _, place := range []string{"", "sessions\x00cleo", "sessions\x00bob\x00", "sessions"} {
		if _, err := v.Open(Fleeting, []byte(place), sealed); err != ErrDamaged {
			t.Errorf("in place %q: %v", place, err)
		}
	}
	if _, err := other.Open(Fleeting, []byte("sessions\x00bob"), sealed); err != ErrDamaged {
		t.Errorf("in another vault: %v", err)
	}
	for bit := range len(sealed) * 8 {
		sealed[bit/8] ^= 1 << (bit % 8)
		if _, err := v.Open(Fleeting, []byte("sessions\x00bob"), sealed); err != ErrDamaged {
			t.Errorf("bit %d of byte %d flipped: %v", bit%8, bit/8, err)
		}
		sealed[bit/8] ^= 1 << (bit % 8)
	}
	for n := range sealed {
		if _, err := v.Open(Fleeting, []byte("sessions\x00bob"), sealed[:n]); err != ErrDamaged {
			t.Errorf("first %d bytes: %v", n, err)
		}
	}
}

func TestEqualValuesLookDifferent(t *testing.T) {
	_, v := newVault(t, "")
	rng := entropy("one stream")
	x, err := v.Seal(rng, Fleeting, []byte("place"), []byte("a secret"))
	y, err2 := v.Seal(rng, Fleeting, []byte("place"), []byte("a secret"))
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(x[1:1+nonceSize], y[1:1+nonceSize]) || bytes.Equal(x[1+nonceSize:], y[1+nonceSize:]) {
		t.Error("two seals of one value share nonce or ciphertext")
	}
}

func TestBlindedNames(t *testing.T) {
	_, v := newVault(t, "")
	_, other := newVault(t, "other")
	rotated, err := v.Rotate(entropy("rotate"), Fleeting, born)
	if err != nil {
		t.Fatal(err)
	}
	name := v.Blind([]byte("contacts\x00bob"))
	if name != rotated.Retire(Fleeting).Blind([]byte("contacts\x00bob")) {
		t.Error("a rotation lost every name")
	}
	if name == other.Blind([]byte("contacts\x00bob")) || name == v.Blind([]byte("contacts\x00cleo")) || name == [16]byte{} {
		t.Error("names coincide")
	}
}

func TestRewrapChangesThePassphraseAndNothingElse(t *testing.T) {
	old, v := newVault(t, "first")
	sealed := seal(t, v, "place", "a secret")
	for _, next := range []string{"second", "", "third"} {
		w, err := v.rewrap(entropy(next), []byte(next), quick)
		if err != nil {
			t.Fatal(err)
		}
		file := fileOf(t, w)
		again := reopen(t, file, next)
		if got, err := again.Open(Fleeting, []byte("place"), sealed); err != nil || string(got) != "a secret" {
			t.Errorf("%q: %q, %v", next, got, err)
		}
		if w.Protected() != (next != "") || Locked(file) != w.Protected() || !v.Protected() {
			t.Errorf("%q: protected %v, locked %v", next, w.Protected(), Locked(file))
		}
		if _, err := openFile(file, []byte("first"), quick); next != "" && err != ErrPassphrase {
			t.Errorf("the new file opens with the old passphrase: %v", err)
		}
		if w.Made(Lasting) != v.Made(Lasting) || !bytes.Equal(w.Mark(Lasting), v.Mark(Lasting)) {
			t.Errorf("%q: the keys changed", next)
		}
	}
	if _, err := openFile(old, []byte("first"), quick); err != nil {
		t.Errorf("control: the old file must be destroyed, for it still opens: %v", err)
	}
}

// Each class has keys of its own: to rotate one leaves what the other sealed.
func TestClassesRotateApart(t *testing.T) {
	_, v := newVault(t, "")
	kept, err := v.Seal(entropy("kept"), Lasting, []byte("place"), []byte("history"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Open(Fleeting, []byte("place"), kept); err != ErrDamaged {
		t.Errorf("a value of one class opens in the other: %v", err)
	}
	for range 300 {
		next, err := v.Rotate(entropy("rotate"), Fleeting, born.Add(time.Hour))
		if err != nil || !next.Rotating(Fleeting) || next.Rotating(Lasting) {
			t.Fatal(err)
		}
		v = next.Retire(Fleeting)
	}
	if got, err := v.Open(Lasting, []byte("place"), kept); err != nil || string(got) != "history" || v.Stale(Lasting, kept) {
		t.Errorf("%q, %v", got, err)
	}
	if !v.Made(Lasting).Equal(born) || !v.Made(Fleeting).Equal(born.Add(time.Hour)) {
		t.Errorf("made %v, %v", v.Made(Lasting), v.Made(Fleeting))
	}
}

// A mark is held as long as the key that it names. The mark of another vault or
// class, a changed one, and one of a key with the same serial are not.
func TestAMarkIsHeldAsLongAsItsKey(t *testing.T) {
	_, v := newVault(t, "")
	mark := v.Mark(Fleeting)
	both, err := v.Rotate(entropy("rotate"), Fleeting, born)
	if err != nil {
		t.Fatal(err)
	}
	other, err := v.Rotate(entropy("another"), Fleeting, born)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger := newVault(t, "stranger")
	for _, c := range []struct {
		name string
		v    *Vault
		mark []byte
		want bool
		err  error
	}{
		{"no rotation", v, mark, true, nil},
		{"both keys", both, mark, true, nil},
		{"the old key retired", both.Retire(Fleeting), mark, false, nil},
		{"the keys are older", v, both.Mark(Fleeting), false, nil},
		{"another key with this serial", other, both.Mark(Fleeting), false, nil},
		{"a store without a mark beside keys with a time", v, nil, false, nil},
		{"a store and keys of version 1", reopen(t, clearFile1(0), ""), nil, true, nil},
		{"a stranger's", v, stranger.Mark(Fleeting), false, ErrDamaged},
		{"of the other class", v, v.Mark(Lasting), false, ErrDamaged},
		{"empty", v, []byte{}, false, ErrDamaged},
		{"short", v, mark[:len(mark)-1], false, ErrDamaged},
	} {
		if got, err := c.v.Holds(c.mark, Fleeting); got != c.want || err != c.err {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
	}
	for bit := range len(mark) * 8 {
		mark[bit/8] ^= 1 << (bit % 8)
		if _, err := v.Holds(mark, Fleeting); err != ErrDamaged {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
		mark[bit/8] ^= 1 << (bit % 8)
	}
}

// A key that was retired is gone from the file: nothing that is left opens
// what it sealed. The control is the file from before.
func TestRetiredKeysAreGone(t *testing.T) {
	before, v := newVault(t, "correct horse")
	sealed := seal(t, v, "sessions\x00bob", "old ratchet")
	if v.Stale(Fleeting, sealed) {
		t.Error("a value of the current key is stale")
	}
	rotated, err := v.Rotate(entropy("rotate"), Fleeting, born)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rotated.Open(Fleeting, []byte("sessions\x00bob"), sealed); err != nil || !rotated.Stale(Fleeting, sealed) || !rotated.Stale(Fleeting, nil) {
		t.Errorf("between rotation and retirement: %v, stale %v", err, rotated.Stale(Fleeting, sealed))
	}
	fresh := seal(t, rotated, "sessions\x00bob", "new ratchet")
	file, err := rotated.Retire(Fleeting).File(entropy("file"))
	if err != nil {
		t.Fatal(err)
	}
	after := reopen(t, file, "correct horse")
	if _, err := after.Open(Fleeting, []byte("sessions\x00bob"), sealed); err != ErrDamaged {
		t.Errorf("a retired key still opens: %v", err)
	}
	if got, err := after.Open(Fleeting, []byte("sessions\x00bob"), fresh); err != nil || string(got) != "new ratchet" || after.Stale(Fleeting, fresh) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := reopen(t, before, "correct horse").Open(Fleeting, []byte("sessions\x00bob"), sealed); err != nil {
		t.Errorf("control: the value did not open with the old file either: %v", err)
	}
	if got, err := v.Open(Fleeting, []byte("sessions\x00bob"), sealed); err != nil || string(got) != "old ratchet" {
		t.Errorf("rotation changed the vault that it began from: %v", err)
	}
}

func TestKeysInWaitingAreBounded(t *testing.T) {
	_, v := newVault(t, "")
	var err error
	for range MaxKeys - 1 {
		if v, err = v.Rotate(entropy("rotate"), Fleeting, born); err != nil {
			t.Fatal(err)
		}
	}
	file, err := v.File(entropy("file"))
	if err != nil || len(file) > MaxFile {
		t.Errorf("file of %d bytes, limit %d, %v", len(file), MaxFile, err)
	}
	reopen(t, file, "")
	if _, err := v.Rotate(entropy("rotate"), Fleeting, born); err == nil {
		t.Errorf("more than %d keys", MaxKeys)
	}
}

func TestKeyNumbersBeginAgainAfter255(t *testing.T) {
	_, v := newVault(t, "")
	for i := range 300 {
		next, err := v.Rotate(entropy(fmt.Sprint(i)), Fleeting, born)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := seal(t, next, "p", "x")[0], byte(i+1); got != want {
			t.Fatalf("rotation %d: key number %d", i, got)
		}
		file, err := next.File(entropy("file"))
		if err != nil {
			t.Fatal(err)
		}
		if again := reopen(t, file, ""); len(again.ring.store[Fleeting]) != 2 {
			t.Fatalf("rotation %d: %d keys", i, len(again.ring.store[Fleeting]))
		}
		v = next.Retire(Fleeting)
	}
}

func TestDrawingStopsWhenEntropyDoes(t *testing.T) {
	for n := range int64(3*keySize + saltSize) {
		v, err := create(io.LimitReader(entropy("starved"), n), []byte("p"), born, quick)
		if v != nil || err == nil {
			t.Errorf("%d bytes of entropy: %v, %v", n, v, err)
		}
	}
	_, v := newVault(t, "correct horse")
	dry := func() io.Reader { return io.LimitReader(entropy("starved"), 5) }
	if _, err := v.Seal(dry(), Fleeting, nil, nil); err == nil {
		t.Error("sealed without a nonce")
	}
	if _, err := v.Rotate(dry(), Fleeting, born); err == nil {
		t.Error("rotated to no key")
	}
	if _, err := v.File(dry()); err == nil {
		t.Error("wrote a file without a nonce")
	}
	if _, err := v.rewrap(dry(), []byte("p"), quick); err == nil {
		t.Error("wrapped without a salt")
	}
	if _, err := v.Rewrap(entropy("x"), make([]byte, MaxPassphrase+1)); err != ErrTooLong {
		t.Error("took a passphrase beyond the limit")
	}
}

// TestVaultAgainstAModel runs random acts against a map: what is sealed stays
// readable until its key is retired, across rotations, restarts and changes of
// passphrase, and nothing else is ever read.
func TestVaultAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := entropy("model")
		passphrase := rapid.SampledFrom([]string{"", "p", "q"})
		current := passphrase.Draw(t, "passphrase")
		v, err := create(rng, []byte(current), born, quick)
		if err != nil {
			t.Fatal(err)
		}
		type value struct {
			place, plain, sealed []byte
			generation           int
		}
		var values []value
		generation, oldest := 0, 0
		act := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"seal": func(t *rapid.T) {
				x := value{place: rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "place"), plain: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "plain"), generation: generation}
				x.sealed, err = v.Seal(rng, Fleeting, x.place, x.plain)
				act(err)
				values = append(values, x)
			},
			"rotate": func(t *rapid.T) {
				next, err := v.Rotate(rng, Fleeting, born)
				if (err != nil) != (generation-oldest+1 == MaxKeys) {
					t.Fatalf("%d keys: %v", generation-oldest+1, err)
				}
				if err == nil {
					v, generation = next, generation+1
				}
			},
			"retire": func(*rapid.T) { v, oldest = v.Retire(Fleeting), generation },
			"rewrap": func(t *rapid.T) {
				current = passphrase.Draw(t, "passphrase")
				v, err = v.rewrap(rng, []byte(current), quick)
				act(err)
			},
			"restart": func(*rapid.T) {
				file, err := v.File(rng)
				act(err)
				v, err = openFile(file, []byte(current), quick)
				act(err)
			},
			"": func(t *rapid.T) {
				for _, x := range values {
					got, err := v.Open(Fleeting, x.place, x.sealed)
					if kept := x.generation >= oldest; (err == nil) != kept || kept && !slices.Equal(got, x.plain) {
						t.Fatalf("value of generation %d (oldest %d): %x, %v", x.generation, oldest, got, err)
					}
					if generation-x.generation < 256 && v.Stale(Fleeting, x.sealed) != (x.generation != generation) {
						t.Fatalf("stale: %v", v.Stale(Fleeting, x.sealed))
					}
				}
			},
		})
	})
}
