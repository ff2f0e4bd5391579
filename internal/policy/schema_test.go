package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tucdesk/tucdesk/internal/policy/oracle"
)

// A schema is as much of JSON Schema as Schema uses.
type schema struct {
	Type                 string
	Properties           map[string]*schema
	Required             []string
	AdditionalProperties json.RawMessage
	Items                *schema
	AnyOf                []*schema
	Enum                 []string
	Pattern              string
	Minimum, Maximum     *float64
	MinLength, MaxLength *int
	MinItems, MaxItems   *int
	MinProperties        int
	MaxProperties        *int
}

// accepts says "" or what is wrong.
func (s *schema) accepts(t *testing.T, v any) string {
	if s.AnyOf != nil {
		for _, one := range s.AnyOf {
			if one.accepts(t, v) == "" {
				return ""
			}
		}
		return "none of anyOf"
	}
	switch v := v.(type) {
	case map[string]any:
		if s.Type != "object" || len(v) < s.MinProperties || s.MaxProperties != nil && len(v) > *s.MaxProperties {
			return "an object, or too few keys"
		}
		for _, k := range s.Required {
			if _, ok := v[k]; !ok {
				return k + " is missing"
			}
		}
		for k, inner := range v {
			of := s.Properties[k]
			if of == nil {
				if of = new(schema); json.Unmarshal(s.AdditionalProperties, of) != nil {
					return "unknown key " + k
				}
			}
			if why := of.accepts(t, inner); why != "" {
				return k + ": " + why
			}
		}
	case []any:
		if s.Type != "array" || s.MinItems != nil && len(v) < *s.MinItems || s.MaxItems != nil && len(v) > *s.MaxItems {
			return "a list, or too short or long"
		}
		for _, inner := range v {
			if why := s.Items.accepts(t, inner); why != "" {
				return why
			}
		}
	case string:
		if s.Type != "string" || s.Enum != nil && !slices.Contains(s.Enum, v) || s.MinLength != nil && len(v) < *s.MinLength ||
			s.MaxLength != nil && len(v) > *s.MaxLength || s.Pattern != "" && !regexp.MustCompile(s.Pattern).MatchString(v) {
			return fmt.Sprintf("the text %q", v)
		}
	case float64:
		if s.Type != "integer" || v != float64(int(v)) || s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			return fmt.Sprintf("the number %v", v)
		}
	default:
		return fmt.Sprintf("%T", v)
	}
	return ""
}

