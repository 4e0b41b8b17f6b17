//go:build fixture

package boltbox

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestWriteTheStoreOfThisBuild is part of `make fixture`: it writes the store
// that later builds have to open. It leaves a file that is there alone.
func TestWriteTheStoreOfThisBuild(t *testing.T) {
	kept := filepath.Join("testdata", fmt.Sprintf("v%d.db.gz", formatVersion))
	if _, err := os.Stat(kept); !errors.Is(err, fs.ErrNotExist) {
		t.Logf("%s is there: %v", kept, err)
		return
	}
	path := filepath.Join(t.TempDir(), "box.db")
	s := mustOpen(t, path)
	tellStory(t, s)
	ok(t, s.Close())
	raw, err := os.ReadFile(path)
	ok(t, err)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(raw[:usedPages(raw)])
	ok(t, errors.Join(err, w.Close(), os.WriteFile(kept, packed.Bytes(), 0o600)))
}
