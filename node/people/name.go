// Package people is the rules of what people call themselves: names under a domain (name@domain) with the DNS record that
// proves them, profiles that others send, and how many requests of strangers wait.
//
// It guarantees that whatever comes out of it is short, printable and of one alphabet: a name under a domain is ASCII and
// compared byte by byte, so that two names that look alike are the same name. It asks nobody: looking a record up is the
// work of package names, and what becomes of the answer that of the engine.
package people

import (
	"encoding/hex"
	"errors"
	"strings"

	"github.com/kith-im/kith/crypto/identity"
)

// Sizes of names under a domain, in bytes, and of the answers that may prove them.
const (
	MaxLocal  = 64  // before the @
	MaxDomain = 240 // RFC 1035 allows 253, and the record's name has "_kith." before it
	maxLabel  = 63  // between two dots
	// MaxRecords is how many records of one domain are read.
	MaxRecords = 256
	maxRecord  = 512
)

// recordLabel is where a domain says who its names are.
const recordLabel = "_kith."

// Errors of names and of their records.
var (
	ErrName    = errors.New("a name under a domain is written name@example.org: lower-case letters, digits, - _ . and a domain with a dot")
	ErrForeign = errors.New("only ASCII: write a domain of another alphabet in its xn-- form, as its owner's registrar shows it")
	// ErrNoRecord says that the domain does not name that person.
	ErrNoRecord = errors.New("the domain does not name anybody by that name")
	// ErrTwoRecords says that the domain names several people by that name.
	ErrTwoRecords = errors.New("the domain names two people by that name")
)

// Name is a name under a domain, in its one canonical form: lower case, without a final dot.
type Name struct {
	Local  string
	Domain string
}

// ParseName reads "Alice@Example.org". Names are compared by their bytes, so nothing but ASCII is taken: a domain of
// another alphabet is written, and shown, in its xn-- form.
func ParseName(s string) (Name, error) {
	if len(s) > MaxLocal+1+MaxDomain {
		return Name{}, ErrName
	}
	for _, r := range s {
		if r >= 0x80 {
			return Name{}, ErrForeign
		}
	}
	local, domain, _ := strings.Cut(strings.ToLower(s), "@")
	domain = strings.TrimSuffix(domain, ".")
	if !validLocal(local) || !validDomain(domain) {
		return Name{}, ErrName
	}
	return Name{Local: local, Domain: domain}, nil
}

// String is the canonical form, "alice@example.org".
func (n Name) String() string { return n.Local + "@" + n.Domain }

// Record is the DNS name, with its final dot, whose TXT records name the domain's people.
func (n Name) Record() string { return recordLabel + n.Domain + "." }

func validLocal(s string) bool {
	if s == "" || len(s) > MaxLocal {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || i == len(s)-1 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return true
}

// validDomain takes host names of two labels or more whose last is no number, so that no address passes for one. Of the
// labels with two hyphens in third place only those of IDNA are taken (RFC 5890, section 2.3.1).
func validDomain(s string) bool {
	if s == "" || len(s) > MaxDomain {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > maxLabel || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for i := range len(l) {
			if c := l[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
				return false
			}
		}
		if len(l) > 3 && l[2:4] == "--" && l[:2] != "xn" {
			return false
		}
	}
	last := labels[len(labels)-1]
	return len(labels) > 1 && strings.ContainsFunc(last, func(r rune) bool { return r >= 'a' && r <= 'z' })
}

// Named finds whom the TXT records of a domain name so. Each element is one record, its strings joined:
//
//	alice=5f2d…        the name, "=", the user id in 64 hex digits
//
// Spaces around the two parts, and case, do not count; other records are none of ours. Two records with one name and
// two user ids prove nothing.
func (n Name) Named(records []string) (identity.UserID, error) {
	var found identity.UserID
	known := false
	for _, r := range records[:min(len(records), MaxRecords)] {
		local, text, ok := strings.Cut(r, "=")
		if !ok || len(r) > maxRecord || strings.ToLower(strings.TrimSpace(local)) != n.Local {
			continue
		}
		raw, err := hex.DecodeString(strings.TrimSpace(text))
		switch {
		case err != nil || len(raw) != len(found):
			continue
		case known && found != identity.UserID(raw):
			return identity.UserID{}, ErrTwoRecords
		}
		found, known = identity.UserID(raw), true
	}
	if !known {
		return found, ErrNoRecord
	}
	return found, nil
}

// RecordFor is the TXT record that names a user so.
func (n Name) RecordFor(u identity.UserID) string { return n.Local + "=" + hex.EncodeToString(u[:]) }
