package store

// Bucket names one table of the device's store.
//
// A named bucket is keyed by ids (people, devices, messages): a sealed store blinds its keys, and Scan has to sort
// in memory, so a named bucket that can grow large is never scanned. An ordered bucket is keyed by local numbers
// that say nothing (sequence, day), kept in the clear and scanned in place.
type Bucket uint8

// The tables, with their keys.
const (
	BucketMeta     Bucket = iota + 1 // name -> one row a name (identity, profile, counters)
	BucketContacts                   // user id -> pb.Contact
	BucketDevices                    // device id -> pb.PeerDevice
	BucketSessions                   // device id | session id -> session state
	BucketPrekeys                    // prekey id -> pb.Prekey
	BucketFlights                    // prekey id | EA -> session reference: the replay cache of first flights
	BucketInvites                    // invite id -> pb.Invite
	BucketRelays                     // peer id -> pb.Relay: election candidates and what we observed of them
	BucketMessages                   // message id -> pb.Message; message id | conversation id ( | user id): acts that wait for it; 2 to 16 bytes -> ids of messages that begin so
	BucketSeen                       // envelope id -> day u32, then the sender's device and message id where known
	BucketChats                      // ordered: chat number u32 | lamport ms u64 | arrival u64 -> message id
	BucketOutbox                     // ordered: delivery number u64 -> pb.Delivery
	BucketEvents                     // ordered: cursor u64 -> the notice, as the API's JSON
	BucketSeenDays                   // ordered: day u32 | number u64 -> envelope id
	BucketBoxes                      // ordered: epoch u32 -> pb.Box: our own mailboxes and their sets
	BucketParked                     // ordered: number u64 -> pb.Parked: envelopes that wait for a record

	BucketConversations // conversation id -> pb.Chat
	BucketSettings      // conversation id or nothing | "/" | name -> pb.Setting
	BucketGroups        // group id -> pb.Roster; then | "e" | number u32 -> entry of its log, | "l" | hash -> device list that entries name
	BucketTexts         // ordered: number u64 -> what search reads
	BucketTransfers     // ordered: number u64 -> pb.Transfer
	BucketTimes         // ordered: unix ms u64 | number u64 -> message id, or key of acts that wait for one: when they are over
	BucketSealed        // device id | number u64 -> ids of the messages that 16 counters carried (node/mend)
	bucketEnd
)

// Buckets lists every bucket, for stores that create them up front.
func Buckets() []Bucket {
	out := make([]Bucket, 0, bucketEnd-1)
	for b := BucketMeta; b < bucketEnd; b++ {
		out = append(out, b)
	}
	return out
}

// Ordered reports whether the keys of b are local numbers, kept in the clear and in order.
func (b Bucket) Ordered() bool {
	return b >= BucketChats && b <= BucketParked || b >= BucketTexts && b <= BucketTimes
}

// Fleeting reports whether rows of b hold keys that must not outlive their deletion, wherever the disk keeps old pages: a
// sealed store has them under keys that change every day. Without them a device goes on with fresh ones.
func (b Bucket) Fleeting() bool { return b >= BucketSessions && b <= BucketFlights }

// Tx is one transaction of the device's store. Values returned are copies that the caller may keep.
//
// Reading a damaged value returns nil and makes the transaction fail: Err reports it, and Update then returns it
// instead of committing. So the engine's code needs no error path for a broken disk, and never acts on half a read.
type Tx interface {
	Get(b Bucket, key []byte) []byte
	Put(b Bucket, key, value []byte)
	Delete(b Bucket, key []byte)
	// Scan calls fn for the pairs with key >= from in ascending order of the key until fn returns false. fn must not write to b.
	Scan(b Bucket, from []byte, fn func(key, value []byte) bool)
	// Last returns the pair with the greatest key of an ordered bucket, or nil.
	Last(b Bucket) (key, value []byte)
	Err() error
}

// Store runs transactions. Update is durable (fsynced) when it returns nil, and leaves nothing when it returns an error.
type Store interface {
	Update(fn func(Tx) error) error
	View(fn func(Tx) error) error
}
