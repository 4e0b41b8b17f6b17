package boltbox

import (
	"syscall"

	bolt "go.etcd.io/bbolt"
)

// forget tells the kernel that the mapped pages are not needed now. They count
// as this process's memory once they were read; the data stay in the file and
// come back when they are read again. r, an open transaction, keeps bbolt from
// moving the mapping, and its size lies within it.
func forget(db *bolt.DB, r *bolt.Tx) {
	_, _, _ = syscall.Syscall(syscall.SYS_MADVISE, db.Info().Data, uintptr(r.Size()), syscall.MADV_DONTNEED)
}
