package blob

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kith-im/kith/crypto/vectortest"
)

const vectorFile = "../../docs/vectors/blob.json"

// vectors is the file, which docs/vectors/model/blob.mjs writes.
type vectors struct {
	About   string          `json:"about"`
	Padded  [][2]int64      `json:"padded"`
	Files   []*fileVector   `json:"files"`
	Refused []refusedVector `json:"refused"`
}

type refusedVector struct {
	Rule     string         `json:"rule"`
	Key      vectortest.Hex `json:"key"`
	Manifest vectortest.Hex `json:"manifest"`
	Digest   vectortest.Hex `json:"manifest_digest"`
}

type fileVector struct {
	Key        vectortest.Hex   `json:"key"`
	Size       int64            `json:"size"`
	Commitment vectortest.Hex   `json:"commitment"` // outputs
	Chunks     []vectortest.Hex `json:"chunk_digests"`
	CIDs       []string         `json:"chunk_cids"`
	Sizes      []int            `json:"chunk_sizes"`
	First      vectortest.Hex   `json:"first_chunk_starts"`
	Manifest   vectortest.Hex   `json:"manifest"`
	Digest     vectortest.Hex   `json:"manifest_digest"`
}

// content is byte i = (31 i + (i >> 8)) mod 256.
func content(size int64) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(31*i + i>>8)
	}
	return b
}

func (c *fileVector) compute(t *testing.T) *fileVector {
	out := &fileVector{Key: c.Key, Size: c.Size, CIDs: []string{}}
	key := Key(c.Key)
	commitment := key.Commitment()
	out.Commitment = commitment[:]
	s, err := NewSealer(key, bytes.NewReader(content(c.Size)), c.Size)
	if err != nil {
		t.Fatal(err)
	}
	for {
		d, chunk, err := s.Next(nil)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if out.First == nil {
			out.First = chunk[:64]
		}
		out.Chunks, out.CIDs, out.Sizes = append(out.Chunks, d[:]), append(out.CIDs, d.String()), append(out.Sizes, len(chunk))
	}
	d, manifest, err := s.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	out.Digest, out.Manifest = d[:], manifest
	return out
}

func TestVectors(t *testing.T) {
	var want vectors
	vectortest.Read(t, vectorFile, &want)
	got := vectors{About: want.About, Refused: want.Refused}
	for _, p := range want.Padded {
		got.Padded = append(got.Padded, [2]int64{p[0], Padded(p[0])})
	}
	for _, f := range want.Files {
		got.Files = append(got.Files, f.compute(t))
	}
	if min(len(want.Files), len(want.Padded), len(want.Refused)) == 0 {
		t.Error("no vectors")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the model and the code disagree (-model +code):\n%s", diff)
	}
	for _, f := range want.Files {
		if m, err := OpenManifest(Key(f.Key), Digest(f.Digest), f.Manifest); err != nil || m.Size != f.Size {
			t.Errorf("a manifest of the vectors: %v", err)
		}
	}
	for _, c := range want.Refused {
		if _, err := OpenManifest(Key(c.Key), Digest(c.Digest), c.Manifest); err == nil {
			t.Errorf("a manifest is taken, against the rule: %s", c.Rule)
		}
	}
}
