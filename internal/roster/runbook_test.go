package roster

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/policy"
	"github.com/tucdesk/tucdesk/internal/runbook"
)

const book = `version: 1
name: restart
params:
  service: {kind: one-of, values: [nginx, haproxy]}
steps:
  - {name: drain, run: [drain, "{service}"], targets: {tags: {env: prod}}}
  - {name: restart, run: [systemctl, restart, "{service}"], as: root, cwd: /srv}
`

func bookSet(version uint64, document string) RunbookSet {
	return RunbookSet{Name: "restart", Version: version, Hash: envelope.Sum([]byte(document)), Document: []byte(document)}
}

func TestRunbookSet(t *testing.T) {
	r := found(t, 2, "carol", "dave", "erin")
	both := []string{"carol", "dave"}
	gone := RunbookSet{Name: "restart", Version: 2, Document: []byte{}}
	first := apply(t, r, KindRunbookSet, bookSet(1, book), both...)
	second := apply(t, first, KindRunbookSet, bookSet(2, book+"# newer\n"), both...)
	retired := apply(t, first, KindRunbookSet, gone, "erin")
	for name, c := range map[string]struct {
		on   *Roster
		body RunbookSet
		by   []string
		want error
	}{
		"by one":                {r, bookSet(1, book), []string{"carol"}, ErrThreshold},
		"by one, later":         {first, bookSet(2, book), []string{"carol"}, ErrThreshold},
		"back by one":           {retired, bookSet(3, book), []string{"carol"}, ErrThreshold},
		"an old one again":      {second, bookSet(1, book), both, ErrRefused}, // rollback
		"the same again":        {second, bookSet(2, book), both, ErrRefused}, // replay
		"a version is skipped":  {first, bookSet(3, book), both, ErrRefused},
		"from 1 after an end":   {retired, bookSet(1, book), both, ErrRefused},
		"version 0":             {r, bookSet(0, book), both, ErrRefused},
		"another hash":          {r, RunbookSet{"restart", 1, envelope.Hash{1}, []byte(book)}, both, ErrRefused},
		"another name":          {r, RunbookSet{"reboot", 1, envelope.Sum([]byte(book)), []byte(book)}, both, ErrRefused},
		"no name":               {r, RunbookSet{"", 1, envelope.Sum([]byte(book)), []byte(book)}, both, ErrRefused},
		"it does not parse":     {r, bookSet(1, "version: 1\n"), both, ErrRefused},
		"too large":             {r, bookSet(1, book+strings.Repeat("#", runbook.MaxDocument)), both, ErrRefused},
		"an end of none":        {r, RunbookSet{Name: "restart", Version: 1, Document: []byte{}}, both, ErrRefused},
		"an end twice":          {retired, RunbookSet{Name: "restart", Version: 3, Document: []byte{}}, both, ErrRefused},
		"an end with a hash":    {first, RunbookSet{"restart", 2, envelope.Sum(nil), []byte{}}, both, ErrRefused},
		"an end by a stranger":  {apply(t, first, KindMemberAdd, newMember("alice", "sre"), both...), gone, []string{"alice"}, ErrThreshold},
		"one by a member alone": {apply(t, r, KindMemberAdd, newMember("alice", "sre"), both...), bookSet(1, book), []string{"carol", "alice"}, ErrThreshold},
	} {
		n, err := c.on.Apply(st(t, c.on, KindRunbookSet, c.body, c.by...))
		if !errors.Is(err, c.want) || n.Head() != c.on.Head() || len(n.Runbooks()) != len(c.on.Runbooks()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(r.Runbooks()) != 0 || len(retired.Runbooks()) != 0 {
		t.Error("there are runbooks where none is in force")
	}
	got, err := second.RunbookNamed("restart")
	if err != nil || got.Version != 2 || string(got.Document) != book+"# newer\n" || len(got.Steps) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if kept, _ := first.RunbookNamed("restart"); kept.Version != 1 {
		t.Errorf("an older snapshot changed: version %d", kept.Version)
	}
	for name, on := range map[string]*Roster{"reboot": second, "restart": retired, "a\x1bb": second} {
		if _, err := on.RunbookNamed(name); !errors.Is(err, ErrUnknown) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: %v", name, err)
		}
	}
	again, err := Load(retired.Genesis(), retired.Statements(0)...)
	if err != nil || again.Head() != retired.Head() {
		t.Fatalf("loading again: %v", err)
	}
	vs := again.RunbookVersions()
	if len(vs) != 2 || vs[0].Version != 1 || !slices.Equal(vs[0].Signed, []string{"carol@example.com", "dave@example.com"}) || len(vs[1].Document) != 0 {
		t.Errorf("%+v", vs)
	}
	back := apply(t, retired, KindRunbookSet, retired.NextRunbook("restart", []byte(book)), both...)
	if b, err := back.RunbookNamed("restart"); err != nil || b.Version != 3 {
		t.Errorf("%+v, %v", b, err)
	}
	if p := propose(t, first, "carol", Change{KindRunbookSet, bookSet(2, book+"#\n")}); len(first.Revisions(p)) != 1 || string(first.Revisions(p)[0].Old) != book {
		t.Errorf("%+v", first.Revisions(p))
	}
}

func TestRunbooksAreBounded(t *testing.T) {
	r := found(t, 1, "carol")
	set := func(name string) RunbookSet {
		return r.NextRunbook(name, []byte(strings.Replace(book, "restart", name, 1)))
	}
	full := r.clone()
	for range MaxRunbooks {
		full.runbooks[string(rune('a'+len(full.runbooks)%26))+strings.Repeat("x", len(full.runbooks)/26)] = Runbook{Version: 1}
	}
	full.freeze()
	if _, err := full.Apply(st(t, full, KindRunbookSet, set("one-more"), "carol")); !errors.Is(err, ErrRefused) {
		t.Errorf("%d runbooks and one more: %v", len(full.runbooks), err)
	}
}

func TestCheckInstance(t *testing.T) {
	r := found(t, 1, "carol")
	r = apply(t, r, KindRunbookSet, bookSet(1, strings.Replace(book, "haproxy", "varnish", 1)), "carol")
	r = apply(t, r, KindRunbookSet, bookSet(2, book), "carol")
	prod, ci := Agent{Name: "web-1", Tags: map[string]string{"env": "prod"}}, Agent{Name: "ci-1", Tags: map[string]string{"env": "ci"}}
	args := [][2]string{{"service", "nginx"}}
	drain, restart := runbook.Command{Argv: []string{"drain", "nginx"}}, runbook.Command{Argv: []string{"systemctl", "restart", "nginx"}, As: "root", Cwd: "/srv"}
	one, two := runbook.Instance{Name: "restart", Version: 2, Step: 1, Args: args}, runbook.Instance{Name: "restart", Version: 2, Step: 2, Args: args}
	for name, c := range map[string]struct {
		i    runbook.Instance
		ran  runbook.Command
		on   Agent
		want error
	}{
		"step 1":                {one, drain, prod, nil},
		"step 2":                {two, restart, prod, nil},
		"step 2 has no targets": {two, restart, ci, nil},
		"not a target":          {one, drain, ci, runbook.ErrMismatch},
		"step 1 is not step 2":  {one, restart, prod, runbook.ErrMismatch},
		"another word":          {one, runbook.Command{Argv: []string{"drain", "haproxy"}}, prod, runbook.ErrMismatch},
		"one word more":         {one, runbook.Command{Argv: []string{"drain", "nginx", "--now"}}, prod, runbook.ErrMismatch},
		"another program":       {one, runbook.Command{Argv: []string{"/tmp/drain", "nginx"}}, prod, runbook.ErrMismatch},
		"nothing":               {one, runbook.Command{}, prod, runbook.ErrMismatch},
		"as somebody":           {one, runbook.Command{Argv: drain.Argv, As: "root"}, prod, runbook.ErrMismatch},
		"as the login user":     {two, runbook.Command{Argv: restart.Argv, Cwd: "/srv"}, prod, runbook.ErrMismatch},
		"elsewhere":             {one, runbook.Command{Argv: drain.Argv, Cwd: "/tmp"}, prod, runbook.ErrMismatch},
		"an older version":      {runbook.Instance{Name: "restart", Version: 1, Step: 1, Args: args}, drain, prod, runbook.ErrMismatch},
		"a newer version":       {runbook.Instance{Name: "restart", Version: 3, Step: 1, Args: args}, drain, prod, runbook.ErrMismatch},
		"a value of version 1":  {runbook.Instance{Name: "restart", Version: 2, Step: 1, Args: [][2]string{{"service", "varnish"}}}, runbook.Command{Argv: []string{"drain", "varnish"}}, prod, runbook.ErrMismatch},
		"no such runbook":       {runbook.Instance{Name: "reboot", Version: 1, Step: 1, Args: args}, drain, prod, ErrUnknown},
		"the zero value":        {runbook.Instance{}, runbook.Command{}, prod, ErrUnknown},
	} {
		if err := r.CheckInstance(&c.i, policy.Exec, c.ran.As, c.ran.Cwd, c.ran.Argv, c.on); !errors.Is(err, c.want) || err == nil && c.want != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.CheckInstance(&one, policy.Copy, "", "", drain.Argv, prod); !errors.Is(err, runbook.ErrMismatch) {
		t.Errorf("a copy: %v", err)
	}
	if err := r.CheckInstance(nil, policy.Copy, "", "", drain.Argv, ci); err != nil {
		t.Errorf("no claim: %v", err)
	}
	if got := r.InstanceWords(&one); got != "restart v2, step 1 of 2 (drain): service=nginx" {
		t.Error(got)
	}
	if got := r.InstanceWords(&runbook.Instance{Name: "gone", Version: 1, Step: 9}); got != "gone v1, step 9" || r.InstanceWords(nil) != "" {
		t.Error(got)
	}
}
