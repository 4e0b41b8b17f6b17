// Package search finds messages by their words, without a readable index on the disk.
//
// The searchable text of each message is a line in the table of texts. Lines are collected in blocks of [blockSize], each
// one sealed row of the store: a search opens a few thousand rows instead of every message, and reads them from end to
// end. What is erased is gone from its block in the same transaction.
//
//	row      key: number of its first line; value: lines
//	line     number u64 | message id 32 | chat id 16 | author 8 | Lamport ms u64 | kind u16 | n u32 | n bytes, folded
//
// The table grows by single rows; with every blockSize-th line they become one.
package search

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"unicode"

	"github.com/kith-im/kith/node/chat"
	"github.com/kith-im/kith/node/store"
)

const (
	// MaxText is how much of a message is searched, in bytes.
	MaxText = 4096
	// MaxQuery is the largest query, in bytes.
	MaxQuery = 256

	maxWords = 16 // of a query count

	blockSize = 64 // lines
	lineHead  = 8 + 32 + 16 + 8 + 8 + 2 + 4
	counter   = "texts"
)

// Line is what is searched of one message.
type Line struct {
	ID     chat.ID
	Chat   chat.ChatID
	Author [8]byte // the first bytes of the user id
	At     uint64  // Lamport ms
	Kind   chat.Kind
	Text   string
}

// Query is what is looked for. Zero fields do not matter.
type Query struct {
	Words  string // all of them, in any order; "several words" in quotes are one
	Chat   chat.ChatID
	Author [8]byte
	Kind   chat.Kind
	Since  uint64 // Lamport ms
	Until  uint64 // exclusive
	Limit  int    // newest first
}

// Hit is a message that matches.
type Hit struct {
	ID chat.ID
	At uint64
}

// Fold makes texts comparable: lower case, white space as single blanks.
func Fold(text string) string {
	return strings.Join(strings.Fields(strings.Map(unicode.ToLower, text)), " ")
}

// Add adds a line and returns its number, by which it is removed. A text without a word gets none.
func Add(tx store.Tx, l Line) uint64 {
	text := Fold(l.Text)
	if text == "" {
		return 0
	}
	text = text[:min(len(text), MaxText)]
	n := store.NextCounter(tx, counter)
	tx.Put(store.BucketTexts, store.U64(n), appendLine(nil, n, l, text))
	if n%blockSize == 0 {
		fold(tx, n)
	}
	return n
}

func appendLine(b []byte, n uint64, l Line, text string) []byte {
	b = binary.BigEndian.AppendUint64(b, n)
	b = append(b, l.ID[:]...)
	b = append(b, l.Chat[:]...)
	b = append(b, l.Author[:]...)
	b = binary.BigEndian.AppendUint64(b, l.At)
	b = binary.BigEndian.AppendUint16(b, uint16(l.Kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...)
}

// first is the first number of a number's block.
func first(n uint64) uint64 { return n - (n-1)%blockSize }

// fold makes one row of a full block's rows.
func fold(tx store.Tx, last uint64) {
	var keys [][]byte
	var block []byte
	tx.Scan(store.BucketTexts, store.U64(first(last)), func(key, value []byte) bool {
		keys, block = append(keys, key), append(block, value...)
		return true
	})
	for _, k := range keys {
		tx.Delete(store.BucketTexts, k)
	}
	if len(block) > 0 {
		tx.Put(store.BucketTexts, store.U64(first(last)), block)
	}
}

// Remove erases a line; a number of none does nothing.
func Remove(tx store.Tx, n uint64) {
	if n == 0 {
		return
	}
	for _, key := range [][]byte{store.U64(n), store.U64(first(n))} {
		block := tx.Get(store.BucketTexts, key)
		for rest := block; len(rest) > 0; {
			line, next, ok := cut(rest)
			if !ok {
				break
			}
			if binary.BigEndian.Uint64(line) != n {
				rest = next
				continue
			}
			at := len(block) - len(rest)
			if block = slices.Delete(block, at, at+len(line)); len(block) == 0 {
				tx.Delete(store.BucketTexts, key)
			} else {
				tx.Put(store.BucketTexts, key, block)
			}
			return
		}
	}
}

// cut splits a block after its first line.
func cut(block []byte) (line, rest []byte, ok bool) {
	if len(block) < lineHead {
		return nil, nil, false
	}
	size := uint64(lineHead) + uint64(binary.BigEndian.Uint32(block[lineHead-4:]))
	if size > uint64(len(block)) {
		return nil, nil, false
	}
	return block[:size], block[size:], true
}

// Find lists what matches, the newest first.
func Find(tx store.Tx, q Query) ([]Hit, error) {
	words := split(q.Words)
	var hits []Hit
	tx.Scan(store.BucketTexts, nil, func(_, block []byte) bool {
		if len(words) > 0 && !bytes.Contains(block, words[0]) {
			return true
		}
		for {
			line, rest, ok := cut(block)
			if !ok {
				return true
			}
			block = rest
			if h, ok := match(line, &q, words); ok {
				hits = append(hits, h)
			}
		}
	})
	slices.SortFunc(hits, func(a, b Hit) int {
		if a.At != b.At {
			if a.At > b.At {
				return -1
			}
			return 1
		}
		return bytes.Compare(b.ID[:], a.ID[:])
	})
	if q.Limit > 0 && len(hits) > q.Limit {
		hits = hits[:q.Limit]
	}
	return hits, tx.Err()
}

func match(line []byte, q *Query, words [][]byte) (Hit, bool) {
	h := Hit{ID: chat.ID(line[8:40]), At: binary.BigEndian.Uint64(line[64:])}
	switch {
	case q.Chat != chat.ChatID{} && q.Chat != chat.ChatID(line[40:56]):
		return h, false
	case q.Author != [8]byte{} && q.Author != [8]byte(line[56:64]):
		return h, false
	case q.Kind != 0 && q.Kind != chat.Kind(binary.BigEndian.Uint16(line[72:])):
		return h, false
	case h.At < q.Since, q.Until > 0 && h.At >= q.Until:
		return h, false
	}
	for _, w := range words {
		if !bytes.Contains(line[lineHead:], w) {
			return h, false
		}
	}
	return h, true
}

// split takes a query apart into words and quoted phrases, the longest first: it is the rarest.
func split(query string) [][]byte {
	var out [][]byte
	for i, part := range strings.Split(Fold(query[:min(len(query), MaxQuery)]), `"`) {
		if i%2 == 1 {
			if p := strings.TrimSpace(part); p != "" {
				out = append(out, []byte(p))
			}
			continue
		}
		for _, w := range strings.Fields(part) {
			out = append(out, []byte(w))
		}
	}
	slices.SortStableFunc(out, func(a, b []byte) int { return len(b) - len(a) })
	return out[:min(len(out), maxWords)]
}
