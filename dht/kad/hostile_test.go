package kad

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	kadpb "github.com/libp2p/go-libp2p-kad-dht/pb"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
	"github.com/kith-im/kith/dht/kad/pb"
)

// hostility is what a hostile peer serves for a key; nil: it never answers.
type hostility func(key string) []byte

func serving(value []byte) hostility { return func(string) []byte { return value } }

var silence hostility

// newHostile makes a peer that speaks both protocols and serves what it is
// told to, with no regard for signatures, sizes or keys.
func newHostile(tb testing.TB, serve hostility) host.Host {
	tb.Helper()
	h := newHost(tb)
	h.SetStreamHandler(prefix+"/kad/1.0.0", func(s network.Stream) {
		defer s.Close()
		r := bufio.NewReader(s)
		for {
			m, err := (&wire{s, r}).read()
			if err != nil {
				return
			}
			if m.GetType() == kadpb.Message_GET_VALUE {
				if serve == nil {
					continue
				}
				m.Record = record.MakePutRecord(string(m.GetKey()), serve(string(m.GetKey())))
			}
			raw, _ := proto.Marshal(m)
			_, _ = s.Write(append(binary.AppendUvarint(nil, uint64(len(raw))), raw...))
		}
	})
	h.SetStreamHandler(RecordProtocol, func(s network.Stream) {
		defer s.Close()
		var request pb.RecordRequest
		if readFrame(s, &request, 1<<20) != nil {
			return
		}
		if serve == nil {
			_, _ = io.Copy(io.Discard, s) // until the client gives up
			return
		}
		_ = writeFrame(s, &pb.RecordAnswer{Value: serve(string(request.GetKey()))})
	})
	return h
}

func TestHostileValuesAreNeverAccepted(t *testing.T) {
	kind := persons(t, 1)[0]
	stale := dhttest.Kinds(t, dhttest.NewPerson(t, "a", dhttest.Start.Add(-dhttest.Life-dht.Grace-time.Hour)))[0]
	early := dhttest.Kinds(t, dhttest.NewPerson(t, "a", dhttest.Start.Add(dht.MaxSkew+time.Hour)))[0]
	other := dhttest.Kinds(t, dhttest.NewPerson(t, "other", dhttest.Start))[0]
	for name, value := range map[string][]byte{
		"forged":             dhttest.Forged(kind.Make(9, 0)),
		"of another key":     other.Make(9, 0),
		"expired":            stale.Make(9, 0),
		"from the future":    early.Make(9, 0),
		"oversized":          make([]byte, dht.MaxRecord+1),
		"far oversized":      make([]byte, maxMessage+1),
		"empty":              {},
		"with trailing byte": append(kind.Make(9, 0), 0),
	} {
		t.Run(name, func(t *testing.T) {
			d := newNode(t, Config{})
			for range 3 {
				connect(t, d.host, newHostile(t, serving(value)))
			}
			if got, err := d.Get(t.Context(), kind.Key); !errors.Is(err, dht.ErrNotFound) {
				t.Errorf("Get: %d bytes, %v", len(got), err)
			}
			if got, err := d.Newest(t.Context(), kind.Key); !errors.Is(err, dht.ErrNotFound) {
				t.Errorf("Newest: %d bytes, %v", len(got), err)
			}
			if got, err := d.GetFrom(t.Context(), d.host.Network().Peers()[0], kind.Key); err == nil {
				t.Errorf("GetFrom: %d bytes", len(got))
			}
		})
	}
}

// The control: without the validator the forged value is believed, so the test
// above would see it.
func TestControlValidatorOffAcceptsTheForgedValue(t *testing.T) {
	kind := persons(t, 1)[0]
	forged := dhttest.Forged(kind.Make(9, 0))
	off := newVerifier(at(dhttest.Start))
	genuine, err := dht.Inspect(kind.Key, kind.Make(9, 0))
	if err != nil {
		t.Fatal(err)
	}
	off.inspect = func(string, []byte) (dht.Claim, error) { return genuine, nil }
	d := newNode(t, Config{verifier: off})
	connect(t, d.host, newHostile(t, serving(forged)))
	got, err := d.Get(t.Context(), kind.Key)
	if err != nil || !bytes.Equal(got, forged) {
		t.Fatalf("the control does not accept the forged value: %v", err)
	}
}

func TestRollbackNeverReplacesOurCopy(t *testing.T) {
	clock := dhttest.NewClock(dhttest.Start)
	kind := persons(t, 1)[0]
	d := newNode(t, Config{Now: clock.Now})
	for range 3 {
		connect(t, d.host, newHostile(t, serving(kind.Make(2, 0))))
	}
	if _, err := d.Put(t.Context(), kind.Key, kind.Make(5, 0)); err != nil {
		t.Fatal(err)
	}
	clock.Set(clock.Now().Add(2 * cacheFor)) // our copy is old: the peers are asked
	for name, get := range map[string]func() ([]byte, error){
		"Get":    func() ([]byte, error) { return d.Get(t.Context(), kind.Key) },
		"Newest": func() ([]byte, error) { return d.Newest(t.Context(), kind.Key) },
	} {
		got, err := get()
		if err != nil || !bytes.Equal(got, kind.Make(5, 0)) {
			t.Errorf("%s rolled back: %v", name, err)
		}
	}
}

