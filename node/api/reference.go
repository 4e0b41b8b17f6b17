package api

import (
	"fmt"
	"go/ast"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"
)

// WriteReference writes docs/api.md from the table. comments holds the words on types and fields: "Type" and
// "Type.Field" to text.
func WriteReference(w io.Writer, comments map[string]string) error {
	r := &reference{w: w, comments: comments, seen: map[reflect.Type]bool{}}
	r.printf("%s", preface)
	r.printf("\n## Methods\n\n| method | scope | without a node | request | answer | |\n|---|---|---|---|---|---|\n")
	for _, m := range table {
		r.printf("| `%s` | %s | %s | %s | %s `%s` | %s |\n", m.Name, m.Scope, yes(m.Offline), r.link(m.request), r.link(m.response), m.Type, m.Doc)
	}
	r.printf("\n## Errors\n\n| exit | code |\n|---|---|\n")
	exits := make([]int, 0, len(codes))
	for exit := range codes {
		exits = append(exits, exit)
	}
	slices.Sort(exits)
	for _, exit := range exits {
		r.printf("| %d | `%s` |\n", exit, codes[exit])
	}
	r.printf("\n## Types\n")
	for len(r.todo) > 0 {
		t := r.todo[0]
		r.todo = r.todo[1:]
		r.describe(t)
	}
	return r.err
}

const preface = `# The local API

<!-- generated from node/api; rewrite with: go test ./node/api -run Reference -update -->

HTTP/1.1 and JSON on the Unix socket of a running node (` + "`api.sock` in the home folder, mode 0600" + `).

| request | answer |
|---|---|
| ` + "`POST /v1/METHOD`" + ` | one object; the body is the request, at most 64 KiB, unknown fields are refused |
| ` + "`GET /v1/events?since=CURSOR`" + ` | one event a line (NDJSON), from the one after CURSOR, without end; ` + "`since=now`" + ` begins with the next |
| ` + "`GET /v1/events?consumer=NAME`" + ` | the same from the cursor that the node keeps for NAME; move it with ` + "`consumer_set`" + ` |
| ` + "`GET /v1/health`" + ` | ` + "`{\"v\":1,\"type\":\"health\",…}`" + ` |

Every object begins with ` + "`\"v\":1`" + ` and ` + "`\"type\"`" + `. An error is ` + "`{\"v\":1,\"type\":\"error\",\"code\",\"exit\",\"message\",\"hint\"}`" + `:
what happened and why, and the next command. An event is on the disk before it is shown; events come in order, each at
least once: keep the cursor of the last one that you are done with. Only ` + "`typing`" + ` is kept nowhere: it comes to who streams at
the time, with the cursor of the event before it. Reading never marks a message as read.

With curl: ` + "`curl --unix-socket ~/.local/share/kith/api.sock http://kith/v1/status -d '{}'`" + `
`

type reference struct {
	w        io.Writer
	comments map[string]string
	todo     []reflect.Type
	seen     map[reflect.Type]bool
	err      error
}

func (r *reference) printf(format string, args ...any) {
	if r.err == nil {
		_, r.err = fmt.Fprintf(r.w, format, args...)
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// link names a type and queues it for its description.
func (r *reference) link(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[None]():
		return "`{}`"
	case t == reflect.TypeFor[time.Time]():
		return "time (RFC 3339)"
	case t.Kind() == reflect.Slice:
		return "list of " + r.link(t.Elem())
	case t.Kind() == reflect.Pointer:
		return r.link(t.Elem())
	case t.Kind() != reflect.Struct:
		return t.Kind().String()
	}
	if !r.seen[t] {
		r.seen[t] = true
		r.todo = append(r.todo, t)
	}
	return fmt.Sprintf("[%s](#%s)", t.Name(), strings.ToLower(t.Name()))
}

func (r *reference) describe(t reflect.Type) {
	r.printf("\n### %s\n\n", t.Name())
	if c := r.comments[t.Name()]; c != "" {
		r.printf("%s\n\n", c)
	}
	r.printf("| field | type | |\n|---|---|---|\n")
	for f := range t.Fields() {
		name, flags, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		words := r.comments[t.Name()+"."+f.Name]
		if strings.HasPrefix(flags, "omit") {
			words = strings.TrimSpace("*may be absent* " + words)
		}
		r.printf("| `%s` | %s | %s |\n", name, r.link(f.Type), words)
	}
}

// Comments collects the words on the exported struct types of parsed files, for WriteReference.
func Comments(files []*ast.File) map[string]string {
	out := map[string]string{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			d, ok := n.(*ast.GenDecl)
			if !ok {
				return true
			}
			for _, s := range d.Specs {
				if t, ok := s.(*ast.TypeSpec); ok {
					collect(out, t, d.Doc)
				}
			}
			return true
		})
	}
	return out
}

func collect(out map[string]string, t *ast.TypeSpec, doc *ast.CommentGroup) {
	s, ok := t.Type.(*ast.StructType)
	if !ok {
		return
	}
	words := strings.Join(strings.Fields(doc.Text()), " ")
	out[t.Name.Name] = strings.TrimSpace(words)
	for _, f := range s.Fields.List {
		for _, n := range f.Names {
			out[t.Name.Name+"."+n.Name] = strings.Join(strings.Fields(f.Comment.Text()), " ")
		}
	}
}
