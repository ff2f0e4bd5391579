package openssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// What a configuration may have at most.
const (
	maxFile  = 1 << 20 // bytes of one file
	maxFiles = 256     // with what they include
	maxDepth = 16      // of Include, as in ssh_config(5)
	maxHosts = 10_000
	maxName  = 255 // bytes of a host's name
)

// A reader collects the hosts of a configuration and of what it includes.
type reader struct {
	dir   string // that relative includes are in, ~/.ssh
	home  string
	files int
	hosts map[string]string // by name: the file and the line that name it first
	whole bytes.Buffer      // all that was read, to see whether it changed
}

// readHosts returns the names that stand in Host lines of the file without a wildcard.
// What Match lines match is not known without a connection, and not listed.
func readHosts(file, home string) (*reader, error) {
	r := &reader{dir: filepath.Join(home, ".ssh"), home: home, hosts: make(map[string]string)}
	err := r.file(file, 0)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no %s: write a line `Host NAME` for each machine there, as in ssh_config(5)", file)
	}
	return r, err
}

func (r *reader) file(name string, depth int) error {
	if r.files++; r.files > maxFiles || depth > maxDepth {
		return fmt.Errorf("%s: more than %d files, or %d of them inside each other; does one include itself?", name, maxFiles, maxDepth)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(text) > maxFile {
		return fmt.Errorf("%s: larger than %d bytes", name, maxFile)
	}
	r.whole.Write(text)
	for i, line := range strings.Split(string(text), "\n") {
		words := split(line)
		if len(words) == 0 {
			continue
		}
		switch strings.ToLower(words[0]) {
		case "host":
			if err := r.host(words[1:], fmt.Sprintf("%s:%d", name, i+1)); err != nil {
				return err
			}
		case "include":
			if err := r.include(words[1:], depth); err != nil {
				return fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
		}
	}
	return nil
}

func (r *reader) host(names []string, where string) error {
	for _, name := range names {
		if _, known := r.hosts[name]; known || !validName(name) {
			continue
		}
		if len(r.hosts) == maxHosts {
			return fmt.Errorf("%s: more than %d hosts", where, maxHosts)
		}
		r.hosts[name] = where
	}
	return nil
}

func (r *reader) include(patterns []string, depth int) error {
	for _, p := range patterns {
		switch {
		case strings.HasPrefix(p, "~/"):
			p = filepath.Join(r.home, p[2:])
		case !filepath.IsAbs(p):
			p = filepath.Join(r.dir, p)
		}
		found, err := filepath.Glob(p)
		if err != nil {
			return fmt.Errorf("%q: %w", p, err)
		}
		for _, name := range found {
			if err := r.file(name, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// names returns the hosts, sorted.
func (r *reader) names() []string { return slices.Sorted(maps.Keys(r.hosts)) }

// split cuts a line of ssh_config(5) into its keyword and its arguments.
func split(line string) []string {
	var (
		words  []string
		word   strings.Builder
		quoted bool
		begun  bool
	)
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, c := range []byte(line) {
		switch {
		case c == '"':
			quoted, begun = !quoted, true
		case quoted:
			word.WriteByte(c)
		case c == '#' && !begun:
			return words
		case c == ' ' || c == '\t' || c == '\r' || c == '\f':
			end()
		case c == '=' && (len(words) == 0 && begun || len(words) == 1 && !begun):
			end() // once, between the keyword and its arguments
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	end()
	return words
}

// validName reports whether s is a host or a user that can be nothing else to ssh, to
// the shell of a ProxyCommand or to a screen. A pattern is not: it has * ? or !.
func validName(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._-+:", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// shown are the settings of `ssh -G` that a target's details have.
var shown = map[string]string{"hostname": "address", "user": "user", "port": "port", "proxyjump": "jump", "stricthostkeychecking": "host keys"}

// resolved is what a host comes to.
type resolved struct {
	detail  map[string]string
	endless bool // no time is set to connect in
}

// resolve asks ssh what a host comes to in the end.
func resolve(ctx context.Context, ssh string, args []string, host string) (resolved, error) {
	cmd := exec.CommandContext(ctx, ssh, slices.Concat(args, []string{"-G", "--", host})...)
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = errors.New(clean(string(failed.Stderr)))
		}
		return resolved{}, fmt.Errorf("`ssh -G %s`: %w", host, errors.Join(ctx.Err(), err))
	}
	to := resolved{detail: make(map[string]string)}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name, ok := shown[key]; ok {
			to.detail[name] = clean(value)
		}
		to.endless = to.endless || key == "connecttimeout" && value == "none"
	}
	return to, nil
}
