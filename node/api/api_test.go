package api_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

var rewrite = flag.Bool("update", false, "rewrite docs/api.md")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a node without an engine: a store in memory and its events.
type world struct {
	mu      sync.Mutex
	store   store.Store
	changed chan struct{}
	next    uint64
}

func newWorld() *world { return &world{store: store.NewMemory(), changed: make(chan struct{})} }

func (w *world) view(fn func(store.Tx) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.store.View(fn)
}

func (w *world) do(_ context.Context, fn func(*node.Engine, *node.Turn) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.store.Update(func(tx store.Tx) error {
		return fn(nil, &node.Turn{Now: time.Now(), Tx: tx, Out: &node.Effects{}})
	})
}

// happen writes an event and wakes those who wait.
func (w *world) happen(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	n := view.Notice{Cursor: w.next, Type: "warning", Text: text}
	raw, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	err = w.store.Update(func(tx store.Tx) error {
		tx.Put(store.BucketEvents, binary.BigEndian.AppendUint64(nil, n.Cursor), raw)
		return nil
	})
	if err != nil {
		panic(err)
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) events(ctx context.Context, at api.Place, most int) (list []view.Notice, next api.Place, err error) {
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		err := w.view(func(tx store.Tx) (err error) {
			list, err = node.Events(tx, at.Cursor, most)
			return err
		})
		if len(list) > 0 {
			at.Cursor = list[len(list)-1].Cursor
		}
		if err != nil || len(list) > 0 {
			return list, at, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, at, ctx.Err()
		}
	}
}

func (w *world) backend() api.Backend {
	return api.Backend{
		View: w.view, Now: time.Now, Do: w.do, Events: w.events, Version: "test",
		Net:   func() api.Net { return api.Net{State: "offline"} },
		Peers: func() []api.Peer { return nil },
		Ping: func(_ context.Context, to string) (time.Duration, error) {
			if strings.HasSuffix(to, "bad") {
				return 0, errors.New("no route")
			}
			return 1500 * time.Microsecond, nil
		},
		Relay:      func() api.Relay { return api.Relay{} },
		SetRelay:   func(bool) error { return nil },
		LimitRelay: func(api.RelayLimits) error { return nil }, DrainRelay: func(context.Context, time.Duration) error { return nil },
		ScrubRelay: func(context.Context) (api.Scrub, error) { return api.Scrub{}, nil },
	}
}