// plain decodes a document as a schema sees it.
func plain(t *testing.T, doc []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// A variant is a document that is broken in one place.
type variant struct {
	what string
	must bool // both must refuse it
	doc  any
}

// variants breaks a value in every place.
func variants(v any, at string, wrap func(any) any, out *[]variant) {
	add := func(what string, must bool, broken any) {
		*out = append(*out, variant{at + ": " + what, must, wrap(broken)})
	}
	switch v := v.(type) {
	case map[string]any:
		more := map[string]any{"zzz": "x"}
		for k, inner := range v {
			more[k] = inner
			less := map[string]any{}
			for other, value := range v {
				if other != k {
					less[other] = value
				}
			}
			add("without "+k, false, less)
			variants(inner, at+"."+k, func(b any) any {
				changed := map[string]any{}
				for other, value := range v {
					changed[other] = value
				}
				changed[k] = b
				return wrap(changed)
			}, out)
		}
		add("with another key", !strings.HasSuffix(at, ".tags"), more)
		add("as a list", true, []any{v})
		add("without keys", strings.HasSuffix(at, ".targets") || strings.HasSuffix(at, ".tags"), map[string]any{})
	case []any:
		for i, inner := range v {
			variants(inner, fmt.Sprintf("%s[%d]", at, i), func(b any) any {
				changed := slices.Clone(v)
				changed[i] = b
				return wrap(changed)
			}, out)
		}
		add("as a mapping", true, map[string]any{"zzz": v})
		add("empty", false, []any{})
	case string:
		add("as a number", true, 7)
		add("another text", false, "zzz")
		add("a longer time", false, "1.5h")
		add("an empty text", true, "")
		add("a mapping", true, map[string]any{"zzz": v})
	case float64:
		add("as a text", true, "1")
		add("negative", true, -1)
		add("huge", true, 1<<20)
		add("broken", true, 1.5)
	}
}

// What Parse takes, the schema takes; and what both must refuse, both refuse.
func TestSchemaAgreesWithParser(t *testing.T) {
	var s schema
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs := [][]byte{example, []byte(entry("    hold: {approvers: [a@b], quorum: 2, expires: 1h}\n    commands: {low: [ls], default: high, tiers: {low: allow}, catalogue: 1}\napprovers: {quorum: 1}\ngrace: 0s\nmax_session: .5h"))}
	for seed := range uint64(10) {
		docs = append(docs, []byte(oracle.New(seed).Policy().Document()))
	}
	agreed, refused := 0, 0
	for i, doc := range docs {
		v := plain(t, doc)
		if why := s.accepts(t, v); why != "" {
			t.Fatalf("the schema refuses what parses: %s\n%s", why, doc)
		}
		var all []variant
		variants(v, "", func(b any) any { return b }, &all)
		// All of them take a minute: steps(t) of them, spread over each document.
		stride := max(1, len(docs)*len(all)/max(steps(t)/5, 1))
		for j := i % stride; j < len(all); j += stride {
			broken := all[j]
			b, err := json.MarshalIndent(broken.doc, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			var v any
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatal(err)
			}
			why := s.accepts(t, v)
			_, problem := Parse(b)
			switch {
			case problem == nil && why != "":
				t.Errorf("%s: it parses, and the schema refuses it: %s", broken.what, why)
			case broken.must && (problem == nil || why == ""):
				t.Errorf("%s: the parser says %v, the schema %q", broken.what, problem, why)
			}
			if agreed++; why != "" {
				refused++
			}
		}
	}
	t.Logf("%d broken documents, %d of them refused by the schema", agreed, refused)
	if refused < 300 {
		t.Error("too few")
	}
}

// Every key has a place in the schema that says what it means, and the defaults there
// are those of the parser.
func TestSchemaSaysWhatHolds(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	var walk func(at string, v map[string]any)
	keys := 0
	walk = func(at string, v map[string]any) {
		properties, _ := v["properties"].(map[string]any)
		for k, inner := range properties {
			keys++
			of := inner.(map[string]any)
			if _, isEnum := of["enum"]; of["description"] == nil && !isEnum {
				t.Errorf("%s.%s says nothing", at, k)
			}
			walk(at+"."+k, of)
			if items, ok := of["items"].(map[string]any); ok {
				walk(at+"."+k, items)
			}
		}
	}
	walk("", root)
	if keys < 60 {
		t.Errorf("%d keys", keys)
	}
	defaults := "version: 1\nmode: allowlist\ngate: enforced\nmax_session: 12h\ngrace: 10m\nmin_suite: 1\napprovers: {approvers: [\"role:approver\"], quorum: 1, expires: 15m}\ncommands: {default: low, catalogue: 0, tiers: {critical: deny, high: hold, medium: confirm, low: allow}}"
	said, silent := mustParse(t, defaults), mustParse(t, head)
	for _, p := range []*Policy{said, silent} {
		p.modeLine, p.approvers.line, p.commands.defaultLine, p.commands.catalogueLine = 0, 0, 0, 0
	}
	if !reflect.DeepEqual(said, silent) {
		t.Errorf("%+v\n%+v", said, silent)
	}
	b := string(Schema())
	for _, want := range []string{`"default": "12h"`, `"default": "10m"`, `"default": "15m"`, `"default": "1h"`, `"default": "enforced"`, `"default": "hold"`} {
		if !strings.Contains(b, want) {
			t.Errorf("the schema lacks %s", want)
		}
	}
}
