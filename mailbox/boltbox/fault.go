package boltbox

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/kith-im/kith/mailbox"
)

// guard runs work on bbolt. A damaged page makes bbolt panic or read outside
// the mapped file; both become ErrDamaged.
func guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", mailbox.ErrDamaged, p)
		}
	}()
	return fn()
}

// diskFull says that a commit failed because a write found no room. A sync
// that fails, for want of room too, is not among these: after it nobody knows
// what is on the disk.
func diskFull(err error) bool {
	var write *fs.PathError
	if errors.As(err, &write) {
		return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
	}
	// bbolt flattens the error of the truncate that grows the file.
	text := err.Error()
	return strings.HasPrefix(text, "file resize error") && strings.Contains(text, syscall.ENOSPC.Error())
}
