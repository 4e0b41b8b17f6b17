package p2p

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// emptyHome makes a home without an engine's rows in it.
func emptyHome(t testing.TB, passphrase []byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "home")
	b, err := newBuild(dir, passphrase, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.finish(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAHomeIsForItsOwnerOnly(t *testing.T) {
	dir := emptyHome(t, nil)
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		info, _ := d.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err := CheckHome(dir); err != nil {
		t.Fatalf("a fresh home: %v", err)
	}
	for _, name := range []string{".", vaultFile, hostFile, storeFile} {
		path := filepath.Join(dir, name)
		info, _ := os.Stat(path)
		os.Chmod(path, info.Mode().Perm()|0o044)
		err := CheckHome(dir)
		var p *view.Problem
		if !errors.Is(err, ErrPermissions) || !errors.As(err, &p) || !strings.HasPrefix(p.Hint, "chmod ") {
			t.Errorf("%s readable by others: %v", name, err)
			continue
		}
		words := strings.Fields(p.Hint) // the hint is the command that repairs it
		if len(words) != 3 || words[2] != path && words[2] != dir {
			t.Errorf("hint %q", p.Hint)
		}
		os.Chmod(path, info.Mode().Perm())
		if err := CheckHome(dir); err != nil {
			t.Errorf("%s repaired: %v", name, err)
		}
	}
}

func TestTheHostKeyIsSealed(t *testing.T) {
	dir := emptyHome(t, []byte("secret"))
	h, err := openHome(dir, []byte("secret"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer h.store.Close()
	for _, f := range []string{vaultFile, hostFile, storeFile} {
		raw, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, h.key.Seed()) {
			t.Errorf("%s holds the host key in the clear", f)
		}
	}
	if _, err := openHome(dir, []byte("wrong"), false); !errors.Is(err, vault.ErrPassphrase) {
		t.Errorf("wrong passphrase: %v", err)
	}
	if _, err := openHome(dir, nil, false); !errors.Is(err, vault.ErrNeedPassphrase) {
		t.Errorf("no passphrase: %v", err)
	}
	sealed, _ := os.ReadFile(filepath.Join(dir, hostFile))
	sealed[len(sealed)-1] ^= 1
	os.WriteFile(filepath.Join(dir, hostFile), sealed, fileMode)
	if _, err := readHostKey(dir, h.vault); !errors.Is(err, vault.ErrDamaged) {
		t.Errorf("damaged host key: %v", err)
	}
}

func TestAnIdentityIsNeverOverwritten(t *testing.T) {
	dir := emptyHome(t, nil)
	before, _ := os.ReadFile(filepath.Join(dir, vaultFile))
	if _, err := newBuild(dir, nil, time.Now(), rand.Reader); !errors.Is(err, ErrExists) {
		t.Fatalf("a second identity: %v", err)
	}
	after, _ := os.ReadFile(filepath.Join(dir, vaultFile))
	if !bytes.Equal(before, after) {
		t.Error("the vault changed")
	}
	// Without the store the keys stay as well: whoever puts it back needs them.
	if err := os.Rename(filepath.Join(dir, storeFile), filepath.Join(dir, "aside")); err != nil {
		t.Fatal(err)
	}
	if err := CheckHome(dir); !errors.Is(err, boltstore.ErrApart) {
		t.Errorf("keys without a store: %v", err)
	}
	if _, err := newBuild(dir, nil, time.Now(), rand.Reader); !errors.Is(err, ErrExists) {
		t.Fatalf("an identity over the keys of another: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, vaultFile)); err != nil { // the control
		t.Fatal(err)
	}
	b, err := newBuild(dir, nil, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b.abandon()
}

func TestAnInterruptedInitLeavesNoIdentity(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	b, err := newBuild(dir, nil, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b.store.Close() // the process dies here
	if Exists(dir) {
		t.Fatal("a half-made identity")
	}
	if err := CheckHome(dir); !errors.Is(err, ErrNoHome) {
		t.Errorf("CheckHome: %v", err)
	}
	again, err := newBuild(dir, nil, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.finish(); err != nil || !Exists(dir) {
		t.Errorf("the second try: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, buildDir)); len(left) > 0 {
		t.Error("the build folder is left")
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	dir := emptyHome(t, nil)
	h, err := openHome(dir, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openHome(dir, nil, false); !errors.Is(err, ErrLocked) {
		t.Errorf("a second owner: %v", err)
	}
	h.store.Close()
	h, err = openHome(dir, nil, false) // the control
	if err != nil {
		t.Fatal(err)
	}
	h.store.Close()
}

func TestTheSamePhraseIsTheSamePerson(t *testing.T) {
	dir := t.TempDir()
	phrase, id, err := Init(filepath.Join(dir, "a"), InitParams{Name: "Ada", DeviceName: "desk"})
	if err != nil {
		t.Fatal(err)
	}
	_, again, err := Init(filepath.Join(dir, "b"), InitParams{Name: "Ada", DeviceName: "other", Phrase: phrase})
	if err != nil || again.User != id.User || again.Device == id.Device {
		t.Errorf("%+v, %v", again, err)
	}
	words := strings.Fields(phrase)
	words[3] = "kith"
	_, _, err = Init(filepath.Join(dir, "c"), InitParams{Name: "Ada", Phrase: strings.Join(words, " ")})
	if !errors.Is(err, view.ErrUsage) || !strings.Contains(err.Error(), "word 4") || strings.Contains(err.Error(), "kith") {
		t.Errorf("a wrong word: %v", err)
	}
	if Exists(filepath.Join(dir, "c")) {
		t.Error("an identity from a wrong phrase")
	}
	for _, f := range []string{vaultFile, hostFile, storeFile} {
		raw, _ := os.ReadFile(filepath.Join(dir, "a", f))
		if bytes.Contains(raw, []byte(phrase)) {
			t.Errorf("%s holds the phrase", f)
		}
	}
	var seen view.Identity
	if err := View(filepath.Join(dir, "a"), nil, func(tx store.Tx) error { seen, err = node.Identity(tx); return err }); err != nil || seen != id {
		t.Errorf("read without a daemon: %+v, %v", seen, err)
	}
}

func TestAMissingHomeNamesTheNextCommand(t *testing.T) {
	_, err := openHome(filepath.Join(t.TempDir(), "none"), nil, true)
	var p *view.Problem
	if !errors.Is(err, ErrNoHome) || !errors.As(err, &p) || p.Hint != "kith init" {
		t.Errorf("%v", err)
	}
}
