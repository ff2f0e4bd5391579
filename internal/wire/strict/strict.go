// Package strict reads JSON that leaves no choice: what encoding/json takes two ways,
// duplicate members or names that differ by case, is refused.
//
// Invariant: what Decode takes, any strict reader takes, and reads alike.
//
// The package is pure. It must not import anything of this module.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrMalformed means a body that is not the strict JSON of the expected type.
var ErrMalformed = errors.New("strict: malformed JSON")

// maxDepth bounds how deep JSON may nest.
const maxDepth = 8

// Decode reads strict JSON into v, a pointer: one value, no duplicate, unknown
// or case-variant member names (encoding/json takes all three), no trailing
// bytes, no deep nesting.
func Decode(b []byte, v any) error {
	if err := Check(b); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return nil
}

// Check reports whether b is one JSON value in which no object has a member
// twice, every member name is made of a-z, 0-9 and _, and nothing nests deeper
// than maxDepth. All our names are of that form, so a name that differs from
// one of them by case alone (which encoding/json would match) is not.
func Check(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if err := checkValue(d, 0); err != nil {
		return fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: bytes after the value", ErrMalformed)
	}
	return nil
}

func checkValue(d *json.Decoder, depth int) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth++; depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	seen := make(map[string]bool)
	for d.More() {
		if open == '{' {
			t, err := d.Token()
			if err != nil {
				return err
			}
			if err := checkName(t.(string), seen); err != nil {
				return err
			}
		}
		if err := checkValue(d, depth); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func checkName(name string, seen map[string]bool) error {
	if strings.ContainsFunc(name, notNameRune) {
		return errors.New("a member name is not of the form a-z, 0-9, _")
	}
	if seen[name] {
		return fmt.Errorf("member %q stands twice", name)
	}
	seen[name] = true
	return nil
}

func notNameRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
}
