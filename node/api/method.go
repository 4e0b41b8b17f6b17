package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
)

// Scope says what a method may do.
type Scope string

// The scopes, each wider than the one before.
const (
	ScopeRead   Scope = "read"   // sees what the person sees
	ScopeTalk   Scope = "talk"   // sends, marks as read
	ScopeManage Scope = "manage" // changes contacts, devices, relaying
)

// Method is one row of the table.
type Method struct {
	Name     string
	Scope    Scope
	Type     string // the "type" of its response
	Doc      string
	Offline  bool // works on a store that is open read-only, without a node
	Slow     bool // waits for the network or for people: has no time limit of its own
	request  reflect.Type
	response reflect.Type
	run      func(ctx context.Context, b *Backend, raw json.RawMessage) (any, error)
}

// method makes a row from a typed handler.
func method[Q, A any](name string, scope Scope, typ, doc string, run func(context.Context, *Backend, Q) (A, error)) Method {
	return Method{
		Name: name, Scope: scope, Type: typ, Doc: doc,
		request: reflect.TypeFor[Q](), response: reflect.TypeFor[A](),
		run: func(ctx context.Context, b *Backend, raw json.RawMessage) (any, error) {
			var q Q
			if err := decodeStrict(raw, &q); err != nil {
				return nil, Fail(ExitUsage, fmt.Sprintf("the request of %s: %v", name, err), "kith api --help")
			}
			return run(ctx, b, q)
		},
	}
}

func (m Method) offline() Method { m.Offline = true; return m }
func (m Method) slow() Method    { m.Slow = true; return m }

// turn makes a handler that runs one function of the engine in a turn.
func turn[Q, A any](fn func(*node.Engine, *node.Turn, Q) (A, error)) func(context.Context, *Backend, Q) (A, error) {
	return func(ctx context.Context, b *Backend, q Q) (a A, err error) {
		err = b.Do(ctx, func(e *node.Engine, t *node.Turn) (err error) {
			a, err = fn(e, t, q)
			return err
		})
		return a, err
	}
}

// stored makes a handler that runs one function in a read transaction beside the engine.
func stored[Q, A any](fn func(store.Tx, Q) (A, error)) func(context.Context, *Backend, Q) (A, error) {
	return func(_ context.Context, b *Backend, q Q) (a A, err error) {
		err = b.View(func(tx store.Tx) (err error) {
			a, err = fn(tx, q)
			return err
		})
		return a, err
	}
}

// look makes a handler that reads the store and the engine.
func look[Q, A any](fn func(store.Tx, *node.Engine, time.Time, Q) (A, error)) func(context.Context, *Backend, Q) (A, error) {
	return func(ctx context.Context, b *Backend, q Q) (a A, err error) {
		err = b.look(ctx, func(tx store.Tx, e *node.Engine, now time.Time) (err error) {
			a, err = fn(tx, e, now, q)
			return err
		})
		return a, err
	}
}

// Methods returns the table, in the order of the reference.
func Methods() []Method { return table }

// Find returns the method of a name.
func Find(name string) (Method, bool) {
	for _, m := range table {
		if m.Name == name {
			return m, true
		}
	}
	return Method{}, false
}

// call runs a method on b and returns its object.
func call(ctx context.Context, b *Backend, name string, raw json.RawMessage) ([]byte, error) {
	m, ok := Find(name)
	if !ok {
		return nil, Fail(ExitUsage, fmt.Sprintf("there is no method %q", name), "kith api --help")
	}
	if b.Do == nil && !m.Offline {
		return nil, ErrorOf(ErrNoNode)
	}
	if !m.Slow {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	answer, err := m.run(ctx, b, raw)
	if err != nil {
		return nil, err
	}
	return Object(m.Type, answer)
}

// Object writes v, a struct, as an object that begins with "v" and "type". A v that has a "type" of its own keeps it:
// pass "".
func Object(typ string, v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(raw) < 2 || raw[0] != '{' {
		return nil, fmt.Errorf("%T is not an object", v)
	}
	head := fmt.Sprintf(`{"v":%d`, Version)
	if typ != "" {
		head += fmt.Sprintf(`,"type":%q`, typ)
	}
	if len(raw) > 2 {
		head += ","
	}
	return append([]byte(head), raw[1:]...), nil
}

var errTrailing = errors.New("more than one JSON value")

// decodeStrict refuses unknown fields and anything after the value. Nothing at all is the empty object.
func decodeStrict(raw []byte, into any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errTrailing
	}
	return nil
}
