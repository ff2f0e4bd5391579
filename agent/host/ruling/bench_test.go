package ruling

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/policy"
)

// BenchmarkAllows is what a start costs a half that has rules, without the gate.
func BenchmarkAllows(b *testing.B) {
	r := rules(b, "alice@example.com")
	doc, err := os.ReadFile("../../../tui/up/demo.yaml")
	if err != nil {
		b.Fatal(err)
	}
	p, err := policy.Parse(bytes.ReplaceAll(doc, []byte("LOGIN"), []byte("app")))
	if err != nil {
		b.Fatal(err)
	}
	whole := r
	whole.snapshot = &policy.Snapshot{Policy: p}
	whole.request.Roles, whole.request.Tags = []string{"sre"}, map[string]string{"env": "staging"}
	for name, r := range map[string]Rules{"small policy": r, "with the catalogue": whole} {
		b.Run(name, func(b *testing.B) {
			s := program("/usr/bin/true", "/bin/true", "1")
			for b.Loop() {
				r.allows(s, time.Now())
			}
		})
	}
}
