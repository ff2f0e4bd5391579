package keyfile

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/tucdesk/tucdesk/internal/path/cred"
)

// RelaySecret loads the relay secret at path, or makes and stores a new one.
func RelaySecret(path string) (cred.Secret, error) {
	s, err := LoadRelaySecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	s = cred.NewSecret()
	return s, save(path, "relay secret, shared by apid and relayd", s.SecretText())
}

// LoadRelaySecret reads the relay secret at path.
func LoadRelaySecret(path string) (cred.Secret, error) {
	text, err := load(path)
	if err != nil {
		return cred.Secret{}, err
	}
	s, err := cred.ParseSecret(text)
	if err != nil {
		return cred.Secret{}, fmt.Errorf("keyfile: %s: %w", path, err)
	}
	return s, nil
}

// LoadRelaySecrets reads the relay secret at path, and the next and the old one beside
// it, where there are such.
func LoadRelaySecrets(path string) (ring cred.Ring, err error) {
	for _, p := range Beside(path) {
		s, err := LoadRelaySecret(p)
		if p != path && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNone)) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ring = append(ring, s)
	}
	return ring, nil
}
