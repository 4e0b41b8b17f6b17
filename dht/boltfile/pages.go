package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts its own pages: a flipped bit in one ends the process, in a
// goroutine that nobody can guard, or leads it round in circles. So the pages
// are walked once before bbolt follows them. The format is bbolt's version 2,
// its numbers in the byte order of the machine:
//
//	page      id u64 | flags u16 | count u16 | overflow u32, then the elements
//	meta      magic u32 | version u32 | page size u32 | flags u32 | root u64 | sequence u64 | freelist u64 |
//	          high u64 | transaction u64 | FNV-1a u64
//	branch    position u32 (from the element) | key size u32 | page u64
//	leaf      flags u32 (1: a bucket) | position u32 | key size u32 | value size u32
//	bucket    the value: root u64 (0: its page follows inline) | sequence u64
//	freelist  page u64 each; a count of 0xffff means that the first u64 is the count
const (
	metaPages    = 2
	pageHeader   = 16
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	metaHashed   = 56
	elementSize  = 16
	bucketHeader = 16
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	leafBucket   = 1
	countBeyond  = 0xffff
	noFreelist   = ^uint64(0)
)

var native = binary.NativeEndian

type meta struct {
	page                     int64 // bytes of a page
	root, freelist, high, tx uint64
}

// SpoiltMetas names the meta pages of the file at path that do not hold. bbolt
// takes the newer valid one: right after a crash in the middle of a commit,
// while bit rot goes back by one commit without a word.
func SpoiltMetas(path string) ([]*Damage, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var spoilt []*Damage
	for i, m := range readMetas(f) {
		if m == nil {
			spoilt = append(spoilt, &Damage{fmt.Sprintf("file/meta%d", i), "the checksum is wrong; the last commit may be missing"})
		}
	}
	return spoilt, nil
}

// readMetas reads both metas; nil stands for one that does not hold. Where the
// first cannot say how far the second is, all sizes are tried, as bbolt does.
func readMetas(r io.ReaderAt) (metas [metaPages]*meta) {
	if metas[0] = readMeta(r, 0); metas[0] != nil {
		metas[1] = readMeta(r, metas[0].page)
		return metas
	}
	for page := int64(minPage); page <= maxPage && metas[1] == nil; page *= 2 {
		if m := readMeta(r, page); m != nil && m.page == page {
			metas[1] = m
		}
	}
	return metas
}

func readMeta(r io.ReaderAt, at int64) *meta {
	raw := make([]byte, metaHashed+8)
	if _, err := r.ReadAt(raw, at+pageHeader); err != nil {
		return nil
	}
	h := fnv.New64a()
	_, _ = h.Write(raw[:metaHashed])
	m := &meta{
		page: int64(native.Uint32(raw[8:])), root: native.Uint64(raw[16:]), freelist: native.Uint64(raw[32:]),
		high: native.Uint64(raw[40:]), tx: native.Uint64(raw[48:]),
	}
	if native.Uint32(raw) != metaMagic || native.Uint32(raw[4:]) != metaVersion ||
		h.Sum64() != native.Uint64(raw[metaHashed:]) || m.page < minPage || m.page > maxPage {
		return nil
	}
	return m
}

// checkPages follows every reference of the file at path from its newest meta.
// What cannot be read is damaged too.
func checkPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return walkPages(f, info.Size())
}

func walkPages(r io.ReaderAt, size int64) error {
	newest, err := newestMeta(r, size)
	if err != nil {
		return err
	}
	w := &walk{r: r, size: newest.page, seen: make([]bool, newest.high)}
	if err := w.page(newest.root, nil, nil); err != nil {
		return err
	}
	return w.freelist(newest.freelist)
}

// newestMeta is the meta that bbolt would go by.
func newestMeta(r io.ReaderAt, size int64) (*meta, error) {
	metas := readMetas(r)
	newest := metas[0]
	if newest == nil || metas[1] != nil && metas[1].tx > newest.tx {
		newest = metas[1]
	}
	if newest == nil {
		return nil, &Damage{"file/meta", "neither is readable"}
	}
	if newest.high > uint64(size/newest.page) {
		return nil, &Damage{wholeFile, "too short"}
	}
	return newest, nil
}

// walk goes through the tree of pages of one file. Without found the first
// damage ends it; with found it goes on with whatever else it can reach.
type walk struct {
	r     io.ReaderAt
	size  int64  // bytes of a page
	seen  []bool // by page id, up to the high-water mark
	depth int
	pages [maxDepth + 1][]byte // by depth: pages are read into the same memory

	found  func(*Damage)
	visit  func(table, key, value []byte) // of rows; the slices end with the call
	tables func(name, bucket []byte)      // if set, it hears of tables, and the walk stays out of them
	table  []byte                         // the innermost table that the walk is in
	reach  *reach                         // nil: everything
}

// page checks a page and those below it; its keys lie in [low, high), nil
// standing for no bound.
func (w *walk) page(id uint64, low, high []byte) error {
	if w.depth >= maxDepth {
		return spoilt(id, "too deep")
	}
	w.depth++
	defer func() { w.depth-- }()
	raw, err := w.read(id)
	if err != nil {
		return err
	}
	return w.content(id, raw, low, high)
}

