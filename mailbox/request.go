package mailbox

import (
	"crypto/ed25519"

	"golang.org/x/crypto/cryptobyte"

	"github.com/kith-im/kith/crypto/signature"
)

// Verb is the act that a request's signature is for.
type Verb byte

// The verbs that a box key signs.
const (
	VerbReserve    Verb = 1 + iota // content: empty
	VerbCollect                    // content: the relay's challenge, see mailbox/relay
	VerbAck                        // content: AckContent
	VerbPutChunk                   // content: see mailbox/blobs
	VerbDropChunks                 // content: the digests in order, 32 bytes each
	VerbStock                      // content: the one-time bundles in order, see mailbox/stock
)

const requestLabel = "kith1 relay request sig"

// requestBytes is label | verb | LP(relay peer id) | box id | LP(content). The
// peer id keeps a request from being replayed at another relay.
func requestBytes(box ID, relay []byte, verb Verb, content []byte) []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, len(requestLabel)+1+4+len(relay)+32+4+len(content)))
	b.AddBytes([]byte(requestLabel))
	b.AddUint8(byte(verb))
	b.AddUint32(uint32(len(relay)))
	b.AddBytes(relay)
	b.AddBytes(box[:])
	b.AddUint32(uint32(len(content)))
	b.AddBytes(content)
	return b.BytesOrPanic()
}

// SignRequest signs a request to one relay (its 38-byte peer id) by the
// private key of a box. The signature has 64 bytes.
func SignRequest(box ed25519.PrivateKey, relay []byte, verb Verb, content []byte) []byte {
	id := IDOf(box.Public().(ed25519.PublicKey))
	return signature.Sign(box, requestBytes(id, relay, verb, content))
}

// VerifyRequest checks a signature of SignRequest.
func VerifyRequest(box ed25519.PublicKey, relay []byte, verb Verb, content, sig []byte) bool {
	if len(box) != ed25519.PublicKeySize || len(sig) != ed25519.SignatureSize {
		return false
	}
	return signature.Verify(box, requestBytes(IDOf(box), relay, verb, content), sig)
}

// AckContent is what an ack signs: the envelope ids in order, 32 bytes each.
func AckContent(ids []EnvelopeID) []byte {
	b := make([]byte, 0, len(ids)*32)
	for i := range ids {
		b = append(b, ids[i][:]...)
	}
	return b
}
