// Package namestest is a name server on loopback for tests: it answers questions for TXT records, and nothing else.
package namestest

import (
	"net"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Answer is what the server says of one name.
type Answer struct {
	Records [][]string // each of one or more strings
	Unknown bool       // there is no such name
	Broken  bool       // the server fails
	Silent  bool       // it says nothing
}

// Serve answers until stop is called. answer gets names in lower case, with their final dot.
func Serve(answer func(name string) Answer) (addr string, stop func(), err error) {
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if out := reply(buf[:n], answer); out != nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return conn.LocalAddr().String(), func() { conn.Close(); <-done }, nil
}

func reply(raw []byte, answer func(string) Answer) []byte {
	var m dnsmessage.Message
	if m.Unpack(raw) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	a := answer(strings.ToLower(q.Name.String()))
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}
	m.Additionals, m.Answers = nil, nil
	switch {
	case a.Silent:
		return nil
	case a.Broken:
		m.RCode = dnsmessage.RCodeServerFailure
	case a.Unknown:
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, r := range a.Records {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.TXTResource{TXT: r},
		})
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}
