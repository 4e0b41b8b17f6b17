package search_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/search"
	"github.com/kith-im/kith/node/store"
)

func update(t testing.TB, s store.Store, fn func(tx store.Tx)) {
	t.Helper()
	if err := s.Update(func(tx store.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func find(t testing.TB, s store.Store, q search.Query) (ids []string) {
	t.Helper()
	err := s.View(func(tx store.Tx) error {
		hits, err := search.Find(tx, q)
		for _, h := range hits {
			ids = append(ids, string(h.ID[:4]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestWordsAndFilters(t *testing.T) {
	s := store.NewMemory()
	lines := []search.Line{
		{ID: chat.ID{'a'}, At: 10, Kind: chat.KindText, Chat: chat.ChatID{1}, Author: [8]byte{1}, Text: "Lunch at  NOON?\ntomorrow"},
		{ID: chat.ID{'b'}, At: 20, Kind: chat.KindText, Chat: chat.ChatID{2}, Author: [8]byte{2}, Text: "noon is fine, lunch it is"},
		{ID: chat.ID{'c'}, At: 30, Kind: chat.KindCard, Chat: chat.ChatID{1}, Author: [8]byte{2}, Text: "ÄRGER um NOON"},
	}
	update(t, s, func(tx store.Tx) {
		for _, l := range lines {
			search.Add(tx, l)
		}
		if n := search.Add(tx, search.Line{ID: chat.ID{'d'}, Text: " \n"}); n != 0 {
			t.Errorf("a text without a word got number %d", n)
		}
	})
	for _, c := range []struct {
		q    search.Query
		want string
	}{
		{search.Query{Words: "noon"}, "cba"},
		{search.Query{Words: "noon", Limit: 2}, "cb"},
		{search.Query{Words: "lunch noon"}, "ba"},
		{search.Query{Words: `"at noon"`}, "a"},
		{search.Query{Words: `"noon at"`}, ""},
		{search.Query{Words: "ärger"}, "c"},
		{search.Query{Words: "noon?"}, "a"},
		{search.Query{Chat: chat.ChatID{1}}, "ca"},
		{search.Query{Author: [8]byte{2}, Words: "noon"}, "cb"},
		{search.Query{Kind: chat.KindCard}, "c"},
		{search.Query{Since: 20}, "cb"},
		{search.Query{Since: 10, Until: 30}, "ba"},
		{search.Query{Words: `"`}, "cba"},
	} {
		got := ""
		for _, id := range find(t, s, c.q) {
			got += id[:1]
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
}

// TestFindsWhatIsThere compares with a list, over additions and removals in any order, across the borders of blocks.
func TestFindsWhatIsThere(t *testing.T) {
	vocabulary := []string{"red", "green", "blue", "grey", "rose"}
	rapid.Check(t, func(rt *rapid.T) {
		s := store.NewMemory()
		type known struct {
			n    uint64
			id   chat.ID
			text string
		}
		var there []known
		for i := range rapid.IntRange(1, 200).Draw(rt, "steps") {
			if len(there) > 0 && rapid.IntRange(0, 3).Draw(rt, "what") == 0 {
				k := rapid.IntRange(0, len(there)-1).Draw(rt, "which")
				update(t, s, func(tx store.Tx) { search.Remove(tx, there[k].n) })
				there = slices.Delete(there, k, k+1)
				continue
			}
			words := rapid.SliceOfN(rapid.SampledFrom(vocabulary), 1, 3).Draw(rt, "words")
			l := known{id: chat.ID([]byte(fmt.Sprintf("%04d%028d", i, 0))), text: strings.Join(words, " ")}
			update(t, s, func(tx store.Tx) { l.n = search.Add(tx, search.Line{ID: l.id, At: uint64(i), Text: l.text}) })
			there = append(there, l)
		}
		for _, w := range vocabulary {
			var want []string
			for _, l := range slices.Backward(there) {
				if strings.Contains(l.text, w) {
					want = append(want, string(l.id[:4]))
				}
			}
			if got := find(t, s, search.Query{Words: w}); !slices.Equal(got, want) {
				rt.Fatalf("%s: %v, want %v", w, got, want)
			}
		}
	})
}

// TestErasedTextIsGone looks at the bytes that are left.
func TestErasedTextIsGone(t *testing.T) {
	s := store.NewMemory()
	var n uint64
	update(t, s, func(tx store.Tx) {
		for i := range 130 {
			k := search.Add(tx, search.Line{ID: chat.ID{byte(i)}, Text: fmt.Sprintf("text %d canary%d", i, i)})
			if i == 70 {
				n = k
			}
		}
	})
	left := func() (out int) {
		if err := s.View(func(tx store.Tx) error {
			tx.Scan(store.BucketTexts, nil, func(_, v []byte) bool {
				out += strings.Count(string(v), "canary70")
				return true
			})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if left() != 1 {
		t.Fatal("the canary is not there to begin with")
	}
	update(t, s, func(tx store.Tx) {
		search.Remove(tx, n)
		search.Remove(tx, n)
		search.Remove(tx, 9999)
		search.Remove(tx, 0)
	})
	if left() != 0 {
		t.Fatal("an erased text is still in its block")
	}
	if got := find(t, s, search.Query{Words: "canary71"}); len(got) != 1 {
		t.Fatalf("its neighbour is gone: %v", got)
	}
}
