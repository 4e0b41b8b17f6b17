package term

import (
	"errors"
	"strings"

	"rsc.io/qr"
)

const (
	// MaxQRRows is how many terminal rows a code may take, with its quiet zone: it fits a window of 24.
	MaxQRRows = 23
	quietZone = 2 // modules; the standard says 4, phones read 2
)

// ErrTooLong says that a text needs more rows than MaxQRRows.
var ErrTooLong = errors.New("too long for a QR code in this terminal")

// QR draws s as a QR code in half blocks, two modules a row, dark on light also on dark terminals.
func QR(s string) (string, error) {
	code, err := qr.Encode(s, qr.L)
	if err != nil {
		return "", err
	}
	side := code.Size + 2*quietZone
	if (side+1)/2 > MaxQRRows {
		return "", ErrTooLong
	}
	light := func(x, y int) bool { return y < side && !code.Black(x-quietZone, y-quietZone) }
	var b strings.Builder
	for y := 0; y < side; y += 2 {
		for x := range side {
			b.WriteRune(halves[pair{light(x, y), light(x, y+1)}])
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

type pair struct{ top, bottom bool }

// Light modules are drawn, dark ones left out: on a dark terminal that is what a camera expects.
var halves = map[pair]rune{{true, true}: '█', {true, false}: '▀', {false, true}: '▄', {false, false}: ' '}
