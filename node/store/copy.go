package store

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/kith-im/kith/node/pb"
)

// CopyDevice copies a row so that the copy can be changed field by field, and by appending; the rows within it, and all
// bytes, are shared.
func CopyDevice(d *pb.PeerDevice) *pb.PeerDevice {
	return later(d, &pb.PeerDevice{
		Device: d.Device, User: d.User, Record: d.Record, Sessions: slices.Clip(d.Sessions), ReachNumber: d.ReachNumber,
		Endpoint: d.Endpoint, RecordSecret: d.RecordSecret, FirstEpoch: d.FirstEpoch, Boxes: slices.Clip(d.Boxes),
		Sets: slices.Clip(d.Sets), Sent: d.Sent, Received: d.Received, ToldReach: d.ToldReach, Heard: d.Heard, Name: d.Name,
		PassSecret: d.PassSecret, Passes: slices.Clip(d.Passes), ToldProfile: d.ToldProfile, ToldName: d.ToldName,
		Begun: d.Begun, BegunAt: d.BegunAt, Generation: d.Generation, Gaps: slices.Clip(d.Gaps), Renewed: d.Renewed,
		Retired: slices.Clip(d.Retired), Sealed: slices.Clip(d.Sealed), Looked: d.Looked,
	})
}

// CopyDelivery does so; receipts can be changed, too.
func CopyDelivery(d *pb.Delivery) *pb.Delivery {
	return later(d, &pb.Delivery{
		Message: d.Message, Device: d.Device, User: d.User, Kind: d.Kind, Content: d.Content, Acks: slices.Clone(d.Acks),
		Envelope: d.Envelope, Created: d.Created, Expires: d.Expires, Next: d.Next, Attempts: d.Attempts, Stage: d.Stage,
		Receipts: copyReceipts(d.Receipts), Steps: slices.Clone(d.Steps), SetW: d.SetW, SetR: d.SetR, Sent: d.Sent,
		SetNumber: d.SetNumber, SetBox: d.SetBox, Resealed: d.Resealed, Left: d.Left, Repairs: d.Repairs, Audit: d.Audit,
		Voided: copyReceipts(d.Voided), Warned: d.Warned, Counter: d.Counter, Unreachable: d.Unreachable,
	})
}

func copyReceipts(rs []*pb.Receipt) (out []*pb.Receipt) {
	for i, r := range rs {
		if i == 0 {
			out = make([]*pb.Receipt, 0, len(rs)+1)
		}
		out = append(out, later(r, &pb.Receipt{Relay: r.Relay, Stored: r.Stored, Asked: r.Asked, Buried: r.Buried, Expires: r.Expires}))
	}
	return out
}

// CopyRelay does so; days can be changed, too.
func CopyRelay(r *pb.Relay) *pb.Relay {
	c := later(r, &pb.Relay{
		Peer: r.Peer, Addrs: slices.Clone(r.Addrs), Advert: r.Advert, FirstSeen: r.FirstSeen, LastOk: r.LastOk,
		WeekStart: r.WeekStart, Ok: r.Ok, Failed: r.Failed, Source: r.Source, Pinned: r.Pinned, WeekOk: r.WeekOk,
		WeekFailed: r.WeekFailed, ServingSince: r.ServingSince, Days: slices.Clone(r.Days), Broke: r.Broke,
	})
	for i, d := range c.Days {
		c.Days[i] = later(d, &pb.Day{Day: d.Day, Ok: d.Ok, Failed: d.Failed})
	}
	return c
}

// later has a copy keep the fields that only a later build knows.
func later[P proto.Message](from, to P) P {
	if unknown := from.ProtoReflect().GetUnknown(); len(unknown) > 0 {
		to.ProtoReflect().SetUnknown(unknown)
	}
	return to
}
