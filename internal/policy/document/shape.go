package document

import (
	"encoding/json"
	"regexp"
)

// A Shape says in JSON Schema what a value may be. Readers and editors get it from the
// same fields, so that they can't disagree.
type Shape map[string]any

// Name is the key.
func (f Field) Name() string { return f.key }

// Of says what the value may be and what it means.
func (f Field) Of(shape Shape, doc string) Field {
	f.shape = Shape{}
	for k, v := range shape {
		f.shape[k] = v
	}
	if doc != "" {
		f.shape["description"] = doc
	}
	return f
}

// Needed says that a mapping without the key is refused.
func (f Field) Needed() Field {
	f.needed = true
	return f
}

// Else says what holds where the key is missing.
func (f Field) Else(value any) Field {
	f.shape["default"] = value
	return f
}

// Object is a mapping with these keys and no others.
func Object(fields ...Field) Shape {
	properties, required := map[string]any{}, []string{}
	for _, f := range fields {
		properties[f.key] = f.shape
		if f.needed {
			required = append(required, f.key)
		}
	}
	s := Shape{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// AtLeast says how many keys a mapping or entries a list needs.
func (s Shape) AtLeast(n int) Shape {
	out := Shape{}
	for k, v := range s {
		out[k] = v
	}
	if s["type"] == "array" {
		out["minItems"] = n
	} else {
		out["minProperties"] = n
	}
	return out
}

// ListOf is a list of values.
func ListOf(of Shape) Shape { return Shape{"type": "array", "maxItems": maxEntries, "items": of} }

// EitherOf is one of two shapes.
func EitherOf(a, b Shape) Shape { return Shape{"anyOf": []Shape{a, b}} }

// MapOf is a mapping of any keys.
func MapOf(of Shape) Shape {
	return Shape{"type": "object", "additionalProperties": of, "maxProperties": maxEntries}
}

// AnyText is a text that is not empty.
var AnyText = Shape{"type": "string", "minLength": 1}

// AnyName is a name, or a glob of names.
var AnyName = Shape{"type": "string", "minLength": 1, "maxLength": 128}

// Matching is a text of a form.
func Matching(form *regexp.Regexp) Shape { return Shape{"type": "string", "pattern": form.String()} }

// Words is one of some words.
func Words(words ...string) Shape { return Shape{"type": "string", "enum": words} }

// Whole is a whole number.
func Whole(low, high int) Shape { return Shape{"type": "integer", "minimum": low, "maximum": high} }

// Schema is the JSON Schema of documents of a shape.
func Schema(id, title, doc string, s Shape) []byte {
	root := Shape{"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": id, "title": title, "description": doc}
	for k, v := range s {
		root[k] = v
	}
	b, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("document: internal error: " + err.Error()) // maps of texts and numbers
	}
	return append(b, '\n')
}
