package view

import "errors"

// Errors that a person can act on; a Problem wraps one of them.
var (
	ErrNoIdentity   = errors.New("no identity here")
	ErrNotFound     = errors.New("not found")
	ErrAmbiguous    = errors.New("ambiguous")
	ErrRefused      = errors.New("refused")
	ErrEpochChanged = errors.New("identity changed")
	ErrUsage        = errors.New("usage")
)

// Problem is an error for a person: what happened, its class (one of the errors above), and the next command.
type Problem struct {
	Class   error
	Message string
	Hint    string
}

func (p *Problem) Error() string { return p.Message }

// Unwrap returns the class.
func (p *Problem) Unwrap() error { return p.Class }
