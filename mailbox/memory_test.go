package mailbox_test

import (
	"testing"

	"github.com/kith-im/kith/mailbox"
	"github.com/kith-im/kith/mailbox/mailboxtest"
)

func TestMemoryConforms(t *testing.T) {
	mailboxtest.Conform(t, func(testing.TB) (mailbox.Store, func() mailbox.Store) {
		m := mailbox.NewMemory()
		return m, func() mailbox.Store { return m }
	})
}
