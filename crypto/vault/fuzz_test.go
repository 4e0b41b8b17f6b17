package vault

import (
	"bytes"
	"errors"
	"testing"
)

// FuzzOpen gives the input to the reader as it is, with a sum that fits, and
// as the keyring of a file that is properly locked: otherwise the fuzzer would
// never get past the sum and the cipher.
func FuzzOpen(f *testing.F) {
	for _, passphrase := range []string{"", "p"} {
		file, v := newVault(f, passphrase)
		f.Add(file)
		f.Add(file[:len(file)-sumSize])
		f.Add(v.ring.append(nil))
	}
	f.Add([]byte(magic))
	f.Add(clearFile1(254, 255, 0))
	f.Fuzz(func(t *testing.T, raw []byte) {
		l := lock{kdf: kdfArgon2id}
		l.key = quick([]byte("p"), l.salt)
		locked := append(append([]byte(magic), l.kdf), make([]byte, saltSize+nonceSize)...)
		locked = aead(l.key).Seal(locked, make([]byte, nonceSize), raw, locked[:len(magic)+1+saltSize])
		for _, file := range [][]byte{raw, resum(raw), resum(append([]byte(magic+"\x00"), raw...)), resum(locked)} {
			v, err := openFile(file, []byte("p"), quick)
			if err != nil {
				if v != nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrPassphrase) && !errors.Is(err, ErrNewer) {
					t.Fatalf("%v, %v", v, err)
				}
				continue
			}
			again, err := v.File(entropy("file"))
			if err != nil || len(again) > MaxFile {
				t.Fatalf("%d bytes read, %d written, %v", len(file), len(again), err)
			}
			if file[len(magic)-1] == version2 && !v.Protected() && !bytes.Equal(again, file) {
				t.Fatal("a file has two spellings")
			}
		}
	})
}

func FuzzOpenValue(f *testing.F) {
	_, v := newVault(f, "")
	f.Add([]byte("place"), seal(f, v, "place", "a secret"))
	f.Add([]byte(""), []byte{0})
	f.Add([]byte("place"), make([]byte, Overhead))
	f.Fuzz(func(t *testing.T, place, raw []byte) {
		if got, err := v.Open(Fleeting, place, raw); err != nil && (err != ErrDamaged || got != nil) {
			t.Fatalf("%x, %v", got, err)
		}
		sealed, err := v.Seal(entropy("nonce"), Fleeting, place, raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Holds(raw, Lasting); err != nil && err != ErrDamaged {
			t.Fatal(err)
		}
		if got, err := v.Open(Fleeting, place, sealed); err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("%x, %v", got, err)
		}
	})
}
