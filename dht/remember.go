package dht

import "github.com/kith-im/kith/dht/memo"

// Remember has this process remember about the newest n records of each kind that it parsed, from now on; 0, with which it
// begins: none. It is for a process with many devices in it (the simulator), as signature.Remember is.
func Remember(n int) {
	devices.Remember(n)
	sets.Remember(n)
	adverts.Remember(n)
}

var (
	devices memo.Memo[*DeviceRecord]
	sets    memo.Memo[*SetRecord]
	adverts memo.Memo[*Advert]
)
