package backup

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/node/backup/pb"
	chatpb "github.com/kith-im/kith/node/chat/pb"
)

var (
	seed   = [32]byte{1, 2, 3}
	phrase = Keys{Seed: seed}
	words  = Keys{Passphrase: []byte("correct horse battery staple")}
)

func entropy(n byte) io.Reader { return rand.NewChaCha8([32]byte{n}) }

func head() *pb.Record {
	return &pb.Record{Head: &pb.Head{User: bytes.Repeat([]byte{9}, 32), Made: 1_900_000_000_000, Name: "Ada"}}
}

// message is a record with so many messages of a size.
func message(n, size int) *pb.Record {
	p := &chatpb.HistoryPart{Chat: make([]byte, 16)}
	for i := range n {
		p.Rows = append(p.Rows, &chatpb.HistoryRow{Id: bytes.Repeat([]byte{byte(i)}, 32), Content: bytes.Repeat([]byte{byte(i)}, size)})
	}
	return &pb.Record{Past: p}
}

// written is a backup of records.
func written(t testing.TB, k Keys, records ...*pb.Record) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := Create(entropy(1), &out, k)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if err := w.Write(frame(nil, r)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read is everything in a backup up to its end, or to the error.
func read(file []byte, k Keys) (out []*pb.Record, sum Summary, err error) {
	r, err := Open(bytes.NewReader(file), k)
	for err == nil {
		var rec *pb.Record
		if rec, _, err = r.Next(); err == nil {
			out = append(out, rec)
		}
	}
	if errors.Is(err, io.EOF) {
		return out, r.Summary(), nil
	}
	return out, sum, err
}

func TestBackup(t *testing.T) {
	records := []*pb.Record{head(), {Contact: &pb.Contact{Note: "x"}}, {Log: &pb.Log{Group: []byte("g")}}, {Log: &pb.Log{Group: []byte("g")}}, message(3, 20_000/3)}
	for range 12 {
		records = append(records, message(2, 15_000))
	}
	records = append(records, &pb.Record{Ends: &pb.Ends{Chat: make([]byte, 16)}})
	for name, k := range map[string][2]Keys{"phrase": {{Public: PublicKey(seed)}, phrase}, "passphrase": {words, words}} {
		file := written(t, k[0], records...)
		got, sum, err := read(file, k[1])
		if err != nil || len(got) != len(records)+1 {
			t.Fatalf("%s: %d records, %v", name, len(got), err)
		}
		for i, r := range records {
			if !proto.Equal(r, got[i]) {
				t.Errorf("%s: record %d differs", name, i)
			}
		}
		want := Summary{User: [32]byte(bytes.Repeat([]byte{9}, 32)), Name: "Ada", Made: time.UnixMilli(1_900_000_000_000).UTC(), Contacts: 1, Groups: 1, Conversations: 1, Messages: 27}
		if sum != want {
			t.Errorf("%s: %+v, want %+v", name, sum, want)
		}
		if bytes.Contains(file, []byte("Ada")) {
			t.Errorf("%s: the file shows what is in it", name)
		}
	}
}

func TestWhoOpens(t *testing.T) {
	byPhrase, byWords := written(t, Keys{Public: PublicKey(seed)}, head()), written(t, words, head())
	later := slices.Clone(byPhrase)
	later[len(magic)] = 7
	for name, c := range map[string]struct {
		file []byte
		k    Keys
		want error
	}{
		"no phrase":            {byPhrase, words, ErrNeedPhrase},
		"no passphrase":        {byWords, phrase, ErrNeedPassphrase},
		"another phrase":       {byPhrase, Keys{Seed: [32]byte{5}}, ErrKey},
		"another passphrase":   {byWords, Keys{Passphrase: []byte("correct horse battery stapler")}, ErrKey},
		"a passphrase too big": {byWords, Keys{Passphrase: make([]byte, MaxPassphrase+1)}, ErrKey},
		"a later version":      {later, phrase, ErrNewer},
		"nothing":              {nil, phrase, ErrForeign},
		"another file":         {[]byte("%PDF-1.7 and so on, for more than a head"), phrase, ErrForeign},
		"a key file":           {[]byte("kith1 vault\x01\x00 and so on"), phrase, ErrForeign},
		"cut in the head":      {byPhrase[:100], phrase, ErrDamaged},
		"a lock of no kind":    {append([]byte(magic+"\x01\x09"), make([]byte, 2000)...), phrase, ErrDamaged},
	} {
		if _, _, err := read(c.file, c.k); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, _, err := read(byPhrase, phrase); err != nil {
		t.Errorf("control: %v", err)
	}
	if _, err := Create(entropy(1), io.Discard, Keys{}); !errors.Is(err, ErrNeedPassphrase) {
		t.Errorf("a backup without a lock: %v", err)
	}
	if _, _, err := read(later, phrase); err == nil || !strings.Contains(err.Error(), "version 7") {
		t.Errorf("a later version is not named: %v", err)
	}
}

// Every flipped bit and every cut is noticed: in the head before a phrase is tried, behind it with the chunk.
func TestDamage(t *testing.T) {
	file := written(t, Keys{Public: PublicKey(seed)}, head(), message(2, 15_000), message(2, 15_000), message(2, 15_000), message(1, 9))
	top := len(magic) + 2 + encSize + 64
	whole, _, err := read(file, phrase)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		at := rng.IntN(len(file))
		if rng.IntN(3) == 0 {
			at = rng.IntN(top)
		}
		bad := slices.Clone(file)
		bad[at] ^= 1 << rng.IntN(8)
		got, _, err := read(bad, phrase)
		place := (*Damage)(nil)
		switch {
		case at < len(magic)+1:
			if !errors.Is(err, ErrForeign) && !errors.Is(err, ErrNewer) {
				t.Errorf("bit in byte %d: %v", at, err)
			}
		case at < top:
			if !errors.Is(err, ErrDamaged) || len(got) > 0 {
				t.Errorf("bit in byte %d: %d records, %v", at, len(got), err)
			}
		case !errors.As(err, &place) || place.Chunk != (at-top)/(blob.StreamChunk+blob.Overhead) || len(got) >= len(whole):
			t.Errorf("bit in byte %d: %d records, %v", at, len(got), err)
		}
		if cut := rng.IntN(len(file)); cut > len(magic)+1 {
			if got, _, err := read(file[:cut], phrase); !errors.Is(err, ErrDamaged) || len(got) >= len(whole) {
				t.Errorf("cut at %d: %d records, %v", cut, len(got), err)
			}
		}
	}
	if _, _, err := read(append(slices.Clone(file), 0), phrase); !errors.Is(err, ErrDamaged) {
		t.Errorf("a byte more: %v", err)
	}
}

// sealed is a file of plain bytes, as nobody of ours would write it, behind its head.
func sealed(plain []byte, key blob.Key) []byte {
	var out bytes.Buffer
	w := blob.NewWriter(key, &out)
	_, _ = w.Write(plain)
	_ = w.Close()
	return out.Bytes()
}

func TestWhatIsNotInOrderIsRefused(t *testing.T) {
	end := func(messages uint64) *pb.Record { return &pb.Record{End: &pb.End{Messages: messages}} }
	all := func(records ...*pb.Record) (b []byte) {
		for _, r := range records {
			b = frame(b, r)
		}
		return b
	}
	for name, c := range map[string]struct {
		plain []byte
		sound bool
	}{
		"a head and an end":        {all(head(), end(0)), true},
		"messages as the end says": {all(head(), message(2, 1), end(2)), true},
		"of a later build":         {slices.Concat(all(head()), []byte{0, 0, 0, 4, 0xfa, 0x07, 1, 0}, all(end(0))), true},
		"one message too few":      {all(head(), message(1, 1), end(2)), false},
		"no head":                  {all(message(1, 1), end(1)), false},
		"two heads":                {all(head(), head(), end(0)), false},
		"no end":                   {all(head()), false},
		"two ends":                 {all(head(), end(0), end(0)), false},
		"something behind the end": {all(head(), end(0), message(1, 1)), false},
		"a user of 31 bytes":       {all(&pb.Record{Head: &pb.Head{User: make([]byte, 31)}}, end(0)), false},
		"an empty record":          {slices.Concat(all(head()), make([]byte, 4), all(end(0))), false},
		"a record of 4 GiB":        {slices.Concat(all(head()), []byte{255, 255, 255, 255}, all(end(0))), false},
		"a record cut off":         {slices.Concat(all(head()), []byte{0, 0, 0, 9, 1}), false},
		"no protobuf":              {slices.Concat(all(head()), []byte{0, 0, 0, 1, 255}, all(end(0))), false},
		"nothing":                  {nil, false},
	} {
		r := newReader(bytes.NewReader(sealed(c.plain, blob.Key{1})), blob.Key{1})
		var err error
		for err == nil {
			_, _, err = r.Next()
		}
		if sound := errors.Is(err, io.EOF); sound != c.sound || !sound && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever records a person has come back as they were, in any cut of pages.
func TestRoundTrips(t *testing.T) {
	public := PublicKey(seed)
	rapid.Check(t, func(t *rapid.T) {
		var out bytes.Buffer
		w, err := Create(entropy(2), &out, Keys{Public: public})
		if err != nil {
			t.Fatal(err)
		}
		all := []*pb.Record{head()}
		page := frame(nil, head())
		for range rapid.IntRange(0, 30).Draw(t, "records") {
			r := message(rapid.IntRange(1, 3).Draw(t, "messages"), rapid.IntRange(1, 12_000).Draw(t, "size"))
			all, page = append(all, r), frame(page, r)
			if rapid.Bool().Draw(t, "page ends") {
				if err := w.Write(page); err != nil {
					t.Fatal(err)
				}
				page = nil
			}
		}
		if err := w.Write(page); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, _, err := read(out.Bytes(), phrase)
		if err != nil || len(got) != len(all)+1 {
			t.Fatalf("%d of %d records: %v", len(got), len(all), err)
		}
		for i := range all {
			if !proto.Equal(all[i], got[i]) {
				t.Fatalf("record %d differs", i)
			}
		}
	})
}

// No two files have a key in common, though one phrase opens both, nor do two under one passphrase.
func TestEveryFileHasAKeyOfItsOwn(t *testing.T) {
	for name, k := range map[string]Keys{"phrase": {Public: PublicKey(seed)}, "passphrase": words} {
		_, first, err := lock(entropy(1), k)
		_, second, again := lock(entropy(2), k)
		if err != nil || again != nil || first == second {
			t.Errorf("%s: %v %v, one key for two files: %v", name, err, again, first == second)
		}
	}
}

// A head of one file before the rest of another opens nothing, and a version or a lock that was changed with the sum
// made to fit is another key.
func TestTheHeadIsBound(t *testing.T) {
	file := written(t, Keys{Public: PublicKey(seed)}, head())
	other := written(t, Keys{Public: PublicKey(seed)}, head())
	top := len(magic) + 2 + encSize + 64
	if _, _, err := read(slices.Concat(other[:top], file[top:]), phrase); !errors.Is(err, ErrDamaged) {
		t.Errorf("one file's head before another's rest: %v", err)
	}
	bad := slices.Clone(file)
	bad[len(magic)+2+7] ^= 1
	sum := sha256.Sum256(bad[:top-32])
	copy(bad[top-32:], sum[:])
	if _, _, err := read(bad, phrase); !errors.Is(err, ErrKey) {
		t.Errorf("another encapsulation with a sum that fits: %v", err)
	}
}

func FuzzHead(f *testing.F) {
	f.Add(written(f, Keys{Public: PublicKey(seed)}, head())[:14+encSize+64])
	f.Add([]byte(magic + "\x01\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := unlock(bytes.NewReader(data), phrase) // a passphrase would take Argon2id each time
		for _, want := range []error{nil, ErrForeign, ErrNewer, ErrDamaged, ErrNeedPassphrase, ErrKey} {
			if errors.Is(err, want) || want == nil && err == nil {
				return
			}
		}
		t.Error(err)
	})
}

// Whatever is sealed under the right key is records in order, or damage, and takes no more memory than a few records.
func FuzzRecords(f *testing.F) {
	f.Add(frame(frame(frame(nil, head()), message(2, 40)), &pb.Record{End: &pb.End{Messages: 2}}))
	f.Add(frame(frame(nil, head()), &pb.Record{Contact: &pb.Contact{Names: []string{"x"}}}))
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, plain []byte) {
		key := blob.Key{1}
		r := newReader(bytes.NewReader(sealed(plain, key)), key)
		var again []byte
		var err error
		for err == nil {
			var page []byte
			if _, page, err = r.Next(); len(page) > lengthSize+MaxRecord {
				t.Fatalf("a record of %d bytes", len(page))
			}
			again = append(again, page...)
		}
		switch {
		case errors.Is(err, io.EOF):
			if !bytes.Equal(again, plain) {
				t.Error("what was read is not what was sealed")
			}
		case !errors.Is(err, ErrDamaged):
			t.Error(err)
		}
		if each := Each(plain, func(*pb.Record) error { return nil }); errors.Is(err, io.EOF) && each != nil {
			t.Errorf("a page of sound records: %v", each)
		}
	})
}

// What a reader holds does not grow with what claims to come.
func TestMemoryIsBounded(t *testing.T) {
	plain := frame(nil, head())
	plain = append(plain, 0, 0, 0x9f, 0xff) // the largest that may be said, and nothing of it
	file := sealed(plain, blob.Key{1})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := newReader(bytes.NewReader(file), blob.Key{1})
	for err := error(nil); err == nil; _, _, err = r.Next() {
	}
	runtime.ReadMemStats(&after)
	if took, most := after.TotalAlloc-before.TotalAlloc, uint64(4*blob.StreamChunk); took > most {
		t.Errorf("%d bytes for a file of %d, at most %d", took, len(file), most)
	}
}
