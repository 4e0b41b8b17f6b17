package boltstore_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/search"
	"github.com/kith-im/kith/node/store"
)

// BenchmarkSearch looks through 200,000 sealed messages of 60 bytes or so, for a word that few of them have and for one
// that none has.
func BenchmarkSearch(b *testing.B) {
	s := newHome(b).create()
	rng := rand.New(rand.NewPCG(1, 2))
	const messages, batch = 200_000, 2_000
	for from := 0; from < messages; from += batch {
		err := s.Update(func(tx store.Tx) error {
			for i := from; i < from+batch; i++ {
				words := make([]string, 8)
				for w := range words {
					words[w] = fmt.Sprintf("word%d", rng.IntN(5000))
				}
				l := search.Line{ID: chat.ID{byte(i), byte(i >> 8), byte(i >> 16)}, At: uint64(i), Kind: chat.KindText, Text: strings.Join(words, " ")}
				search.Add(tx, l)
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	for _, q := range []string{"word4999", "word4", "word1 word2", "nowhere"} {
		b.Run(strings.ReplaceAll(q, " ", "+"), func(b *testing.B) {
			for b.Loop() {
				var hits []search.Hit
				err := s.View(func(tx store.Tx) (err error) {
					hits, err = search.Find(tx, search.Query{Words: q, Limit: 50})
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(hits)), "hits")
			}
			b.ReportMetric(messages, "messages")
		})
	}
}

// BenchmarkRotate seals everything of one class again: a thousand sessions of 2 KiB, or a hundred thousand messages.
func BenchmarkRotate(b *testing.B) {
	for _, c := range []struct {
		name   string
		class  vault.Class
		bucket store.Bucket
		rows   int
		size   int
	}{
		{"sessions=1000", vault.Fleeting, store.BucketSessions, 1000, 2048},
		{"messages=100000", vault.Lasting, store.BucketMessages, 100_000, 400},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := keyed(b)
			s := h.create()
			for from := 0; from < c.rows; from += 1000 {
				update(b, s, func(tx store.Tx) {
					for i := range min(1000, c.rows-from) {
						key := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(from+i)))
						tx.Put(c.bucket, key[:], make([]byte, c.size))
					}
				})
			}
			for b.Loop() {
				if err := s.Rotate(b.Context(), c.class, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
