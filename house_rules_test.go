package kith_test

import (
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/kith-im/kith"

// layers are the top folders; each may import itself and those to its left.
var layers = []string{"crypto", "dht", "mailbox", "node", "simnet", "cli"}

// ioRooms may touch network, disk, wall clock, global randomness and
// goroutines, and so may the folders below them. Every other package is pure:
// a new room has to be written here to become anything else.
var ioRooms = []string{
	"dht/boltfile", "dht/kad", "mailbox/blobs", "mailbox/boltbox", "mailbox/relay", "mailbox/upkeep",
	"node/boltstore", "node/files", "node/host", "node/metrics", "node/names", "node/p2p", "node/api", "simnet/live", "simnet/cmd", "cli",
}

// pureModules are the packages of other people that a pure package may import:
// they compute, and nothing else.
var pureModules = []string{
	"golang.org/x/crypto", "google.golang.org/protobuf", "github.com/ipfs/go-cid",
	"github.com/BurntSushi/toml", "github.com/rogpeppe/go-internal/txtar", "github.com/HdrHistogram/hdrhistogram-go",
}

// impureStd are the standard packages (with everything below them) closed to
// pure packages; pureStd are the exceptions below them.
var (
	impureStd = []string{
		"crypto/rand", "hash/maphash", "io/ioutil", "log", "math/rand", "net", "os", "path/filepath",
		"plugin", "runtime", "sync", "syscall", "testing", "unsafe",
	}
	pureStd = []string{"math/rand/v2", "net/netip", "net/url"}
)

// impureNames are the names closed to pure packages in imports that are open.
var impureNames = map[string][]string{
	"time":    {"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTimer", "NewTicker"},
	"context": {"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause", "AfterFunc"},
	"fmt":     {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
}

// seededRand is all that a pure package may use of math/rand/v2: generators
// that start from a seed, never the global one.
var seededRand = []string{"New", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "PCG", "ChaCha8", "Zipf"}

// kemRooms hold the one exception: encapsulating to a key draws randomness that
// no caller can give. Nothing may be ordered, branched or seeded by what comes
// of it (docs/decisions/0001).
var kemRooms = []string{"crypto/agree", "crypto/session", "node/backup", "node/link"}

// lockRooms are pure but for a lock around what they remember: it changes how long an answer takes, never the answer.
var lockRooms = []string{"crypto/signature", "dht/memo"}

// vagueNames say nothing about what a package does.
var vagueNames = []string{
	"util", "utils", "common", "type", "types", "helper", "helpers", "manager", "managers", "misc", "shared",
}

// budget is how large things may grow. Tests and generated code are free of it.
// Package cli is a flat list of commands, one file each: it has a budget of its
// own, because to group commands by file would hide them. Package node is one state
// machine, a file for each family of its inputs (docs/decisions/0013).
type budget struct{ functionLines, fileLines, packageFiles, engineFiles, commandFiles, architectureLines int }

var houseBudget = budget{functionLines: 70, fileLines: 500, packageFiles: 15, engineFiles: 20, commandFiles: 60, architectureLines: 130}

// with tightens one figure ("functionLines=3"), so that a fixture stays short.
func (b budget) with(t *testing.T, setting string) budget {
	t.Helper()
	name, figure, _ := strings.Cut(setting, "=")
	n, err := strconv.Atoi(figure)
	field := map[string]*int{
		"functionLines": &b.functionLines, "fileLines": &b.fileLines,
		"packageFiles": &b.packageFiles, "engineFiles": &b.engineFiles, "commandFiles": &b.commandFiles, "architectureLines": &b.architectureLines,
	}[name]
	if err != nil || field == nil {
		t.Fatalf("budget %q: want name=number", setting)
	}
	*field = n
	return b
}

var ruleNames = []string{
	"syntax", "room", "layer", "test room", "live room",
	"pure import", "pure name", "pure key", "pure goroutine", "pure channel",
	"function", "file", "package", "name", "sleep", "skip", "left-over", "proto",
	"package comment", "architecture", "dependency", "link",
}

var fileRules = []func(*house, *file){checkLayer, checkPurity, checkBudget, checkWaits, checkLeftOvers}

var treeRules = []func(*house){checkPackages, checkProto, checkArchitecture, checkLinks}

func within(name string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		return name == f || strings.HasPrefix(name, f+"/")
	})
}

