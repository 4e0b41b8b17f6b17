package node

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/kith-im/kith/crypto/signature"
	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/election"
	"github.com/kith-im/kith/node/pb"
	"github.com/kith-im/kith/node/prekeys"
	"github.com/kith-im/kith/node/store"
	"github.com/kith-im/kith/node/view"
)

// Labels of the keys that the mailbox and record secrets make.
const (
	labelEpochBox  = "kith1 epoch box"
	labelFrontDoor = "kith1 front door"
	labelSetRecord = "kith1 set record"
	labelSeed      = "kith1 election"
	labelPass      = "kith1 pass"
)

// round is one election of our own relays on its way: reserve at every chosen relay, then have the sets countersigned.
type round struct {
	number   uint64
	until    time.Time // end of the step's patience
	result   election.Result
	asked    map[string]bool // relays whose answer is outstanding
	excluded map[string]bool // relays that failed in this round
	epochs   []uint32
	cores    []dht.SetCore
	leases   map[string][]dht.Lease // relay -> one lease a core
}

// boxKey derives the key of our mailbox in an epoch, or of our front door.
func (e *Engine) boxKey(epoch uint32) ed25519.PrivateKey {
	if key, ok := e.boxKeys[epoch]; ok {
		return key
	}
	info := labelEpochBox + string(store.U32(epoch))
	if epoch == dht.FrontDoorEpoch {
		info = labelFrontDoor
	}
	key := signature.NewKey(derive(e.self.MailboxSecret, info))
	e.boxKeys[epoch] = key
	return key
}

// recordKey derives the key that seals the directory copy of an epoch's set.
func recordKey(secret []byte, epoch uint32) [32]byte {
	return [32]byte(derive(secret, labelSetRecord+string(store.U32(epoch))))
}

func derive(secret []byte, info string) []byte {
	out, err := hkdf.Key(sha256.New, secret, nil, info, 32)
	if err != nil {
		panic("node: hkdf: " + err.Error()) // only for more than 255 blocks
	}
	return out
}

// wantedEpochs are those that need a set: the current one, the next five, and the front door.
func wantedEpochs(now time.Time) []uint32 {
	cur := dht.EpochAt(now)
	out := make([]uint32, 0, epochsAhead+2)
	for i := range uint32(epochsAhead + 1) {
		out = append(out, cur+i)
	}
	return append(out, dht.FrontDoorEpoch)
}

// box is one of our mailboxes, and its set; nil where there is none.
func (e *Engine) box(t *Turn, epoch uint32) (*pb.Box, *dht.SetRecord) {
	b := e.rows.boxes.Get(t.Tx, store.U32(epoch))
	if b == nil {
		return nil, nil
	}
	return b, e.boxSet(b)
}

// boxSet is the set of one of our mailboxes; nil: there is none that is valid.
func (e *Engine) boxSet(b *pb.Box) *dht.SetRecord {
	rec, err := e.sets.Get(b.Set)
	if err != nil {
		return nil
	}
	return rec
}

// frontDoor is our front-door set; nil if there is none yet.
func (e *Engine) frontDoor(t *Turn) *dht.SetRecord {
	_, rec := e.box(t, dht.FrontDoorEpoch)
	return rec
}

// planElection starts a round after a short while, so that relays found together are judged together.
func (e *Engine) planElection(t *Turn, wait time.Duration) {
	e.roundAt = earlier(e.roundAt, t.Now.Add(wait))
}

func (e *Engine) tickElection(t *Turn) {
	if e.round != nil && due(e.round.until, t.Now) {
		e.stepOver(t)
	}
	if epoch := dht.EpochAt(t.Now); epoch != e.watched {
		e.watched, t.Out.Watches = epoch, true // the box after the next comes into reach of fast clocks
	}
	if e.round != nil || !due(e.roundAt, t.Now) {
		return
	}
	look := e.roundAt.Equal(e.lookAt) // nobody asked for it
	e.roundAt = e.nextElection(t)
	e.lookAt = e.roundAt
	e.dropBoxes(t)
	if !look || !e.stands(t) {
		e.startRound(t, map[string]bool{})
	}
}

// stands says whether a round would find every set to stand already, and those who signed to be elected again: that is how
// most looks at our relays end, and it takes a look at these alone.
func (e *Engine) stands(t *Turn) bool {
	if e.pinned {
		return false
	}
	incumbents := e.incumbents(t)
	var serving []election.Candidate
	for _, i := range incumbents {
		row, _ := e.seenRelay(t, i.Peer)
		c, ok := e.candidate(t, row)
		if !ok {
			return false
		}
		serving = append(serving, c)
	}
	members, standbys, ok := election.Stand(e.seed(), serving, incumbents, e.cfg.Policy, t.Now)
	if !ok || len(e.staleEpochs(t, election.Result{Members: members, Standbys: standbys})) > 0 {
		return false
	}
	e.roundFailed = 0
	return true
}

