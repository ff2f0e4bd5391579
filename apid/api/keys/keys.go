package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Purposes, which are the names of the files without their endings, and of the
// purposes in a roster.
const (
	Grant      = "grant"
	Token      = "token"
	Log        = "log"
	Rendezvous = "rendezvous"
)

var purposes = []string{Grant, Token, Log, Rendezvous}

// RelayFile is the file of the secret that apid and relayd share. It rotates with the
// keys: relayd takes credentials of the next and the old one too, so that sessions which
// had theirs before come back to a relay that was restarted.
const RelayFile = "relay.secret"

// ErrState means that the folder is not where the wanted step of a rotation
// begins.
var ErrState = errors.New("keys: not now")

func file(dir, purpose string) string { return filepath.Join(dir, purpose+".key") }

// A Ring is the keys of one purpose: first the one that is in use, then the next
// one and the old one, where they exist. An empty ring signs nothing.
type Ring []key.Identity

// For gives the key to sign with for a team whose roster names some keys for this
// purpose: the first that it names. Where it names none of ours it is the first:
// there is no roster yet, or an admin has to sign one.
func (r Ring) For(named []key.Public) key.Identity {
	for _, id := range r {
		if slices.Contains(named, id.Public()) {
			return id
		}
	}
	if len(r) == 0 {
		return key.Identity{}
	}
	return r[0]
}

// Publics gives the public sides, in the ring's order.
func (r Ring) Publics() []key.Public {
	var list []key.Public
	for _, id := range r {
		list = append(list, id.Public())
	}
	return list
}

// Load reads the ring of a purpose from a folder. The key in use must be there.
func Load(dir, purpose string) (Ring, error) {
	var r Ring
	path := file(dir, purpose)
	for _, p := range keyfile.Beside(path) {
		id, err := keyfile.LoadIdentity(p)
		// A unit of systemd can't name a credential that may be missing; it gives
		// a file without a key in its place.
		if p != path && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, keyfile.ErrNone)) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r = append(r, id)
	}
	return r, nil
}

// A Set is all keys of one apid, and the public ones of its rendezvous.
type Set struct {
	Grant, Token, Log Ring
	Rendezvous        []key.Public // for admins to sign; empty where they are not known here
}

// Open reads apid's keys from a folder.
func Open(dir string) (s Set, err error) {
	for purpose, ring := range map[string]*Ring{Grant: &s.Grant, Token: &s.Token, Log: &s.Log} {
		if *ring, err = Load(dir, purpose); err != nil {
			return Set{}, fmt.Errorf("%w; make it with tucdesk-apid keys init DIR", err)
		}
	}
	return s, nil
}

// ParsePublics reads public keys (tdp1…) that commas separate.
func ParsePublics(text string) (list []key.Public, err error) {
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		public, err := key.ParsePublicText(one)
		if err != nil {
			return nil, err
		}
		list = append(list, public)
	}
	return list, nil
}

// Public gives the public sides, as apid shows them.
func (s Set) Public() (list []wire.ServerKey) {
	for _, k := range []struct {
		purpose string
		keys    []key.Public
	}{{Grant, s.Grant.Publics()}, {Token, s.Token.Publics()}, {Log, s.Log.Publics()}, {Rendezvous, s.Rendezvous}} {
		for _, public := range k.keys {
			list = append(list, wire.ServerKey{Purpose: k.purpose, Key: public})
		}
	}
	return list
}

// Check refuses a set that lacks a purpose, or in which one key has two.
func (s Set) Check() error {
	if len(s.Grant) == 0 || len(s.Token) == 0 || len(s.Log) == 0 {
		return errors.New("keys: keys for grant, token and log are needed; make them with tucdesk-apid keys init")
	}
	seen := map[key.Public]bool{}
	for _, k := range s.Public() {
		if k.Key.IsZero() || seen[k.Key] {
			return errors.New("keys: one key serves one purpose: grant, token, log and rendezvous need their own")
		}
		seen[k.Key] = true
	}
	return nil
}

// Init makes the keys that are missing in a folder.
func Init(dir string) error {
	for _, purpose := range purposes {
		if _, err := keyfile.Identity(file(dir, purpose), purpose); err != nil {
			return err
		}
	}
	_, err := keyfile.RelaySecret(filepath.Join(dir, RelayFile))
	return err
}

// present lists the files of keys in use that the folder has, and of the relay's
// secret, which is last: what is of other daemons may have moved to their hosts.
func present(dir string) ([]string, error) {
	var list []string
	for _, purpose := range purposes {
		list = append(list, file(dir, purpose))
	}
	list = append(list, filepath.Join(dir, RelayFile))
	list = slices.DeleteFunc(list, func(path string) bool {
		_, err := os.Stat(path)
		return errors.Is(err, fs.ErrNotExist)
	})
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: %s holds no keys; make them with tucdesk-apid keys init", ErrState, dir)
	}
	return list, nil
}

// Rotate makes the next key beside each key of the folder, and the relay's next
// secret. Repeated, it makes what is missing.
func Rotate(dir string) error {
	paths, err := present(dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if exists(path + keyfile.Old) {
			return fmt.Errorf("%w: %s is still there; end the last rotation first: tucdesk-apid keys retire", ErrState, path+keyfile.Old)
		}
	}
	for _, path := range paths {
		if filepath.Base(path) == RelayFile {
			_, err = keyfile.RelaySecret(path + keyfile.Next)
		} else {
			_, err = keyfile.Identity(path+keyfile.Next, "next "+filepath.Base(path))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Switch takes each next key into use, and keeps the one before as the old one.
// Repeated after an interruption, it ends what was begun.
func Switch(dir string) error {
	paths, err := present(dir)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(paths, func(p string) bool { return exists(p + keyfile.Next) }) {
		return fmt.Errorf("%w: there is no next key in %s; make it with tucdesk-apid keys rotate", ErrState, dir)
	}
	for _, path := range paths {
		if !exists(path + keyfile.Next) {
			continue
		}
		// At any moment of this the key in use is there: a link first, then a
		// rename over it.
		if err := os.Link(path, path+keyfile.Old); err != nil && !sameFile(path, path+keyfile.Old) {
			return fmt.Errorf("keys: %w", err)
		}
		if err := os.Rename(path+keyfile.Next, path); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
	}
	return nil
}

// Retire removes the old keys.
func Retire(dir string) error {
	paths, err := present(dir)
	if err != nil {
		return err
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { return !exists(p + keyfile.Old) })
	if len(paths) == 0 {
		return fmt.Errorf("%w: there is no old key in %s", ErrState, dir)
	}
	for _, path := range paths {
		if exists(path + keyfile.Next) {
			return fmt.Errorf("%w: %s was not taken into use; finish that with tucdesk-apid keys switch", ErrState, path+keyfile.Next)
		}
	}
	for _, path := range paths {
		if err := os.Remove(path + keyfile.Old); err != nil {
			return fmt.Errorf("keys: %w", err)
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
