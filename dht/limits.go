package dht

import (
	"time"

	"github.com/kith-im/kith/crypto/identity"
)

const (
	// MaxRecord bounds every value of the directory, in bytes.
	MaxRecord = 8 << 10
	// MaxDeviceRecord bounds a device record, in bytes.
	MaxDeviceRecord = 6 << 10
	// MaxSetRecord bounds a mailbox set record, in bytes.
	MaxSetRecord = 3328
	// SealPadding is the step to which a sealed set is padded, in bytes.
	SealPadding = 1024
	// MaxAdvert bounds a relay advert, in bytes.
	MaxAdvert = 1 << 10

	// MaxAddrs is how many addresses one peer may carry.
	MaxAddrs = 8
	// MaxAddr is the size of one binary multiaddr, in bytes.
	MaxAddr = 128
	// MaxAdvertAddrs is how many addresses an advert may carry.
	MaxAdvertAddrs = 4
	// MaxMembers is how many relays one set may name, standbys included.
	MaxMembers = 16

	// EpochLength is the length of a mailbox epoch; epoch number = unix time / EpochLength.
	EpochLength = 7 * 24 * time.Hour
	// MaxSkew is how far in the future a record may be issued.
	MaxSkew = identity.ClockSkew
	// Grace is how long after its notAfter mark a record is still believed: 30 days and one of skew.
	Grace = identity.Grace
	// MaxAdvertLife is the longest life of an advert.
	MaxAdvertLife = 24 * time.Hour

	// PublishEvery is the mean time between two publications of a record.
	PublishEvery = 12 * time.Hour
	// PublishJitter spreads publications over PublishEvery ± PublishJitter.
	PublishJitter = time.Hour
	// RetryMin and RetryMax bound the back-off after a put that reached nobody.
	RetryMin = 10 * time.Second
	// RetryMax is the upper bound.
	RetryMax = 30 * time.Minute
)
