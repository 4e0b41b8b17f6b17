package faults

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/crypto/vault"
	"github.com/kith-im/kith/node/boltstore"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// secrets are what must never be readable where it does not belong, by name.
type secrets map[string][]byte

// in names the secrets that stand in raw, as they are or in hex.
func (s secrets) in(raw []byte) (found []string) {
	for name, secret := range s {
		if bytes.Contains(raw, secret) || bytes.Contains(bytes.ToLower(raw), []byte(hex.EncodeToString(secret))) {
			found = append(found, name)
		}
	}
	return found
}

// places are all bytes that a machine leaves outside its memory: every file of its home and of the folder for
// temporary files, its log, and what the system shows of its process.
func places(t testing.TB, m *machine, also ...string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, root := range append(also, m.home, m.log()) {
		check(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			raw, err := os.ReadFile(path)
			out[path] = raw
			return err
		}))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd != nil {
		for _, file := range []string{"cmdline", "environ", "comm"} {
			raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", m.cmd.Process.Pid, file))
			check(t, err)
			out[file] = raw
		}
	}
	return out
}

// open reads the secrets of a device from its store, which nobody runs.
func (s secrets) open(t testing.TB, m *machine, passphrase []byte) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(m.home, "vault.key"))
	check(t, err)
	v, err := vault.Open(raw, passphrase)
	check(t, err)
	db, err := boltstore.Open(m.home, v, boltstore.Options{ReadOnly: true})
	check(t, err)
	defer func() { check(t, db.Close()) }()
	check(t, db.View(func(tx store.Tx) error {
		self := &pb.Self{}
		if err := proto.Unmarshal(tx.Get(store.BucketMeta, []byte("self")), self); err != nil {
			return err
		}
		s[m.name+"'s signing key"], s[m.name+"'s identity key"] = self.DeviceKeys[1:33], self.DeviceKeys[33:65]
		s[m.name+"'s mailbox secret"], s[m.name+"'s record secret"] = self.MailboxSecret, self.RecordSecret
		if len(self.Account) > 0 {
			s[m.name+"'s account key"] = self.Account[37:69]
		}
		tx.Scan(store.BucketPrekeys, nil, func(_, v []byte) bool {
			row := &pb.Prekey{}
			err = proto.Unmarshal(v, row)
			s[m.name+"'s prekey"], s[m.name+"'s ML-KEM seed"] = row.Secret[33:65], row.Secret[65:129]
			return err == nil
		})
		tx.Scan(store.BucketSessions, nil, func(k, v []byte) bool {
			const keys = 8 + 5*32 // docs/protocol.md, 2.6: what stands before the root key
			for i, name := range []string{"root key", "ratchet key"} {
				if secret := v[keys+32*i:][:32]; !bytes.Equal(secret, make([]byte, 32)) {
					s[fmt.Sprintf("a %s of %s", name, m.name)] = bytes.Clone(secret)
				}
			}
			return true
		})
		return err
	}))
}

