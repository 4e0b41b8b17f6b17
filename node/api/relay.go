package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kith-im/kith/node"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Relay is this node as a relay.
type Relay struct {
	Enabled      bool             `json:"enabled"`
	Deposits     int64            `json:"deposits"` // taken into custody since the start
	Refused      int64            `json:"refused"`
	RefusedBy    map[string]int64 `json:"refused_by"` // reason -> refusals
	Pushed       int64            `json:"pushed"`
	Acked        int64            `json:"acked"`
	RateLimited  int64            `json:"rate_limited"`
	Streams      int64            `json:"streams"`    // open now
	Collectors   int64            `json:"collectors"` // streams on which somebody collects
	Awaits       int64            `json:"awaits"`     // senders that wait for room
	Boxes        int              `json:"boxes"`
	Envelopes    int              `json:"envelopes"`
	Bytes        uint64           `json:"bytes"`
	Over         uint64           `json:"over"`     // what boxes cost above the floor of 64 KiB that each is sure of
	MaxOver      uint64           `json:"max_over"` // what they may: then the relay is full
	Blobs        RelayBlobs       `json:"blobs"`
	Bundles      int              `json:"bundles"`         // one-time bundles held for others
	BadBundles   int              `json:"bundles_damaged"` // found damaged, and dropped
	Limits       RelayLimits      `json:"limits"`
	ClockBraked  bool             `json:"clock_braked"`      // the clock jumped: nothing is deleted until it is believed
	Deficit      int64            `json:"deficit"`           // copies of boxes that other relays of their sets lack, in part or whole
	Adopted      int64            `json:"adopted"`           // envelopes taken over from other relays
	ProofsFailed int64            `json:"proofs_failed"`     // other relays that could not prove what they claim to hold
	Damaged      int64            `json:"damaged"`           // stored envelopes found spoilt
	Healed       int64            `json:"healed"`            // of these, put back from another relay
	Scrubbed     time.Time        `json:"scrubbed,omitzero"` // when everything stored was last read and checked
	Leaving      time.Time        `json:"leaving,omitzero"`  // until when the relay still serves: it drains
	Drain        *Drain           `json:"drain,omitempty"`   // the drain that runs or ran last
	Detail       string           `json:"detail,omitempty"`
}

// RelayLimits bound what this node takes as a relay. Zero is the default where they are shown, and "as it is" where
// they are set.
type RelayLimits struct {
	MaxBytes  uint64 `json:"max_bytes"` // of all mail
	MaxBoxes  uint32 `json:"max_boxes"`
	BoxBytes  uint64 `json:"box_bytes"`  // of one box
	BoxCount  uint32 `json:"box_count"`  // envelopes of one box
	PassBytes uint64 `json:"pass_bytes"` // of one contact's device in one box
	PassCount uint32 `json:"pass_count"`
	BlobBytes uint64 `json:"blob_bytes"` // attachments of all boxes
	// BoxBlobBytes is what attachments of one box may take.
	BoxBlobBytes uint64 `json:"box_blob_bytes"`
	Rate         int    `json:"rate"` // requests a second of one peer; -1: no limit
	Burst        int    `json:"burst"`
}

// RelayBlobs are the attachments that this node holds for others, in encrypted chunks, and what it did with them since
// its start.
type RelayBlobs struct {
	Chunks   int   `json:"chunks"`
	Bytes    int64 `json:"bytes"`
	Received int64 `json:"received"` // chunks
	Sent     int64 `json:"sent"`     // chunks, of our own files too
	Refused  int64 `json:"refused"`
	Damaged  int64 `json:"damaged"` // found damaged, and dropped
	Expired  int64 `json:"expired"`
}

// Drain is how far a relay has come with leaving.
type Drain struct {
	State string    `json:"state"`           // running, done, incomplete (the time was over), failed, cancelled
	Boxes int       `json:"boxes"`           // to be handed over
	Done  int       `json:"done"`            // of these, proven to be held by enough others
	Until time.Time `json:"until"`           // then it ends, done or not
	Error string    `json:"error,omitempty"` // of failed
}

// DrainRequest begins a drain or calls it off.
type DrainRequest struct {
	TimeoutMS int64 `json:"timeout_ms,omitempty"` // how long others get to take over; default 1 day, at most 30 days
	Cancel    bool  `json:"cancel,omitempty"`     // stay a relay
}

// Scrub is what a look at everything stored found.
type Scrub struct {
	Checked int `json:"checked"` // envelopes
	Damaged int `json:"damaged"`
	Healed  int `json:"healed"` // put back from another relay
}

// ExplainRequest names whose relays to explain.
type ExplainRequest struct {
	Handle string `json:"handle,omitempty"` // of a contact; empty: ours
}

