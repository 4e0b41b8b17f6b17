package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/backup"
	backuppb "github.com/kith-im/kith/node/backup/pb"
	"github.com/kith-im/kith/node/files"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/talk"
	"github.com/kith-im/kith/node/transfer"
	"github.com/kith-im/kith/node/view"
)

// Files is what moves the files of messages.
type Files interface {
	// Seal seals files into the device's chunk store, for a message that is about to be written.
	Seal(ctx context.Context, list []files.Attachment) (*files.Sealed, error)
	// SealPicture seals a small copy of a picture, for a profile.
	SealPicture(ctx context.Context, path string) (*files.Sealed, error)
	// Live is how many bytes of a file have moved, of those that move now, by number.
	Live() map[uint64]uint64
	// Moved returns a channel that is closed when Live has changed, at most ten times a second.
	Moved() <-chan struct{}
}

// FileRequest is a file to be sent. The node reads it.
type FileRequest struct {
	Path    string `json:"path"`           // absolute
	Name    string `json:"name,omitempty"` // that the recipient sees; default: the last part of the path
	Sticker bool   `json:"sticker,omitempty"`
}

// SaveRequest names a file of a message and the folder that it is wanted in.
type SaveRequest struct {
	ID      string `json:"id"`                // message
	Index   int    `json:"index,omitempty"`   // of the file in the message, from 0
	Dir     string `json:"dir"`               // absolute; it must exist
	Preview bool   `json:"preview,omitempty"` // the small picture of the file, not the file
}

// Saved says where a file was written. The name is the sender's as far as it can be one, and no other file's.
type Saved struct {
	Path string `json:"path"`
	Size uint64 `json:"size"`
}

// TransfersRequest may wait for the next sign of progress.
type TransfersRequest struct {
	WaitMS int64 `json:"wait_ms,omitempty"` // answer when something has moved, at the latest after so long; 0: at once
}

// Transfers are the files on their way.
type Transfers struct {
	Transfers []view.Transfer `json:"transfers"`
}

// TransferRequest names a file of a message.
type TransferRequest struct {
	ID    string `json:"id"`
	Index int    `json:"index,omitempty"`
}

// attach seals the files of a request, unless its key says that the message is written already.
func attach(ctx context.Context, b *Backend, q SendRequest) (*files.Sealed, error) {
	if len(q.Files) == 0 {
		return &files.Sealed{}, nil
	}
	if len(q.Files) > transfer.MaxFiles {
		return nil, Fail(ExitUsage, fmt.Sprintf("a message has at most %d files", transfer.MaxFiles), "kith send --help")
	}
	before := false
	err := b.View(func(tx store.Tx) error {
		before = talk.SentBefore(tx, q.Key) != nil
		return nil
	})
	if err != nil || before {
		return &files.Sealed{}, err
	}
	var list []files.Attachment
	for _, f := range q.Files {
		if !filepath.IsAbs(f.Path) {
			return nil, Fail(ExitUsage, fmt.Sprintf("the path %q is not absolute", f.Path), "kith send --help")
		}
		list = append(list, files.Attachment{Path: f.Path, Name: f.Name, Sticker: f.Sticker})
	}
	sealed, err := b.Files.Seal(ctx, list)
	return sealed, fileProblem(err)
}

// settle keeps what was sealed if a message names it now, and drops it otherwise.
func settle(b *Backend, sealed *files.Sealed) {
	if len(sealed.Files) == 0 {
		return
	}
	known := false
	err := b.View(func(tx store.Tx) error {
		known = transfer.Known(tx, sealed.Files[0].Manifest)
		return nil
	})
	if known || err != nil { // who cannot look drops nothing; the next start does
		sealed.Keep()
	} else {
		sealed.Discard()
	}
}

// fileProblem is an error with files as a person reads it.
func fileProblem(err error) error {
	var p *os.PathError
	switch {
	case errors.Is(err, files.ErrNoRoom):
		return Fail(ExitFailed, err.Error(), "df -h")
	case errors.As(err, &p):
		return Fail(ExitFailed, err.Error(), "kith send --help")
	}
	return err
}

