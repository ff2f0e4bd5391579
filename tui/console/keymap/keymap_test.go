package keymap

import "testing"

// TestNoConflict: no key means two things in one place, and a digit is always a tab.
func TestNoConflict(t *testing.T) {
	for _, m := range every() {
		by := map[string]Binding{}
		for _, b := range m.Bindings {
			if len(b.Keys) == 0 || b.help == "" || b.Action == actNone {
				t.Errorf("%s: a binding without a key, words or an action: %+v", m.Name, b)
			}
			for _, k := range b.Keys {
				if other, taken := by[k]; taken {
					t.Errorf("%s: %q is %q and %q", m.Name, k, other.help, b.help)
				}
				by[k] = b
				if len(k) == 1 && k[0] >= '1' && k[0] <= '9' {
					t.Errorf("%s: %q names a tab", m.Name, k)
				}
				if m.Lookup(k) != b.Action {
					t.Errorf("%s: %q looks up something else", m.Name, k)
				}
			}
		}
	}
}

// TestThePaletteIsNamed: where it can be opened, the footer names its key.
func TestThePaletteIsNamed(t *testing.T) {
	for _, m := range []*Map{&AgentKeys, &ApprovalKeys, &TerminalKeys, &FilterKeys} {
		if m.Lookup("ctrl+p") != ActPalette {
			t.Errorf("%s: ctrl+p does not open the palette", m.Name)
		}
		named := false
		for _, b := range m.Bindings {
			named = named || b.Action == ActPalette && b.footer != ""
		}
		if !named {
			t.Errorf("%s: the footer does not name the palette", m.Name)
		}
	}
}
