package boltfile

import "syscall"

// FreeBytes is what the file system of path has left for us.
func FreeBytes(path string) uint64 {
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return unknownRoom
	}
	return s.Bavail * uint64(s.Bsize)
}
