package dhttest_test

import (
	"testing"
	"time"

	"github.com/kith-im/kith/dht"
	"github.com/kith-im/kith/dht/dhttest"
)

func TestMemoryConforms(t *testing.T) {
	dhttest.Conform(t, func(_ *testing.T, now func() time.Time) dht.Directory { return dht.NewMemory(now) })
}
