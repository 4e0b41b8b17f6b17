package boltstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kith-im/kith/node/store"
)

// Every store of the engine passes the same: the memory model, and the sealed file.
func stores(t *testing.T) map[string]func(t *testing.T) store.Store {
	return map[string]func(t *testing.T) store.Store{
		"memory": func(t *testing.T) store.Store { return store.NewMemory() },
		"bolt":   func(t *testing.T) store.Store { return newHome(t).create() },
	}
}

var contract = map[string]func(t *testing.T, s store.Store){
	"a missing row is nil and an empty one is not": func(t *testing.T, s store.Store) {
		update(t, s, func(tx store.Tx) {
			tx.Put(store.BucketMeta, []byte("empty"), nil)
			if got := tx.Get(store.BucketMeta, []byte("empty")); got == nil || len(got) != 0 {
				t.Errorf("empty row: %#v", got)
			}
		})
		view(t, s, func(tx store.Tx) {
			if got := tx.Get(store.BucketMeta, []byte("empty")); got == nil || len(got) != 0 {
				t.Errorf("empty row after the commit: %#v", got)
			}
			if got := tx.Get(store.BucketMeta, []byte("none")); got != nil {
				t.Errorf("missing row: %#v", got)
			}
		})
	},
	"an update that fails leaves nothing": func(t *testing.T, s store.Store) {
		update(t, s, func(tx store.Tx) { tx.Put(store.BucketOutbox, []byte{1}, []byte("kept")) })
		errTurn := errors.New("turn failed")
		err := s.Update(func(tx store.Tx) error {
			tx.Put(store.BucketOutbox, []byte{1}, []byte("changed"))
			tx.Put(store.BucketOutbox, []byte{2}, []byte("new"))
			return errTurn
		})
		if !errors.Is(err, errTurn) {
			t.Fatalf("error: %v", err)
		}
		want := []pair{{"\x01", "kept"}}
		if diff := cmp.Diff(want, rowsOf(t, s, store.BucketOutbox, nil)); diff != "" {
			t.Error(diff)
		}
	},
	"values are copies": func(t *testing.T, s store.Store) {
		value := []byte("value")
		update(t, s, func(tx store.Tx) {
			tx.Put(store.BucketMeta, []byte("k"), value)
			value[0] = 'X'
			tx.Get(store.BucketMeta, []byte("k"))[1] = 'X'
		})
		view(t, s, func(tx store.Tx) {
			if got := tx.Get(store.BucketMeta, []byte("k")); string(got) != "value" {
				t.Errorf("got %q", got)
			}
		})
	},
	"scan starts at from, ascends, and stops when told": func(t *testing.T, s store.Store) {
		for _, b := range []store.Bucket{store.BucketContacts, store.BucketEvents} {
			update(t, s, func(tx store.Tx) {
				for _, k := range []string{"d", "b", "a", "bb", "c"} {
					tx.Put(b, []byte(k), []byte("v"+k))
				}
			})
			want := []pair{{"b", "vb"}, {"bb", "vbb"}, {"c", "vc"}, {"d", "vd"}}
			if diff := cmp.Diff(want, rowsOf(t, s, b, []byte("b"))); diff != "" {
				t.Errorf("%v: %s", b, diff)
			}
			view(t, s, func(tx store.Tx) {
				n := 0
				tx.Scan(b, nil, func(_, _ []byte) bool { n++; return n < 2 })
				if n != 2 {
					t.Errorf("%v: %d calls after the stop", b, n)
				}
			})
		}
	},
	"scan sees what its own transaction wrote": func(t *testing.T, s store.Store) {
		for _, b := range []store.Bucket{store.BucketContacts, store.BucketEvents} {
			update(t, s, func(tx store.Tx) { tx.Put(b, []byte("a"), []byte("1")) })
			update(t, s, func(tx store.Tx) {
				tx.Put(b, []byte("b"), []byte("2"))
				tx.Delete(b, []byte("a"))
				var got []pair
				tx.Scan(b, nil, func(k, v []byte) bool { got = append(got, pair{string(k), string(v)}); return true })
				if diff := cmp.Diff([]pair{{"b", "2"}}, got); diff != "" {
					t.Errorf("%v: %s", b, diff)
				}
			})
		}
	},
	"other buckets may be written during a scan": func(t *testing.T, s store.Store) {
		update(t, s, func(tx store.Tx) {
			for i := range byte(50) {
				tx.Put(store.BucketOutbox, []byte{i}, []byte("x"))
			}
		})
		update(t, s, func(tx store.Tx) {
			tx.Scan(store.BucketOutbox, nil, func(k, v []byte) bool {
				tx.Put(store.BucketParked, k, v)
				return true
			})
		})
		if got := len(rowsOf(t, s, store.BucketParked, nil)); got != 50 {
			t.Errorf("%d rows", got)
		}
	},
	"last is the greatest key": func(t *testing.T, s store.Store) {
		view(t, s, func(tx store.Tx) {
			if k, v := tx.Last(store.BucketEvents); k != nil || v != nil {
				t.Errorf("empty bucket: %x %x", k, v)
			}
		})
		update(t, s, func(tx store.Tx) {
			for i := range byte(100) {
				tx.Put(store.BucketEvents, []byte{i}, []byte{i, i})
			}
			tx.Delete(store.BucketEvents, []byte{99})
			if k, v := tx.Last(store.BucketEvents); !bytes.Equal(k, []byte{98}) || !bytes.Equal(v, []byte{98, 98}) {
				t.Errorf("last: %x %x", k, v)
			}
		})
	},
	"deleting nothing is no error": func(t *testing.T, s store.Store) {
		update(t, s, func(tx store.Tx) { tx.Delete(store.BucketMeta, []byte("none")) })
	},
	"one key in two buckets is two rows": func(t *testing.T, s store.Store) {
		update(t, s, func(tx store.Tx) {
			tx.Put(store.BucketMeta, []byte("k"), []byte("meta"))
			tx.Put(store.BucketContacts, []byte("k"), []byte("contact"))
		})
		view(t, s, func(tx store.Tx) {
			if got := tx.Get(store.BucketMeta, []byte("k")); string(got) != "meta" {
				t.Errorf("got %q", got)
			}
		})
	},
}

