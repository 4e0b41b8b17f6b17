// Package child runs relays as processes of their own on loopback, for stories and benchmarks on one machine.
//
// What it guarantees: a child sees no folder, setting or environment of the person's own; it has an identity and a store
// of its own in the folder that it is given; it ends when its parent does, however that ends (the leash is a pipe).
//
// What it does not: it removes nothing that a child wrote.
package child

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/kad"
	"github.com/kith-im/kith/node/p2p"
)

// Relay is one relay process.
type Relay struct {
	Home string
	Peer peer.ID
	Self dht.Peer // with its addresses

	cmd   *exec.Cmd
	leash io.Closer // it ends when this closes, also when we are killed
	words tail
	ended chan struct{} // closed when the process is gone
}

// Start makes a home for a relay with these settings (the text of its config.toml, or nothing), starts exe on it, and
// waits until it says where it is.
func Start(ctx context.Context, exe, home, settings string) (*Relay, error) {
	if _, _, err := p2p.Init(home, p2p.InitParams{Name: "relay", DeviceName: "relay"}); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte(settings), 0o600); err != nil {
		return nil, err
	}
	r := &Relay{Home: home, ended: make(chan struct{})}
	r.cmd = exec.Command(exe, "--home", home, "daemon", "--relay", "--loopback", "--no-mdns", "--leash", "--json", "--log-level", "error")
	r.cmd.Env = Env(home)
	r.cmd.Stderr = &r.words
	leash, err := r.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r.leash = leash
	first := make(chan string, 1)
	go Listen(r.cmd, out, first, r.ended)
	select {
	case line := <-first:
		err = r.met(line)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		r.End()
		return nil, fmt.Errorf("relay: %w%s", err, r.words.said())
	}
	return r, nil
}

// Listen hands out the first line of a process that has been started, drains the rest, and closes ended when the
// process is gone.
func Listen(cmd *exec.Cmd, out io.Reader, first chan<- string, ended chan<- struct{}) {
	lines := bufio.NewReader(out)
	line, _ := lines.ReadString('\n')
	first <- line
	_, _ = io.Copy(io.Discard, lines)
	_ = cmd.Wait()
	close(ended)
}

// ErrSilent says that a process ended, or said something else, where it should have said that it is ready.
var ErrSilent = errors.New("it ended before it was ready")

// met reads the line in which the relay says where it is.
func (r *Relay) met(line string) error {
	var says struct {
		Addrs []string `json:"addrs"`
	}
	if err := json.Unmarshal([]byte(line), &says); err != nil || len(says.Addrs) == 0 {
		return ErrSilent
	}
	var infos []peer.AddrInfo
	for _, a := range says.Addrs {
		info, err := peer.AddrInfoFromString(a)
		if err != nil {
			return err
		}
		infos = append(infos, *info)
	}
	whole := infos[0]
	for _, more := range infos[1:] {
		whole.Addrs = append(whole.Addrs, more.Addrs...)
	}
	r.Peer, r.Self = whole.ID, kad.PlainPeer(whole)
	return nil
}

// PID is the number of the process.
func (r *Relay) PID() int { return r.cmd.Process.Pid }

// Kill ends the process as a power cut would.
func (r *Relay) Kill() error {
	err := r.cmd.Process.Kill()
	<-r.ended
	return err
}

// End lets the relay go and waits for it.
func (r *Relay) End() {
	_ = r.leash.Close()
	<-r.ended
}

// tail keeps the end of what a process said.
type tail struct{ kept []byte }

// maxTail is how much of it, in bytes.
const maxTail = 1 << 10

// Write implements io.Writer; only the process's copying goroutine calls it.
func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	t.kept = t.kept[max(0, len(t.kept)-maxTail):]
	return len(p), nil
}

// said is for the end of an error, once the process is gone.
func (t *tail) said() string {
	if words := bytes.TrimSpace(t.kept); len(words) > 0 {
		return ": " + string(words)
	}
	return ""
}

// Env keeps a child from everything that is the person's own.
func Env(home string) []string {
	env := []string{"HOME=" + home}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if name != "HOME" && !strings.HasPrefix(name, "KITH_") && !strings.HasPrefix(name, "XDG_") {
			env = append(env, kv)
		}
	}
	return env
}
