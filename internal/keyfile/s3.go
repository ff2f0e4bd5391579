package keyfile

import (
	"fmt"
	"strings"
)

// S3Credentials reads the key id and the secret of an object store's account: one
// line, the two words apart.
func S3Credentials(path string) (id, secret string, err error) {
	line, err := load(path)
	if err != nil {
		return "", "", err
	}
	words := strings.Fields(line)
	if len(words) != 2 {
		return "", "", fmt.Errorf("keyfile: %s: want one line with a key id and a secret", path)
	}
	return words[0], words[1], nil
}
