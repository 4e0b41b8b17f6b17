package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/kith-im/kith/node/api"
	"github.com/kith-im/kith/node/view"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a node that answers what it was asked.
type fake struct {
	wait   chan struct{} // closed: message_wait returns
	runs   [][]uint64    // cursors that each stream gives before the node drops it; then ErrNoNode at once
	mu     sync.Mutex
	asked  []string // methods, in order
	starts []uint64 // where the streams began
}

func (f *fake) Raw(ctx context.Context, method string, req json.RawMessage) (json.RawMessage, error) {
	f.mu.Lock()
	f.asked = append(f.asked, method)
	f.mu.Unlock()
	switch method {
	case "events":
		return json.RawMessage(`{"v":1,"type":"events","events":[],"newest":7}`), nil
	case "message_wait":
		select {
		case <-f.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case "messages":
		return nil, api.Fail(api.ExitNotFound, "there is no conversation \"carol\"", "kith contact list")
	case "send":
		return nil, api.Fail(api.ExitUsage, "the request of send: unknown field", "kith api --help")
	case "ping":
		return nil, api.ErrNoNode
	}
	if req == nil {
		req = json.RawMessage("{}")
	}
	return json.RawMessage(`{"v":1,"type":"` + method + `","asked":` + string(req) + `}`), nil
}

func (f *fake) Events(ctx context.Context, since uint64, fn func(view.Notice) error) error {
	f.mu.Lock()
	run := len(f.starts)
	f.starts = append(f.starts, since)
	f.mu.Unlock()
	if run >= len(f.runs) {
		return api.ErrNoNode
	}
	for _, cursor := range f.runs[run] {
		typ := "message"
		if cursor%2 == 0 {
			typ = "stage"
		}
		if err := fn(view.Notice{Cursor: cursor, Type: typ}); err != nil {
			return err
		}
	}
	if run == len(f.runs)-1 && f.wait != nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return api.ErrNoNode
}

func (f *fake) Consume(ctx context.Context, _ string, fn func(view.Notice) error) error {
	return f.Events(ctx, 40, fn)
}

// talk gives a server some lines and returns what it wrote.
func talk(t interface{ Context() context.Context }, f *fake, lines ...string) (out []string, err error) {
	var mu sync.Mutex
	s := New(f, func(line []byte) {
		mu.Lock()
		defer mu.Unlock()
		out = append(out, string(line))
	})
	err = s.Serve(t.Context(), strings.NewReader(strings.Join(lines, "\n")))
	return out, err
}

func fail(id string, code int, has string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"…%s…`, id, code, has)
}

func TestAnswersAreThoseOfTheSpecification(t *testing.T) {
	const status = `"result":{"v":1,"type":"status","asked":{}}}`
	many := "[" + strings.Repeat(`{"jsonrpc":"2.0","method":"status","id":1},`, MaxBatch) + "1]"
	for _, c := range []struct{ in, want string }{
		{`{"jsonrpc":"2.0","method":"status","id":1}`, `{"jsonrpc":"2.0","id":1,` + status},
		{` {"id":"a","params":{"x":[1]},"method":"inbox","jsonrpc":"2.0"} `, `{"jsonrpc":"2.0","id":"a","result":{"v":1,"type":"inbox","asked":{"x":[1]}}}`},
		// Ids of any kind come back as they came.
		{`{"jsonrpc":"2.0","method":"status","id":12345678901234567890123}`, `{"jsonrpc":"2.0","id":12345678901234567890123,` + status},
		{`{"jsonrpc":"2.0","method":"status","id":-1.5e3}`, `{"jsonrpc":"2.0","id":-1.5e3,` + status},
		{`{"jsonrpc":"2.0","method":"status","id":""}`, `{"jsonrpc":"2.0","id":"",` + status},
		{`{"jsonrpc":"2.0","method":"status","id":null}`, `{"jsonrpc":"2.0","id":null,` + status},
		{`{"jsonrpc":"2.0","method":"status","id":true}`, fail("null", invalidRequest, "an id is")},
		{`{"jsonrpc":"2.0","method":"status","id":{"a":1}}`, fail("null", invalidRequest, "an id is")},
		{`{"jsonrpc":"2.0","method":"status","id":[1]}`, fail("null", invalidRequest, "an id is")},
		{`{"jsonrpc":"2.0","method":"status","id":"` + strings.Repeat("x", maxID) + `"}`, fail("null", invalidRequest, "an id is")},
		{`{"jsonrpc":"2.0","method":"status","ID":1}`, ``}, // another member: a notification
		// What is no request.
		{`{"jsonrpc":"1.0","method":"status","id":1}`, fail("1", invalidRequest, `\"jsonrpc\"`)},
		{`{"method":"status","id":1}`, fail("1", invalidRequest, `\"jsonrpc\"`)},
		{`{"jsonrpc":2.0,"method":"status","id":1}`, fail("1", invalidRequest, `\"jsonrpc\"`)},
		{`{"jsonrpc":"2.0","id":1}`, fail("1", invalidRequest, "method")},
		{`{"jsonrpc":"2.0","method":7,"id":1}`, fail("1", invalidRequest, "method")},
		{`{"jsonrpc":"2.0","method":"","id":1}`, fail("1", invalidRequest, "method")},
		{`{"jsonrpc":"2.0"}`, fail("null", invalidRequest, "method")},
		{`7`, fail("null", invalidRequest, "object")},
		{`null`, fail("null", invalidRequest, "object")},
		{`"status"`, fail("null", invalidRequest, "object")},
		{`{"jsonrpc":"2.0","method":"status","id":1`, fail("null", parseError, "JSON")},
		{`{"jsonrpc":"2.0","method":"status","id":1}{"jsonrpc":"2.0","method":"status","id":2}`, fail("null", parseError, "JSON")},
		{"\x00\xff\x1b[2J", fail("null", parseError, "JSON")},
		{strings.Repeat("[", 20000), fail("null", parseError, "JSON")},
		{strings.Repeat("[", 9000) + strings.Repeat("]", 9000), `[` + fail("null", invalidRequest, "object")},
		{strings.Repeat("x", MaxLine+1), fail("null", invalidRequest, "a line has at most")},
		{"", ``},
		{"  \t\r", ``},
		// Methods and their parameters.
		{`{"jsonrpc":"2.0","method":"frobnicate","id":1}`, fail("1", unknownMethod, "frobnicate")},
		{`{"jsonrpc":"2.0","method":"../status","id":1}`, fail("1", unknownMethod, "status")},
		{`{"jsonrpc":"2.0","method":"status","params":[1],"id":1}`, fail("1", invalidParams, "object")},
		{`{"jsonrpc":"2.0","method":"status","params":null,"id":1}`, fail("1", invalidParams, "object")},
		{`{"jsonrpc":"2.0","method":"send","params":{"x":1},"id":1}`, fail("1", invalidParams, "unknown field")},
		{`{"jsonrpc":"2.0","method":"messages","params":{"chat":"carol"},"id":1}`, fail("1", nodeError-8, `carol\""`)},
		{`{"jsonrpc":"2.0","method":"ping","id":1}`, fail("1", nodeError-5, "no node")},
		{`{"jsonrpc":"2.0","method":"unsubscribe","params":{"subscription":9},"id":1}`, fail("1", nodeError-8, "no subscription 9")},
		{`{"jsonrpc":"2.0","method":"subscribe","params":{"sinc":9},"id":1}`, fail("1", invalidParams, "sinc")},
		{`{"jsonrpc":"2.0","method":"subscribe","params":{"since":-1},"id":1}`, fail("1", invalidParams, "since")},
		{`{"jsonrpc":"2.0","method":"subscribe","params":{"since":1,"consumer":"x"},"id":1}`, fail("1", invalidParams, "not both")},
		// Nobody hears of a notification, whatever becomes of it.
		{`{"jsonrpc":"2.0","method":"status"}`, ``},
		{`{"jsonrpc":"2.0","method":"frobnicate"}`, ``},
		{`{"jsonrpc":"2.0","method":"send","params":[]}`, ``},
		// Batches.
		{`[]`, fail("null", invalidRequest, "at least one")},
		{`[1]`, `[` + fail("null", invalidRequest, "object")},
		{`[{"jsonrpc":"2.0","method":"status"}]`, ``},
		{
			`[{"jsonrpc":"2.0","method":"status","id":1},{"jsonrpc":"2.0","method":"status"},{"jsonrpc":"2.0","method":"status","id":2}]`,
			`[{"jsonrpc":"2.0","id":1,` + status + `,{"jsonrpc":"2.0","id":2,` + status + `]`,
		},
		{many, fail("null", invalidRequest, "at most 64")},
	} {
		out, err := talk(t, &fake{}, c.in)
		got := strings.Join(out, "\n")
		if err != nil || !matches(got, c.want) {
			t.Errorf("%.200s\n got %s, %v\nwant %s", c.in, got, err, c.want)
		}
		for _, line := range out {
			if !json.Valid([]byte(line)) || strings.Contains(line, "\n") {
				t.Errorf("%.200s: answered by what is no line of JSON: %q", c.in, line)
			}
		}
	}
}

// matches compares a text with one that has … for anything.
func matches(got, want string) bool {
	parts := strings.Split(want, "…")
	rest, ok := strings.CutPrefix(got, parts[0])
	if len(parts) == 1 {
		return ok && rest == ""
	}
	for _, p := range parts[1:] {
		i := strings.Index(rest, p)
		if !ok || i < 0 {
			return false
		}
		rest = rest[i+len(p):]
	}
	return ok
}

// TestAnErrorOfTheNodeIsWhole: class, sentence and next command are the data.
func TestAnErrorOfTheNodeIsWhole(t *testing.T) {
	out, _ := talk(t, &fake{}, `{"jsonrpc":"2.0","method":"messages","id":1}`)
	if want := `"data":{"v":1,"type":"error","code":"not_found","exit":8,"message":`; len(out) != 1 || !strings.Contains(out[0], want) {
		t.Errorf("%s\nlacks %s", out, want)
	}
}

// TestQuickMethodsKeepTheirOrderBesideSlowOnes: a wait holds up nothing, and the end of the input waits for it.
func TestQuickMethodsKeepTheirOrderBesideSlowOnes(t *testing.T) {
	f := &fake{wait: make(chan struct{})}
	in, program := io.Pipe()
	got := make(chan string, 10)
	done := make(chan error, 1)
	s := New(f, func(line []byte) { got <- string(line) })
	go func() { done <- s.Serve(t.Context(), in) }()
	say := func(format string, args ...any) { fmt.Fprintf(program, format+"\n", args...) }
	say(`{"jsonrpc":"2.0","method":"message_wait","id":"slow"}`)
	for i := range 5 {
		say(`{"jsonrpc":"2.0","method":"status","id":%d}`, i)
		if l := <-got; !strings.Contains(l, fmt.Sprintf(`"id":%d,`, i)) {
			t.Errorf("answer %d: %s", i, l)
		}
	}
	program.Close()
	close(f.wait)
	if l := <-got; !strings.Contains(l, `"id":"slow"`) {
		t.Errorf("the last answer: %s", l)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTooManyWaitsAreRefused(t *testing.T) {
	f := &fake{wait: make(chan struct{})}
	var lines []string
	for i := range maxBeside + 2 {
		lines = append(lines, fmt.Sprintf(`{"jsonrpc":"2.0","method":"message_wait","id":%d}`, i))
	}
	lines = append(lines, `[{"jsonrpc":"2.0","method":"ping"},7]`)
	in, program := io.Pipe()
	got := make(chan string, 2*maxBeside)
	done := make(chan error, 1)
	go func() { done <- New(f, func(line []byte) { got <- string(line) }).Serve(t.Context(), in) }()
	fmt.Fprintln(program, strings.Join(lines, "\n"))
	for range 2 {
		if l := <-got; !strings.Contains(l, `"code":-32007`) {
			t.Errorf("one too many was answered: %s", l)
		}
	}
	if l := <-got; !strings.Contains(l, "an object") || strings.Contains(l, "-32007") {
		t.Errorf("a batch that is one too many: %s", l)
	}
	close(f.wait)
	program.Close()
	if err := <-done; err != nil || len(got) != maxBeside {
		t.Errorf("%d waits were answered, %v", len(got), err)
	}
}

func TestAnInterruptEndsWhatWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in, program := io.Pipe()
	defer program.Close()
	done := make(chan error, 1)
	got := make(chan string, 10)
	s := New(&fake{wait: make(chan struct{}), runs: [][]uint64{{1}}}, func(line []byte) { got <- string(line) })
	go func() { done <- s.Serve(ctx, in) }()
	fmt.Fprintln(program, `{"jsonrpc":"2.0","method":"subscribe","id":1}`)
	fmt.Fprintln(program, `{"jsonrpc":"2.0","method":"message_wait","id":2}`)
	<-got
	<-got
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestAProgramCanEndIt, also one that cannot close our input because it is a pipe of its own.
func TestAProgramCanEndIt(t *testing.T) {
	for _, line := range []string{`{"jsonrpc":"2.0","method":"end"}`, `[{"jsonrpc":"2.0","method":"message_wait"},{"jsonrpc":"2.0","method":"end"}]`} {
		in, program := io.Pipe()
		done := make(chan error, 1)
		go func() { done <- New(&fake{wait: closed}, func([]byte) {}).Serve(t.Context(), in) }()
		fmt.Fprintln(program, line)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", line, err)
		}
		program.Close()
	}
}

func TestASubscriptionGoesOnWhereItWasCutOff(t *testing.T) {
	for _, c := range []struct {
		params string
		want   []string
		starts string
	}{
		{`{}`, []string{"8", "9", "10"}, "[7 9 10]"},
		{`{"since":"now"}`, []string{"8", "9", "10"}, "[7 9 10]"},
		{`{"since":3}`, []string{"8", "9", "10"}, "[3 9 10]"},
		{`{"consumer":"bot"}`, []string{"8", "9", "10"}, "[40 9 10]"},
		{`{"types":["message"]}`, []string{"9"}, "[7 9 10]"},
	} {
		f := &fake{runs: [][]uint64{{8, 9}, {10}}}
		in, program := io.Pipe()
		got := make(chan string, 10)
		done := make(chan error, 1)
		s := New(f, func(line []byte) { got <- string(line) })
		go func() { done <- s.Serve(t.Context(), in) }()
		fmt.Fprintln(program, `[{"jsonrpc":"2.0","method":"subscribe","params":`+c.params+`,"id":"s"}]`)
		if l := <-got; l != `[{"jsonrpc":"2.0","id":"s","result":{"v":1,"type":"subscribed","subscription":1}}]` {
			t.Errorf("%s: first line %s", c.params, l)
		}
		for _, cursor := range c.want {
			if l := <-got; !strings.Contains(l, `"method":"event","params":{"subscription":1,"event":{"v":1,"cursor":`+cursor+`,`) {
				t.Errorf("%s: event %s: %s", c.params, cursor, l)
			}
		}
		if l := <-got; !strings.Contains(l, `"method":"subscription_end","params":{"subscription":1,"cursor":10,"error":{"code":-32005,`) {
			t.Errorf("%s: the end: %s", c.params, l)
		}
		program.Close()
		if err := <-done; err != nil || fmt.Sprint(f.starts) != c.starts {
			t.Errorf("%s: %v, began at %v, want %s", c.params, err, f.starts, c.starts)
		}
	}
}

func TestSubscriptionsAreCountedAndEnd(t *testing.T) {
	in, program := io.Pipe()
	got := make(chan string, 2*maxSubscriptions)
	done := make(chan error, 1)
	s := New(&idle{}, func(line []byte) { got <- string(line) })
	go func() { done <- s.Serve(t.Context(), in) }()
	say := func(line string) string { fmt.Fprintln(program, line); return <-got }
	for range maxSubscriptions {
		say(`{"jsonrpc":"2.0","method":"subscribe","id":1}`)
	}
	if l := say(`{"jsonrpc":"2.0","method":"subscribe","id":1}`); !strings.Contains(l, `"code":-32007`) {
		t.Errorf("one too many: %s", l)
	}
	if l := say(`{"jsonrpc":"2.0","method":"unsubscribe","params":{"subscription":3},"id":1}`); !strings.Contains(l, `"subscription":3`) {
		t.Errorf("the third: %s", l)
	}
	if l := say(`{"jsonrpc":"2.0","method":"subscribe","id":1}`); !strings.Contains(l, `"subscription":17`) {
		t.Errorf("in its place: %s", l)
	}
	program.Close()
	if err := <-done; err != nil || len(got) != 0 {
		t.Errorf("%v, and %d lines more", err, len(got))
	}
}

// idle is a node where nothing happens.
type idle struct{ fake }

func (*idle) Events(ctx context.Context, _ uint64, _ func(view.Notice) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestNoRubbishCostsARequestItsAnswer: whatever stands between them, every request is answered once, and every line that
// comes back is a response.
func TestNoRubbishCostsARequestItsAnswer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lines []string
		asked := 0
		for range rapid.IntRange(1, 20).Draw(t, "lines") {
			if rapid.Bool().Draw(t, "good") {
				lines = append(lines, fmt.Sprintf(`{"jsonrpc":"2.0","method":"status","id":"good %d"}`, asked))
				asked++
				continue
			}
			junk := rapid.OneOf(rapid.String(), rapid.StringMatching(`[\[\]{}:,"0-9a-z\\ ]{0,40}`),
				rapid.Map(rapid.StringMatching(`[a-z_]{0,12}`), func(m string) string { return `{"jsonrpc":"2.0","method":"` + m + `","id":1}` })).Draw(t, "junk")
			lines = append(lines, strings.ReplaceAll(junk, "\n", ""))
		}
		out, err := talk(t, &fake{wait: closed}, lines...)
		if err != nil {
			t.Fatal(err)
		}
		answered := 0
		for _, l := range out {
			checkResponse(t, l)
			if strings.Contains(l, fmt.Sprintf(`"id":"good %d",`, answered)) {
				answered++
			}
		}
		if answered != asked {
			t.Fatalf("%d of %d answered, in order:\n%s", answered, asked, strings.Join(out, "\n"))
		}
	})
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func checkResponse(t interface{ Fatalf(string, ...any) }, line string) {
	var one []json.RawMessage
	if json.Unmarshal([]byte(line), &one) != nil {
		one = []json.RawMessage{json.RawMessage(line)}
	}
	for _, raw := range one {
		var r map[string]json.RawMessage
		if json.Unmarshal(raw, &r) != nil || string(r["jsonrpc"]) != `"2.0"` {
			t.Fatalf("no response: %s", line)
		}
		_, result := r["result"]
		_, failed := r["error"]
		_, method := r["method"]
		if _, id := r["id"]; !method && (!id || result == failed) {
			t.Fatalf("no response: %s", line)
		}
	}
}

func FuzzLines(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","method":"status","id":1}`, `[{"jsonrpc":"2.0","method":"ping","id":null},1,{}]`, "[[[[\n]]]]", `{"id":{}}`,
		`{"jsonrpc":"2.0","method":"subscribe","id":1}` + "\n" + `{"jsonrpc":"2.0","method":"unsubscribe","params":{"subscription":1},"id":2}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out, err := talk(t, &fake{wait: closed}, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range out {
			checkResponse(t, l)
		}
	})
}
