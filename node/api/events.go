package api

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

func eventsPage(tx store.Tx, q EventsRequest) (EventsPage, error) {
	events, err := node.Events(tx, q.Since, count(q.Max))
	return EventsPage{Events: events, Newest: newest(tx)}, err
}

// consumersKey is the row of BucketMeta that counts the named consumers; each has a row of its own below it.
const consumersKey = "api/consumers"

func consumerKey(name string) []byte { return []byte(consumersKey + "/" + name) }

func consumerSet(_ *node.Engine, t *node.Turn, q ConsumerRequest) (Consumer, error) {
	if q.Consumer == "" || len(q.Consumer) > maxName {
		return Consumer{}, Fail(ExitUsage, fmt.Sprintf("a consumer's name has 1 to %d bytes", maxName), "kith events --help")
	}
	key := consumerKey(q.Consumer)
	if t.Tx.Get(store.BucketMeta, key) == nil {
		n := byte(1)
		if held := t.Tx.Get(store.BucketMeta, []byte(consumersKey)); len(held) == 1 {
			n += held[0]
		}
		if n > maxConsumers {
			return Consumer{}, Fail(ExitRefused, fmt.Sprintf("there are %d consumers already", maxConsumers), "kith events --help")
		}
		t.Tx.Put(store.BucketMeta, []byte(consumersKey), []byte{n})
	}
	t.Tx.Put(store.BucketMeta, key, binary.BigEndian.AppendUint64(nil, q.Cursor))
	return Consumer(q), nil
}

// start is the cursor from which a stream begins: `since`, a kept one, or `now`.
func (s *Server) start(r *http.Request) (uint64, error) {
	q := r.URL.Query()
	since, name := q.Get("since"), q.Get("consumer")
	switch {
	case since == "now":
		return s.backend.newest()
	case since != "":
		cursor, err := strconv.ParseUint(since, 10, 64)
		if err != nil {
			return 0, Fail(ExitUsage, "since is the cursor of an event, or now", "kith events --help")
		}
		return cursor, nil
	case name != "":
		return s.kept(name)
	}
	return 0, nil
}

// kept is the cursor of a named consumer; 0 if it is new.
func (s *Server) kept(name string) (cursor uint64, err error) {
	err = s.backend.View(func(tx store.Tx) error {
		if row := tx.Get(store.BucketMeta, consumerKey(name)); len(row) == 8 {
			cursor = binary.BigEndian.Uint64(row)
		}
		return tx.Err()
	})
	return cursor, err
}

// events streams one event a line until the reader goes or the server closes. A reader that does not read is dropped
// after writeTimeout: it comes back with its cursor.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	cursor, err := s.start(r)
	if err == nil && s.backend.Events == nil {
		err = ErrNoNode
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	ctl := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	_ = ctl.Flush()
	for at := (Place{Cursor: cursor}); ; {
		list, next, err := s.backend.Events(r.Context(), at, eventsPerRead)
		if err != nil {
			return
		}
		at = next
		_ = ctl.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err = writeEvents(w, list); err != nil {
			return
		}
		if err := ctl.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
	}
}

func writeEvents(w http.ResponseWriter, list []view.Notice) error {
	for _, n := range list {
		line, err := Object("", n)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}