// Explanation says why our relays were elected: the election is run again from its transcript. Of a contact, who
// elects its own, it says what its records name and what we have seen of them.
type Explanation struct {
	Lines []string `json:"lines"` // one for each candidate or relay
}

func explain(tx store.Tx, e *node.Engine, now time.Time, q ExplainRequest) (Explanation, error) {
	if q.Handle != "" {
		return explainContact(tx, now, q.Handle)
	}
	lines, err := node.Explain(tx)
	if err != nil {
		return Explanation{}, err
	}
	box, err := node.Mailbox(tx, e, now)
	for i, l := range lines {
		lines[i] = nameRelay(l, box.Relays)
	}
	return Explanation{Lines: lines}, err
}

// nameRelay puts the peer id in the place of the beginning of the relay's key with which the election names it.
func nameRelay(line string, relays []view.Relay) string {
	const idHead, named = 12, 16 // hex digits: of a peer id before its key, of a key in an explanation
	for _, r := range relays {
		if len(r.Peer) < idHead+named {
			continue
		}
		if rest, ok := strings.CutPrefix(line, r.Peer[idHead:idHead+named]); ok {
			return peerText(r.Peer) + rest
		}
	}
	return line
}

// explainContact shows the relays of each device of a contact, one line each.
func explainContact(tx store.Tx, now time.Time, handle string) (Explanation, error) {
	list, err := node.RelaysOf(tx, now, handle)
	if err != nil {
		return Explanation{}, err
	}
	var out Explanation
	for i, r := range list {
		if i == 0 || list[i-1].Device != r.Device {
			out.Lines = append(out.Lines, fmt.Sprintf("%s: %s", r.Device, r.Set))
		}
		role := "member"
		if r.Standby {
			role = "standby"
		}
		line := fmt.Sprintf("%s %s of %s, lease until %s", peerText(r.Peer), role, r.Device, r.Until.Format(time.DateOnly))
		if r.Seen {
			line += fmt.Sprintf(", %d ok, %d failed", r.OK, r.Failed)
		} else {
			line += ", not met"
		}
		if r.Holds > 0 {
			line += fmt.Sprintf(", holds %d not acknowledged", r.Holds)
		}
		if !r.Broke.IsZero() {
			line += ", did not have what it had signed for on " + r.Broke.Format(time.DateOnly)
		}
		out.Lines = append(out.Lines, line)
	}
	if len(out.Lines) == 0 {
		return out, Fail(ExitNotFound, "no relay of "+handle+" is known", "kith contact show "+handle)
	}
	return out, nil
}

func relayStatus(_ context.Context, b *Backend, _ None) (Relay, error) { return b.Relay(), nil }

func relayEnable(_ context.Context, b *Backend, _ None) (Relay, error) { return setRelay(b, true) }

func relayDisable(_ context.Context, b *Backend, _ None) (Relay, error) { return setRelay(b, false) }

func setRelay(b *Backend, on bool) (Relay, error) {
	if err := b.SetRelay(on); err != nil {
		return Relay{}, err
	}
	return b.Relay(), nil
}

func relayLimits(_ context.Context, b *Backend, q RelayLimits) (Relay, error) {
	why := ""
	switch {
	case q.MaxBytes != 0 && q.MaxBytes < leastRelayBytes:
		why = "max_bytes is at least 1 MiB"
	case q.BoxBytes != 0 && q.BoxBytes < leastBoxBytes:
		why = "box_bytes is at least 8 KiB"
	case q.PassBytes != 0 && q.PassBytes < leastBoxBytes:
		why = "pass_bytes is at least 8 KiB"
	case q.BlobBytes != 0 && q.BlobBytes < leastRelayBytes:
		why = "blob_bytes is at least 1 MiB"
	case q.BoxBlobBytes != 0 && q.BoxBlobBytes < leastRelayBytes:
		why = "box_blob_bytes is at least 1 MiB"
	case q.Rate < -1:
		why = "rate is at least 1, or -1 for no limit"
	case q.Burst < 0:
		why = "burst is at least 1"
	}
	if why != "" {
		return Relay{}, Fail(ExitUsage, why, "kith relay limits --help")
	}
	if err := b.LimitRelay(q); err != nil {
		return Relay{}, err
	}
	return b.Relay(), nil
}

func relayDrain(ctx context.Context, b *Backend, q DrainRequest) (Relay, error) {
	within := defaultDrain
	if q.TimeoutMS > 0 {
		within = time.Duration(min(q.TimeoutMS, maxDrain.Milliseconds())) * time.Millisecond
	}
	if q.Cancel {
		within = 0
	}
	if err := b.DrainRelay(ctx, within); err != nil {
		return Relay{}, err
	}
	return b.Relay(), nil
}

func relayScrub(ctx context.Context, b *Backend, _ None) (Scrub, error) { return b.ScrubRelay(ctx) }
