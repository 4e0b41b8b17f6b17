package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kith-im/kith/crypto/blob"
	"github.com/kith-im/kith/mailbox/blobs"
	"github.com/kith-im/kith/node/transfer"
)

// save writes a file whose chunks are all here into a folder and returns its path. It appears under its name, which no
// other file has, when all of it is on the disk.
func (s *Service) save(ctx context.Context, r *run) (path string, lost bool, err error) {
	m, opener, err := s.open(r.job)
	if err != nil {
		return "", errors.Is(err, blobs.ErrNotHere), err
	}
	root, err := os.OpenRoot(r.job.Folder)
	if err != nil {
		return "", false, err
	}
	defer root.Close()
	part := fmt.Sprintf(".kith-%x-%d.part", r.job.File.Manifest[:8], r.job.Number)
	_ = root.Remove(part) // of a save that the end of the process cut off
	f, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", false, fullOr(err)
	}
	defer func() { _ = root.Remove(part) }()
	lost, err = s.write(ctx, r, f, m, opener)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", lost, fullOr(err)
	}
	name, err := appear(root, part, transfer.SafeName(r.job.File.Name))
	if err != nil {
		return "", false, fullOr(err)
	}
	return filepath.Join(r.job.Folder, name), false, nil
}

// open reads a manifest that is here.
func (s *Service) open(j transfer.Job) (*blob.Manifest, *blob.Opener, error) {
	key, digest, err := namesOf(j)
	if err != nil {
		return nil, nil, err
	}
	sealed, err := s.c.Chunks.Get(digest)
	if err != nil {
		return nil, nil, err
	}
	m, err := blob.OpenManifest(key, digest, sealed)
	if err != nil {
		return nil, nil, errLies
	}
	if uint64(m.Size) != j.File.Size {
		return nil, nil, errSize
	}
	return m, blob.NewOpener(key, m), nil
}

// namesOf are the key and the digest of the manifest of a file.
func namesOf(j transfer.Job) (key blob.Key, manifest blob.Digest, err error) {
	if len(j.File.Key) != len(key) || len(j.File.Manifest) != len(manifest) {
		return key, manifest, errLies
	}
	return blob.Key(j.File.Key), blob.Digest(j.File.Manifest), nil
}

// What a sender can get wrong, or right on purpose.
var (
	errLies = errors.New("what came is not what its sender described")
	errSize = errors.New("the file has another size than its sender says")
)

func (s *Service) write(ctx context.Context, r *run, f *os.File, m *blob.Manifest, opener *blob.Opener) (lost bool, err error) {
	r.progress.begin(m.Size)
	for i, d := range m.Chunks {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		sealed, err := s.c.Chunks.Get(d)
		if err != nil {
			return errors.Is(err, blobs.ErrNotHere), err
		}
		plain, err := opener.Open(i, sealed, sealed)
		if err != nil {
			return false, errLies
		}
		if _, err := f.Write(plain); err != nil {
			return false, err
		}
		r.progress.add(int64(len(plain)))
	}
	return false, nil
}

// appear gives a file its name, or the first numbered one that is free. It never replaces anything: a link to a name that
// is taken fails. Where a file system knows no links, an empty file takes the name first.
func appear(root *os.Root, part, wanted string) (string, error) {
	for n := 1; n <= maxNames; n++ {
		name := transfer.Numbered(wanted, n)
		err := root.Link(part, name)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			err = replaceOwn(root, part, name)
		}
		if err == nil {
			return name, syncFolder(root)
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s and %d other names are taken", wanted, maxNames-1)
}

func replaceOwn(root *os.Root, part, name string) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return root.Rename(part, name)
}

func syncFolder(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
