package advice

import (
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy"
)

const doc = `
version: 1
mode: allowlist
allowlist:
  - {name: staging, members: ["role:sre"], targets: {tags: {env: staging}}, sessions: [shell, exec], as: [deploy]}
  - name: prod-hours
    members: ["role:sre"]
    targets: {tags: {env: prod}}
    sessions: [shell]
    as: [deploy]
    when: [{days: mon-fri, from: "09:00", to: "18:00", zone: Europe/Berlin}]
    hold: {}
  - {name: dba, members: ["role:dba"], targets: {tags: {role: db}}, sessions: [exec], as: [postgres]}
blocklist:
  - {name: no-frozen, targets: {tags: {frozen: "*"}}}
`

// monday is 10:00 in Berlin.
var monday = time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC)

func request(change func(*policy.Request)) *policy.Request {
	r := &policy.Request{
		Member: "alice@example.com", MemberID: "m", Roles: []string{"sre"}, Target: "web-1", LoginUser: "deploy",
		Tags: map[string]string{"env": "prod"}, Kind: policy.Shell, At: monday,
	}
	change(r)
	return r
}

func TestWays(t *testing.T) {
	p, err := policy.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	snap := &policy.Snapshot{Policy: p}
	targets := []policy.Target{
		{Name: "web-1", Tags: map[string]string{"env": "prod"}, LoginUser: "deploy"},
		{Name: "st-1", Tags: map[string]string{"env": "staging"}, LoginUser: "deploy"},
		{Name: "st-2", Tags: map[string]string{"env": "staging"}, LoginUser: "deploy"},
	}
	for name, tt := range map[string]struct {
		change func(*policy.Request)
		want   string // ways, ; between them
	}{
		"held":           {func(r *policy.Request) {}, "on st-1 = allow; if the target had the tag env=staging = allow"},
		"another user":   {func(r *policy.Request) { r.As = "root" }, "as deploy = hold"},
		"too early":      {func(r *policy.Request) { r.At = monday.Add(-3 * time.Hour) }, "on st-1 = allow; if the target had the tag env=staging = allow; at Mon 2026-11-23 09:00 CET = hold"},
		"on the weekend": {func(r *policy.Request) { r.At = monday.Add(-24 * time.Hour) }, "on st-1 = allow; if the target had the tag env=staging = allow; at Mon 2026-11-23 09:00 CET = hold"},
		"another kind":   {func(r *policy.Request) { r.Kind = policy.Forward }, "for shell = hold"},
		"no role":        {func(r *policy.Request) { r.Roles = nil }, "with role:sre = hold"},
		"blocked":        {func(r *policy.Request) { r.Tags = map[string]string{"env": "staging", "frozen": "x"} }, "on st-1 = allow; if the target had no tag frozen = allow"},
		"two things":     {func(r *policy.Request) { r.As, r.Kind = "root", policy.Forward }, "as deploy, for shell = hold"},
		"three things":   {func(r *policy.Request) { r.As, r.Kind, r.Roles = "root", policy.Forward, nil }, "as deploy, for shell, with role:sre = hold"},
		"allowed":        {func(r *policy.Request) { r.Tags = map[string]string{"env": "staging"} }, ""},
		"no such thing":  {func(r *policy.Request) { r.Member = "" }, ""},
	} {
		var got []string
		for _, w := range Ways(request(tt.change), snap, targets) {
			got = append(got, w.String()+" = "+w.Verdict.Effect.String())
		}
		if text := strings.Join(got, "; "); text != tt.want {
			t.Errorf("%s: %s\nwant %s", name, text, tt.want)
		}
	}
	if Ways(nil, snap, nil) != nil || Ways(request(func(*policy.Request) {}), nil, nil) != nil {
		t.Error("advice out of nothing")
	}
}

// A search over a large team ends.
func TestSearchIsBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\nmode: allowlist\nallowlist:\n")
	for i := range 500 {
		n := string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		b.WriteString("  - {name: r" + n + ", members: [\"role:" + n + "\"], targets: {tags: {t" + n + ": v}}, sessions: [shell], as: [u" + n + "], when: [{days: mon, from: \"01:00\", to: \"02:00\", zone: UTC}]}\n")
	}
	p, err := policy.Parse([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	Ways(request(func(r *policy.Request) { r.Kind, r.Roles = policy.Copy, nil }), &policy.Snapshot{Policy: p}, nil)
}
