package kad

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"testing"

	kadpb "github.com/libp2p/go-libp2p-kad-dht/pb"
	ma "github.com/multiformats/go-multiaddr"
	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/fuzztest"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
	"github.com/kith-im/kith/dht/kad/pb"
)

func FuzzReadFrame(f *testing.F) {
	for _, m := range []proto.Message{&pb.RecordRequest{Key: []byte("/kith-u/xxxxxxxxxxxxxxxxxxxx")}, &pb.RecordAnswer{Value: []byte("value")}} {
		var b bytes.Buffer
		if err := writeFrame(&b, m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		var request pb.RecordRequest
		if readFrame(bytes.NewReader(raw), &request, maxRequestFrame) == nil && len(request.Key) > maxRequestFrame {
			t.Error("past the limit")
		}
		var answer pb.RecordAnswer
		if readFrame(bytes.NewReader(raw), &answer, maxAnswerFrame) == nil && len(answer.Value) > maxAnswerFrame {
			t.Error("past the limit")
		}
	})
}

func FuzzReadMessage(f *testing.F) {
	raw, err := proto.Marshal(kadpb.NewMessage(kadpb.Message_GET_VALUE, []byte("/kith-u/key"), 0))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(binary.AppendUvarint(nil, uint64(len(raw))), raw...))
	f.Add(binary.AppendUvarint(nil, maxMessage+1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		w := &wire{r: bufio.NewReader(bytes.NewReader(raw))}
		if m, err := w.read(); err == nil && proto.Size(m) > maxMessage {
			t.Error("past the limit")
		}
	})
}

func FuzzStoredEntry(f *testing.F) {
	kind := dhttest.Kinds(f, dhttest.NewPerson(f, "a", dhttest.Start))[0]
	_, raw := entry(f, kind.Key, kind.Make(1, 0))
	f.Add(raw)
	f.Add([]byte{0x0a})
	v := newVerifier(at(dhttest.Start))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defer fuzztest.Limit(t, len(raw))()
		s := newTestStore(t, newMemory(), v, 4, maxBytes)
		k, _ := entry(t, "key", nil)
		err := s.Put(t.Context(), k, raw)
		got, getErr := s.Get(t.Context(), k)
		if (err == nil) != (getErr == nil) || (err == nil && !bytes.Equal(got, raw)) {
			t.Errorf("put %v, get %v", err, getErr)
		}
	})
}

func FuzzAddrInfo(f *testing.F) {
	addr, err := ma.NewMultiaddr("/ip4/127.0.0.1/udp/1/quic-v1")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(dhttest.NewPerson(f, "a", dhttest.Start).Peer("a", 0).ID, addr.Bytes())
	f.Fuzz(func(t *testing.T, id, addr []byte) {
		defer fuzztest.Limit(t, len(id)+len(addr))()
		info, err := AddrInfo(dht.Peer{ID: id, Addrs: [][]byte{addr}})
		if err != nil {
			return
		}
		back := PlainPeer(info)
		if !bytes.Equal(back.ID, id) || (len(back.Addrs) > 0 && len(back.Addrs[0]) > dht.MaxAddr) {
			t.Errorf("%x", back.ID)
		}
	})
}