// seed is the secret that decides who wins the race for our mailbox.
func (e *Engine) seed() [32]byte { return [32]byte(derive(e.self.MailboxSecret, labelSeed)) }

// nextElection is when to look at our relays again: a member may have fallen silent, or a new epoch begun. Looking is
// cheap and asks nobody.
func (e *Engine) nextElection(t *Turn) time.Time {
	return t.Now.Add(electEvery + jitter(t.Rand, electJitter))
}

// startRound elects, and asks the chosen relays for room, unless every set stands already with just these members.
func (e *Engine) startRound(t *Turn, excluded map[string]bool) {
	candidates, pins := e.candidateList(t, excluded)
	incumbents := e.incumbents(t)
	result := election.Elect(e.seed(), candidates, incumbents, pins, e.cfg.Policy, t.Now)
	t.Tx.Put(store.BucketMeta, []byte("election"), result.Transcript.Bytes())
	if len(result.Members) == 0 {
		if len(candidates)+len(excluded) > 0 {
			e.retryElection(t)
		}
		return
	}
	epochs := e.staleEpochs(t, result)
	if len(epochs) == 0 {
		e.settled(t, result, excluded)
		return
	}
	e.round = &round{
		number: store.NextCounter(t.Tx, counterSet), until: t.Now.Add(roundPatience), result: result, epochs: epochs,
		asked: map[string]bool{}, excluded: excluded, leases: map[string][]dht.Lease{},
	}
	var keys []ed25519.PrivateKey
	for _, epoch := range epochs {
		keys = append(keys, e.boxKey(epoch))
	}
	for _, p := range chosen(result) {
		e.round.asked[string(p.ID)] = true
		t.Out.Reserves = append(t.Out.Reserves, Reserve{Round: e.round.number, Relay: p, Boxes: keys})
	}
}

// advertOf is what a relay's row holds of it. All rows are read every hour, and change twice a day: each is verified once.
func (e *Engine) advertOf(row *pb.Relay) (*dht.Advert, error) {
	if a := e.adverts[string(row.Peer)]; a != nil && a.Is(row.Advert) {
		return a, nil
	}
	a, err := dht.ParseAdvert(row.Advert)
	if err == nil {
		if len(e.adverts) >= maxParsed {
			clear(e.adverts)
		}
		e.adverts[string(row.Peer)] = a
	}
	return a, err
}

func chosen(r election.Result) []dht.Peer { return slices.Concat(r.Members, r.Standbys) }

// staleEpochs are the boxes whose set is missing, near its end, or not of these relays.
func (e *Engine) staleEpochs(t *Turn, r election.Result) []uint32 {
	var out []uint32
	for _, epoch := range wantedEpochs(t.Now) {
		_, rec := e.box(t, epoch)
		if rec == nil || !sameMembers(rec, r) || (epoch == dht.FrontDoorEpoch && rec.NotAfter().Sub(t.Now) < frontDoorLife-frontDoorTurn) {
			out = append(out, epoch)
		}
	}
	return out
}

// sameMembers compares who serves, not who stands by: only the first standby is a reason for new sets.
func sameMembers(rec *dht.SetRecord, r election.Result) bool {
	members, active := rec.Members(), activeMembers(rec)
	if active != len(r.Members) || active == len(members) && len(r.Standbys) > 0 {
		return false
	}
	for _, p := range r.Members {
		if !slices.ContainsFunc(members, func(m dht.Member) bool { return !m.Standby && string(m.Peer.ID) == string(p.ID) }) {
			return false
		}
	}
	return true
}

// Reserved gives a relay's answer to a Reserve.
func (e *Engine) Reserved(t *Turn, number uint64, relay []byte, err error) {
	e.answered(t, relay, err == nil, err)
	if e.round == nil || e.round.number != number || e.round.cores != nil || !e.round.asked[string(relay)] {
		return
	}
	delete(e.round.asked, string(relay))
	if err != nil {
		e.round.excluded[string(relay)] = true
	}
	if len(e.round.asked) == 0 {
		e.afterReserve(t)
	}
}

// stepOver ends a step whose patience is over: who has not answered is left out.
func (e *Engine) stepOver(t *Turn) {
	for id := range e.round.asked {
		e.round.excluded[id] = true
	}
	clear(e.round.asked)
	if e.round.cores == nil {
		e.afterReserve(t)
	} else {
		e.afterCommit(t)
	}
}

