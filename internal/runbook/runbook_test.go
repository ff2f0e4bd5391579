package runbook

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func sample(t testing.TB) *Runbook {
	t.Helper()
	doc, err := os.ReadFile("testdata/restart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// instance is a step of sample with values that it takes.
func instance(step uint64) Instance {
	return Instance{Name: "restart", Version: 3, Step: step, Args: [][2]string{{"service", "nginx"}, {"ticket", "OPS-12"}, {"keep", "9"}}}
}

func TestMatch(t *testing.T) {
	b := sample(t)
	want := []Command{
		{Argv: []string{"logrotate-now", "--keep=9", "{literal}", "/var/log/nginx"}},
		{Argv: []string{"sudo", "systemctl", "restart", "nginx"}, As: "deploy", Cwd: "/srv"},
		{Argv: []string{"logger", "-t", "deploy", "OPS-12: nginx"}},
	}
	for i, w := range want {
		s, got, err := b.Match(instance(uint64(i + 1)))
		if err != nil || !reflect.DeepEqual(got, w) || s != &b.Steps[i] {
			t.Errorf("step %d: %+v, %v", i+1, got, err)
		}
	}
	if s := b.Steps[0]; s.Parallel != 4 || s.StopAfter != "20%" || s.Timeout != 90*time.Second || s.Targets.String() != "role=web|edge, named web-*" {
		t.Errorf("%+v, %s", s, s.Targets)
	}
	if s := b.Steps[2]; s.Parallel != 1 || s.StopAfter != "1" || s.Targets.Named() || s.Timeout != 0 {
		t.Errorf("%+v", s)
	}
	if got := b.Describe(instance(2)); got != "restart v3, step 2 of 3 (restart): service=nginx, ticket=OPS-12, keep=9" {
		t.Error(got)
	}
	for _, on := range []struct {
		name, role string
		want       bool
	}{{"web-1", "web", true}, {"web-1", "edge", true}, {"web-1", "db", false}, {"db-1", "web", false}, {"web-1", "", false}} {
		tags := map[string]string{"role": on.role}
		if on.role == "" {
			tags = nil
		}
		if got := b.Steps[0].Targets.On(on.name, tags); got != on.want {
			t.Errorf("%+v: %v", on, got)
		}
	}
}

func TestMatchRefuses(t *testing.T) {
	b := sample(t)
	for name, change := range map[string]func(*Instance){
		"another runbook":   func(i *Instance) { i.Name = "reboot" },
		"no version":        func(i *Instance) { i.Version = 0 },
		"step 0":            func(i *Instance) { i.Step = 0 },
		"step 4 of 3":       func(i *Instance) { i.Step = 4 },
		"a huge step":       func(i *Instance) { i.Step = 1 << 63 },
		"no values":         func(i *Instance) { i.Args = nil },
		"one value missing": func(i *Instance) { i.Args = i.Args[:2] }, // though it has a default
		"one twice":         func(i *Instance) { i.Args[2] = i.Args[0] },
		"one more":          func(i *Instance) { i.Args = append(i.Args, [2]string{"more", "x"}) },
		"another order":     func(i *Instance) { i.Args[0], i.Args[1] = i.Args[1], i.Args[0] },
		"no such service":   func(i *Instance) { i.Args[0][1] = "sshd" },
		"not the pattern":   func(i *Instance) { i.Args[1][1] = "OPS-12x" },
		"too many days":     func(i *Instance) { i.Args[2][1] = "31" },
		"a name as flag":    func(i *Instance) { i.Args[0][0] = "--service" },
		"too many values":   func(i *Instance) { i.Args = make([][2]string, MaxParams+1) },
	} {
		i := instance(1)
		i.Args = slices.Clone(i.Args)
		change(&i)
		if _, _, err := b.Match(i); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No value adds a word, an option, a line, or anything that people would not see.
func TestHostileValues(t *testing.T) {
	doc := `version: 1
name: hostile
params:
  any: {kind: text, pattern: ".*"}
  flag: {kind: text, pattern: "-[a-z]+"}
  flag2: {kind: text, pattern: '\-v', default: "-v"}
  late: {kind: text, pattern: "x|-rf"}
  choice: {kind: one-of, values: ["-a", b]}
  num: {kind: int, max: 10}
  multi: {kind: text, pattern: "(?m)^ok$"}
steps:
  - {name: one, run: [prog, "{any}", "{flag}", "{flag2}", "{late}", "{choice}", "{num}", "{multi}", "{any}-x"]}
`
	b, err := Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	good := map[string]string{"any": "a b; $(rm) 'x' *", "flag": "-x", "late": "x", "choice": "-a", "num": "10", "multi": "ok"}
	args, err := b.Values(good)
	if err != nil {
		t.Fatal(err)
	}
	_, c, err := b.Match(Instance{Name: "hostile", Version: 1, Step: 1, Args: args})
	if want := []string{"prog", "a b; $(rm) 'x' *", "-x", "-v", "x", "-a", "10", "ok", "a b; $(rm) 'x' *-x"}; err != nil || !slices.Equal(c.Argv, want) {
		t.Fatalf("%q, %v", c.Argv, err)
	}
	for _, bad := range []struct{ param, value string }{
		{"any", ""}, {"any", "-rf"}, {"any", "--"}, {"any", "-"}, {"any", "a\nb"}, {"any", "a\x00b"}, {"any", "a\x1b[2J"}, {"any", "a\u202eb"}, {"any", "a\u200bb"},
		{"any", "\xff"}, {"any", "a\r"}, {"any", strings.Repeat("a", MaxValue+1)}, {"any", "\u0430"},
		{"flag", "x"}, {"flag", "-X"}, {"flag", "-x -y"},
		{"late", "-rf"}, // the pattern takes it, and does not begin with it
		{"choice", "c"}, {"choice", "B"}, {"choice", "-a "},
		{"num", "11"}, {"num", "-1"}, {"num", "+1"}, {"num", "01"}, {"num", "1.0"}, {"num", "0x1"}, {"num", " 1"}, {"num", "١"},
		{"multi", "ok\nrm"}, {"multi", "rm\nok"}, {"multi", "okay"},
		{"nothing", "x"}, {"", "x"},
	} {
		given := map[string]string{}
		for k, v := range good {
			given[k] = v
		}
		given[bad.param] = bad.value
		var no *ValueError
		if _, err := b.Values(given); !errors.As(err, &no) || no.Param != bad.param || strings.ContainsAny(err.Error(), "\n\x00\x1b\u202e") {
			t.Errorf("%s=%q: %v", bad.param, bad.value, err)
		}
	}
	delete(good, "num")
	if _, err := b.Values(good); err == nil || !strings.Contains(err.Error(), "whole number from 0 to 10") {
		t.Errorf("a value is missing: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	head := "version: 1\nname: x\n"
	step := "steps:\n  - {name: a, run: [ls]}\n"
	withParam := func(p string) string {
		return head + "params:\n  p: " + p + "\nsteps:\n  - {name: a, run: [ls, \"{p}\"]}\n"
	}
	run := func(words string) string {
		return head + "params:\n  p: {kind: text, pattern: \"[a-z]+\"}\nsteps:\n  - {name: a, run: " + words + "}\n"
	}
	for name, c := range map[string]struct{ doc, want string }{
		"nothing":            {"", "line 1, column 1: the document is empty"},
		"too large":          {head + step + "#" + strings.Repeat("x", MaxDocument), "at most 16384"},
		"no version":         {"name: x\n" + step, "`version` is missing"},
		"another version":    {"version: 2\nname: x\n" + step, "line 1, column 10: version must be a whole number from 1 to 1"},
		"no name":            {"version: 1\n" + step, "`name` is missing"},
		"a bad name":         {"version: 1\nname: \" x\"\n" + step, "line 2"},
		"no steps":           {head, "`steps` is missing"},
		"empty steps":        {head + "steps: []\n", "1 to 32 steps"},
		"unknown key":        {head + "shell: bash\n" + step, `line 3, column 1: unknown key "shell"`},
		"unknown step key":   {head + "steps:\n  - {name: a, run: [ls], env: {A: b}}\n", `line 4, column 26: unknown key "env"`},
		"a step twice":       {head + "steps:\n  - {name: a, run: [ls]}\n  - {name: a, run: [ls]}\n", "taken by an earlier step"},
		"no command":         {head + "steps:\n  - {name: a}\n", "`run` is missing"},
		"an empty command":   {head + "steps:\n  - {name: a, run: []}\n", "run has 1 to 128 words"},
		"a command as text":  {head + "steps:\n  - {name: a, run: ls -l}\n", "run must be a list"},
		"a number as word":   {head + "steps:\n  - {name: a, run: [sleep, 5]}\n", "write it in quotes"},
		"relative folder":    {head + "steps:\n  - {name: a, run: [ls], cwd: srv}\n", "absolute path"},
		"no targets":         {head + "steps:\n  - {name: a, run: [ls], targets: {}}\n", "targets is empty"},
		"no names":           {head + "steps:\n  - {name: a, run: [ls], targets: {names: []}}\n", "is empty"},
		"a question mark":    {head + "steps:\n  - {name: a, run: [ls], targets: {names: [\"web-?\"]}}\n", "only wildcard is *"},
		"no machine":         {head + "steps:\n  - {name: a, run: [ls], parallel: 0}\n", "parallel must be"},
		"stop after none":    {head + "steps:\n  - {name: a, run: [ls], stop_after: 0}\n", "from 1 to 999"},
		"stop after 101%":    {head + "steps:\n  - {name: a, run: [ls], stop_after: 101%}\n", "a share from 1%"},
		"no time":            {head + "steps:\n  - {name: a, run: [ls], timeout: 1ms}\n", "timeout must be"},
		"a long title":       {head + "title: " + strings.Repeat("x", 201) + "\n" + step, "at most 200"},
		"a parameter's name": {head + "params:\n  P: {kind: int}\n" + step, "can't name a parameter"},
		"no kind":            {withParam("{min: 1}"), "`kind` is missing"},
		"an unknown kind":    {withParam("{kind: path}"), "kind is \"path\""},
		"no pattern":         {withParam("{kind: text}"), "needs a `pattern`"},
		"a bad pattern":      {withParam(`{kind: text, pattern: "a("}`), "not a regular expression"},
		"out of its group":   {withParam(`{kind: text, pattern: "a)|(?:b"}`), "not a regular expression"},
		"a long pattern":     {withParam(`{kind: text, pattern: "` + strings.Repeat("x", 201) + `"}`), "at most 200"},
		"pattern of an int":  {withParam(`{kind: int, pattern: "1"}`), "`pattern` is of kind: text"},
		"min of a text":      {withParam(`{kind: text, pattern: "1", min: 1}`), "`min` is of kind: int"},
		"no values":          {withParam("{kind: one-of}"), "needs `values`"},
		"empty values":       {withParam("{kind: one-of, values: []}"), "is empty"},
		"min over max":       {withParam("{kind: int, min: 3, max: 2}"), "no such number"},
		"a default too high": {withParam("{kind: int, max: 2, default: 3}"), "the default: \"3\" is not a whole number from 0 to 2"},
		"a default apart":    {withParam("{kind: one-of, values: [a], default: b}"), "the default"},
		"a default option":   {withParam(`{kind: text, pattern: ".*", default: "-x"}`), "the default"},
		"no use":             {head + "params:\n  p: {kind: int}\n" + step, `no step uses the parameter "p"`},
		"unknown parameter":  {head + "steps:\n  - {name: a, run: [ls, \"{q}\"]}\n", `line 4, column 25: there is no parameter "q"`},
		"an open brace":      {run(`[ls, "{p"]`), "write {{"},
		"a closing brace":    {run(`[ls, "p}"]`), "write }}"},
		"a brace of jq":      {run(`[jq, "{ p }", "{p}"]`), "write {{"},

		// A value never chooses what runs.
		"it is the program":      {run(`["{p}"]`), "name the program"},
		"a part of the program":  {run(`["/usr/bin/{p}"]`), "name the program"},
		"after sudo":             {run(`[sudo, "{p}"]`), "name the program"},
		"after env":              {run(`[env, A=b, "{p}"]`), "name the program"},
		"after xargs":            {run(`[xargs, "{p}"]`), "name the program"},
		"find's exec":            {run(`[find, ".", -exec, "{p}", ";"]`), "name the program"},
		"code of a shell":        {run(`[sh, -c, "echo {p}"]`), "sh"},
		"quoted in a shell":      {run(`[bash, -c, "echo '{p}'"]`), "bash"},
		"beside code of a shell": {run(`[sh, -c, "echo $1", sh, "{p}"]`), "takes code in its words"},
		"the script of a shell":  {run(`[bash, "{p}"]`), "bash"},
		"an option of a shell":   {run(`[bash, "--rcfile={p}", script]`), "bash"},
		"code of python":         {run(`[python3, -c, "print('{p}')"]`), "takes code in its words"},
		"code of awk":            {run(`[awk, "/{p}/", /etc/passwd]`), "awk"},
		"a shell of sudo":        {run(`[sudo, sh, -c, "echo {p}"]`), "sh"},
		"a line of ssh":          {run(`[ssh, web-2, "uptime {p}"]`), "name the program"},
		"a line of su":           {run(`[su, -c, "ls {p}", deploy]`), "name the program"},
		"a line of watch":        {run(`[watch, "ls {p}"]`), "name the program"},
	} {
		_, err := Parse([]byte(c.doc))
		var at *Error
		if !errors.As(err, &at) || at.Line < 1 || at.Column < 1 || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for name, words := range map[string]string{
		"a word of sudo's program": `[sudo, systemctl, restart, "{p}"]`,
		"a part of a word":         `[tar, -C, "/srv/{p}", -xf, "/tmp/{p}.tar"]`,
		"after a script":           `[bash, /usr/local/bin/deploy, "{p}"]`,
		"after timeout's time":     `[timeout, "30", ls, "{p}"]`,
		"a host of ping":           `[ping, -c, "1", "{p}"]`,
	} {
		if _, err := Parse([]byte(run(words))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchema(t *testing.T) {
	var schema struct {
		Properties map[string]any `json:"properties"`
		Required   []string       `json:"required"`
	}
	if err := json.Unmarshal(Schema(), &schema); err != nil || len(schema.Properties) != 5 || !slices.Equal(schema.Required, []string{"version", "name", "steps"}) {
		t.Errorf("%+v, %v", schema, err)
	}
}

func FuzzParse(f *testing.F) {
	doc, err := os.ReadFile("testdata/restart.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(doc)
	f.Add([]byte("version: 1\nname: x\nparams:\n  p: {kind: text, pattern: \"-?[a-z]+\"}\nsteps:\n  - {name: a, run: [ls, \"{{{p}}}\"]}\n"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		b, err := Parse(doc)
		if err != nil {
			var at *Error
			if !errors.As(err, &at) || at.Line < 1 || at.Column < 1 {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(b.Steps) == 0 || len(b.Steps) > MaxSteps || len(b.Params) > MaxParams {
			t.Fatalf("%d steps, %d parameters", len(b.Steps), len(b.Params))
		}
		for i := range b.Steps {
			// What is written back means the same.
			for n, w := range b.Steps[i].Words() {
				if again, problem := parseWord(w); problem != "" || !reflect.DeepEqual(again, b.Steps[i].words[n]) {
					t.Fatalf("%q: %s", w, problem)
				}
			}
		}
	})
}

// Whatever values are given: a step has as many words as the document says, the program
// is the document's, and a word that is all parameter is the value itself.
func FuzzMatch(f *testing.F) {
	b := sample(f)
	f.Add(uint64(1), "nginx", "OPS-1", "7")
	f.Add(uint64(2), "haproxy", "AB-999999", "30")
	f.Add(uint64(3), "-rf", "OPS-1\n", "07")
	f.Fuzz(func(t *testing.T, step uint64, service, ticket, keep string) {
		i := Instance{Name: "restart", Version: 1, Step: step, Args: [][2]string{{"service", service}, {"ticket", ticket}, {"keep", keep}}}
		s, c, err := b.Match(i)
		if err != nil {
			if !errors.Is(err, ErrMismatch) {
				t.Fatal(err)
			}
			return
		}
		if len(c.Argv) != len(s.words) || c.Argv[0] != s.words[0].String() {
			t.Fatalf("%q of %q", c.Argv, s.Words())
		}
		for n, w := range c.Argv {
			if strings.ContainsAny(w, "\n\x00") || w == "" || w[0] == '-' && s.Words()[n][0] != '-' {
				t.Fatalf("%q", w)
			}
		}
	})
}

func TestVectors(t *testing.T) {
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Step            uint64
		Args            [][2]string
		Argv            []string
		As, Cwd, Refuse string
	}
	if err := json.Unmarshal(b, &rows); err != nil || len(rows) < 10 {
		t.Fatal(len(rows), err)
	}
	book := sample(t)
	for _, r := range rows {
		_, c, err := book.Match(Instance{Name: "restart", Version: 3, Step: r.Step, Args: r.Args})
		if (err != nil) != (r.Refuse != "") || err == nil && !reflect.DeepEqual(c, Command{r.Argv, r.As, r.Cwd}) {
			t.Errorf("%+v: %+v, %v", r, c, err)
		}
	}
}
