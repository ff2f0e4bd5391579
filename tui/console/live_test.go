package console

import (
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/mem"
)

// TestAuditAndReplay: from the list to the log, to an entry, to its recording, and back.
func TestAuditAndReplay(t *testing.T) {
	w := mem.Demo()
	inBubble(t, func() backend.Backend { return w.Backend("dora") }, 100, 30, func(h *harness) {
		h.find("audit log", "ctrl+p")
		h.see("Audit log", "8 of 8 entries", "following", "mallory refusal", "✗ deny")
		h.keys("/")
		h.typing("actor:web-1")
		h.keys("enter", "enter")
		h.see("session-end", "Recording there is one", "✓ it stands in the script", "✗ NOT proved")
		h.keys("p")
		h.see("alice on web-1", "▶ 0:00", "pauses skipped")
		h.sleep(10 * time.Second)
		h.see("■ 3:00", "62% /var", "ended with code 0")
		w.Happened(backend.LogEntry{Type: "alarm", Actor: "web-9", Time: time.Now()})
		h.keys("esc", "esc", "esc")
		h.sleep(5 * time.Second)
		h.see("9 of 9 entries", "web-9 alarm")
		h.keys("esc")
		h.see("[1 agents]")
	})
}

// TestNoAudit: a backend that keeps no log says so.
func TestNoAudit(t *testing.T) {
	inBubble(t, func() backend.Backend { return plain{mem.Demo().Backend("alice")} }, 80, 24, func(h *harness) {
		h.keys("t")
		h.see("keeps no audit log")
	})
}

// plain hides every capability.
type plain struct{ backend.Backend }