func serve(t *testing.T, w *world) (socket string, c *api.Client) {
	t.Helper()
	socket = filepath.Join(shortDir(t), "api.sock")
	s, err := api.Serve(socket, w.backend(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if c, err = api.Dial(socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return socket, c
}

// shortDir is a folder with a path that a socket may have.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kith-api-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// raw sends one request as bytes and returns the status and the body.
func raw(t *testing.T, socket, verb, path string, body io.Reader) (int, string) {
	t.Helper()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	tr := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	r, err := http.NewRequest(verb, "http://kith"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := (&http.Client{Transport: tr}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestEveryAnswerHasVersionAndType(t *testing.T) {
	socket, _ := serve(t, newWorld())
	for _, m := range api.Methods() {
		body := "{}"
		if m.Name == "message_wait" {
			body = `{"id":"00","stage":"read","timeout_ms":1}`
		}
		if m.Scope != api.ScopeRead && m.Name != "consumer_set" {
			continue // they need an engine; the stories of the commands run them
		}
		status, text := raw(t, socket, "POST", "/v1/"+m.Name, strings.NewReader(body))
		var o struct {
			V                   int
			Type, Message, Hint string
		}
		if err := json.Unmarshal([]byte(text), &o); err != nil || o.V != 1 || o.Type == "" {
			t.Errorf("%s: %s", m.Name, text)
		}
		if want := m.Type; status == http.StatusOK && o.Type != want {
			t.Errorf("%s: type %q, want %q", m.Name, o.Type, want)
		}
		if status != http.StatusOK && (o.Type != "error" || o.Message == "" || o.Hint == "") {
			t.Errorf("%s: an error without words or a next command: %s", m.Name, text)
		}
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	socket, _ := serve(t, newWorld())
	for name, c := range map[string]struct {
		verb, path string
		body       string
		status     int
	}{
		"no such method":  {"POST", "/v1/nothing", "{}", 400},
		"not JSON":        {"POST", "/v1/status", "{", 400},
		"an array":        {"POST", "/v1/inbox", "[]", 400},
		"unknown field":   {"POST", "/v1/messages", `{"chat":"bob","limt":1}`, 400},
		"two values":      {"POST", "/v1/inbox", "{}{}", 400},
		"wrong verb":      {"GET", "/v1/status", "", 400},
		"wrong path":      {"POST", "/v2/status", "{}", 400},
		"bad cursor":      {"GET", "/v1/events?since=x", "", 400},
		"too long":        {"POST", "/v1/inbox", `{"x":"` + strings.Repeat("a", api.MaxRequest) + `"}`, 400},
		"a text too long": {"POST", "/v1/send", `{"to":"bob","text":"` + strings.Repeat("a", api.MaxText+1) + `"}`, 400},
		"no such contact": {"POST", "/v1/messages", `{"chat":"bob"}`, 404},
		"a short TTL":     {"POST", "/v1/invite_create", `{"ttl_seconds":1}`, 400},
		"a long TTL":      {"POST", "/v1/invite_create", `{"ttl_seconds":99999999}`, 400},
		"a long consumer": {"POST", "/v1/consumer_set", `{"consumer":"` + strings.Repeat("a", 65) + `"}`, 400},
		"no such stage":   {"POST", "/v1/message_wait", `{"id":"00","stage":"soon"}`, 400},
		"escaped slashes": {"POST", "/v1/..%2fstatus", "{}", 400},
	} {
		status, text := raw(t, socket, c.verb, c.path, strings.NewReader(c.body))
		if status != c.status || !strings.HasPrefix(text, `{"v":1,"type":"error","code":"`) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
}

func TestTheSocketIsForItsOwnerAndStaleOnesAreReplaced(t *testing.T) {
	w := newWorld()
	socket, _ := serve(t, w)
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	var e *api.Error
	if _, err := api.Serve(socket, w.backend(), nil); !errors.As(err, &e) || e.Exit != api.ExitLocked {
		t.Errorf("a second server: %v", err)
	}
	stale := filepath.Join(shortDir(t), "api.sock")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := api.Dial(stale); !errors.Is(err, api.ErrNoNode) {
		t.Errorf("dial of a stale socket: %v", err)
	}
	s, err := api.Serve(stale, w.backend(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := api.Serve(filepath.Join(shortDir(t), strings.Repeat("x", 120)), w.backend(), nil); err == nil {
		t.Error("a path that no system takes")
	}
}

func TestEventsComeInOrderFromACursor(t *testing.T) {
	w := newWorld()
	_, c := serve(t, w)
	for i := range 300 {
		w.happen(fmt.Sprint(i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, since := range []uint64{0, 17, 255, 299} {
		next := since + 1
		err := c.Events(ctx, since, func(n view.Notice) error {
			if n.Cursor != next {
				t.Errorf("since %d: cursor %d, want %d", since, n.Cursor, next)
			}
			if next++; next > 300 {
				return io.EOF
			}
			return nil
		})
		if !errors.Is(err, io.EOF) {
			t.Errorf("since %d: %v", since, err)
		}
	}
}

// TestNoEventIsMissedByReadersThatComeAndGo has readers break off at random places, come back with their cursor while
// events keep coming, and compares what each saw.
func TestNoEventIsMissedByReadersThatComeAndGo(t *testing.T) {
	const events, readers = 200, 4
	w := newWorld()
	_, c := serve(t, w)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for r := range readers {
		all.Go(func() {
			cursor, seen := uint64(0), uint64(0)
			for cursor < events && ctx.Err() == nil {
				left := 1 + int(cursor*7+uint64(r))%13
				_ = c.Events(ctx, cursor, func(n view.Notice) error {
					if n.Cursor != cursor+1 {
						t.Errorf("reader %d: %d after %d", r, n.Cursor, cursor)
					}
					cursor = n.Cursor
					seen++
					if left--; left == 0 || cursor == events {
						return io.EOF
					}
					return nil
				})
			}
			if seen != events {
				t.Errorf("reader %d saw %d", r, seen)
			}
		})
	}
	for i := range events {
		w.happen(fmt.Sprint(i))
	}
	all.Wait()
}

func TestANamedConsumerGoesOnWhereItSaidItWasDone(t *testing.T) {
	w := newWorld()
	_, c := serve(t, w)
	for i := range 5 {
		w.happen(fmt.Sprint(i))
	}
	read := func(n int) (got []uint64) {
		_ = c.Consume(t.Context(), "bot", func(e view.Notice) error {
			if got = append(got, e.Cursor); len(got) == n {
				return io.EOF
			}
			return nil
		})
		return got
	}
	if diff := cmp.Diff([]uint64{1, 2}, read(2)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint64{1, 2, 3}, read(3)); diff != "" {
		t.Errorf("it said nothing, so they come again: %s", diff)
	}
	if err := c.Call(t.Context(), "consumer_set", api.ConsumerRequest{Consumer: "bot", Cursor: 3}, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{4, 5}, read(2)); diff != "" {
		t.Error(diff)
	}
	for i := range 63 {
		if err := c.Call(t.Context(), "consumer_set", api.ConsumerRequest{Consumer: fmt.Sprint(i), Cursor: 3}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var e *api.Error
	err := c.Call(t.Context(), "consumer_set", api.ConsumerRequest{Consumer: "one more", Cursor: 3}, nil)
	if !errors.As(err, &e) || e.Exit != api.ExitRefused {
		t.Errorf("the 65th consumer: %v", err)
	}
	if err := c.Call(t.Context(), "consumer_set", api.ConsumerRequest{Consumer: "bot", Cursor: 4}, nil); err != nil {
		t.Errorf("a known one still moves: %v", err)
	}
}

func TestCloseEndsStreamsAndTheClientSaysNoNode(t *testing.T) {
	w := newWorld()
	socket := filepath.Join(shortDir(t), "api.sock")
	s, err := api.Serve(socket, w.backend(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := api.Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w.happen("one")
	first, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- c.Events(t.Context(), 0, func(view.Notice) error { close(first); return nil })
	}()
	<-first
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, api.ErrNoNode) {
		t.Errorf("the stream: %v", err)
	}
	if err := c.Call(t.Context(), "inbox", api.None{}, nil); !errors.Is(err, api.ErrNoNode) {
		t.Errorf("a call afterwards: %v", err)
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestTooManyConnectionsAreTurnedAway(t *testing.T) {
	socket, c := serve(t, newWorld())
	var conns []net.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	closed := 0
	for range 200 {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		// One that was turned away reads its end at once; one that was taken waits for our request.
		if _, err := fmt.Fprint(conn, "GET /v1/health HTTP/1.1\r\nHost: kith\r\n\r\n"); err != nil {
			closed++
			continue
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			closed++
		}
	}
	if closed < 50 || closed == 200 {
		t.Errorf("%d of 200 turned away", closed)
	}
	for _, c := range conns {
		c.Close()
	}
	if err := c.Call(t.Context(), "inbox", api.None{}, nil); err != nil && !errors.Is(err, api.ErrNoNode) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestWithoutANodeReadsWorkAndTheRestSaysSo(t *testing.T) {
	w := newWorld()
	local := api.Local{Open: w.view}
	for _, m := range api.Methods() {
		_, err := local.Raw(t.Context(), m.Name, nil)
		if got := errors.Is(err, api.ErrNoNode); got == m.Offline {
			t.Errorf("%s (offline: %v): %v", m.Name, m.Offline, err)
		}
	}
}

func TestReferenceIsTheTable(t *testing.T) {
	comments := map[string]string{}
	for _, dir := range []string{".", ".."} {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var files []*ast.File
		for _, name := range names {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		for k, v := range api.Comments(files) {
			comments[k] = v
		}
	}
	var want bytes.Buffer
	if err := api.WriteReference(&want, comments); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "docs", "api.md")
	if *rewrite {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), want.String()); diff != "" {
		t.Errorf("docs/api.md is not the table (go test ./node/api -run Reference -update):\n%s", diff)
	}
}

// FuzzRequests sends any body to any method of a store without a node: nothing panics, and every answer is an object or
// a classed error.
func FuzzRequests(f *testing.F) {
	for _, m := range api.Methods() {
		f.Add(m.Name, []byte(`{}`))
	}
	f.Add("messages", []byte(`{"chat":"bob","limit":-1}`))
	f.Add("message_status", []byte(`{"id":"\u0000"}`))
	f.Add("events", []byte(`{"since":18446744073709551615,"max":99999999}`))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		local := api.Local{Open: newWorld().view}
		answer, err := local.Raw(t.Context(), name, body)
		if err != nil {
			if e := api.ErrorOf(err); e.Exit == 0 || e.Code == "" || e.Message == "" {
				t.Errorf("%s: %+v", name, e)
			}
			return
		}
		if !bytes.HasPrefix(answer, []byte(`{"v":1,"type":"`)) || !json.Valid(answer) {
			t.Errorf("%s: %s", name, answer)
		}
	})
}
