package p2p

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/kith-im/kith/crypto/agree"
	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/dht/boltfile"
	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/backup"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Files of the home folder.
const (
	vaultFile  = boltstore.KeyFile  // crypto/vault
	hostFile   = "host.key"         // seed of the libp2p key, sealed by the vault
	storeFile  = boltstore.FileName // node/boltstore
	relayFile  = "relay.db"         // mailbox/boltbox
	filesDir   = "files"            // mailbox/blobs: chunks of the files of our messages
	chunkDir   = "relay-files"      // mailbox/blobs, of the relay
	stockFile  = "relay-prekeys.db" // mailbox/relay/prekey
	dhtFile    = "dht.db"           // dht/kad
	socketFile = "api.sock"         // node/api
	buildDir   = ".new"             // Init and Link build here, then rename
	seedFile   = "link.seed"        // of a linking that was begun; only in buildDir
	configFile = "config.toml"      // the commands' configuration
)

// Errors of the home folder and of the node, each with an exit code of its own.
var (
	// ErrNoHome: no identity in this home folder (exit 10).
	ErrNoHome = errors.New("no identity here")
	// ErrExists: Init or Link would overwrite an identity (exit 1).
	ErrExists = errors.New("an identity is here already")
	// ErrPermissions: others may read the folder or a key file (exit 1).
	ErrPermissions = errors.New("unsafe permissions")
	// ErrLocked: another process owns the store (exit 11).
	ErrLocked = boltstore.ErrLocked
	// ErrClosed: the node is shutting down (exit 5).
	ErrClosed = errors.New("the node is shutting down")
	// ErrCannotStore: the disk refuses writes, for example because it is full (exit 1).
	ErrCannotStore = errors.New("cannot store")
)

// SocketPath is where the daemon of a home folder listens.
func SocketPath(home string) string { return filepath.Join(home, socketFile) }

// Exists reports whether home holds an identity.
func Exists(home string) bool {
	_, err := os.Stat(filepath.Join(home, storeFile))
	return err == nil
}

// orphaned reports whether home has the keys of a store that is not there, and that no Init or Link left behind that was
// cut off: whoever puts the store back needs them.
func orphaned(home string) bool {
	_, keys := os.Stat(filepath.Join(home, vaultFile))
	_, build := os.Stat(filepath.Join(home, buildDir))
	return keys == nil && errors.Is(build, fs.ErrNotExist) && !Exists(home)
}

