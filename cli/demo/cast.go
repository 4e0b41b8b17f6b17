package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/kad"
	"github.com/kith-im/kith/node/p2p"
)

// relayProcess is one relay, a process of its own.
type relayProcess struct {
	home  string
	peer  peer.ID
	self  dht.Peer
	cmd   *exec.Cmd
	leash io.Closer     // it ends when this closes, also when we are killed
	ended chan struct{} // closed when the process is gone
}

// startRelay makes a home for a relay, starts it, and waits until it says where it is.
func startRelay(ctx context.Context, exe, home string) (*relayProcess, error) {
	if _, _, err := p2p.Init(home, p2p.InitParams{Name: "relay", DeviceName: "relay"}); err != nil {
		return nil, err
	}
	r := &relayProcess{home: home, ended: make(chan struct{})}
	r.cmd = exec.Command(exe, "--home", home, "daemon", "--relay", "--loopback", "--no-mdns", "--leash", "--json", "--log-level", "error")
	r.cmd.Env = cleanEnv(home)
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
	go r.listen(out, first)
	select {
	case line := <-first:
		err = r.met(line)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		r.end()
		return nil, fmt.Errorf("relay: %w", err)
	}
	return r, nil
}

// listen hands out the first line, drains the rest, and notes the end.
func (r *relayProcess) listen(out io.Reader, first chan<- string) {
	lines := bufio.NewReader(out)
	line, _ := lines.ReadString('\n')
	first <- line
	_, _ = io.Copy(io.Discard, lines)
	_ = r.cmd.Wait()
	close(r.ended)
}

var errSilent = errors.New("it ended before it was ready")

// met reads the line in which the relay says where it is.
func (r *relayProcess) met(line string) error {
	var says struct {
		Addrs []string `json:"addrs"`
	}
	if err := json.Unmarshal([]byte(line), &says); err != nil || len(says.Addrs) == 0 {
		return errSilent
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
	r.peer, r.self = whole.ID, kad.PlainPeer(whole)
	return nil
}

// kill ends the process as a power cut would.
func (r *relayProcess) kill() error {
	err := r.cmd.Process.Kill()
	<-r.ended
	return err
}

// end lets the relay go and waits for it.
func (r *relayProcess) end() {
	_ = r.leash.Close()
	<-r.ended
}

// cleanEnv keeps a child from everything that is the person's own.
func cleanEnv(home string) []string {
	env := []string{"HOME=" + home}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if name != "HOME" && !strings.HasPrefix(name, "KITH_") && !strings.HasPrefix(name, "XDG_") {
			env = append(env, kv)
		}
	}
	return env
}
