//go:build unix && !solaris && !aix && !netbsd

package boltbox

import "syscall"

// freeBytes is what the file system of path has left for us.
func freeBytes(path string) uint64 {
	var s syscall.Statfs_t
	if syscall.Statfs(path, &s) != nil {
		return unknownRoom
	}
	return uint64(s.Bavail) * uint64(s.Bsize)
}
