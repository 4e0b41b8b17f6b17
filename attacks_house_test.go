package kith_test

import (
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var namedTest = regexp.MustCompile(`\bTest[A-Z]\w+`)

// TestTheTableOfAttacksIsHonest: whoever renames or drops a test changes the document that cites it.
func TestTheTableOfAttacksIsHonest(t *testing.T) {
	declared := map[string]bool{}
	for _, f := range survey(t, os.DirFS("."), houseBudget).files {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				declared[fn.Name.Name] = true
			}
		}
	}
	missing := func(text string) (out []string) {
		for _, name := range namedTest.FindAllString(text, -1) {
			if !declared[name] {
				out = append(out, name)
			}
		}
		return out
	}
	raw, err := os.ReadFile("docs/attacks.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(namedTest.FindAll(raw, -1)); n < 60 {
		t.Fatalf("control: only %d tests are named", n)
	}
	for _, name := range missing(string(raw)) {
		t.Errorf("docs/attacks.md: there is no %s", name)
	}
	if len(missing("TestThatIsNotThere")) != 1 {
		t.Error("control: a test that is not there is not missed")
	}
}

// TestOnlyTheSimulatorRemembersSignatures: a node verifies each signature, and reads each record, whatever it saw before.
func TestOnlyTheSimulatorRemembersSignatures(t *testing.T) {
	seen := map[string]int{}
	for _, f := range survey(t, os.DirFS("."), houseBudget).files {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			x, ok := n.(*ast.SelectorExpr)
			if !ok || x.Sel.Name != "Remember" {
				return true
			}
			where := f.imported(x)
			if where != module+"/crypto/signature" && where != module+"/dht" {
				return true
			}
			if seen[where]++; !f.test && !strings.HasPrefix(f.name, "simnet/") && !strings.HasPrefix(f.name, "cli/sim_") {
				t.Errorf("%s has %s remember", f.name, where)
			}
			return true
		})
	}
	if len(seen) != 2 {
		t.Errorf("control: what remembers is %v", seen)
	}
}

// doorless are files whose keys go to libp2p, or to the tests of what the standard library says.
var doorless = []string{"crypto/signature/", "crypto/agree/", "crypto/compare/", "node/host/", "node/p2p/home.go"}

// TestSignaturesAndAgreementsHaveDoors: what is signed, verified and agreed goes through crypto/signature and crypto/agree, where a build
// for simulations has something else. A key that is made elsewhere would be no key there.
func TestSignaturesAndAgreementsHaveDoors(t *testing.T) {
	byOwnHand := func(f *file) (out []string) {
		if f.imports["ecdh"] == "crypto/ecdh" || f.imports["mlkem"] == "crypto/mlkem" {
			out = append(out, "imports crypto/ecdh or crypto/mlkem: use crypto/agree")
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if ok && f.imported(sel) == "crypto/ed25519" && slices.Contains([]string{"Sign", "Verify", "VerifyWithOptions", "NewKeyFromSeed", "GenerateKey"}, sel.Sel.Name) {
				out = append(out, "calls ed25519."+sel.Sel.Name+": use crypto/signature")
			}
			return true
		})
		return out
	}
	inside := 0
	for _, f := range survey(t, os.DirFS("."), houseBudget).files {
		found := byOwnHand(f)
		if slices.ContainsFunc(doorless, func(d string) bool { return strings.HasPrefix(f.name, d) }) {
			inside += len(found)
			continue
		}
		for _, why := range found {
			if !f.test {
				t.Errorf("%s %s", f.name, why)
			}
		}
	}
	if inside < 5 {
		t.Errorf("control: only %d places behind the doors", inside)
	}
}