// CheckHome refuses a home folder, or a key file in it, that others may enter
// or read. The problem's hint is the command that repairs it.
func CheckHome(home string) error {
	if err := checkMode(home, folderMode); err != nil {
		return err
	}
	for _, f := range []string{vaultFile, hostFile, storeFile} {
		err := checkMode(filepath.Join(home, f), fileMode)
		if errors.Is(err, ErrNoHome) && (Exists(home) || orphaned(home)) {
			return &view.Problem{
				Class:   boltstore.ErrApart,
				Message: filepath.Join(home, f) + " is missing, and without it nothing here opens: put it back, or begin from a backup in another folder",
				Hint:    "kith --home OTHER-FOLDER init --phrase-file WORDS --backup FILE",
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkMode(path string, want fs.FileMode) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return noHome(path)
	case err != nil:
		return fmt.Errorf("home folder: %w", err)
	case info.Mode().Perm()&^want != 0:
		return &view.Problem{
			Class:   ErrPermissions,
			Message: fmt.Sprintf("%s has mode %04o: others could read it", path, info.Mode().Perm()),
			Hint:    fmt.Sprintf("chmod %o %s", want, path),
		}
	}
	return nil
}

func noHome(path string) error {
	return &view.Problem{
		Class:   ErrNoHome,
		Message: "no identity here: " + path + " is missing",
		Hint:    "kith init",
	}
}

// home is an opened home folder.
type home struct {
	dir   string
	vault *vault.Vault       // as it was opened
	key   ed25519.PrivateKey // libp2p
	store *boltstore.Store
}

// openHome checks the folder and opens vault, key and store.
func openHome(dir string, passphrase []byte, readOnly bool) (*home, error) {
	if agree.StandIn {
		return nil, errSimulator()
	}
	if err := CheckHome(dir); err != nil {
		return nil, err
	}
	for {
		before, _ := os.ReadFile(filepath.Join(dir, vaultFile))
		h := &home{dir: dir}
		err := h.open(passphrase, readOnly)
		if err == nil {
			return h, nil
		}
		// Whoever owned the store may have changed its keys between our reading the one and the other.
		if after, e := os.ReadFile(filepath.Join(dir, vaultFile)); e != nil || bytes.Equal(before, after) {
			return nil, err
		}
	}
}

// open has the store before the host key: it says best that the key file is of another time.
func (h *home) open(passphrase []byte, readOnly bool) (err error) {
	if h.vault, err = boltstore.ReadKeys(h.dir, passphrase); err != nil {
		return keysProblem(h.dir, err)
	}
	h.store, err = boltstore.Open(h.dir, h.vault, boltstore.Options{ReadOnly: readOnly, Also: h.resealHostKey})
	if err != nil {
		return fmt.Errorf("%s: %w", storeFile, err)
	}
	if h.key, err = readHostKey(h.dir, h.vault); err != nil {
		h.store.Close()
	}
	return err
}

// keysProblem says in words what is wrong with a key file.
func keysProblem(dir string, err error) error {
	path := filepath.Join(dir, vaultFile)
	for _, c := range []struct {
		is          error
		words, hint string
	}{
		{vault.ErrNeedPassphrase, dir + " has a passphrase, and none was given", ""},
		{vault.ErrPassphrase, "wrong passphrase for " + dir, ""},
		{vault.ErrDamaged, path + " is damaged: put back a copy of it that is of one time with " + storeFile, "kith doctor"},
		{vault.ErrNewer, path + " was written by a newer kith", "kith version"},
	} {
		if errors.Is(err, c.is) {
			return &view.Problem{Class: c.is, Message: c.words, Hint: c.hint}
		}
	}
	return fmt.Errorf("home folder: %w", err)
}

// settle brings a fresh key for what must be forgotten, so that a copy of the store alone which is put back between two
// starts is always older than its keys. If it was, or if a session or prekey is damaged, the device begins anew with its peers.
func (h *home) settle(ctx context.Context, now time.Time, rng io.Reader, log *slog.Logger) error {
	why := ""
	if h.store.Restored() {
		why = "it was put back beside newer keys"
	} else if err := h.store.Rotate(ctx, vault.Fleeting, now); errors.Is(err, boltstore.ErrDamaged) {
		log.Warn("the store is damaged", "err", err)
		why = "some of it was damaged"
	} else if err != nil {
		log.Warn("the keys of the store were not renewed", "err", err) // a full disk for instance: keepKeys tries again
	}
	if why == "" {
		return nil
	}
	log.Warn("sessions begin anew: the store is not as this device left it", "why", why)
	if err := h.store.Forget(func(tx store.Tx) error { return afresh(tx, now, rng, why) }); err != nil {
		return fmt.Errorf("%s: %w", storeFile, err)
	}
	return nil
}

// afresh tells the others by a new generation that this device knows none of their sessions. The engine is one for this
// alone: what it wants done, the one that is loaded next wants as well.
func afresh(tx store.Tx, now time.Time, rng io.Reader, why string) error {
	t := &node.Turn{Now: now, Rand: rng, Tx: tx, Out: &node.Effects{}}
	e, err := node.Load(t, node.Config{})
	if err == nil {
		e.Afresh(t, why)
	}
	return err
}

// keepKeys renews the keys of the store as they come of age.
func (n *Node) keepKeys(ctx context.Context) {
	tick := time.NewTicker(keysEvery)
	defer tick.Stop()
	for {
		if err := n.home.store.Renew(ctx, n.cfg.Now()); err != nil && ctx.Err() == nil {
			n.cfg.Log.Warn("the keys of the store were not renewed", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Protected says whether the home needs a passphrase.
func Protected(dir string) bool { return boltstore.KeysLocked(dir) }

// Relock gives a home that no node has open another passphrase (empty: none) and fresh keys, so that an old copy of its key
// file opens nothing in its store. If it fails half way, changed says which passphrase counts; the next start goes on.
func Relock(ctx context.Context, dir string, old, fresh []byte, now time.Time) (changed bool, err error) {
	h, err := openHome(dir, old, false)
	if err != nil {
		return false, err
	}
	defer h.store.Close()
	return h.store.Relock(ctx, fresh, now)
}

// CheckHostKey says whether the host key is as it was written.
func CheckHostKey(dir string, v *vault.Vault) error {
	_, err := readHostKey(dir, v)
	return err
}

// hostKeyPlace binds the sealed host key to its place.
var hostKeyPlace = []byte("kith1 host key")

func readHostKey(dir string, v *vault.Vault) (ed25519.PrivateKey, error) {
	sealed, err := os.ReadFile(filepath.Join(dir, hostFile))
	if err != nil {
		return nil, fmt.Errorf("home folder: %w", err)
	}
	seed, err := v.Open(vault.Lasting, hostKeyPlace, sealed)
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, &view.Problem{Class: vault.ErrDamaged, Message: filepath.Join(dir, hostFile) + " is damaged: put back a copy of it that is of one time with " + vaultFile, Hint: "kith doctor"}
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// resealHostKey puts the host key under the vault's current key.
func (h *home) resealHostKey(v *vault.Vault) error {
	path := filepath.Join(h.dir, hostFile)
	if sealed, err := os.ReadFile(path); err != nil || !v.Stale(vault.Lasting, sealed) {
		return err
	}
	sealed, err := v.Seal(rand.Reader, vault.Lasting, hostKeyPlace, h.key.Seed())
	if err != nil {
		return err
	}
	return boltstore.Replace(path, sealed)
}

// build makes the files of a new home in a folder of their own, so that an
// interrupted Init or Link leaves nothing that looks like an identity.
type build struct {
	home
	target string
}

func buildFor(target string) *build {
	return &build{target: target, home: home{dir: filepath.Join(target, buildDir)}}
}

// newBuild begins a home for target. It refuses one that has an identity.
func newBuild(target string, passphrase []byte, now time.Time, rng io.Reader) (*build, error) {
	if Exists(target) {
		return nil, &view.Problem{
			Class:   ErrExists,
			Message: target + " holds an identity already",
			Hint:    "kith --home OTHER-FOLDER init",
		}
	}
	if orphaned(target) {
		return nil, &view.Problem{
			Class:   ErrExists,
			Message: target + " holds the keys of a store that is missing (" + storeFile + "): put it back, or take another folder",
			Hint:    "kith --home OTHER-FOLDER init",
		}
	}
	if err := os.MkdirAll(target, folderMode); err != nil {
		return nil, fmt.Errorf("home folder: %w", err)
	}
	if err := checkMode(target, folderMode); err != nil {
		return nil, err
	}
	b := buildFor(target)
	if err := os.RemoveAll(b.dir); err != nil {
		return nil, fmt.Errorf("home folder: %w", err)
	}
	if err := os.Mkdir(b.dir, folderMode); err != nil {
		return nil, fmt.Errorf("home folder: %w", err)
	}
	if err := b.fill(passphrase, now, rng); err != nil {
		b.abandon()
		return nil, err
	}
	return b, nil
}

// fill draws the secrets and makes the files.
func (b *build) fill(passphrase []byte, now time.Time, rng io.Reader) error {
	v, err := vault.Create(rng, passphrase, now)
	if err != nil {
		return fmt.Errorf("%s: %w", vaultFile, err)
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rng, seed); err != nil {
		return fmt.Errorf("entropy: %w", err)
	}
	sealed, err := v.Seal(rng, vault.Lasting, hostKeyPlace, seed)
	if err != nil {
		return fmt.Errorf("%s: %w", hostFile, err)
	}
	b.vault, b.key = v, ed25519.NewKeyFromSeed(seed)
	if err := boltstore.SaveKeys(b.dir, v); err != nil {
		return fmt.Errorf("home folder: %w", err)
	}
	if err := writeFile(filepath.Join(b.dir, hostFile), sealed); err != nil {
		return err
	}
	return b.emptyStore()
}

// emptyStore makes the store anew.
func (b *build) emptyStore() (err error) {
	if b.store != nil {
		b.store.Close()
		b.store = nil
	}
	if err := os.RemoveAll(filepath.Join(b.dir, storeFile)); err != nil {
		return fmt.Errorf("home folder: %w", err)
	}
	if b.store, err = boltstore.Create(b.dir, b.vault); err != nil {
		return fmt.Errorf("%s: %w", storeFile, err)
	}
	return nil
}

// finish closes the store and moves the files to their place, the store last:
// it is what makes the folder an identity.
func (b *build) finish() error {
	if err := b.store.Close(); err != nil {
		return fmt.Errorf("%s: %w", storeFile, err)
	}
	for _, f := range []string{vaultFile, hostFile, storeFile} {
		if err := os.Rename(filepath.Join(b.dir, f), filepath.Join(b.target, f)); err != nil {
			return fmt.Errorf("home folder: %w", err)
		}
	}
	if err := boltfile.SyncFolder(b.target); err != nil {
		return fmt.Errorf("home folder: %w", err)
	}
	return os.RemoveAll(b.dir)
}

// abandon removes what was built.
func (b *build) abandon() {
	if b.store != nil {
		b.store.Close()
	}
	os.RemoveAll(b.dir)
}

func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("home folder: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("home folder: %w", err)
	}
	return nil
}

// InitParams of a new identity. Now and Rand may be nil.
type InitParams struct {
	Name       string
	DeviceName string
	Passphrase []byte
	Phrase     string // empty: a new one is drawn; else the person's own
	// Fill, if not nil, is what else there is to be in the home before it is one.
	Fill func(Turns) error
	Now  func() time.Time
	Rand io.Reader
}

// Init makes the home folder and a new identity in it. It returns the recovery
// phrase, which is kept nowhere. An interrupted Init leaves no identity.
func Init(dir string, p InitParams) (phrase string, id view.Identity, err error) {
	if agree.StandIn {
		return "", id, errSimulator()
	}
	p.Now, p.Rand = defaults(p.Now, p.Rand)
	words, err := phraseOf(p)
	if err != nil {
		return "", id, err
	}
	b, err := newBuild(dir, p.Passphrase, p.Now(), p.Rand)
	if err != nil {
		return "", id, err
	}
	root := words.Root()
	err = b.store.Update(func(tx store.Tx) error {
		t := &node.Turn{Now: p.Now(), Rand: p.Rand, Tx: tx, Out: &node.Effects{}}
		params := node.CreateParams{Root: root, Name: p.Name, DeviceName: p.DeviceName, BackupKey: backup.PublicKey(root.Backup())}
		if p.Phrase != "" {
			params.Epoch = node.RecoveryEpoch(t.Now) // the account exists already
		}
		e := node.Create(t, params)
		if e != nil {
			return e
		}
		id, e = node.Identity(tx)
		return e
	})
	if err == nil && p.Fill != nil {
		err = p.Fill(turnsOf(b.store, p.Now, p.Rand))
	}
	if err != nil {
		b.abandon()
		return "", id, err
	}
	if err := b.finish(); err != nil {
		return "", id, err
	}
	return string(words), id, nil
}

func phraseOf(p InitParams) (identity.Phrase, error) {
	if p.Phrase != "" {
		w, err := identity.ParsePhrase(p.Phrase)
		if err != nil {
			return "", &view.Problem{Class: view.ErrUsage, Message: err.Error(), Hint: "kith init --phrase-file FILE"}
		}
		return w, nil
	}
	w, err := identity.NewPhrase(p.Rand)
	if err != nil {
		return "", fmt.Errorf("recovery phrase: %w", err)
	}
	return w, nil
}

func defaults(now func() time.Time, rng io.Reader) (func() time.Time, io.Reader) {
	if now == nil {
		now = time.Now
	}
	if rng == nil {
		rng = rand.Reader
	}
	return now, rng
}