func TestStoreContract(t *testing.T) {
	for kind, open := range stores(t) {
		for name, check := range contract {
			t.Run(kind+"/"+name, func(t *testing.T) { check(t, open(t)) })
		}
	}
}

// TestContractSeesABrokenStore is the control: a store that forgets to take a failed update back does not pass.
func TestContractSeesABrokenStore(t *testing.T) {
	s := leaky{store.NewMemory()}
	_ = s.Update(func(tx store.Tx) error {
		tx.Put(store.BucketOutbox, []byte{2}, []byte("new"))
		return errors.New("turn failed")
	})
	if len(rowsOf(t, s, store.BucketOutbox, nil)) == 0 {
		t.Error("the broken store took the update back; the control shows nothing")
	}
}

type leaky struct{ store.Store }

func (l leaky) Update(fn func(store.Tx) error) error {
	return l.Store.Update(func(tx store.Tx) error { _ = fn(tx); return nil })
}

// TestSealedStoreEqualsTheMemoryModel runs random transactions on both, some of which fail, and opens the file again
// now and then. Reads are compared inside the transactions and after them.
func TestSealedStoreEqualsTheMemoryModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHome(t)
		bolt, model := h.create(), store.NewMemory()
		rt.Repeat(map[string]func(*rapid.T){
			"update": func(rt *rapid.T) {
				ops := rapid.SliceOfN(rapid.Custom(drawOp), 1, 12).Draw(rt, "ops")
				fails := rapid.IntRange(0, 4).Draw(rt, "fails") == 0
				got, want := apply(bolt, ops, fails), apply(model, ops, fails)
				if diff := cmp.Diff(want, got); diff != "" {
					rt.Fatalf("reads inside (-model +bolt):\n%s", diff)
				}
			},
			"reopen": func(rt *rapid.T) { bolt = h.reopen(bolt) },
			"": func(rt *rapid.T) {
				for _, b := range tinyBuckets {
					if diff := cmp.Diff(rowsOf(t, model, b, nil), rowsOf(t, bolt, b, nil)); diff != "" {
						rt.Fatalf("bucket %d (-model +bolt):\n%s", b, diff)
					}
				}
			},
		})
		if err := bolt.Check(); err != nil {
			rt.Fatal(err)
		}
		bolt.Close()
	})
}

// A tiny universe: random operations meet each other.
var tinyBuckets = []store.Bucket{store.BucketMeta, store.BucketMessages, store.BucketOutbox, store.BucketEvents}

type op struct {
	Kind   string
	Bucket store.Bucket
	Key    []byte
	Size   int
}

func drawOp(t *rapid.T) op {
	return op{
		Kind:   rapid.SampledFrom([]string{"put", "put", "delete", "get", "scan", "last"}).Draw(t, "kind"),
		Bucket: rapid.SampledFrom(tinyBuckets).Draw(t, "bucket"),
		Key:    rapid.SliceOfN(rapid.ByteRange(0, 3), 1, 3).Draw(t, "key"),
		Size:   rapid.SampledFrom([]int{0, 1, 100, 5000}).Draw(t, "size"),
	}
}

// apply runs ops in one update and returns what its reads saw.
func apply(s store.Store, ops []op, fails bool) []string {
	var saw []string
	err := s.Update(func(tx store.Tx) error {
		for i, o := range ops {
			saw = append(saw, applyOne(tx, i, o))
		}
		if fails {
			return errors.New("turn failed")
		}
		return nil
	})
	return append(saw, fmt.Sprint(err))
}

func applyOne(tx store.Tx, i int, o op) (saw string) {
	switch o.Kind {
	case "put":
		tx.Put(o.Bucket, o.Key, bytes.Repeat([]byte{byte(i)}, o.Size))
	case "delete":
		tx.Delete(o.Bucket, o.Key)
	case "get":
		return fmt.Sprintf("%x", tx.Get(o.Bucket, o.Key))
	case "last":
		if o.Bucket.Ordered() {
			k, v := tx.Last(o.Bucket)
			return fmt.Sprintf("%x=%x", k, v)
		}
	case "scan":
		tx.Scan(o.Bucket, o.Key, func(k, v []byte) bool {
			saw += fmt.Sprintf("%x=%x ", k, v)
			return len(saw) < 2000
		})
	}
	return saw
}

type pair struct{ Key, Value string }

func rowsOf(t testing.TB, s store.Store, b store.Bucket, from []byte) []pair {
	t.Helper()
	var out []pair
	view(t, s, func(tx store.Tx) {
		tx.Scan(b, from, func(k, v []byte) bool {
			out = append(out, pair{string(k), string(v)})
			return true
		})
	})
	return out
}

func update(t testing.TB, s store.Store, fn func(store.Tx)) {
	t.Helper()
	if err := s.Update(func(tx store.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}

func view(t testing.TB, s store.Store, fn func(store.Tx)) {
	t.Helper()
	if err := s.View(func(tx store.Tx) error { fn(tx); return nil }); err != nil {
		t.Fatal(err)
	}
}
