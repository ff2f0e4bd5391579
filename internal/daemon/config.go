package daemon

import (
	"encoding"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxConfig bounds a configuration file, in bytes.
const maxConfig = 1 << 20

// ConfigError is a setting that was refused.
type ConfigError struct {
	Source string // file name, "TUCDESK_RELAYD_LISTEN", or "--listen"
	Line   int    // 1-based; 0 when the source is not a file
	Column int    // 1-based; 0 when the source is not a file
	Reason string
	Err    error // that Reason was made of; may be nil
}

// Unwrap gives what refused the setting, if that is known.
func (e *ConfigError) Unwrap() error { return e.Err }

func (e *ConfigError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("daemon: %s: %s", e.Source, e.Reason)
	}
	return fmt.Sprintf("daemon: %s:%d:%d: %s", e.Source, e.Line, e.Column, e.Reason)
}

// A SettingError is what Command.New gives for a setting whose value can't work.
// [Main] adds the file, the line and the column in which it stands.
type SettingError struct {
	Key string // as in the file: "tls_cert", "store.path"
	Err error
}

func (e *SettingError) Error() string { return e.Key + ": " + e.Err.Error() }
func (e *SettingError) Unwrap() error { return e.Err }

// Decode reads the configuration that [Main] hands to Command.New into v, a
// pointer to a struct that already holds the defaults. Unknown and duplicate
// keys are errors.
func Decode(cfg []byte, v any) (err error) {
	defer recoverYAML("config", &err)
	if len(strings.TrimSpace(string(cfg))) == 0 {
		return nil
	}
	if err := yaml.UnmarshalWithOptions(cfg, v, yaml.Strict()); err != nil {
		return configError("config", err)
	}
	return nil
}

// settings are the keys that every program has, beside its own.
type settings struct {
	LogLevel      string        `yaml:"log_level" doc:"debug, info, warn or error"`
	LogFormat     string        `yaml:"log_format" doc:"text or json"`
	AdminListen   string        `yaml:"admin_listen" doc:"address of /healthz, /readyz and /metrics; empty switches them off"`
	InsecureAdmin bool          `yaml:"insecure_admin" doc:"let admin_listen be reachable beyond this machine"`
	StopTimeout   time.Duration `yaml:"stop_timeout" doc:"how long a stop may take"`
}

// field is one setting: its key path, what it is for, and where it is kept.
type field struct {
	path  []string
	doc   string
	value reflect.Value
}

// key is the field's path in the file, "store.path".
func (f field) key() string  { return strings.Join(f.path, ".") }
func (f field) flag() string { return strings.ReplaceAll(strings.Join(f.path, "-"), "_", "-") }
func (f field) env(prefix string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(strings.Join(f.path, "_"), "-", "_"))
}

// fields lists the settings of a struct, in order, nested structs flattened, and
// those of one with the option inline as if they stood beside it.
// It panics on a struct that [Command.Config] does not allow: that is a bug of
// the program, found by its first run.
func fields(v reflect.Value, path ...string) []field {
	var list []field
	t := v.Type()
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		if !sf.IsExported() || name == "-" {
			continue
		}
		if options == "inline" {
			list = append(list, fields(v.Field(i), path...)...)
			continue
		}
		if name == "" {
			panic(fmt.Sprintf("daemon: %s.%s has no yaml tag", t, sf.Name))
		}
		at := append(slices.Clone(path), name)
		_, text := v.Field(i).Addr().Interface().(encoding.TextUnmarshaler)
		if sf.Type.Kind() == reflect.Struct && !text {
			list = append(list, fields(v.Field(i), at...)...)
			continue
		}
		list = append(list, field{path: at, doc: sf.Tag.Get("doc"), value: v.Field(i)})
	}
	return list
}

// set parses text into the field.
func (f field) set(text string) error {
	if t, ok := f.value.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return t.UnmarshalText([]byte(text))
	}
	var err error
	switch p := f.value.Addr().Interface().(type) {
	case *string:
		*p = text
	case *bool:
		if *p, err = strconv.ParseBool(text); err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
	case *time.Duration:
		if *p, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("%q is not a duration such as 30s or 5m", text)
		}
	case *[]string:
		*p = nil
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*p = append(*p, item)
			}
		}
	default:
		return f.setInt(text)
	}
	return nil
}

func (f field) setInt(text string) error {
	switch {
	case f.value.CanInt():
		n, err := strconv.ParseInt(text, 10, f.value.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a number that fits", text)
		}
		f.value.SetInt(n)
	case f.value.CanUint():
		n, err := strconv.ParseUint(text, 10, f.value.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a positive number that fits", text)
		}
		f.value.SetUint(n)
	default:
		return fmt.Errorf("a %s can be set in the file only", f.value.Type())
	}
	return nil
}

// text is the field's value in the form that set takes.
func (f field) text() string {
	switch v := f.value.Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	case encoding.TextMarshaler:
		b, err := v.MarshalText()
		if err != nil {
			return ""
		}
		return string(b)
	default:
		return fmt.Sprint(v)
	}
}

// config is the configuration of one program while it is put together.
type config struct {
	settings
	own    reflect.Value // addressable copy of Command.Config; invalid when nil
	frame  []field
	fields []field                // of own
	at     map[string]ConfigError // where a key's value came from; not there: a default
}

