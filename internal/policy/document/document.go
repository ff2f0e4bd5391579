// Package document reads YAML strictly, with a line and a column for each
// problem.
//
// Purpose: documents that people write and admins sign must mean one thing, to
// the reviewer and to the program. So only the plain part of YAML is read, keys
// are unique and known, types are exact, and nothing invisible is let in.
//
// Invariants: size, depth, entries and lines are bounded before the recursive
// parser runs; a panic of the YAML library is a problem of the document; after
// the first problem every read returns a zero value.
//
// It is pure. Of this module it may import only internal/sanitize and
// internal/policy/glob.
package document

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// Limits of a document. They bound what a hostile document can cost.
const (
	MaxSize    = 256 << 10 // bytes
	maxDepth   = 12        // of nesting; the language needs 5
	maxEntries = 2000      // of one list or mapping
	maxLine    = 4096      // bytes
)

// An Error says where a document is wrong. Line and Column count from 1;
// the column counts characters.
type Error struct {
	Line, Column int
	Problem      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("policy: line %d, column %d: %s", e.Line, e.Column, sanitize.Clean(e.Problem))
}

// A Reader walks a YAML tree. The first problem it meets is kept; after it
// every read returns a zero value, so that callers check once, at the end.
type Reader struct{ err *Error }

// Err returns the first problem; nil when there was none.
func (r *Reader) Err() *Error { return r.err }

// Read returns the tree of a document of the plain part of YAML: one document,
// no anchors, aliases, merge keys, tags or directives.
func (r *Reader) Read(doc []byte) ast.Node {
	if len(doc) > MaxSize {
		r.FailAt(1, 1, "the document has %d bytes; at most %d are allowed", len(doc), MaxSize)
		return nil
	}
	if !utf8.Valid(doc) {
		r.FailAt(1, 1, "the document is not valid UTF-8")
		return nil
	}
	text := strings.ReplaceAll(string(doc), "\r\n", "\n")
	for i, line := range strings.Split(text, "\n") {
		if len(line) > maxLine {
			r.FailAt(i+1, 1, "the line has %d bytes; at most %d are allowed", len(line), maxLine)
			return nil
		}
		// Also in comments: what reviewers see must be what is there.
		line = strings.ReplaceAll(line, "\t", " ")
		if clean := sanitize.Clean(line).String(); clean != line {
			r.FailAt(i+1, firstDifference(line, clean), "the line holds controls, bidi marks, invisible runes or look-alike letters: %s", line)
			return nil
		}
	}
	return r.parse(text)
}

// firstDifference counts the characters up to where two texts differ.
func firstDifference(a, b string) int {
	ra, rb := []rune(a), []rune(b)
	n := 0
	for n < len(ra) && n < len(rb) && ra[n] == rb[n] {
		n++
	}
	return n + 1
}

// parse calls the YAML library. A panic in it is a problem of the document:
// the document comes from a network, and a server must not fall over it.
func (r *Reader) parse(doc string) (root ast.Node) {
	defer func() {
		if p := recover(); p != nil {
			root = nil
			r.FailAt(1, 1, "not readable as YAML")
		}
	}()
	tokens := lexer.Tokenize(doc)
	if !r.plain(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) && syntax.Token != nil {
			r.FailAt(syntax.Token.Position.Line, syntax.Token.Position.Column, "%s", syntax.Message)
		} else {
			r.FailAt(1, 1, "not readable as YAML")
		}
		return nil
	}
	switch {
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		r.FailAt(1, 1, "the document is empty")
	case len(file.Docs) > 1:
		r.FailAt(1, 1, "there are %d documents in one; only one is allowed", len(file.Docs))
	default:
		return file.Docs[0].Body
	}
	return nil
}

// plain refuses, before the recursive parser runs, what the language does not
// use and what nests too deep.
func (r *Reader) plain(tokens token.Tokens) bool {
	flow, indents := 0, []int{0}
	for _, t := range tokens {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType:
			r.FailAt(t.Position.Line, t.Position.Column, "anchors, aliases, merge keys, tags and directives are not allowed")
			return false
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.InvalidType:
			problem := t.Error
			if problem == "" {
				problem = "not readable as YAML"
			}
			r.FailAt(t.Position.Line, t.Position.Column, "%s", problem)
			return false
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
		default:
			continue
		}
		column := t.Position.Column
		if t.Type == token.MappingValueType && t.Prev != nil {
			column = t.Prev.Position.Column // of the key
		}
		for len(indents) > 1 && indents[len(indents)-1] >= column {
			indents = indents[:len(indents)-1]
		}
		if flow == 0 {
			indents = append(indents, column)
		}
		if flow > maxDepth || len(indents) > maxDepth {
			r.FailAt(t.Position.Line, t.Position.Column, "nested more than %d deep", maxDepth)
			return false
		}
	}
	return true
}

// FailAt notes a problem at a place.
func (r *Reader) FailAt(line, column int, format string, args ...any) {
	if r.err == nil {
		r.err = &Error{Line: max(line, 1), Column: max(column, 1), Problem: fmt.Sprintf(format, args...)}
	}
}

// Fail notes a problem of a node.
func (r *Reader) Fail(n ast.Node, format string, args ...any) {
	line, column := position(n)
	r.FailAt(line, column, format, args...)
}

