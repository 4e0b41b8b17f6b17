package talk

import (
	"encoding/hex"
	"testing"

	"github.com/kith-im/kith/crypto/vectortest"
	"github.com/kith-im/kith/node/pb"
)

// TestVectorsOfSums holds the sums of spans against the file that docs/vectors/model/content.mjs writes.
func TestVectorsOfSums(t *testing.T) {
	var v struct {
		Sums []struct {
			Rows []struct {
				ID    string `json:"id"`
				State string `json:"state"`
			} `json:"rows"`
			Sum string `json:"sum"`
		} `json:"sums"`
	}
	vectortest.Read(t, "../../docs/vectors/content.json", &v)
	if len(v.Sums) == 0 {
		t.Fatalf("%d sums", len(v.Sums))
	}
	for i, c := range v.Sums {
		var rows []*pb.Message
		for _, r := range c.Rows {
			id, err1 := hex.DecodeString(r.ID)
			state, err2 := hex.DecodeString(r.State)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			rows = append(rows, &pb.Message{Id: id, State: state})
		}
		if got := sum(nil, rows); hex.EncodeToString(got.Sum) != c.Sum || int(got.Count) != len(rows) {
			t.Errorf("sum %d: the code says %x", i, got.Sum)
		}
	}
}
