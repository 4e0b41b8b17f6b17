// Package names asks the DNS who a name under a domain (people.Name) belongs to.
//
// It guarantees that one question ends in time and that an answer is read within bounds. It does not make the DNS honest:
// whoever controls the domain, its name servers or the way to the resolver decides what is answered, and DNSSEC is the
// resolver's work (docs/threat-model.md).
package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/kith-im/kith/crypto/identity"
	"github.com/kith-im/kith/node/people"
)

// askWithin is how long a question may take, with the resolver's own repeats.
const askWithin = 10 * time.Second

// Resolver asks one name server, or those of the system.
type Resolver struct {
	dns *net.Resolver
}

// New makes a resolver that asks server ("127.0.0.1:53"); empty: those of the system.
func New(server string) (*Resolver, error) {
	if server == "" {
		return &Resolver{dns: net.DefaultResolver}, nil
	}
	if _, err := netip.ParseAddrPort(server); err != nil {
		return nil, fmt.Errorf("%q is not an address with a port", server)
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server)
	}
	return &Resolver{dns: &net.Resolver{PreferGo: true, Dial: dial}}, nil
}

// Lookup says whose a name is: the user id, people.ErrNoRecord, people.ErrTwoRecords, or people.ErrUnanswered.
func (r *Resolver) Lookup(ctx context.Context, n people.Name) (identity.UserID, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	records, err := r.dns.LookupTXT(ctx, n.Record())
	if no, ok := errors.AsType[*net.DNSError](err); ok && no.IsNotFound {
		return identity.UserID{}, people.ErrNoRecord
	}
	if err != nil {
		return identity.UserID{}, fmt.Errorf("%w: %w", people.ErrUnanswered, err)
	}
	return n.Named(records)
}
