package daemon

import (
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// configCommand is "config schema" and "config example": what can be set, for
// editors and for people, from the same tags that the settings are read with.
func configCommand(c Command, cfg *config) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Describe the configuration file", Args: cobra.NoArgs}
	cmd.AddCommand(&cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of the configuration file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			e.SetEscapeHTML(false)
			return e.Encode(schema(c, cfg))
		},
	}, &cobra.Command{
		Use: "example", Short: "Print a configuration file with every key at its default", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), example(c, cfg))
			return err
		},
	})
	return cmd
}

// A node is one key of the schema, or the whole of it (JSON Schema 2020-12).
type node struct {
	Schema      string           `json:"$schema,omitempty"`
	Title       string           `json:"title,omitempty"`
	Description string           `json:"description,omitempty"`
	Type        string           `json:"type"`
	Pattern     string           `json:"pattern,omitempty"`
	Minimum     *int             `json:"minimum,omitempty"`
	Items       *node            `json:"items,omitempty"`
	Default     any              `json:"default,omitempty"`
	Properties  map[string]*node `json:"properties,omitempty"`
	Additional  *bool            `json:"additionalProperties,omitempty"`
}

// durationPattern is what [time.ParseDuration] takes of durations that are not
// negative.
const durationPattern = `^(0|([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`

// object is a node that takes no key but its properties.
func object() *node {
	return &node{Type: "object", Properties: map[string]*node{}, Additional: new(bool)}
}

// schema describes the file. It shows the defaults, so it must run before
// settings are read.
func schema(c Command, cfg *config) *node {
	top := object()
	top.Schema, top.Title, top.Description = "https://json-schema.org/draft/2020-12/schema", c.Name, c.Doc
	for _, f := range cfg.all() {
		in := top
		for _, name := range f.path[:len(f.path)-1] {
			if in.Properties[name] == nil {
				in.Properties[name] = object()
			}
			in = in.Properties[name]
		}
		in.Properties[f.path[len(f.path)-1]] = f.node()
	}
	return top
}

// node describes one setting.
func (f field) node() *node {
	n := &node{Description: f.doc, Default: f.value.Interface()}
	switch v := f.value.Interface().(type) {
	case time.Duration:
		n.Type, n.Pattern, n.Default = "string", durationPattern, v.String()
	case encoding.TextMarshaler:
		n.Type, n.Default = "string", f.text()
	case []string:
		n.Type, n.Items = "array", &node{Type: "string"}
		if v == nil {
			n.Default = []string{}
		}
	case bool:
		n.Type = "boolean"
	default:
		switch {
		case f.value.CanInt():
			n.Type = "integer"
		case f.value.CanUint():
			n.Type, n.Minimum = "integer", new(int)
		case f.value.Kind() == reflect.String:
			n.Type = "string"
		default:
			panic(fmt.Sprintf("daemon: setting %s is a %s, which no schema describes", f.key(), f.value.Type()))
		}
	}
	return n
}

// example writes a file with every key, each as it is when nobody sets it.
func example(c Command, cfg *config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Configuration of %s.\n# Every key is here with its default. Unknown keys are refused.\n", c.Name)
	var open []string
	for _, f := range cfg.all() {
		at := len(f.path) - 1
		for i, name := range f.path[:at] {
			if i < len(open) && open[i] == name {
				continue
			}
			fmt.Fprintf(&b, "\n%s%s:\n", strings.Repeat("  ", i), name)
		}
		open = f.path[:at]
		indent := strings.Repeat("  ", at)
		fmt.Fprintf(&b, "\n%s# %s\n%s%s: %s\n", indent, f.doc, indent, f.path[at], f.literal())
	}
	return b.String()
}

// literal is the field's value in YAML. JSON's strings and lists are YAML's too.
func (f field) literal() string {
	switch v := f.value.Interface().(type) {
	case time.Duration:
		return v.String()
	case []string:
		if v == nil {
			return "[]"
		}
		return jsonText(v)
	case string:
		return jsonText(v)
	case encoding.TextMarshaler:
		return jsonText(f.text())
	}
	if f.value.Kind() == reflect.String {
		return jsonText(f.value.String())
	}
	return f.text()
}

func jsonText(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("daemon: " + err.Error()) // texts and lists of texts always can
	}
	return string(b)
}
