package backup

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/vectortest"
	"github.com/kith-im/kith/node/backup/pb"
)

const vectorFile = "../../docs/vectors/backup.json"

var update = flag.Bool("update", false, "compute the outputs in "+vectorFile+" anew")

type vectors struct {
	About   string         `json:"about"`
	Backups []backupVector `json:"backups"`
	Refused []refused      `json:"refused"`
}

type backupVector struct {
	Phrase     string         `json:"phrase,omitempty"`
	Passphrase string         `json:"passphrase,omitempty"`
	Seed       vectortest.Hex `json:"seed,omitempty"`       // of the key pair, from the phrase
	Public     vectortest.Hex `json:"public_key,omitempty"` // of the key pair
	Secret     vectortest.Hex `json:"secret"`
	FileKey    vectortest.Hex `json:"file_key"`
	Records    vectortest.Hex `json:"records"` // the plaintext, up to its end
	File       vectortest.Hex `json:"file"`
}

// refused opens with the passphrase of the last backup and is damaged, or is none.
type refused struct {
	Name string         `json:"name"`
	Why  string         `json:"why"`
	File vectortest.Hex `json:"file"`
}

var reasons = map[string]error{"damaged": ErrDamaged, "newer": ErrNewer, "foreign": ErrForeign, "key": ErrKey}

func (v *backupVector) keys(t *testing.T) Keys {
	t.Helper()
	if v.Phrase == "" {
		return Keys{Passphrase: []byte(v.Passphrase)}
	}
	words, err := identity.ParsePhrase(v.Phrase)
	if err != nil {
		t.Fatal(err)
	}
	seed := words.Root().Backup()
	return Keys{Seed: seed, Public: PublicKey(seed)}
}

// derive computes what follows from the words and the head of the file.
func (v *backupVector) derive(t *testing.T) {
	t.Helper()
	k := v.keys(t)
	if v.Phrase != "" {
		v.Seed, v.Public = k.Seed[:], k.Public
	}
	by := v.File[len(magic)+1]
	end := len(magic) + 2 + lockSizes[by]
	secret, err := k.secret(by, v.File[len(magic)+2:end])
	if err != nil {
		t.Fatal(err)
	}
	key := fileKey(secret, v.File[:end])
	v.Secret, v.FileKey, v.Records = secret, key[:], nil
	r, err := Open(bytes.NewReader(v.File), k)
	for err == nil {
		var page []byte
		_, page, err = r.Next()
		v.Records = append(v.Records, page...)
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile(vectorFile)
	if *update {
		raw, err = json.MarshalIndent(made(t), "", "  ")
		if err == nil {
			err = os.WriteFile(vectorFile, append(raw, '\n'), 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var last Keys
	for i, x := range v.Backups {
		got := x
		got.derive(t)
		if diff := cmp.Diff(x, got); diff != "" {
			t.Errorf("backup %d (-file +ours):\n%s", i, diff)
		}
		last = x.keys(t)
	}
	for _, x := range v.Refused {
		if _, _, err := read(x.File, last); !errors.Is(err, reasons[x.Why]) {
			t.Errorf("%s: %v, want %s", x.Name, err, x.Why)
		}
	}
	if len(v.Backups) < 2 || len(v.Refused) < 6 {
		t.Errorf("%d backups, %d that are refused", len(v.Backups), len(v.Refused))
	}
}

// made makes the vectors anew. Encapsulating is random, so the first file is another each time.
func made(t *testing.T) vectors {
	records := []*pb.Record{head(), message(1, 8), {Ends: &pb.Ends{Chat: make([]byte, 16), Heads: [][]byte{make([]byte, 32)}}}}
	v := vectors{
		About: "Vectors of node/backup (docs/storage.md, \"Backups\"). Bytes are hex. secret, file_key and records follow from the words and the file; what is refused is tried with the passphrase of the last backup.",
		Backups: []backupVector{
			{Phrase: "legal winner thank year wave sausage worth useful legal winner thank yellow"},
			{Passphrase: "correct horse battery staple"},
		},
	}
	for i := range v.Backups {
		x := &v.Backups[i]
		x.File = written(t, x.keys(t), records...)
		x.derive(t)
	}
	file := v.Backups[1].File
	change := func(name, why string, fn func(b []byte) []byte) {
		v.Refused = append(v.Refused, refused{name, why, fn(bytes.Clone(file))})
	}
	flip := func(at int) func([]byte) []byte { return func(b []byte) []byte { b[at] ^= 1; return b } }
	change("another magic", "foreign", flip(0))
	change("version 2", "newer", func(b []byte) []byte { b[len(magic)] = 2; return b })
	change("another salt", "damaged", flip(len(magic)+2))
	change("another salt, and a sum that fits", "key", func(b []byte) []byte {
		b[len(magic)+2] ^= 1
		top := len(magic) + 2 + saltSize
		return append(seals(b[:top:top], v.Backups[1].key()), b[top+64:]...)
	})
	change("a bit of the last chunk", "damaged", flip(len(file)-1))
	change("a byte less", "damaged", func(b []byte) []byte { return b[:len(b)-1] })
	change("a byte more", "damaged", func(b []byte) []byte { return append(b, 0) })
	return v
}

func (v *backupVector) key() (k [32]byte) { copy(k[:], v.FileKey); return k }
