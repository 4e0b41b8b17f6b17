package boltbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"github.com/kith-im/kith/mailbox"
)

// bbolt trusts its own pages: a flipped bit in one ends the process, in a
// goroutine that nobody can guard, or leads it round in circles. So the pages
// are walked once before bbolt sees the file. Numbers are in the byte order of
// the machine, as bbolt writes them.
const (
	metaPages    = 2
	pageHeader   = 16 // id u64 | flags u16 | count u16 | overflow u32
	metaMagic    = 0xED0CDAED
	metaHashed   = 56 // bytes of a meta before its FNV-1a checksum
	elementSize  = 16
	bucketHeader = 16 // root page u64 | sequence u64; root 0: the page follows inline
	branchPage   = 1
	leafPage     = 2
	leafBucket   = 1
)

var native = binary.NativeEndian

// pageWalk checks the tree of pages of one file.
type pageWalk struct {
	file io.ReaderAt
	seen []bool // by page id, up to the high-water mark
}

// inspect checks the structure of a bbolt file of our page size. It counts
// spoilt meta pages: bbolt uses the newer valid one, and would go back by one
// commit without a word. (A crash in the middle of a meta page looks the same.)
func inspect(path string) (spoilt int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return walkPages(f, info.Size())
}

func walkPages(f io.ReaderAt, size int64) (spoilt int64, err error) {
	var root, high, newest uint64
	found := false
	for i := range int64(metaPages) {
		meta := make([]byte, metaHashed+8)
		if _, err := f.ReadAt(meta, i*pageSize+pageHeader); err != nil {
			return 0, fmt.Errorf("%w: meta page: %w", mailbox.ErrDamaged, err)
		}
		if !metaHolds(meta) {
			spoilt++
			continue
		}
		if tx := native.Uint64(meta[48:]); !found || tx > newest {
			found, newest, root, high = true, tx, native.Uint64(meta[16:]), native.Uint64(meta[40:])
		}
	}
	if !found || high > uint64(size)/pageSize {
		return spoilt, fmt.Errorf("%w: meta pages", mailbox.ErrDamaged)
	}
	w := &pageWalk{file: f, seen: make([]bool, high)}
	return spoilt, w.page(root, nil, nil)
}

// metaHolds checks magic u32, version u32, page size u32, flags u32, root u64,
// sequence u64, freelist u64, high-water mark u64, transaction u64, checksum.
func metaHolds(meta []byte) bool {
	h := fnv.New64a()
	_, _ = h.Write(meta[:metaHashed])
	return h.Sum64() == native.Uint64(meta[metaHashed:]) && native.Uint32(meta) == metaMagic &&
		native.Uint32(meta[8:]) == pageSize
}

// page checks a page and those below it; its keys lie in [low, high), nil
// standing for no bound.
func (w *pageWalk) page(id uint64, low, high []byte) error {
	raw, err := w.read(id)
	if err != nil {
		return err
	}
	return w.content(id, raw, low, high)
}

// read returns a page with its overflow, once.
func (w *pageWalk) read(id uint64) ([]byte, error) {
	head := make([]byte, pageHeader)
	if id < metaPages || id >= uint64(len(w.seen)) {
		return nil, spoiltPage(id, "number")
	}
	if _, err := w.file.ReadAt(head, int64(id)*pageSize); err != nil {
		return nil, err
	}
	pages := 1 + uint64(native.Uint32(head[12:]))
	if native.Uint64(head) != id || id+pages > uint64(len(w.seen)) {
		return nil, spoiltPage(id, "header")
	}
	for i := id; i < id+pages; i++ {
		if w.seen[i] {
			return nil, spoiltPage(id, "used twice")
		}
		w.seen[i] = true
	}
	raw := make([]byte, pages*pageSize)
	_, err := w.file.ReadAt(raw, int64(id)*pageSize)
	return raw, err
}

func spoiltPage(id uint64, what string) error {
	return fmt.Errorf("%w: page %d: %s", mailbox.ErrDamaged, id, what)
}

// content checks a branch or leaf page.
func (w *pageWalk) content(id uint64, raw, low, high []byte) error {
	flags, count := native.Uint16(raw[8:]), int(native.Uint16(raw[10:]))
	if flags != branchPage && flags != leafPage || pageHeader+count*elementSize > len(raw) {
		return spoiltPage(id, "header")
	}
	keys := make([][]byte, count)
	for i := range count {
		key, _, ok := element(raw, i, flags)
		if !ok || low != nil && bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 ||
			i > 0 && bytes.Compare(keys[i-1], key) >= 0 {
			return spoiltPage(id, "keys")
		}
		keys[i] = key
	}
	for i := range count {
		if err := w.below(id, raw, i, flags, keys, high); err != nil {
			return err
		}
	}
	return nil
}

// element returns key and value of the i-th element; in a branch page the
// value is empty. Positions count from the element itself.
func element(raw []byte, i int, flags uint16) (key, value []byte, ok bool) {
	at := pageHeader + i*elementSize
	var pos, keySize, valueSize uint64
	if flags == branchPage {
		pos, keySize = uint64(native.Uint32(raw[at:])), uint64(native.Uint32(raw[at+4:]))
	} else {
		pos, keySize = uint64(native.Uint32(raw[at+4:])), uint64(native.Uint32(raw[at+8:]))
		valueSize = uint64(native.Uint32(raw[at+12:]))
	}
	start := uint64(at) + pos
	if start+keySize+valueSize > uint64(len(raw)) {
		return nil, nil, false
	}
	return raw[start : start+keySize], raw[start+keySize : start+keySize+valueSize], true
}

// below follows the i-th element to its page or bucket, if it has one.
func (w *pageWalk) below(id uint64, raw []byte, i int, flags uint16, keys [][]byte, high []byte) error {
	at := pageHeader + i*elementSize
	if flags == branchPage {
		next := high
		if i+1 < len(keys) {
			next = keys[i+1]
		}
		return w.page(native.Uint64(raw[at+8:]), keys[i], next)
	}
	if native.Uint32(raw[at:]) == 0 {
		return nil
	}
	_, value, _ := element(raw, i, flags)
	if native.Uint32(raw[at:]) != leafBucket || len(value) < bucketHeader {
		return spoiltPage(id, "bucket")
	}
	if root := native.Uint64(value); root != 0 {
		return w.page(root, nil, nil)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || native.Uint16(inline[8:]) != leafPage || native.Uint64(inline) != 0 {
		return spoiltPage(id, "inline bucket")
	}
	return w.content(id, inline, nil, nil)
}