// read returns a page with its overflow, once: a second visit is a circle.
func (w *walk) read(id uint64) ([]byte, error) {
	if id < metaPages || id >= uint64(len(w.seen)) {
		return nil, spoilt(id, "a reference to no page")
	}
	raw := w.pages[w.depth]
	if raw == nil {
		raw = make([]byte, w.size)
	}
	if _, err := w.r.ReadAt(raw[:w.size], int64(id)*w.size); err != nil {
		return nil, spoilt(id, err.Error())
	}
	pages := 1 + uint64(native.Uint32(raw[12:]))
	if native.Uint64(raw) != id {
		return nil, spoilt(id, "the page says another number")
	}
	if id+pages > uint64(len(w.seen)) {
		return nil, spoilt(id, "the page reaches past the file")
	}
	for i := id; i < id+pages; i++ {
		if w.seen[i] {
			return nil, spoilt(id, "two references to one page")
		}
		w.seen[i] = true
	}
	if whole := int64(pages) * w.size; whole > int64(len(raw)) {
		raw = append(raw[:w.size:w.size], make([]byte, whole-w.size)...)
	}
	w.pages[w.depth] = raw
	raw = raw[:int64(pages)*w.size]
	if rest := raw[w.size:]; len(rest) > 0 {
		if _, err := w.r.ReadAt(rest, (int64(id)+1)*w.size); err != nil {
			return nil, spoilt(id, err.Error())
		}
	}
	w.reach.took(raw)
	return raw, nil
}

func spoilt(id uint64, why string) error {
	return &Damage{fmt.Sprintf("file/page%d", id), why}
}

// tolerate hands damage to found, if the walk goes on in spite of it.
func (w *walk) tolerate(err error) error {
	var damage *Damage
	if w.found == nil || !errors.As(err, &damage) {
		return err
	}
	w.found(damage)
	return nil
}

// content checks a branch or leaf page. Only a leaf may be empty.
func (w *walk) content(id uint64, raw, low, high []byte) error {
	flags, count := native.Uint16(raw[8:]), int(native.Uint16(raw[10:]))
	if flags != leafPage && (flags != branchPage || count == 0) {
		return spoilt(id, "a page of an unknown kind")
	}
	if pageHeader+count*elementSize > len(raw) {
		return spoilt(id, "more elements than fit")
	}
	keys, last := make([][]byte, count), []byte(nil)
	for i := range count {
		key, _, ok := element(raw, i, flags)
		if !ok || outOfOrder(key, low, last, high) {
			if err := w.tolerate(spoilt(id, "keys out of order")); err != nil {
				return err
			}
		} else {
			last = key
		}
		keys[i] = key // nil where the element is not one
	}
	for i := range count {
		if keys[i] == nil {
			continue
		}
		if err := w.tolerate(w.below(id, raw, i, flags, keys, high)); err != nil {
			return err
		}
	}
	return nil
}

func outOfOrder(key, low, last, high []byte) bool {
	return low != nil && bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 ||
		last != nil && bytes.Compare(last, key) >= 0
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
func (w *walk) below(id uint64, raw []byte, i int, flags uint16, keys [][]byte, high []byte) error {
	at := pageHeader + i*elementSize
	if flags == branchPage {
		next := high
		if i+1 < len(keys) {
			next = keys[i+1]
		}
		if skip, err := w.reach.turn(keys[i], next); skip || err != nil {
			return err
		}
		return w.page(native.Uint64(raw[at+8:]), keys[i], next)
	}
	_, value, _ := element(raw, i, flags)
	if native.Uint32(raw[at:]) == 0 {
		if w.visit != nil && w.reach.wants(keys[i]) {
			w.visit(w.table, keys[i], value)
		}
		return nil
	}
	if native.Uint32(raw[at:]) != leafBucket || len(value) < bucketHeader {
		return spoilt(id, "a bucket reaches past its page")
	}
	if w.tables != nil {
		w.tables(keys[i], value)
		return nil
	}
	outer := w.table
	w.table = keys[i]
	defer func() { w.table = outer }()
	return w.bucket(id, value)
}

// bucket follows the value of a bucket that lies in the page id.
func (w *walk) bucket(id uint64, value []byte) error {
	if root := native.Uint64(value); root != 0 {
		return w.page(root, nil, nil)
	}
	return w.inline(id, value[bucketHeader:])
}

// inline checks a small bucket, whose only page lies in the page id.
func (w *walk) inline(id uint64, raw []byte) error {
	if len(raw) < pageHeader || native.Uint16(raw[8:]) != leafPage || native.Uint64(raw) != 0 {
		return spoilt(id, "a small bucket has no page")
	}
	if w.depth >= maxDepth {
		return spoilt(id, "too deep")
	}
	w.depth++
	defer func() { w.depth-- }()
	return w.content(id, raw, nil, nil)
}

// freelist checks the list of free pages, if the file has one: bbolt writes to
// them, so none may be in use.
func (w *walk) freelist(id uint64) error {
	if id == noFreelist {
		return nil
	}
	raw, err := w.read(id)
	if err != nil {
		return err
	}
	count, ids := uint64(native.Uint16(raw[10:])), raw[pageHeader:]
	if count == countBeyond {
		count, ids = native.Uint64(ids), ids[8:]
	}
	if native.Uint16(raw[8:]) != freelistPage || count > uint64(len(ids)/8) {
		return spoilt(id, "no list of free pages")
	}
	for i := range count {
		free := native.Uint64(ids[8*i:])
		if free < metaPages || free >= uint64(len(w.seen)) || w.seen[free] {
			return spoilt(id, "a page is in use and free")
		}
		w.seen[free] = true
	}
	return nil
}