// position returns where a node begins.
func position(n ast.Node) (line, column int) {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return position(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return position(n.Key)
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1, 1
	}
	p := n.GetToken().Position
	return p.Line, p.Column
}

// LineOf returns the line on which a node begins.
func LineOf(n ast.Node) int {
	line, _ := position(n)
	return line
}

// A Field reads the value of one key.
type Field struct {
	key    string
	read   func(ast.Node)
	shape  Shape
	needed bool
}

// Key makes a Field.
func Key(key string, read func(ast.Node)) Field { return Field{key: key, read: read} }

// Mapping reads a mapping with these keys only, each at most once. It returns
// the keys it saw.
func (r *Reader) Mapping(n ast.Node, what string, fields ...Field) map[string]bool {
	seen := make(map[string]bool)
	r.Pairs(n, what, func(key string, keyNode, value ast.Node) {
		for _, f := range fields {
			if f.key == key {
				seen[key] = true
				f.read(value)
				return
			}
		}
		known := make([]string, len(fields))
		for i, f := range fields {
			known[i] = f.key
		}
		r.Fail(keyNode, "unknown key %q in %s; it knows: %s", key, what, strings.Join(known, ", "))
	})
	return seen
}

// Pairs calls do for each pair of a mapping, in order, keys being unique text.
func (r *Reader) Pairs(n ast.Node, what string, do func(key string, keyNode, value ast.Node)) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		r.Fail(n, "%s must be a mapping of keys to values", what)
		return
	}
	if len(values) > maxEntries {
		r.Fail(n, "%s has %d entries; at most %d are allowed", what, len(values), maxEntries)
		return
	}
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		switch {
		case !ok:
			r.Fail(v.Key, "a key of %s must be text", what)
		case seen[key.Value]:
			r.Fail(key, "key %q stands twice in %s", key.Value, what)
		default:
			seen[key.Value] = true
			do(key.Value, key, v.Value)
		}
		if r.err != nil {
			return
		}
	}
}

// List calls do for each entry of a list that is not empty.
func (r *Reader) List(n ast.Node, what string, do func(ast.Node)) {
	seq, ok := n.(*ast.SequenceNode)
	switch {
	case !ok:
		r.Fail(n, "%s must be a list", what)
		return
	case len(seq.Values) > maxEntries:
		r.Fail(n, "%s has %d entries; at most %d are allowed", what, len(seq.Values), maxEntries)
		return
	}
	for _, v := range seq.Values {
		if do(v); r.err != nil {
			return
		}
	}
}

// Texts reads a list of at least one text.
func (r *Reader) Texts(n ast.Node, what string) []string {
	var out []string
	r.List(n, what, func(v ast.Node) { out = append(out, r.Text(v, "an entry of "+what)) })
	if len(out) == 0 {
		r.Fail(n, "%s is empty; an empty list would cover nothing: leave the key out or name what it covers", what)
	}
	return out
}

// Text reads a text that is not empty and holds nothing invisible.
func (r *Reader) Text(n ast.Node, what string) string {
	s, ok := n.(*ast.StringNode)
	switch {
	case !ok:
		r.Fail(n, "%s must be text; write it in quotes", what)
		return ""
	case s.Value == "":
		r.Fail(n, "%s is empty", what)
	case sanitize.Clean(s.Value).String() != s.Value:
		r.Fail(n, "%s holds controls, bidi marks, invisible runes or look-alike letters: %s", what, s.Value)
	}
	return s.Value
}

// Name reads a text that may be a name or a glob of names.
func (r *Reader) Name(n ast.Node, what string) string {
	s := r.Text(n, what)
	if r.err == nil {
		var refused *sanitize.NameError
		if err := sanitize.Name(s); errors.As(err, &refused) {
			r.Fail(n, "%s %s", what, refused.Why)
		}
	}
	return s
}

// Number reads a whole number from low to high.
func (r *Reader) Number(n ast.Node, what string, low, high int) int {
	i, ok := n.(*ast.IntegerNode)
	if ok {
		if v, isUint := i.Value.(uint64); isUint && v <= math.MaxInt32 && int(v) >= low && int(v) <= high {
			return int(v)
		}
	}
	r.Fail(n, "%s must be a whole number from %d to %d", what, low, high)
	return 0
}

// OneOf reads one of some words.
func (r *Reader) OneOf(n ast.Node, what string, words ...string) string {
	s := r.Text(n, what)
	for _, w := range words {
		if s == w {
			return s
		}
	}
	r.Fail(n, "%s is %q; it must be one of: %s", what, s, strings.Join(words, ", "))
	return ""
}

// Globs reads a list of names in which * is a wildcard. An empty one is a problem: it
// could be meant to name everything or nothing.
func (r *Reader) Globs(n ast.Node, what string) []glob.Glob {
	var globs []glob.Glob
	r.List(n, what, func(v ast.Node) { globs = append(globs, r.Glob(v, "an entry of "+what)) })
	if len(globs) == 0 {
		r.Fail(n, "%s is empty; leave the key out or name what it covers", what)
	}
	return globs
}

// Glob reads a name in which * is a wildcard, and nothing else that looks like one.
func (r *Reader) Glob(n ast.Node, what string) glob.Glob {
	s := r.Name(n, what)
	if strings.ContainsAny(s, "?[]{}|") {
		r.Fail(n, "%s is %q; the only wildcard is *", what, s)
	}
	return glob.New(s)
}
