package blobs

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/blobs/pb"
)

const vectorFile = "../../docs/vectors/blob-frames.json"

var update = flag.Bool("update", false, "compute "+vectorFile+" anew")

// frameVectors are one frame of every kind; docs/vectors/model/frames.mjs takes them apart.
type frameVectors struct {
	About   string        `json:"about"`
	Signed  frameVector   `json:"put_signs"`
	Asks    []frameVector `json:"asks"`
	Answers []frameVector `json:"answers"`
}

type frameVector struct {
	What  string `json:"what"`
	Frame string `json:"frame"`
}

func vectorOf(t *testing.T, m proto.Message) frameVector {
	t.Helper()
	r := m.ProtoReflect()
	return frameVector{string(r.WhichOneof(r.Descriptor().Oneofs().ByName("what")).Name()), hex.EncodeToString(framed(t, m))}
}

func TestVectors(t *testing.T) {
	relay := dht.PeerFromKey(seedKey("relay").Public().(ed25519.PublicKey))
	d, chunk := Digest{1, 2, 3}, uint32(1000)
	key := box.Public().(ed25519.PublicKey)
	millis := uint64(later.UnixMilli())
	content := putContent(d, chunk, millis)
	two := append(bytes.Clone(d[:]), make([]byte, 32)...)
	v := frameVectors{
		About: `Frames about chunks (docs/protocol.md, "Chunks"). Bytes are hex, the length prefix included. ` +
			`The box key has the seed SHA-256("box"), the relay's key SHA-256("relay"). put_signs is the content of the signature in put.`,
		Signed: frameVector{"digest | size u32 | expires ms u64", hex.EncodeToString(content)},
	}
	for _, ask := range []*pb.Ask{
		{What: &pb.Ask_Put{Put: &pb.Put{
			Digest: d[:], Size: chunk, ExpiresMs: millis, Key: key, Sig: mailbox.SignRequest(box, relay, mailbox.VerbPutChunk, content),
		}}},
		{What: &pb.Ask_Get{Get: &pb.Get{Digest: d[:]}}},
		{What: &pb.Ask_Has{Has: &pb.Has{Digests: two}}},
		{What: &pb.Ask_Drop{Drop: &pb.Drop{Digests: two, Key: key, Sig: mailbox.SignRequest(box, relay, mailbox.VerbDropChunks, two)}}},
	} {
		if _, err := checkAsk(ask); err != nil {
			t.Error(err)
		}
		v.Asks = append(v.Asks, vectorOf(t, ask))
	}
	for _, a := range []*pb.Answer{
		{What: &pb.Answer_Go{Go: &pb.Go{}}},
		{What: &pb.Answer_Done{Done: &pb.Done{}}},
		{What: &pb.Answer_Chunk{Chunk: chunk}},
		{What: &pb.Answer_Missing{Missing: &pb.Missing{}}},
		{What: &pb.Answer_Has{Has: []byte{1, 0}}},
		refusalFrame(&mailbox.Refusal{Code: mailbox.Full, Detail: "bytes of the owner"}),
	} {
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
	want, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the frames have changed; if that is meant: go test ./mailbox/blobs -run TestVectors -update, and then make vectors")
	}
}
