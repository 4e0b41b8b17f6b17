package lines

import (
	"bytes"
	"testing"

	"github.com/kith-im/kith/crypto/fuzztest"
)

// FuzzRead: no line is longer than allowed, and no text is made up or lost.
func FuzzRead(f *testing.F) {
	f.Add([]byte("one\ntwo\r\n\nthree"))
	f.Add(bytes.Repeat([]byte("x"), 100))
	f.Fuzz(func(t *testing.T, raw []byte) {
		const most = 32
		defer fuzztest.Limit(t, len(raw))()
		var texts [][]byte
		long := false
		for l := range Read(t.Context(), bytes.NewReader(raw), most) {
			if len(l.Text) > most {
				t.Fatalf("a line of %d bytes", len(l.Text))
			}
			if long = long || l.Long; l.Err == nil {
				texts = append(texts, l.Text)
			}
		}
		want := bytes.TrimSuffix(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"))
		if got := bytes.Join(texts, []byte("\n")); !long && len(raw) > 0 && !bytes.Equal(bytes.TrimSuffix(got, []byte("\r")), bytes.TrimSuffix(want, []byte("\r"))) {
			t.Fatalf("%q became %q", raw, got)
		}
	})
}
