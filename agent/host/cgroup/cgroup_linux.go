package cgroup

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/internal/token"
)

// prefix begins the names of sessions' control groups. The agent's follows: several
// may be in one group.
const prefix = "tucdesk-session-"

// endTime is for how long the end of a group is waited for.
const endTime = 2 * time.Second

// Groups are control groups (v2) below the keeper's own, one for each session: what was
// started in a session ends with it, wherever it hides. nil: there are none.
type Groups struct{ dir, prefix string }

// New gives the groups of the agent with a door, below that of this process, or why there are none: no control group
// of version 2, or one that is systemd's and was not delegated to this unit.
func New(door string) (*Groups, error) {
	mount, err := cgroup2()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		agent := sha256.Sum256([]byte(door))
		g := &Groups{dir: filepath.Join(mount, own), prefix: fmt.Sprintf("%s%x-", prefix, agent[:4])}
		// A keeper that was started from a session is in that session's group.
		if strings.Contains(own, "/"+prefix) {
			return nil, errors.New("cgroup: this process is within a session's control group")
		}
		if _, err := os.Stat("/run/systemd/system"); err == nil && !delegated(g.dir) {
			return nil, errors.New("cgroup: the control group is not delegated to the agent; its unit wants Delegate=yes")
		}
		probe := filepath.Join(g.dir, g.prefix+"probe")
		if err := os.Mkdir(probe, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		defer os.Remove(probe)
		if _, err := os.Stat(filepath.Join(probe, "cgroup.kill")); err != nil {
			return nil, fmt.Errorf("cgroup: control groups of this kernel can't be ended: %w", err)
		}
		return g, nil
	}
	return nil, errors.New("cgroup: no control group of version 2")
}

// cgroup2 finds where control groups of version 2 are.
func cgroup2() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		if fields := strings.Fields(before); ok && strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 && fields[3] == "/" {
			return fields[4], nil
		}
	}
	return "", errors.New("cgroup: no control groups of version 2")
}

// delegated reports whether systemd has left a group to its unit.
func delegated(dir string) bool {
	b := make([]byte, 8)
	for _, name := range []string{"trusted.delegate", "user.delegate"} {
		if n, err := unix.Getxattr(dir, name, b); err == nil && string(b[:n]) == "1" {
			return true
		}
	}
	return false
}

func (g *Groups) path(id token.ID) string { return filepath.Join(g.dir, g.prefix+id.String()) }

// Make makes a session's group.
func (g *Groups) Make(id token.ID) (*os.File, error) {
	if g == nil {
		return nil, nil
	}
	if err := os.Mkdir(g.path(id), 0o755); err != nil {
		return nil, err
	}
	return os.Open(g.path(id))
}

// EndOwn ends whatever runs in the group of this process's session, and so this process:
// nobody else is there to do it. Without a group it does nothing.
func EndOwn() {
	mount, err := cgroup2()
	if err != nil {
		return
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		own, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if ok && strings.HasPrefix(filepath.Base(own), prefix) {
			os.WriteFile(filepath.Join(mount, own, "cgroup.kill"), []byte("1"), 0)
		}
	}
}

// Into makes a program start in a group.
func Into(a *syscall.SysProcAttr, group *os.File) {
	if group != nil {
		a.UseCgroupFD, a.CgroupFD = true, int(group.Fd())
	}
}

// End ends whatever runs in a session's group, and removes it.
func (g *Groups) End(id token.ID) {
	if g != nil {
		remove(g.path(id))
	}
}

func remove(dir string) {
	for until := time.Now().Add(endTime); ; time.Sleep(endTime / 200) {
		err := os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		var within []string // groups that a program has made
		filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() && path != dir {
				within = append(within, path)
			}
			return nil
		})
		for _, path := range slices.Backward(within) {
			os.Remove(path)
		}
		if err := os.Remove(dir); err == nil || errors.Is(err, fs.ErrNotExist) || time.Now().After(until) {
			return
		}
	}
}

// Sweep ends groups of this agent's sessions that it does not know.
func (g *Groups) Sweep(known func(token.ID) bool) {
	if g == nil {
		return
	}
	entries, _ := os.ReadDir(g.dir)
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), g.prefix)
		if id, err := token.ParseID(rest); ok && err == nil && !known(id) {
			remove(filepath.Join(g.dir, e.Name()))
		}
	}
}
