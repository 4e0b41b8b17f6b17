package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Limits of the page.
const (
	maxInFlight = 4
	maxHeader   = 8 << 10 // bytes
	within      = 10 * time.Second
	idle        = 2 * time.Minute
)

// ErrPublic says that an address is not of this machine alone.
var ErrPublic = errors.New("metrics are served on a loopback address only")

// Server answers GET /metrics.
type Server struct {
	http *http.Server
	addr net.Addr
	done chan struct{}
}

// Serve begins to answer at addr ("127.0.0.1:9464"). An address that others can reach is ErrPublic: the page tells
// whoever asks how busy the relay is and how much it holds.
func Serve(addr string, m *Metrics, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if !local(addr) {
		return nil, fmt.Errorf("metrics at %q: %w", addr, ErrPublic)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", asked(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxInFlight, Timeout: within, DisableCompression: true,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	})))
	s := &Server{addr: l.Addr(), done: make(chan struct{})}
	s.http = &http.Server{
		Handler: mux, ReadTimeout: within, ReadHeaderTimeout: within, WriteTimeout: 2 * within, IdleTimeout: idle,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics stopped", "err", err)
		}
	}()
	return s, nil
}

// local reports whether only this machine reaches an address.
func local(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && localName(host)
}

func localName(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// asked lets through who asked for this machine by a name of its own: a page of the web cannot point a name of its own
// here and read the answer.
func asked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !localName(host) {
			http.Error(w, "ask by a loopback address", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Addr is where the page is, after a port of 0 was chosen.
func (s *Server) Addr() net.Addr { return s.addr }

// Close lets a page that is being written end, and stops.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.done
	return err
}
