package talk

import (
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/mailbox"
)

// ContactKeySize is how much of a user id keys a contact: what an invite carries.
const ContactKeySize = dht.UserPrefix

// OwnHandle is what a person is called on its own devices, and its conversation with itself.
const OwnHandle = "me"

// Clock bounds on what others claim.
const (
	maxAhead  = 2 * time.Minute // a message may claim to be this far in the future
	maxBehind = mailbox.MaxTTL  // ... and this far in the past
)

const (
	maxHeads = 3 // newest messages of a conversation that the next one names
	maxKey   = 128

	maxSettingName = 32
	maxWaiting     = 256       // messages that are not here, of which acts of one person are kept
	maxActors      = 512       // people whose acts on one such message are kept
	timesBatch     = 256       // what Pass looks at in one turn
	lookBack       = time.Hour // before the newest message: how far backwards looks first
	maxSubject     = 128       // bytes
	maxEffect      = 32
	maxMentions    = 32
	maxLabel       = 128 // bytes of a place's name
	maxType        = 64  // bytes of a custom content's type
	maxTTL         = 365 * 24 * time.Hour
	maxShown       = 1 << 47 // Lamport ms of the year 6429: what others claim stays within what JSON can say
	shownReply     = 80      // runes of the text that a message answers

	maxSaidHeads = 4    // newest entries of a log that ride in a message
	maxOwed      = 4096 // copies of earlier messages, one a person, that one change of a log has sent
	maxAside     = 1024 // messages of a group whose author is no member, as far as we know
)

// Ids as people type and read them, in hex digits.
const (
	leastDigits     = 4  // of a message's id
	shownDigits     = 12 // of an id among candidates
	candidatesShown = 5  // of an ambiguous beginning
)

// strangerClass is the largest size class whose envelopes a box takes without a pass.
const strangerClass = 2048
