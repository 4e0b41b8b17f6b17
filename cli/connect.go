package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/p2p"
	"github.com/kith-im/kith/node/store"
)

// caller is a running node, or the store that it left.
type caller interface {
	Call(ctx context.Context, method string, req, resp any) error
	Raw(ctx context.Context, method string, req json.RawMessage) (json.RawMessage, error)
}

// node is the running node.
func (a *app) node() (*api.Client, error) {
	c, err := api.Dial(p2p.SocketPath(a.folders.Home))
	if err == nil {
		return c, nil
	}
	// A home that others can read is a worse problem than one without a node.
	if err := p2p.CheckHome(a.folders.Home); err != nil {
		return nil, err
	}
	return nil, api.ErrorOf(err)
}

// reader is the running node, or else its store, open read-only.
func (a *app) reader() (caller, error) {
	c, err := api.Dial(p2p.SocketPath(a.folders.Home))
	if err == nil {
		return c, nil
	}
	if err := p2p.CheckHome(a.folders.Home); err != nil {
		return nil, err
	}
	secret, err := a.readPassphrase()
	if err != nil {
		return nil, err
	}
	return api.Local{Open: func(fn func(store.Tx) error) error { return p2p.View(a.folders.Home, secret, fn) }}, nil
}

// ask runs a method and prints its answer: as it is with --json, else by human.
func ask[A any](ctx context.Context, a *app, c caller, method string, req any, human func(A)) error {
	raw, err := c.Raw(ctx, method, jsonOf(req))
	if err != nil {
		return err
	}
	var answer A
	if err := json.Unmarshal(raw, &answer); err != nil {
		return err
	}
	return a.emit(raw, func() { human(answer) })
}

// jsonOf is a request as JSON; each is a plain struct of ours.
func jsonOf(req any) json.RawMessage {
	raw, err := json.Marshal(req)
	if err != nil {
		panic(fmt.Sprintf("%T is no JSON: %v", req, err)) // only our own bug
	}
	return raw
}

// readSmall reads a file of limited size.
func readSmall(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := readAtMost(f, most)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return raw, nil
}

func readAtMost(r io.Reader, most int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(raw)) > most {
		err = fmt.Errorf("longer than %d bytes", most)
	}
	return raw, err
}