// fileSave returns when the file is in its folder, or when it cannot be had. The node goes on if the caller does not wait.
func fileSave(ctx context.Context, b *Backend, q SaveRequest) (Saved, error) {
	if !filepath.IsAbs(q.Dir) {
		return Saved{}, Fail(ExitUsage, fmt.Sprintf("the folder %q is not absolute", q.Dir), "kith save --help")
	}
	if info, err := os.Stat(q.Dir); err != nil || !info.IsDir() {
		return Saved{}, Fail(ExitUsage, fmt.Sprintf("there is no folder %s", q.Dir), "kith save --help")
	}
	err := b.Do(ctx, func(e *node.Engine, t *node.Turn) error {
		return e.SaveFile(t, q.ID, q.Index, q.Preview, q.Dir)
	})
	for err == nil {
		var cursor uint64
		var waits bool
		var v view.Transfer
		err = b.View(func(tx store.Tx) (err error) {
			cursor = newest(tx)
			v, waits, err = node.FileOf(tx, q.ID, q.Index, q.Preview)
			return err
		})
		switch {
		case err != nil:
		case waits:
			err = b.changed(ctx, cursor)
		case v.Saved == "":
			return Saved{}, Fail(ExitFailed, "the file was not saved: "+v.Error, "kith transfers")
		default:
			return Saved{Path: v.Saved, Size: v.Size}, nil
		}
	}
	return Saved{}, err
}

// transfers lists what is on its way, with the progress of this moment.
func transfers(ctx context.Context, b *Backend, q TransfersRequest) (out Transfers, err error) {
	wait := min(max(0, time.Duration(q.WaitMS)*time.Millisecond), maxWait)
	if wait > 0 && b.Files != nil {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		select {
		case <-b.Files.Moved():
		case <-ctx.Done():
		}
	}
	err = b.View(func(tx store.Tx) error {
		out.Transfers = transfer.Views(tx)
		return nil
	})
	if b.Files == nil {
		return out, err
	}
	live := b.Files.Live()
	for i, v := range out.Transfers {
		if done, moves := live[v.Number]; moves {
			out.Transfers[i].Done = done
		}
	}
	return out, err
}

func transferCancel(e *node.Engine, t *node.Turn, q TransferRequest) (view.Transfer, error) {
	if err := e.CancelFile(t, q.ID, q.Index); err != nil {
		return view.Transfer{}, err
	}
	v, _, err := node.FileOf(t.Tx, q.ID, q.Index, false)
	return v, err
}

// BackupPageRequest asks for the records of a backup from a place on.
type BackupPageRequest struct {
	Cursor []byte `json:"cursor,omitempty"` // next of the answer before; none: from the beginning
}

// BackupPage has records of a backup as docs/storage.md has them, not sealed.
type BackupPage struct {
	Records []byte `json:"records"`
	Next    []byte `json:"next,omitempty"` // none: that was the last
	Key     []byte `json:"key,omitempty"`  // public, with the first page: the recovery words open what is sealed to it
}

// BackupRecords are some records of a backup of ours, in their order from its head on.
type BackupRecords struct {
	Records []byte `json:"records"`
}

func backupMethods() []Method {
	return []Method{
		method("backup_page", ScopeManage, "backup_page", "Some records of a backup. 'kith backup create' seals them and writes the file.", backupPage).offline(),
		method("backup_take", ScopeManage, "backup_taken", "Take in records of a backup of ours; what is here already is merged.", turn(backupTake)),
	}
}

func backupPage(_ context.Context, b *Backend, q BackupPageRequest) (p BackupPage, err error) {
	err = b.View(func(tx store.Tx) (err error) {
		if _, err = node.Identity(tx); err != nil {
			return err
		}
		if len(q.Cursor) == 0 {
			p.Key = tx.Get(store.BucketMeta, backup.RowKey)
		}
		p.Records, p.Next, err = backup.Page(tx, b.Now(), q.Cursor)
		return err
	})
	return p, err
}

func backupTake(e *node.Engine, t *node.Turn, q BackupRecords) (None, error) {
	return None{}, backup.Each(q.Records, func(r *backuppb.Record) error { return e.Restore(t, r) })
}