// restartRound starts the round over without the relays that failed.
func (e *Engine) restartRound(t *Turn) {
	excluded := e.round.excluded
	e.round = nil
	if e.onlyAbsent(t, excluded) {
		e.retryElection(t)
		return
	}
	e.startRound(t, excluded)
}

// onlyAbsent says whether a round failed because members of the set that stands are away for a short time, while enough
// of them are there for custody. That is no reason for a new set, of which everybody would have to be told.
func (e *Engine) onlyAbsent(t *Turn, excluded map[string]bool) bool {
	rec := e.frontDoor(t)
	if rec == nil || !rec.Usable(t.Now) {
		return false
	}
	if b, _ := e.box(t, dht.EpochAt(t.Now)); b == nil {
		return false
	}
	absent, there := 0, 0
	for m := range rec.EachMember() {
		row, _ := e.seenRelay(t, m.Peer.ID)
		switch {
		case !excluded[string(m.Peer.ID)]:
			if !m.Standby {
				there++
			}
		case t.Now.Sub(unixMilli(row.LastOk)) < absentFor:
			absent++
		}
	}
	return absent > 0 && there >= int(rec.W())
}

// retryElection plans the next round after one that failed: the pause doubles.
func (e *Engine) retryElection(t *Turn) {
	pause := min(roundRetry<<min(e.roundFailed, 10), roundRetryMax)
	e.roundFailed++
	e.planElection(t, pause+jitter(t.Rand, pause/4))
}

// settled ends a round whose set stands. A relay that was too slow to answer, and is missed, is asked again soon.
func (e *Engine) settled(t *Turn, r election.Result, excluded map[string]bool) {
	if len(r.Members) < e.cfg.Policy.R && len(excluded) > 0 {
		e.retryElection(t)
		return
	}
	e.roundFailed = 0
}

func (e *Engine) anyExcluded() bool {
	return slices.ContainsFunc(chosen(e.round.result), func(p dht.Peer) bool { return e.round.excluded[string(p.ID)] })
}

// afterReserve has the chosen relays countersign the cores of all epochs.
func (e *Engine) afterReserve(t *Turn) {
	if e.anyExcluded() {
		e.restartRound(t)
		return
	}
	r := e.round
	var members []dht.Member
	for i, p := range chosen(r.result) {
		members = append(members, dht.Member{Peer: p, Rank: byte(i), Standby: i >= len(r.result.Members)})
	}
	var keys []ed25519.PrivateKey
	for _, epoch := range r.epochs {
		key := e.boxKey(epoch)
		keys = append(keys, key)
		r.cores = append(r.cores, dht.SetCore{
			Box: key.Public().(ed25519.PublicKey), Epoch: epoch, Number: r.number, Issued: t.Now.Truncate(time.Second),
			NotAfter: setEnd(epoch, t.Now), R: byte(max(e.cfg.Policy.R, len(r.result.Members))), W: byte(r.result.W),
			S: byte(max(e.cfg.Policy.S, len(r.result.Standbys))), Members: members,
		})
	}
	r.until = t.Now.Add(roundPatience)
	for _, m := range members {
		r.asked[string(m.Peer.ID)] = true
		t.Out.Commits = append(t.Out.Commits, Commit{Round: r.number, Relay: m.Peer, Keys: keys, Cores: r.cores})
	}
}

// setEnd is how long a set stands: an epoch's until its last mail has expired.
func setEnd(epoch uint32, now time.Time) time.Time {
	if epoch == dht.FrontDoorEpoch {
		return now.Add(frontDoorLife).Truncate(time.Second)
	}
	return time.Unix(int64(epoch+1)*int64(dht.EpochLength/time.Second), 0).Add(leaseBeyond).UTC()
}

// Committed gives a relay's leases, one a core, or why there are none.
func (e *Engine) Committed(t *Turn, number uint64, relay []byte, leases []dht.Lease, err error) {
	e.answered(t, relay, err == nil, err)
	r := e.round
	if r == nil || r.number != number || r.cores == nil || !r.asked[string(relay)] {
		return
	}
	delete(r.asked, string(relay))
	if no := asRefusal(err); no != nil && (no.Code == mailbox.Full || no.Code == mailbox.Malformed) {
		e.distrust(t, relay) // it had reserved the place, and does not sign for it
	}
	if err != nil || len(leases) != len(r.cores) {
		r.excluded[string(relay)] = true
	} else {
		r.leases[string(relay)] = leases
	}
	if len(r.asked) == 0 {
		e.afterCommit(t)
	}
}

