// Package kith_test enforces the rules of the house: which folder may import
// which, which packages are pure, how large a function, a file and a package
// may grow, and what the documents owe the code.
//
// It reads source as text (go/parser, no type checking), so it needs no build
// and runs in well under a second. It cannot see through interfaces, type
// aliases or reflection; golangci-lint's depguard and forbidigo look again with
// types. Every rule has a fixture in testdata/house that breaks it.
package kith_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

func TestHouseRulesHold(t *testing.T) {
	h := survey(t, os.DirFS("."), houseBudget)
	t.Logf("read %d Go files in %d folders", len(h.files), len(h.folders()))
	for _, v := range h.violations() {
		t.Error(v)
	}
}

// TestHouseFixturesAreReported feeds each rule a tree that breaks it. A fixture
// is a txtar archive; the comment before its files holds the reports it must
// draw ("want: …", all of them and no other) and may tighten a budget.
func TestHouseFixturesAreReported(t *testing.T) {
	reported := map[string]bool{}
	for _, name := range fixtures(t) {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			f := openFixture(t, name)
			var got []string
			for _, v := range survey(t, f.tree, f.budget).violations() {
				got = append(got, v.String())
				reported[v.rule] = true
			}
			if diff := gocmp.Diff(f.want, got); diff != "" {
				t.Errorf("reports differ (-want +got):\n%s", diff)
			}
		})
	}
	for _, rule := range ruleNames {
		if !reported[rule] {
			t.Errorf("rule %q is broken by no fixture: a rule that cannot fail is no rule", rule)
		}
	}
}

// house is one tree of source under survey.
type house struct {
	tree   fs.FS
	budget budget
	fset   *token.FileSet
	files  []*file
	paths  map[string]bool // every file that is not hidden, built or test data
	found  []violation
}

// file is one Go file. Names are slash paths from the top of the tree.
type file struct {
	name, dir string
	test      bool // a _test.go file
	generated bool // lies in a pb folder
	lines     int
	syntax    *ast.File
	imports   map[string]string // name in this file -> import path
}

type violation struct {
	rule, name string
	line       int // 0: the whole file or folder
	why        string
}

func (v violation) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", v.name, v.line, v.rule, v.why)
}

func survey(t *testing.T, tree fs.FS, b budget) *house {
	t.Helper()
	h := &house{tree: tree, budget: b, fset: token.NewFileSet(), paths: map[string]bool{}}
	if err := fs.WalkDir(tree, ".", h.visit); err != nil {
		t.Fatal(err)
	}
	for _, f := range h.files {
		for _, rule := range fileRules {
			rule(h, f)
		}
	}
	for _, rule := range treeRules {
		rule(h)
	}
	return h
}

func (h *house) visit(name string, d fs.DirEntry, err error) error {
	base := path.Base(name)
	switch {
	case err != nil:
		return err
	case d.IsDir() && name != "." && (base[0] == '.' || base == "testdata" || base == "bin" || base == "node_modules"):
		return fs.SkipDir
	case d.IsDir():
		return nil
	}
	h.paths[name] = true
	if path.Ext(name) != ".go" {
		return nil
	}
	return h.parse(name)
}

func (h *house) parse(name string) error {
	src, err := fs.ReadFile(h.tree, name)
	if err != nil {
		return err
	}
	syntax, err := parser.ParseFile(h.fset, name, src, parser.ParseComments)
	if err != nil {
		h.report("syntax", name, 0, "does not parse")
		return nil
	}
	f := &file{
		name: name, dir: path.Dir(name), syntax: syntax,
		test:    strings.HasSuffix(name, "_test.go"),
		lines:   strings.Count(string(src), "\n"),
		imports: map[string]string{},
	}
	f.generated = path.Base(f.dir) == "pb"
	for _, spec := range syntax.Imports {
		p := importPath(spec)
		f.imports[localName(spec, p)] = p
	}
	h.files = append(h.files, f)
	return nil
}

func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return p
}

// localName is what a file calls an import: its alias, else the last element of
// the path that is not a major version.
func localName(spec *ast.ImportSpec, p string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	base := path.Base(p)
	if len(base) > 1 && base[0] == 'v' && strings.Trim(base[1:], "0123456789") == "" {
		base = path.Base(path.Dir(p))
	}
	return base
}

func (h *house) report(rule, name string, line int, why string, args ...any) {
	v := violation{rule: rule, name: name, line: line, why: fmt.Sprintf(why, args...)}
	if !slices.Contains(h.found, v) {
		h.found = append(h.found, v)
	}
}

func (h *house) at(rule string, f *file, n ast.Node, why string, args ...any) {
	h.report(rule, f.name, h.line(n.Pos()), why, args...)
}

func (h *house) line(p token.Pos) int { return h.fset.Position(p).Line }

func (h *house) violations() []violation {
	return slices.SortedFunc(slices.Values(h.found), func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.line, b.line), cmp.Compare(a.rule, b.rule), cmp.Compare(a.why, b.why))
	})
}

// folders groups the files by folder.
func (h *house) folders() map[string][]*file {
	in := map[string][]*file{}
	for _, f := range h.files {
		in[f.dir] = append(in[f.dir], f)
	}
	return in
}

func fixtures(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/house/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	return names
}

type fixture struct {
	tree   fstest.MapFS
	budget budget
	want   []string
}

func openFixture(t *testing.T, name string) fixture {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f := fixture{tree: fstest.MapFS{}, budget: houseBudget}
	for _, member := range archive.Files {
		f.tree[member.Name] = &fstest.MapFile{Data: member.Data}
	}
	for line := range strings.Lines(string(archive.Comment)) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch verb {
		case "want":
			f.want = append(f.want, rest)
		case "budget":
			f.budget = f.budget.with(t, rest)
		}
	}
	return f
}
