package model

import (
	"testing"
	"unsafe"
)

// What is looked at together lies in whole cache lines.
func TestSizes(t *testing.T) {
	for what, size := range map[string][2]uintptr{
		"an event": {unsafe.Sizeof(Event{}), 16},
		"an entry": {unsafe.Sizeof(entry{}), 12},
		"a page":   {unsafe.Sizeof(page{}), 64},
		"a device": {unsafe.Sizeof(device{}), 128},
	} {
		if size[0] != size[1] {
			t.Errorf("%s has %d bytes, want %d", what, size[0], size[1])
		}
	}
}