func top(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

// testRoom reports whether a folder holds test support (dhttest, mailboxtest).
func testRoom(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") }

func (f *file) pure() bool {
	return !f.test && !f.generated && !testRoom(f.dir) && !within(f.dir, ioRooms)
}

func checkLayer(h *house, f *file) {
	if f.dir == "." {
		return
	}
	own := slices.Index(layers, top(f.dir))
	if own < 0 {
		h.report("room", f.name, 0, "Go code lives in %s", strings.Join(layers, ", "))
		return
	}
	for _, spec := range f.syntax.Imports {
		dir, ours := strings.CutPrefix(importPath(spec), module+"/")
		if !ours {
			continue
		}
		if slices.Index(layers, top(dir)) > own {
			h.at("layer", f, spec, "%s may not import %s, which is to its right", top(f.dir), dir)
		}
		if testRoom(dir) && !f.test && !testRoom(f.dir) {
			h.at("test room", f, spec, "%s is for tests only", dir)
		}
		if top(f.dir) == "cli" && within(dir, []string{"simnet/live"}) {
			h.at("live room", f, spec, "real hosts have a binary of their own, outside the cli")
		}
	}
}

func checkPurity(h *house, f *file) {
	if !f.pure() {
		return
	}
	for _, spec := range f.syntax.Imports {
		if p := importPath(spec); impureImport(p) && !(p == "sync" && within(f.dir, lockRooms)) || localName(spec, p) == "." {
			h.at("pure import", f, spec, "%s is closed to a pure package", p)
		}
	}
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			h.at("pure goroutine", f, n, "a pure package starts no goroutine")
		case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
			h.at("pure channel", f, n, "a pure package has no channel")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				h.at("pure channel", f, n, "a pure package has no channel")
			}
		case *ast.SelectorExpr:
			checkPureName(h, f, n)
		}
		return true
	})
}

func impureImport(p string) bool {
	if dir, ours := strings.CutPrefix(p, module+"/"); ours {
		return within(dir, ioRooms)
	}
	if strings.Contains(top(p), ".") {
		return !within(p, pureModules)
	}
	return within(p, impureStd) && !slices.Contains(pureStd, p)
}

func checkPureName(h *house, f *file, sel *ast.SelectorExpr) {
	from, name := f.imported(sel), sel.Sel.Name
	closed := slices.Contains(impureNames[from], name) || from == "math/rand/v2" && !slices.Contains(seededRand, name)
	if closed {
		h.at("pure name", f, sel, "%s.%s is closed to a pure package", path.Base(strings.TrimSuffix(from, "/v2")), name)
	}
	// Many GenerateKey functions of the standard library ignore the reader they are given.
	if strings.HasPrefix(name, "GenerateKey") && !strings.HasPrefix(from, module) {
		h.at("pure key", f, sel, "%s draws global randomness: build the key from seed bytes", name)
	}
	if kem := name == "Encapsulate" || from == "crypto/hpke" && (name == "NewSender" || name == "Seal"); kem && !within(f.dir, kemRooms) {
		h.at("pure key", f, sel, "%s draws global randomness: only in %s", name, strings.Join(kemRooms, ", "))
	}
}

// imported is the path of the package that a selector picks from, or "".
func (f *file) imported(sel *ast.SelectorExpr) string {
	id, ok := sel.X.(*ast.Ident)
	if !ok || id.Obj != nil { // a variable of that name hides the package
		return ""
	}
	return f.imports[id.Name]
}

func checkBudget(h *house, f *file) {
	if f.test || f.generated {
		return
	}
	if f.lines > h.budget.fileLines {
		h.report("file", f.name, 0, "%d lines, at most %d", f.lines, h.budget.fileLines)
	}
	for _, decl := range f.syntax.Decls {
		ast.Inspect(decl, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.FuncDecl, *ast.FuncLit:
			default:
				return true
			}
			if lines := h.line(n.End()) - h.line(n.Pos()) + 1; lines > h.budget.functionLines {
				h.at("function", f, n, "%d lines, at most %d", lines, h.budget.functionLines)
			}
			return false
		})
	}
}

