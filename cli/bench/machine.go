package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/kith-im/kith/dht"
)

// settings open a relay's limits and rates: what is measured is its work, not its refusals.
const settings = `relay_max_bytes = "1 TiB"
relay_box_bytes = "1 TiB"
relay_box_count = 100000000
relay_pass_bytes = "1 TiB"
relay_pass_count = 100000000
relay_rate = -1
`

// The transports.
const (
	TCP  = "tcp"
	QUIC = "quic"
)

// newHost is a client's libp2p host: one transport, no listener, nothing that limits.
func newHost(over string) (host.Host, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, err
	}
	transport := libp2p.Transport(tcp.NewTCPTransport)
	if over == QUIC {
		transport = libp2p.Transport(quic.NewTransport)
	}
	return libp2p.New(libp2p.Identity(key), transport, libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(), libp2p.ResourceManager(&network.NullResourceManager{}))
}

// reachedBy leaves the addresses of a relay that a transport reaches.
func reachedBy(p dht.Peer, over string) dht.Peer {
	out := dht.Peer{ID: p.ID}
	for _, raw := range p.Addrs {
		a, err := ma.NewMultiaddrBytes(raw)
		if err != nil {
			continue
		}
		if _, err := a.ValueForProtocol(ma.P_QUIC_V1); (err == nil) == (over == QUIC) {
			out.Addrs = append(out.Addrs, raw)
		}
	}
	return out
}

// The fsyncs that are measured, before and after the load: so many, or for so long.
const (
	syncRounds = 500
	syncWithin = time.Second
)

// syncs appends size bytes to a file in folder and syncs it, again and again: what the disk of the relay costs.
func syncs(ctx context.Context, folder string, size int) ([]time.Duration, error) {
	f, err := os.CreateTemp(folder, "sync-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var ds []time.Duration
	page := make([]byte, size)
	for begun := time.Now(); len(ds) < syncRounds && time.Since(begun) < syncWithin && ctx.Err() == nil; {
		start := time.Now()
		if _, err := f.Write(page); err != nil {
			return ds, err
		}
		if err := f.Sync(); err != nil {
			return ds, err
		}
		ds = append(ds, time.Since(start))
	}
	return ds, nil
}

// sizeOf is the size of the files in a folder, in bytes.
func sizeOf(folder string) (total int64) {
	_ = filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// peakOf is the most memory that a process was resident in, in bytes; 0 where the system does not say.
func peakOf(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// ticks is how the kernel counts a process's time: so many a second on every Linux.
const ticks = 100

// cpuOf is the time that a process has used of all cores; 0 where the system does not say.
func cpuOf(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may hold anything.
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticks
}

// workshop is the temporary folder of a run.
func workshop(parent string) (folder string, end func() error, err error) {
	folder, err = os.MkdirTemp(parent, "kith-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("a folder for the relay: %w", err)
	}
	return folder, func() error { return os.RemoveAll(folder) }, nil
}

// interrupted reports whether a run ended because it was told to.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled))
}