func TestNewestFindsTheNewestAmongRolledBackCopies(t *testing.T) {
	kind := persons(t, 1)[0]
	honest := newNode(t, Config{})
	d := newNode(t, Config{})
	for range 5 {
		connect(t, d.host, newHostile(t, serving(kind.Make(2, 0))))
	}
	connect(t, d.host, honest.host)
	if _, err := honest.Put(t.Context(), kind.Key, kind.Make(5, 0)); err != nil {
		t.Fatal(err)
	}
	got, err := d.Newest(t.Context(), kind.Key)
	if err != nil || !bytes.Equal(got, kind.Make(5, 0)) {
		t.Fatalf("newest: %v", err)
	}
}

func TestSilentPeersDoNotHideARecord(t *testing.T) {
	honest := newNode(t, Config{})
	d := newNode(t, Config{})
	for range 2 * alpha { // they fill every place of the walk, twice
		connect(t, d.host, newHostile(t, silence))
	}
	connect(t, d.host, honest.host)
	for _, kind := range persons(t, 6) {
		if _, err := honest.Put(t.Context(), kind.Key, kind.Make(1, 0)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got, err := d.Get(t.Context(), kind.Key)
		if err != nil || !bytes.Equal(got, kind.Make(1, 0)) {
			t.Fatalf("get: %v", err)
		}
		if took := time.Since(start); took > requestTimeout {
			t.Errorf("took %v, more than one deadline", took)
		}
	}
}

func TestSilentPeersEndWithTheirDeadline(t *testing.T) {
	d := newNode(t, Config{})
	for range 3 {
		connect(t, d.host, newHostile(t, silence))
	}
	start := time.Now()
	if _, err := d.Get(t.Context(), persons(t, 1)[0].Key); !errors.Is(err, dht.ErrNotFound) {
		t.Fatalf("get: %v", err)
	}
	if took := time.Since(start); took > requestTimeout+2*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestAStoredValueIsVerifiedOnEveryExit(t *testing.T) {
	d, reader := newNode(t, Config{}), newNode(t, Config{})
	connect(t, d.host, reader.host)
	kind := persons(t, 1)[0]
	if _, err := d.Put(t.Context(), kind.Key, kind.Make(1, 0)); err != nil {
		t.Fatal(err)
	}
	damage(t, d)
	if got, err := d.Get(t.Context(), kind.Key); err == nil && !bytes.Equal(got, kind.Make(1, 0)) {
		t.Error("Get returned a damaged value")
	}
	damage(t, reader)
	forgetValues(d)
	forgetValues(reader)
	for name, get := range map[string]func() ([]byte, error){
		"own disk":        func() ([]byte, error) { return d.Get(t.Context(), kind.Key) },
		"kad and record":  func() ([]byte, error) { return reader.Get(t.Context(), kind.Key) },
		"record protocol": func() ([]byte, error) { return reader.fetchRecord(t.Context(), d.host.ID(), kind.Key) },
	} {
		if got, err := get(); len(got) != 0 {
			t.Errorf("%s: a damaged value of %d bytes left the store (%v)", name, len(got), err)
		}
	}
}

// The control: a store that does not verify serves the damaged value.
func TestControlVerificationOffServesADamagedValue(t *testing.T) {
	kind := persons(t, 1)[0]
	off := newVerifier(at(dhttest.Start))
	claim, err := off.claim(kind.Key, kind.Make(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	off.inspect = func(string, []byte) (dht.Claim, error) { return claim, nil }
	d, reader := newNode(t, Config{verifier: off}), newNode(t, Config{})
	connect(t, d.host, reader.host)
	if _, err := d.Put(t.Context(), kind.Key, kind.Make(1, 0)); err != nil {
		t.Fatal(err)
	}
	damage(t, d)
	forgetValues(d)
	got, err := reader.fetchRecord(t.Context(), d.host.ID(), kind.Key)
	if err != nil || len(got) == 0 || bytes.Equal(got, kind.Make(1, 0)) {
		t.Fatalf("the control serves %d bytes, %v", len(got), err)
	}
}

// damage flips a bit in the value of every stored record; the last 32 bytes of
// an entry are the time at which it came.
func damage(tb testing.TB, d *Directory) {
	tb.Helper()
	m := d.store.keeper.(*memory)
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, value := range m.values {
		value = bytes.Clone(value)
		value[len(value)-40] ^= 1
		m.values[key] = value
	}
}

func TestAHostilePutIsRefused(t *testing.T) {
	d, victim := newNode(t, Config{}), newNode(t, Config{})
	connect(t, d.host, victim.host)
	kind := persons(t, 1)[0]
	if _, err := d.Put(t.Context(), kind.Key, kind.Make(5, 0)); err != nil {
		t.Fatal(err)
	}
	for i, value := range [][]byte{dhttest.Forged(kind.Make(9, 0)), kind.Make(2, 0), make([]byte, dht.MaxRecord+1), {}} {
		rec := record.MakePutRecord(kind.Key, value)
		if err := d.messenger.PutValue(t.Context(), victim.host.ID(), rec); err == nil {
			t.Errorf("value %d was stored", i)
		}
	}
	got, err := victim.Newest(t.Context(), kind.Key)
	if err != nil || !bytes.Equal(got, kind.Make(5, 0)) {
		t.Fatalf("the victim lost its record: %v", err)
	}
}

func TestOversizedRequestsAreRefused(t *testing.T) {
	d, peer := newNode(t, Config{}), newHost(t)
	connect(t, peer, d.host)
	s, err := peer.NewStream(t.Context(), d.host.ID(), RecordProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	if err := writeFrame(s, &pb.RecordRequest{Key: make([]byte, maxRequestFrame)}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(s); err == nil {
		t.Error("no reset")
	}
}
