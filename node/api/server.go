package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Server answers on a Unix socket.
type Server struct {
	backend Backend
	log     *slog.Logger
	http    *http.Server
	stop    context.CancelFunc
	done    chan struct{}
}

// Serve starts answering on the Unix socket at path, with mode 0600. A socket that nobody answers is replaced: the
// caller holds the lock of the store beside it.
func Serve(path string, b Backend, log *slog.Logger) (*Server, error) {
	l, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("local API: %w", err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{backend: b, log: log, stop: stop, done: make(chan struct{})}
	s.http = &http.Server{
		Handler: s.routes(), BaseContext: func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(&limitedListener{Listener: l, free: newSlots(maxConns)}); !errors.Is(err, http.ErrServerClosed) {
			log.Error("local API stopped", "err", err)
		}
	}()
	return s, nil
}

func listen(path string) (net.Listener, error) {
	if len(path) > MaxSocketPath {
		return nil, Fail(ExitFailed, fmt.Sprintf("the socket's path has %d bytes; at most %d work: %s", len(path), MaxSocketPath, path), "kith daemon --home /shorter/path")
	}
	if conn, err := net.DialTimeout("unix", path, dialTimeout); err == nil {
		conn.Close()
		return nil, Fail(ExitLocked, "another node answers on "+path, "kith status")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close ends the streams, lets short requests finish, and removes the socket.
func (s *Server) Close() error {
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.done
	return err
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/{method}", s.method)
	mux.HandleFunc("GET /v1/events", s.events)
	mux.HandleFunc("GET /v1/health", s.health)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, Fail(ExitUsage, "there is only POST /v1/METHOD, GET /v1/events and GET /v1/health", "kith api --help"))
	})
	return mux
}

func (s *Server) method(w http.ResponseWriter, r *http.Request) {
	ctl := http.NewResponseController(w)
	_ = ctl.SetReadDeadline(time.Now().Add(callTimeout))
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxRequest))
	// The server keeps reading to notice a caller who goes; that may take as long as the method.
	_ = ctl.SetReadDeadline(time.Time{})
	if err != nil {
		s.fail(w, Fail(ExitUsage, fmt.Sprintf("the request does not end within %d bytes", MaxRequest), "kith api --help"))
		return
	}
	answer, err := call(r.Context(), &s.backend, r.PathValue("method"), raw)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.write(w, http.StatusOK, answer)
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	cursor, err := s.backend.newest()
	if err != nil {
		s.fail(w, err)
		return
	}
	answer, err := Object("health", Health{Version: s.backend.Version, Cursor: cursor})
	if err != nil {
		s.fail(w, err)
		return
	}
	s.write(w, http.StatusOK, answer)
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	e := ErrorOf(err)
	answer, err := Object("error", e)
	if err != nil {
		s.log.Error("local API", "err", err)
		return
	}
	s.write(w, e.httpStatus(), answer)
}

func (s *Server) write(w http.ResponseWriter, status int, object []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(object, '\n'))
}

// limitedListener accepts at most so many connections at a time; the others wait in the system's queue.
type limitedListener struct {
	net.Listener
	free chan struct{}
}

func newSlots(n int) chan struct{} {
	free := make(chan struct{}, n)
	for range n {
		free <- struct{}{}
	}
	return free
}

func (l *limitedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case <-l.free:
		return &limitedConn{Conn: c, back: sync.OnceFunc(func() { l.free <- struct{}{} })}, nil
	default:
		// The person has 128 programs on this socket. The next one is told at once, instead of hanging.
		c.Close()
		return l.Accept()
	}
}

type limitedConn struct {
	net.Conn
	back func()
}

func (c *limitedConn) Close() error {
	c.back()
	return c.Conn.Close()
}
