package node

import (
	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/node/pb"
)

// Endpoint is where a device of a contact was last reachable.
type Endpoint struct {
	Device string // device id, hex
	Peer   dht.Peer
}

// Endpoints lists the devices of a contact of which we know an endpoint, in order of the device id.
func Endpoints(tx Tx, who string) ([]Endpoint, error) {
	c, err := findContact(tx, who)
	if err != nil {
		return nil, err
	}
	var out []Endpoint
	tx.Scan(BucketDevices, nil, func(id, value []byte) bool {
		d := &pb.PeerDevice{}
		if proto.Unmarshal(value, d) == nil && d.Endpoint != nil && string(d.User) == string(c.User) {
			out = append(out, Endpoint{Device: hexOf(id), Peer: dht.Peer{ID: d.Endpoint.Id, Addrs: d.Endpoint.Addrs}})
		}
		return true
	})
	return out, tx.Err()
}
