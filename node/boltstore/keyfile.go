package boltstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/dht/boltfile"
)

const keyMode fs.FileMode = 0o600

// ReadKeys opens the key file in dir. Its errors are vault.Open's, and those of the file.
func ReadKeys(dir string, passphrase []byte) (*vault.Vault, error) {
	raw, err := readKeyFile(dir)
	if err != nil {
		return nil, err
	}
	v, err := vault.Open(raw, passphrase)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", KeyFile, err)
	}
	return v, nil
}

// KeysLocked says whether the key file in dir needs a passphrase.
func KeysLocked(dir string) bool {
	raw, err := readKeyFile(dir)
	return err == nil && vault.Locked(raw)
}

func readKeyFile(dir string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, KeyFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(vault.MaxFile)+1))
}

// SaveKeys puts the vault's file into dir. Whoever calls it holds the store's lock, or there is no store yet.
func SaveKeys(dir string, v *vault.Vault) error { return saveKeys(dir, v, func(string) {}) }

// saveKeys says each step that it has made.
func saveKeys(dir string, v *vault.Vault, step func(string)) error {
	raw, err := v.File(rand.Reader)
	if err != nil {
		return err
	}
	defer clear(raw)
	return replace(filepath.Join(dir, KeyFile), raw, step)
}

// Replace writes a small file, durably, in place of the one that is there, and destroys that: its bytes are overwritten,
// which a file system or a disk that writes elsewhere does not do.
func Replace(path string, raw []byte) error { return replace(path, raw, func(string) {}) }

func replace(path string, raw []byte, step func(string)) error {
	fresh := path + ".new"
	err := destroy(fresh) // of a process that was interrupted
	if err == nil {
		err = writeSynced(fresh, raw, step)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	old, _ := os.OpenFile(path, os.O_WRONLY, 0) // nil: there is none yet
	if old != nil {
		defer old.Close()
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	step("renamed")
	if err := boltfile.SyncFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	step("folder synced")
	if old != nil {
		_ = overwrite(old) // nobody finds the file any more; this is for who reads the disk
	}
	step("old file destroyed")
	return nil
}

func writeSynced(path string, raw []byte, step func(string)) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, keyMode)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(raw[:len(raw)/2]); err != nil {
		return err
	}
	step("half written")
	if _, err := f.Write(raw[len(raw)/2:]); err != nil {
		return err
	}
	step("written")
	return errors.Join(f.Sync(), f.Close())
}

// destroy overwrites a file and removes it; none is fine.
func destroy(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_ = overwrite(f)
	return errors.Join(f.Close(), os.Remove(path))
}

func overwrite(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(make([]byte, min(info.Size(), int64(vault.MaxFile))), 0); err != nil {
		return err
	}
	return f.Sync()
}
