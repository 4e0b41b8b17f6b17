package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/kith-im/kith/node/view"
)

// Exit codes of the commands, and the class of every error.
const (
	ExitOK              = 0
	ExitFailed          = 1
	ExitUsage           = 2
	ExitPartial         = 3
	ExitIdentityChanged = 4
	ExitNoNode          = 5
	ExitTimeout         = 6
	ExitRefused         = 7
	ExitNotFound        = 8
	ExitNoIdentity      = 10
	ExitLocked          = 11
	ExitPassphrase      = 12
	ExitInterrupted     = 130
)

var codes = map[int]string{
	ExitFailed: "failed", ExitUsage: "usage", ExitPartial: "partial", ExitIdentityChanged: "identity_changed",
	ExitNoNode: "no_node", ExitTimeout: "timeout", ExitRefused: "refused", ExitNotFound: "not_found",
	ExitNoIdentity: "no_identity", ExitLocked: "locked", ExitPassphrase: "passphrase", ExitInterrupted: "interrupted",
}

// ErrNoNode says that no node answers on the socket.
var ErrNoNode = errors.New("no node is running")

// Error is every failure as a person and a program see it.
type Error struct {
	Code    string `json:"code"`    // a word for programs; one for each exit code
	Exit    int    `json:"exit"`    // exit code of a command that fails so
	Message string `json:"message"` // what happened and why
	Hint    string `json:"hint"`    // the next command
	cause   error
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns what it was made from, in the process that made it.
func (e *Error) Unwrap() error { return e.cause }

// Fail makes an error of a class.
func Fail(exit int, message, hint string) *Error {
	return &Error{Code: codes[exit], Exit: exit, Message: message, Hint: hint}
}

// ErrorOf gives err a class, a sentence and a next command. It returns nil for nil.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := Fail(exitOf(err), err.Error(), "")
	if p, ok := errors.AsType[*view.Problem](err); ok {
		e.Message, e.Hint = p.Message, p.Hint
	}
	if e.Hint == "" {
		e.Hint = hints[e.Exit]
	}
	e.cause = err
	return e
}

// HintOf returns the next command that err itself names, if any.
func HintOf(err error) string {
	if p, ok := errors.AsType[*view.Problem](err); ok {
		return p.Hint
	}
	return ""
}

func exitOf(err error) int {
	switch {
	case errors.Is(err, view.ErrUsage), errors.Is(err, view.ErrAmbiguous):
		return ExitUsage
	case errors.Is(err, view.ErrEpochChanged):
		return ExitIdentityChanged
	case errors.Is(err, ErrNoNode):
		return ExitNoNode
	case errors.Is(err, view.ErrRefused):
		return ExitRefused
	case errors.Is(err, view.ErrNotFound):
		return ExitNotFound
	case errors.Is(err, view.ErrNoIdentity):
		return ExitNoIdentity
	case errors.Is(err, context.DeadlineExceeded):
		return ExitTimeout
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitFailed
}

// The next command where the error itself names none.
var hints = map[int]string{
	ExitFailed:          "kith doctor",
	ExitUsage:           "kith --help",
	ExitIdentityChanged: "kith contact list",
	ExitNoNode:          "kith daemon",
	ExitTimeout:         "kith netcheck",
	ExitRefused:         "kith status",
	ExitNotFound:        "kith contact list",
	ExitNoIdentity:      "kith init",
	ExitLocked:          "kith status",
	ExitInterrupted:     "kith status",
}

// httpStatus is for programs that look at nothing else.
func (e *Error) httpStatus() int {
	switch e.Exit {
	case ExitUsage:
		return http.StatusBadRequest
	case ExitNotFound:
		return http.StatusNotFound
	case ExitRefused:
		return http.StatusForbidden
	case ExitIdentityChanged, ExitNoIdentity:
		return http.StatusConflict
	case ExitNoNode:
		return http.StatusServiceUnavailable
	case ExitTimeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}
