package relay

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/mailbox/relay/frame"
)

var (
	update     = flag.Bool("update", false, "compute "+vectorFile+" anew")
	vectorFile = filepath.FromSlash("../../docs/vectors/relay.json")
)

// frameVectors are one frame of every kind; keys are seeds SHA-256("relay") of
// the relay and SHA-256("box") of the box. docs/vectors/model/frames.mjs takes them apart.
type frameVectors struct {
	About   string         `json:"about"`
	Asks    []frameVector  `json:"asks"`
	Answers []frameVector  `json:"answers"`
	Refused []refusedFrame `json:"refused"`
}

type refusedFrame struct {
	Rule  string `json:"rule"`
	Frame string `json:"frame"`
}

type frameVector struct {
	What  string `json:"what"`
	Frame string `json:"frame"`
}

func vectorOf(t *testing.T, m proto.Message) frameVector {
	t.Helper()
	r := m.ProtoReflect()
	what := r.WhichOneof(r.Descriptor().Oneofs().ByName("what"))
	return frameVector{string(what.Name()), hex.EncodeToString(mustFrame(t, m))}
}

func TestVectors(t *testing.T) {
	want, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var v frameVectors
	if err := json.Unmarshal(want, &v); err != nil {
		t.Fatal(err)
	}
	v.Asks, v.Answers = nil, nil
	for _, ask := range asks(t) {
		if d := ask.GetDeposit(); d != nil {
			d.ExpiresMs = uint64(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
		}
		v.Asks = append(v.Asks, vectorOf(t, ask))
	}
	for _, a := range answers() {
		v.Answers = append(v.Answers, vectorOf(t, a))
	}
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(vectorFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !*update && !bytes.Equal(got, want) {
		t.Fatal("the frames have changed; if that is meant: go test -run TestVectors -update, and then make vectors")
	}
	if err := readBack(v); err != nil {
		t.Fatal(err)
	}
}

// readBack parses every vector.
func readBack(v frameVectors) error {
	for i, f := range append(v.Asks, v.Answers...) {
		raw, err := hex.DecodeString(f.Frame)
		if err != nil {
			return err
		}
		body, err := frame.NewReader(&tape{Reader: bytes.NewReader(raw)}, time.Second, nil).Next(0)
		if err != nil {
			return fmt.Errorf("%s: %w", f.What, err)
		}
		if i < len(v.Asks) {
			_, err = parseAsk(body)
		} else {
			_, err = parseAnswer(body)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.What, err)
		}
	}
	for _, f := range v.Refused {
		raw, err := hex.DecodeString(f.Frame)
		if err != nil {
			return err
		}
		if _, err := frame.NewReader(&tape{Reader: bytes.NewReader(raw)}, time.Second, nil).Next(0); err == nil {
			return fmt.Errorf("read, against the rule: %s", f.Rule)
		}
	}
	return nil
}