func newConfig(c Command) (*config, error) {
	cfg := &config{settings: settings{
		LogLevel: "info", LogFormat: "text", AdminListen: c.Admin, StopTimeout: 15 * time.Second,
	}, at: map[string]ConfigError{}}
	cfg.frame = fields(reflect.ValueOf(&cfg.settings).Elem())
	if c.Config != nil {
		cfg.own = reflect.New(reflect.TypeOf(c.Config)).Elem()
		cfg.own.Set(reflect.ValueOf(c.Config))
		cfg.fields = fields(cfg.own)
	}
	seen := map[string]bool{"config": true, "check-config": true, "help": true, "version": true}
	for _, f := range cfg.all() {
		if seen[f.flag()] {
			return nil, fmt.Errorf("daemon: two settings of %s are called %s", c.Name, f.flag())
		}
		seen[f.flag()] = true
	}
	return cfg, nil
}

func (c *config) all() []field { return slices.Concat(c.frame, c.fields) }

// readFile applies a configuration file.
func (c *config) readFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("daemon: config file: %w", err)
	}
	defer f.Close()
	doc, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return fmt.Errorf("daemon: config file: %w", err)
	}
	if len(doc) > maxConfig {
		return &ConfigError{Source: name, Reason: fmt.Sprintf("longer than %d bytes", maxConfig)}
	}
	return c.parse(name, doc)
}

// parse applies the document key by key: the frame's keys to the frame, the
// others to the program. Positions are those of the file as it was written.
func (c *config) parse(name string, doc []byte) (err error) {
	defer recoverYAML(name, &err)
	file, err := parser.ParseBytes(doc, 0)
	if err != nil {
		return configError(name, err)
	}
	if len(file.Docs) > 1 {
		return &ConfigError{Source: name, Reason: "holds more than one YAML document; keep one"}
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil
	}
	var top *ast.MappingNode
	switch body := file.Docs[0].Body.(type) {
	case *ast.MappingNode:
		top = body
	case *ast.CommentGroupNode, *ast.NullNode:
		return nil
	default:
		at := body.GetToken().Position
		return &ConfigError{Source: name, Line: at.Line, Column: at.Column, Reason: "want keys with values"}
	}
	for _, kv := range top.Values {
		if err := c.parseKey(name, top.Start, kv); err != nil {
			return err
		}
	}
	return nil
}

// parseKey applies one key of the document. The parser has refused duplicates.
func (c *config) parseKey(name string, start *token.Token, kv *ast.MappingValueNode) error {
	key := kv.Key.GetToken()
	var into any
	switch {
	case slices.ContainsFunc(c.frame, func(f field) bool { return f.path[0] == key.Value }):
		into = &c.settings
	case c.own.IsValid():
		into = c.own.Addr().Interface()
	default:
		return &ConfigError{Source: name, Line: key.Position.Line, Column: key.Position.Column,
			Reason: fmt.Sprintf("unknown key %q", key.Value)}
	}
	err := yaml.NodeToValue(ast.Mapping(start, false, kv), into, yaml.Strict())
	if err == nil {
		c.note(name, key.Value, kv)
		return nil
	}
	var at *ConfigError
	if err = configError(name, err); errors.As(err, &at) && at.Line == 0 {
		at.Line, at.Column = key.Position.Line, key.Position.Column
	}
	return err
}

// note keeps where the keys of kv stand in the file.
func (c *config) note(name, path string, kv *ast.MappingValueNode) {
	at := kv.Key.GetToken().Position
	c.at[path] = ConfigError{Source: name, Line: at.Line, Column: at.Column}
	if below, ok := kv.Value.(*ast.MappingNode); ok {
		for _, kv := range below.Values {
			c.note(name, path+"."+kv.Key.GetToken().Value, kv)
		}
	}
}

// place says of a refused setting where its value was given.
func (c *config) place(err error) error {
	var refused *SettingError
	if !errors.As(err, &refused) {
		return err
	}
	at, given := c.at[refused.Key]
	if !given {
		return err
	}
	at.Reason, at.Err = refused.Key+": "+refused.Err.Error(), err
	return &at
}

// readEnv applies the variables of environ ("NAME=value") that begin with
// prefix. The name of the file itself, prefix+"CONFIG", is not a setting.
func (c *config) readEnv(prefix string, environ []string) error {
	byName := make(map[string]field)
	for _, f := range c.all() {
		byName[f.env(prefix)] = f
	}
	for _, kv := range environ {
		name, text, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, prefix) || name == prefix+"CONFIG" {
			continue
		}
		f, ok := byName[name]
		if !ok {
			return &ConfigError{Source: name, Reason: "no such setting; see --help, or unset it" +
				" (in Kubernetes: enableServiceLinks: false)"}
		}
		if err := f.set(text); err != nil {
			return &ConfigError{Source: name, Reason: err.Error()}
		}
		c.at[f.key()] = ConfigError{Source: name}
	}
	return nil
}

// document is the program's configuration as [Command.New] gets it.
func (c *config) document() ([]byte, error) {
	if !c.own.IsValid() {
		return nil, nil
	}
	doc, err := yaml.Marshal(c.own.Interface())
	if err != nil {
		return nil, fmt.Errorf("daemon: config: %w", err)
	}
	return doc, nil
}

// recoverYAML turns a panic of the YAML library into a refusal. FuzzConfig found
// documents that panic in its decoder, such as an odd tag on a scalar.
func recoverYAML(source string, err *error) {
	if r := recover(); r != nil {
		*err = &ConfigError{Source: source, Reason: fmt.Sprintf("cannot be read as YAML: %v", r)}
	}
}

// configError turns an error of the YAML library into a ConfigError.
func configError(source string, err error) error {
	var at yaml.Error
	if errors.As(err, &at) && at.GetToken() != nil {
		pos := at.GetToken().Position
		return &ConfigError{Source: source, Line: pos.Line, Column: pos.Column, Reason: at.GetMessage()}
	}
	return &ConfigError{Source: source, Reason: err.Error()}
}
