package keymap

import (
	"errors"
	"fmt"
	"strings"
)

// DefaultPrefix is the key before a key of the console's, while a program has the keys.
const DefaultPrefix = "ctrl+]"

// CheckPrefix refuses a prefix that is needed to type, or that is no key.
func CheckPrefix(prefix string) error {
	if _, err := Press(prefix); err != nil {
		return fmt.Errorf("keymap: the prefix: %w", err)
	}
	if !strings.HasPrefix(prefix, "ctrl+") && !strings.HasPrefix(prefix, "alt+") && !isFunctionKey(prefix) {
		return fmt.Errorf("keymap: the prefix %+q would be needed to type; use one such as %s or f12", prefix, DefaultPrefix)
	}
	if prefix == "ctrl+c" {
		return errors.New("keymap: ctrl+c can't be the prefix: programs need it")
	}
	return nil
}

func isFunctionKey(key string) bool {
	return len(key) >= 2 && key[0] == 'f' && strings.Trim(key[1:], "0123456789") == ""
}
