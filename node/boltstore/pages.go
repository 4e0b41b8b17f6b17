package boltstore

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt trusts its pages: a damaged reference from a page to one above it makes it walk in a circle for ever. So the
// references are followed here first, with bounds, before bbolt follows them. The format is bbolt's version 2:
//
//	page     id u64 | flags u16 | count u16 | overflow u32, then the elements
//	meta     magic, version, page size, flags u32 | root u64 | sequence u64 | freelist u64 | high u64 | tx u64 | FNV-1a u64
//	branch   position u32 (from the element) | key size u32 | page u64
//	leaf     flags u32 (1: a bucket) | position u32 | key size u32 | value size u32; a bucket's value begins with its root u64
const (
	pageHeader  = 16
	metaSize    = 64
	elementSize = 16
	bucketFlag  = 1
	branchPage  = 0x01
	leafPage    = 0x02
	maxDepth    = 32
	minPage     = 1 << 9
	maxPage     = 1 << 16
)

// file is a bbolt file, read as bytes.
type file struct {
	r    io.ReaderAt
	page int64  // bytes of a page
	high uint64 // pages in use are below
	seen map[uint64]bool
}

type meta struct {
	page     uint32
	root     uint64
	high, tx uint64
}

// checkPages follows every reference of the file at path from its newest meta.
func checkPages(path string) error {
	r, err := os.Open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	metas, _ := readMetas(r)
	newest := metas[0]
	if metas[1].tx > newest.tx {
		newest = metas[1]
	}
	if newest.page < minPage || newest.page > maxPage {
		return &Damage{Place: "file/meta", Why: "neither is readable"}
	}
	f := &file{r: r, page: int64(newest.page), high: newest.high, seen: map[uint64]bool{}}
	return f.tree(newest.root, true, 0)
}

// readMetas reads both metas; one that does not pass its checksum is zero and named in the error. bbolt takes the other
// silently, which is right after a crash and loses a commit after bit rot.
func readMetas(r io.ReaderAt) (metas [2]meta, err error) {
	page := int64(os.Getpagesize())
	for i := range metas {
		raw := make([]byte, pageHeader+metaSize)
		_, readErr := r.ReadAt(raw, int64(i)*page)
		m, ok := parseMeta(raw[pageHeader:])
		if readErr != nil || !ok {
			err = &Damage{Place: fmt.Sprintf("file/meta%d", i), Why: "the checksum is wrong; the last commit may be missing"}
			continue
		}
		metas[i], page = m, int64(m.page)
	}
	return metas, err
}

func parseMeta(raw []byte) (meta, bool) {
	h := fnv.New64a()
	h.Write(raw[:metaSize-8])
	u32, u64 := binary.NativeEndian.Uint32, binary.NativeEndian.Uint64
	m := meta{page: u32(raw[8:]), root: u64(raw[16:]), high: u64(raw[40:]), tx: u64(raw[48:])}
	return m, h.Sum64() == u64(raw[56:])
}

// tree visits the page id and all below. In the tree of buckets (top) the leaves lead to further trees.
func (f *file) tree(id uint64, top bool, depth int) error {
	raw, flags, err := f.read(id)
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return f.damage(id, "too deep")
	}
	if flags == leafPage && !top {
		return nil // its rows are sealed
	}
	for i := range int(binary.NativeEndian.Uint16(raw[10:])) {
		at := pageHeader + i*elementSize
		if at+elementSize > len(raw) {
			return f.damage(id, "more elements than fit")
		}
		if flags == branchPage {
			err = f.tree(binary.NativeEndian.Uint64(raw[at+8:]), top, depth+1)
		} else {
			err = f.bucket(id, raw[at:], depth)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket follows one element of a leaf in the tree of buckets. A small bucket lies in the element itself: root 0.
func (f *file) bucket(id uint64, element []byte, depth int) error {
	u32 := binary.NativeEndian.Uint32
	if u32(element)&bucketFlag == 0 {
		return nil
	}
	value := int64(u32(element[4:])) + int64(u32(element[8:]))
	if u32(element[12:]) < 16 || value+16 > int64(len(element)) {
		return f.damage(id, "a bucket reaches past its page")
	}
	root := binary.NativeEndian.Uint64(element[value:])
	if root == 0 {
		return nil
	}
	return f.tree(root, false, depth+1)
}

// read returns a page once: a second visit is a circle. A leaf outside the tree of buckets could be long; its rows are
// not looked at, but it is read anyway: bbolt is about to read it as well.
func (f *file) read(id uint64) (raw []byte, flags uint16, err error) {
	if id < 2 || id >= f.high {
		return nil, 0, f.damage(id, "a reference to no page")
	}
	if f.seen[id] {
		return nil, 0, f.damage(id, "two references to one page")
	}
	f.seen[id] = true
	head := make([]byte, pageHeader)
	if _, err := f.r.ReadAt(head, int64(id)*f.page); err != nil {
		return nil, 0, f.damage(id, "the file is too short")
	}
	flags = binary.NativeEndian.Uint16(head[8:])
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	switch {
	case binary.NativeEndian.Uint64(head) != id:
		return nil, 0, f.damage(id, "the page says another number")
	case flags != branchPage && flags != leafPage:
		return nil, 0, f.damage(id, "a page of an unknown kind")
	case id+overflow >= f.high:
		return nil, 0, f.damage(id, "the page reaches past the file")
	}
	raw = make([]byte, (1+int64(overflow))*f.page)
	if _, err := f.r.ReadAt(raw, int64(id)*f.page); err != nil {
		return nil, 0, f.damage(id, "the file is too short")
	}
	return raw, flags, nil
}

func (f *file) damage(id uint64, why string) error {
	return &Damage{Place: fmt.Sprintf("file/page%d", id), Why: why}
}
