package dht

import "github.com/kith-im/kith/dht/memo"

// Remember has this process remember about the newest n sets that it parsed, from now on, and an eighth of that of the records of
// devices, each of which has eight sets, and of adverts; 0, with which it begins: none. It is for a process with many devices in
// it (the simulator), as signature.Remember is.
func Remember(n int) {
	devices.Remember((n + 7) / 8)
	sets.Remember(n)
	adverts.Remember((n + 7) / 8)
}

var (
	devices memo.Memo[*DeviceRecord]
	sets    memo.Memo[*SetRecord]
	adverts memo.Memo[*Advert]
)
