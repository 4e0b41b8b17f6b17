package kith_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// leastVectors is what a second implementer is promised.
const leastVectors = 50

// TestVectorsAreUsed finds vector files that no test of ours reads or that no model writes.
func TestVectorsAreUsed(t *testing.T) {
	files, err := filepath.Glob("docs/vectors/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	tests, models := textOf(t, ".", "_test.go"), textOf(t, "docs/vectors/model", ".mjs")
	total := 0
	for _, name := range files {
		if !strings.Contains(tests, `docs/vectors/`+filepath.Base(name)+`"`) {
			t.Errorf("%s is read by no test", name)
		}
		if !strings.Contains(models, `'`+filepath.Base(name)+`'`) {
			t.Errorf("%s is written by no model", name)
		}
		n := countVectors(t, name)
		if n == 0 {
			t.Errorf("%s has no vectors", name)
		}
		total += n
	}
	t.Logf("%d vectors in %d files", total, len(files))
	if total < leastVectors {
		t.Errorf("%d vectors, at least %d are promised", total, leastVectors)
	}
}

// countVectors is the number of elements of a file's lists, as docs/vectors/model/run.mjs counts them.
func countVectors(t *testing.T, name string) (n int) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		var list []json.RawMessage
		if json.Unmarshal(part, &list) == nil {
			n += len(list)
		}
	}
	return n
}

// textOf joins the files below a folder whose names end so.
func textOf(t *testing.T, dir, suffix string) string {
	t.Helper()
	var all strings.Builder
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "bin" || name != "." && d.Name()[0] == '.'):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, suffix):
			return nil
		}
		text, err := os.ReadFile(path.Join(dir, name))
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
