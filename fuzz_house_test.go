package kith_test

import (
	"go/ast"
	"os"
	"regexp"
	"strings"
	"testing"
)

// decoder is what a function is called that reads bytes which somebody else may have written.
var decoder = regexp.MustCompile(`^(?i:parse|unmarshal|open|decode|restore|read)`)

// fuzzedElsewhere are the folders whose decoders need no target of their own, and why.
var fuzzedElsewhere = map[string]string{
	"cli":           "paths and settings of the person's own; what lies in files is parsed by cli/config and crypto/vault",
	"node/files":    "paths of the person's own; what is in the files is only sealed",
	"node/talk":     "payloads of the engine's contents: node, FuzzContent",
	"simnet/report": "writes markup",
}

// TestEveryDecoderIsFuzzed: a package that reads bytes of others has a fuzz target.
func TestEveryDecoderIsFuzzed(t *testing.T) {
	h := survey(t, os.DirFS("."), houseBudget)
	decoders, targets := map[string][]string{}, map[string]int{}
	for _, f := range h.files {
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			switch {
			case !ok || f.generated || testRoom(f.dir):
			case f.test && strings.HasPrefix(fn.Name.Name, "Fuzz"):
				targets[f.dir]++
			case !f.test && decoder.MatchString(fn.Name.Name) && readsBytes(fn):
				decoders[f.dir] = append(decoders[f.dir], fn.Name.Name)
			}
		}
	}
	total := 0
	for dir, names := range decoders {
		if targets[dir] == 0 && fuzzedElsewhere[dir] == "" {
			t.Errorf("%s parses (%s) and has no fuzz target", dir, strings.Join(names, ", "))
		}
		total += targets[dir]
	}
	for dir, why := range fuzzedElsewhere {
		if why != "" && (decoders[dir] == nil || targets[dir] > 0) {
			t.Errorf("%s needs no exception", dir)
		}
	}
	if len(decoders["crypto/session"]) < 3 || targets["crypto/session"] < 3 || total < 40 {
		t.Errorf("control: %d decoders and %d targets of crypto/session are seen, %d targets in all",
			len(decoders["crypto/session"]), targets["crypto/session"], total)
	}
}

// readsBytes says whether a function takes bytes, a text or a stream. A method Read fills its argument.
func readsBytes(fn *ast.FuncDecl) bool {
	if fn.Recv != nil && fn.Name.Name == "Read" {
		return false
	}
	for _, p := range fn.Type.Params.List {
		switch x := p.Type.(type) {
		case *ast.ArrayType:
			if id, ok := x.Elt.(*ast.Ident); ok && id.Name == "byte" {
				return true
			}
		case *ast.Ident:
			if x.Name == "string" {
				return true
			}
		case *ast.SelectorExpr:
			if x.Sel.Name == "Reader" {
				return true
			}
		case *ast.StarExpr:
			if s, ok := x.X.(*ast.SelectorExpr); ok && s.Sel.Name == "Reader" {
				return true
			}
		}
	}
	return false
}
