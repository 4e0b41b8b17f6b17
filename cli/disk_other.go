//go:build !unix

package cli

import "errors"

// freeBytes is what we may still write on the disk of dir.
func freeBytes(string) (uint64, error) { return 0, errors.ErrUnsupported }
