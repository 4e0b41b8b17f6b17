package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// redis is a redis-server with streams, one a sender, that syncs its log before every answer.
type redis struct {
	cmd   *exec.Cmd
	conns []*resp
}

func startRedis(folder string, conns int) (broker, error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := free.Addr().(*net.TCPAddr)
	free.Close()
	r := &redis{cmd: exec.Command("redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(addr.Port), "--dir", folder,
		"--appendonly", "yes", "--appendfsync", "always", "--save", "", "--auto-aof-rewrite-percentage", "0", "--loglevel", "notice")}
	r.cmd.Stderr = os.Stderr
	says, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	if err := ready(says); err != nil {
		return nil, errors.Join(err, r.stop())
	}
	for range conns {
		c, err := dialRESP(addr.String())
		if err != nil {
			return nil, errors.Join(err, r.stop())
		}
		r.conns = append(r.conns, c)
	}
	return r, nil
}

func (r *redis) conn(sender int) *resp { return r.conns[sender%len(r.conns)] }

func (r *redis) put(_ context.Context, sender int, payload []byte) error {
	_, err := r.conn(sender).do("XADD", boxName(sender), "*", "e", string(payload))
	return err
}

// drain reads a stream in pages and deletes each page.
func (r *redis) drain(_ context.Context, sender int) (n int, err error) {
	for {
		page, err := r.conn(sender).do("XRANGE", boxName(sender), "-", "+", "COUNT", "1024")
		if err != nil {
			return n, err
		}
		entries, _ := page.([]any)
		if len(entries) == 0 {
			return n, nil
		}
		command := []string{"XDEL", boxName(sender)}
		for _, e := range entries {
			command = append(command, e.([]any)[0].(string))
		}
		if _, err := r.conn(sender).do(command...); err != nil {
			return n, err
		}
		n += len(entries)
	}
}

func (r *redis) stop() error {
	for _, c := range r.conns {
		c.c.Close()
	}
	if err := r.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = r.cmd.Wait()
	return nil
}

func boxName(sender int) string { return "box" + strconv.Itoa(sender) }

// resp is a connection that many may use at once: answers come in the order of the commands.
type resp struct {
	c net.Conn

	mu      sync.Mutex
	w       *bufio.Writer
	waiting chan chan answer
}

type answer struct {
	value any
	err   error
}

func dialRESP(addr string) (*resp, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &resp{c: c, w: bufio.NewWriterSize(c, 64<<10), waiting: make(chan chan answer, 4096)}
	go r.read()
	return r, nil
}

// ready reads what the server says until it listens, and drains the rest.
func ready(says io.Reader) error {
	lines := bufio.NewScanner(says)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			go func() { _, _ = io.Copy(io.Discard, says) }()
			return nil
		}
	}
	return errors.Join(errors.New("the server did not start"), lines.Err())
}

func (r *resp) do(words ...string) (any, error) {
	mine := make(chan answer, 1)
	r.mu.Lock()
	fmt.Fprintf(r.w, "*%d\r\n", len(words))
	for _, w := range words {
		r.w.WriteByte('$')
		r.w.WriteString(strconv.Itoa(len(w)))
		r.w.WriteString("\r\n")
		r.w.WriteString(w)
		r.w.WriteString("\r\n")
	}
	err := r.w.Flush()
	r.waiting <- mine
	r.mu.Unlock()
	if err != nil {
		return nil, err
	}
	a := <-mine
	return a.value, a.err
}

func (r *resp) read() {
	in := bufio.NewReaderSize(r.c, 64<<10)
	for mine := range r.waiting {
		v, err := value(in)
		mine <- answer{v, err}
	}
}

// value reads one value: a string, a number, or a list of them.
func value(in *bufio.Reader) (any, error) {
	line, err := in.ReadString('\n')
	if err != nil || len(line) < 3 {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	rest := line[1 : len(line)-2]
	switch line[0] {
	case '+', ':':
		return rest, nil
	case '-':
		return nil, errors.New(rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 {
		return nil, err
	}
	if line[0] == '$' {
		text := make([]byte, n+2)
		_, err := io.ReadFull(in, text)
		return string(text[:n]), err
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = value(in); err != nil {
			return nil, err
		}
	}
	return list, nil
}