// TestAttackSecretsScan: two people write to each other through a relay, with everything logged, are asked things that
// cannot be, and die with a dump of their stacks. Nothing secret stands in any file, log, argument, environment or answer.
func TestAttackSecretsScan(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), storyWithin)
	defer cancel()
	c := &cast{t: t, dir: folder(t), news: newNews(), with: company{honest: 1}}
	t.Cleanup(c.end)
	temp := filepath.Join(c.dir, "tmp")
	check(t, os.MkdirAll(temp, 0o700))
	known := secrets{"the passphrase": []byte("canary of a passphrase"), "a text": []byte("canary-of-a-text"), "an answer": []byte("canary-of-an-answer")}
	file := filepath.Join(c.dir, "passphrase") // beside, not in a place that is looked at
	check(t, os.WriteFile(file, known["the passphrase"], 0o600))

	relay := c.honest(ctx, 1, true)
	c.relays = []*machine{relay}
	check(t, relay.start(ctx))
	person := func(name string, init ...string) *device {
		d := newDevice(t, c.dir, name, c.news, "env", "TMPDIR="+temp)
		d.listens(t).knows(relay)
		d.args = append(append(d.args, "--log-level", "debug"), init...)
		out := d.must(t, ctx, 0, append([]string{"init", "--name", name, "--jq", ".phrase"}, init...)...)
		phrase := strings.Fields(out)
		if len(phrase) != 12 {
			t.Fatalf("control: %d words in %q", len(phrase), out)
		}
		known[name+"'s phrase"] = []byte(strings.Join(phrase, " "))
		known["words of "+name+"'s phrase"] = []byte(strings.Join(phrase[:3], " "))
		check(t, d.start(ctx))
		d.id = d.must(t, ctx, 0, "id", "--jq", ".device")
		return d
	}
	c.alice, c.bob = person("alice", "--passphrase-file", file), person("bob")
	invite := c.alice.must(t, ctx, 0, "invite", "--jq", ".text")
	c.bob.must(t, ctx, 0, "join", invite, "--as", "alice")
	known["the link"] = []byte(invite[strings.IndexAny(invite, "#:/")+1:])
	check(t, c.alice.elects(ctx, 1))
	check(t, c.bob.elects(ctx, 1))
	check(t, c.alice.meets(ctx, "bob", 1, 1)) // and has heard of his relay, or there is no custody while he is dead
	check(t, c.bob.meets(ctx, "alice", 1, 1))
	_, err := c.alice.send(ctx, "bob", string(known["a text"]), "")
	check(t, err)
	check(t, c.news.until(ctx, "the text", func() bool { return c.bob.times(string(known["a text"])) == 1 }))
	c.bob.kill()
	id, err := c.alice.send(ctx, "bob", string(known["a text"])+" again", "")
	check(t, err)
	check(t, asking(ctx, func() bool { s, err := c.alice.status(ctx, id); return err == nil && s.Stage == view.StageCustody }))
	check(t, c.bob.start(ctx))
	check(t, c.news.until(ctx, "what waited", func() bool { return c.bob.times(string(known["a text"])+" again") == 1 }))

	// Answers to what cannot be say nothing of what was in the question, nor of what is known.
	for _, args := range [][]string{
		{"send", "nobody", string(known["an answer"])},
		{"react", "0123abcd", string(known["an answer"])},
		{"device", "revoke", "0123abcd"},
		{"join", invite},
	} {
		a, err := c.alice.run(ctx, append([]string{"--json"}, args...)...)
		check(t, err)
		if a.exit == 0 {
			t.Errorf("control: kith %s works", args[0])
		}
		if found := known.in([]byte(a.out + a.err)); len(found) > 0 {
			t.Errorf("kith %s answers with %q: %s%s", args[0], found, a.out, a.err)
		}
	}
	look := func(when string) {
		t.Helper()
		for _, m := range c.machines() {
			for place, raw := range places(t, m, temp) {
				if found := known.in(raw); len(found) > 0 {
					t.Errorf("%s, %s: %s shows %q", when, m.name, place, found)
				}
			}
		}
	}
	look("while all run")
	for _, m := range c.machines() {
		check(t, m.signal(syscall.SIGQUIT)) // what a panic writes as well: all stacks
		<-m.ended
		raw, err := os.ReadFile(m.log())
		check(t, err)
		if !bytes.Contains(raw, []byte("goroutine ")) {
			t.Errorf("control: %s left no stacks", m.name)
		}
		m.kill()
	}
	known.open(t, c.alice.machine, known["the passphrase"])
	known.open(t, c.bob.machine, nil)
	look("after the dump")
	if len(known) < 20 {
		t.Errorf("control: only %d secrets are looked for", len(known))
	}

	// Control: whatever is planted in any of these places is seen.
	for name, secret := range known {
		for _, planted := range [][]byte{secret, []byte(hex.EncodeToString(secret))} {
			where := filepath.Join(temp, "planted")
			check(t, os.WriteFile(where, append([]byte("before "), planted...), 0o600))
			if found := known.in(places(t, c.alice.machine, temp)[where]); len(found) == 0 {
				t.Errorf("control: %s is not seen", name)
			}
			check(t, os.Remove(where))
		}
	}
}
