package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Object writes v, a struct, as an object that begins with "v" and "type". A v that has a "type" of its own keeps it:
// pass "".
func Object(typ string, v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(raw) < 2 || raw[0] != '{' {
		return nil, fmt.Errorf("%T is not an object", v)
	}
	head := fmt.Sprintf(`{"v":%d`, Version)
	if typ != "" {
		head += fmt.Sprintf(`,"type":%q`, typ)
	}
	if len(raw) > 2 {
		head += ","
	}
	return append([]byte(head), raw[1:]...), nil
}

var errTrailing = errors.New("more than one JSON value")

// decodeStrict refuses unknown fields and anything after the value. Nothing at all is the empty object.
func decodeStrict(raw []byte, into any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errTrailing
	}
	return nil
}