// checkWaits finds sleeping anywhere and tests that excuse themselves. A
// rapid.T may skip: it only discards a drawn case.
func checkWaits(h *house, f *file) {
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if f.imported(sel) == "time" && sel.Sel.Name == "Sleep" {
			h.at("sleep", f, sel, "wait for what happens, not for time")
		}
		if strings.HasPrefix(sel.Sel.Name, "Skip") && isTestingParam(f, sel.X) {
			h.at("skip", f, sel, "a test runs or is not there")
		}
		return true
	})
}

// isTestingParam reports whether an expression is a parameter declared as one
// of package testing's types.
func isTestingParam(f *file, x ast.Expr) bool {
	id, ok := x.(*ast.Ident)
	if !ok || id.Obj == nil {
		return false
	}
	param, ok := id.Obj.Decl.(*ast.Field)
	if !ok {
		return false
	}
	declared := param.Type
	if star, ok := declared.(*ast.StarExpr); ok {
		declared = star.X
	}
	sel, ok := declared.(*ast.SelectorExpr)
	return ok && f.imported(sel) == "testing"
}

var leftOver = regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`)

func checkLeftOvers(h *house, f *file) {
	if f.generated {
		return
	}
	for _, group := range f.syntax.Comments {
		for _, c := range group.List {
			if word := leftOver.FindString(c.Text); word != "" {
				h.at("left-over", f, c, "%s: do it, or write an issue", word)
			}
		}
	}
}

func checkPackages(h *house) {
	for dir, files := range h.folders() {
		own := slices.DeleteFunc(files, func(f *file) bool { return f.test || f.generated })
		if len(own) == 0 {
			continue
		}
		most := h.budget.packageFiles
		switch dir {
		case "cli":
			most = h.budget.commandFiles
		case "node":
			most = h.budget.engineFiles
		}
		if len(own) > most {
			h.report("package", dir, 0, "%d files, at most %d", len(own), most)
		}
		pkg := own[0].syntax.Name.Name
		if slices.Contains(vagueNames, pkg) || slices.Contains(vagueNames, path.Base(dir)) {
			h.report("name", dir, 0, "says nothing about what the package does")
		}
		commented := slices.DeleteFunc(own, func(f *file) bool { return f.syntax.Doc == nil })
		if len(commented) != 1 {
			h.report("package comment", dir, 0, "package %s has %d package comments, not one", pkg, len(commented))
		}
	}
}

func checkProto(h *house) {
	for name := range h.paths {
		stem, isProto := strings.CutSuffix(name, ".proto")
		if !isProto {
			continue
		}
		if path.Base(path.Dir(name)) != "pb" {
			h.report("proto", name, 0, "lies in a folder pb of the package that owns it")
		}
		if !h.paths[stem+".pb.go"] {
			h.report("proto", name, 0, "has no generated code beside it: make proto")
		}
	}
}

// checkArchitecture holds the map of the house to one screen or two, and to
// naming every direct dependency.
func checkArchitecture(h *house) {
	const name = "ARCHITECTURE.md"
	mod, err := fs.ReadFile(h.tree, "go.mod")
	if err != nil {
		return
	}
	text, err := fs.ReadFile(h.tree, name)
	if err != nil {
		h.report("architecture", name, 0, "is missing")
		return
	}
	if n := strings.Count(string(text), "\n"); n > h.budget.architectureLines {
		h.report("architecture", name, 0, "%d lines, at most %d", n, h.budget.architectureLines)
	}
	for i, line := range strings.Split(string(mod), "\n") {
		if m := direct.FindStringSubmatch(line); m != nil && !strings.Contains(string(text), m[1]) {
			h.report("dependency", "go.mod", i+1, "%s is not in %s with its reason", m[1], name)
		}
	}
}

var (
	direct = regexp.MustCompile(`^(?:require )?\s*(\S+\.\S+) v\S+$`)
	link   = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)\s]*)?\)`)
)

// checkLinks finds documents that point at nothing.
func checkLinks(h *house) {
	for name := range h.paths {
		if path.Ext(name) != ".md" {
			continue
		}
		text, err := fs.ReadFile(h.tree, name)
		if err != nil {
			continue
		}
		for i, line := range strings.Split(string(text), "\n") {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				h.checkLink(name, i+1, m[1])
			}
		}
	}
}

func (h *house) checkLink(name string, line int, target string) {
	if strings.Contains(target, ":") {
		return
	}
	if _, err := fs.Stat(h.tree, path.Join(path.Dir(name), target)); err != nil {
		h.report("link", name, line, "%s leads nowhere", target)
	}
}