// afterCommit signs the set records, keeps them, and lets everybody know who needs them.
func (e *Engine) afterCommit(t *Turn) {
	if e.anyExcluded() {
		e.restartRound(t)
		return
	}
	r := e.round
	e.round = nil
	for i, core := range r.cores {
		var leases []dht.Lease
		for _, m := range core.Members {
			leases = append(leases, r.leases[string(m.Peer.ID)][i])
		}
		rec, err := dht.SignSetRecord(e.boxKey(core.Epoch), core, leases)
		if err != nil {
			e.retryElection(t) // a relay signed something else: observe has no proof, the next round may differ
			return
		}
		e.keepSet(t, rec)
	}
	e.settled(t, r.result, r.excluded)
	t.Out.Watches = true
	e.prekeysAt = t.Now // bundles for the new relays
	e.renewRecord(t, false)
	e.publishOwn(t)
	e.reachSoon(t)
	e.notice(t, view.Notice{Type: "mailbox", Text: mailboxText(r.result, e.cfg.Policy.R)})
}

func mailboxText(r election.Result, wanted int) string {
	switch {
	case len(r.Members) < wanted:
		return "fewer relays than wanted serve this mailbox"
	case r.Thin:
		return "relays elected, nobody stands by"
	}
	return "relays elected"
}

// keepSet stores a set of ours and hands it to its members, and to those of the sets before: they send senders on to the
// new ones, and stay watched, because they may hold mail.
func (e *Engine) keepSet(t *Turn, rec *dht.SetRecord) {
	b := &pb.Box{}
	if !store.Row(t.Tx, store.BucketBoxes, store.U32(rec.Epoch()), b) {
		b = &pb.Box{Epoch: rec.Epoch()}
	}
	prekeys.Watch(b, rec, t.Now)
	for _, w := range b.Watch {
		t.Out.Sets = append(t.Out.Sets, PushSet{Relay: toPeer(w), Set: rec.Bytes()})
	}
	e.rows.boxes.Put(t.Tx, store.U32(rec.Epoch()), b)
	if rec.Epoch() == dht.FrontDoorEpoch {
		e.noteServing(t, rec)
	}
}

// dropBoxes forgets epochs whose last mail has expired.
func (e *Engine) dropBoxes(t *Turn) {
	var gone [][]byte
	e.rows.boxes.Each(t.Tx, func(b *pb.Box) bool {
		if b.Until < t.Now.UnixMilli() {
			gone = append(gone, store.U32(b.Epoch))
		}
		return true
	})
	for _, k := range gone {
		e.rows.boxes.Delete(t.Tx, k)
		t.Out.Watches = true
	}
}

// Watches lists the boxes to collect from: the next epoch's, the current one's, and past ones' until their mail expired.
func (e *Engine) Watches(t *Turn) []Watch {
	var out []Watch
	e.eachWatched(t, func(key ed25519.PrivateKey, b *pb.Box) {
		box := mailbox.IDOf(key.Public().(ed25519.PublicKey))
		for _, w := range b.Watch {
			out = append(out, Watch{Relay: toPeer(w), Box: box, Key: key})
		}
	})
	return out
}

func (e *Engine) eachWatched(t *Turn, fn func(ed25519.PrivateKey, *pb.Box)) {
	next := dht.EpochAt(t.Now) + 1
	e.rows.boxes.Each(t.Tx, func(b *pb.Box) bool {
		if !e.self.Removed && (b.Epoch <= next || b.Epoch == dht.FrontDoorEpoch) {
			fn(e.boxKey(b.Epoch), b)
		}
		return true
	})
}

// watchedBoxes are the boxes of Watches, as they have to be drained.
func (e *Engine) watchedBoxes(t *Turn) []prekeys.Watched {
	var out []prekeys.Watched
	e.eachWatched(t, func(key ed25519.PrivateKey, b *pb.Box) {
		out = append(out, prekeys.Box(mailbox.IDOf(key.Public().(ed25519.PublicKey)), b))
	})
	return out
}

// boxKeyOf finds the key of one of our boxes by its id.
func (e *Engine) boxKeyOf(t *Turn, id mailbox.ID) ed25519.PrivateKey {
	var found ed25519.PrivateKey
	e.rows.boxes.Each(t.Tx, func(b *pb.Box) bool {
		key := e.boxKey(b.Epoch)
		if mailbox.IDOf(key.Public().(ed25519.PublicKey)) == id {
			found = key
		}
		return found == nil
	})
	return found
}

// forgetBoxes stops looking for the sets of boxes that a device does not name any more.
func (e *Engine) forgetBoxes(dev *pb.PeerDevice, next [][]byte) {
	for _, box := range dev.Boxes {
		key := dht.MailboxKey(dht.BoxID(box))
		kept := slices.ContainsFunc(next, func(b []byte) bool { return string(b) == string(box) })
		if id := e.boxesOf[key]; !kept && string(id[:]) == string(dev.Device) {
			delete(e.boxesOf, key)
			e.wants.Drop(key)
		}
	}
}
