package document

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
)

// load reads {a: text, n: number, l: list of words} with a Reader.
func load(doc string) (a string, n int, l []string, err *Error) {
	var r Reader
	root := r.Read([]byte(doc))
	if r.Err() != nil {
		return "", 0, nil, r.Err()
	}
	r.Mapping(root, "the document",
		Key("a", func(v ast.Node) { a = r.Name(v, "a") }),
		Key("n", func(v ast.Node) { n = r.Number(v, "n", 1, 9) }),
		Key("l", func(v ast.Node) { l = r.Texts(v, "l") }),
	)
	return a, n, l, r.Err()
}

func TestReader(t *testing.T) {
	a, n, l, err := load("a: x # why\nn: 7\nl: [b, 'c d', \"e\"]\n")
	if err != nil || a != "x" || n != 7 || strings.Join(l, "|") != "b|c d|e" {
		t.Fatalf("%q %d %q %v", a, n, l, err)
	}
	for doc, want := range map[string]string{
		"a: x\na: y":                    "line 2, column 1",
		"b: x":                          `line 1, column 1: unknown key "b" in the document; it knows: a, n, l`,
		"a: [x]":                        "line 1, column 4: a must be text",
		"a: ''":                         "line 1, column 4: a is empty",
		"a: |\n  x\n  y\n":              "line 1, column 4: a must be text",
		"a: true":                       "line 1, column 4: a must be text",
		"a: null":                       "line 1, column 4: a must be text",
		"n: 10":                         "line 1, column 4: n must be a whole number from 1 to 9",
		"n: 0x7":                        "",
		"n: 18446744073709551615":       "line 1, column 4: n must be",
		"l: x":                          "line 1, column 4: l must be a list",
		"l: []":                         "line 1, column 4: l is empty",
		"l:\n  - a\n  - {}":             "line 3, column 5: an entry of l must be text",
		"1: x":                          "line 1, column 1: a key of the document must be text",
		"a: " + strings.Repeat("[", 50): "line 1, column 16: nested more than 12 deep",
		"a: \"x":                        "line 1",
	} {
		_, _, _, err := load(doc)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", doc, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %s", doc, err, want)
		}
	}
}

// The first problem stays.
func TestFirstProblem(t *testing.T) {
	var r Reader
	r.FailAt(0, 0, "first")
	r.FailAt(5, 5, "second")
	r.Fail(nil, "third")
	if got := r.Err().Error(); got != "policy: line 1, column 1: first" {
		t.Error(got)
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{"a: x\nn: 7\nl: [b]", "? a\n: x", "a: >-\n x", "{a: x, n: 1}", "a: &b c", "---\na: x\n...\n", "a:\tx", "\ufeffa: x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		a, n, l, err := load(doc)
		if err != nil {
			if err.Line < 1 || err.Column < 1 || err.Line > strings.Count(doc, "\n")+2 {
				t.Fatalf("%q: %v", doc, err)
			}
			return
		}
		for _, text := range append(l, a) {
			if strings.ContainsAny(text, "\n\x00\x1b\u202e\u200b") {
				t.Fatalf("%q: read %q", doc, text)
			}
		}
		if n < 0 || n > 9 {
			t.Fatalf("%q: read %d", doc, n)
		}
	})
}
