//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/tucdesk/tucdesk/internal/netlab"
)

// place is where a program runs: on a host of the lab, or nil: on this machine.
type place struct{ *netlab.Host }

func (p place) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if p.Host == nil {
		return exec.CommandContext(ctx, name, args...)
	}
	return p.Command(ctx, name, args...)
}

// sshKeys are the keys of sshd and of its one user, made for this run.
type sshKeys struct{ host, user string }

func (w *workshop) makeKeys() (*sshKeys, error) {
	if err := need(map[string]string{"sshd": "openssh-server", "ssh": "openssh-client"}); err != nil {
		return nil, err
	}
	k := &sshKeys{w.at("ssh_host"), w.at("ssh_user")}
	for _, file := range []string{k.host, k.user} {
		if _, err := output(exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file)); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// An openSSH is a server, and a client that may log in there.
type openSSH struct {
	client place
	args   []string
}

// cipher is what both of OpenSSH's sides use: the one that ours uses too.
const cipher = "aes256-gcm@openssh.com"

// openSSH starts sshd at an address of a place. Its clients run at another.
func (w *workshop) openSSH(server, client place, addr string) (*openSSH, error) {
	k, err := w.keys()
	if err != nil {
		return nil, err
	}
	port := "2222"
	if server.Host == nil {
		if port, err = freePort("tcp"); err != nil {
			return nil, err
		}
	}
	// sshd wants this folder, and makes it itself only where its unit does.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return nil, fmt.Errorf("sshd needs root: %w", err)
	}
	config := w.at("sshd_config." + port + addr)
	text := fmt.Sprintf("ListenAddress %s\nPort %s\nHostKey %s\nAuthorizedKeysFile %s.pub\nStrictModes no\nPidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nUseDNS no\nCiphers %s\n",
		addr, port, k.host, k.user, cipher)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	sshd, err := lookup("sshd")
	if err != nil {
		return nil, err
	}
	if err := w.start(server.command(context.WithoutCancel(w.ctx), sshd, "-D", "-e", "-f", config)); err != nil {
		return nil, err
	}
	me, err := output(exec.Command("id", "-un"))
	if err != nil {
		return nil, err
	}
	s := &openSSH{client: client, args: []string{
		"-F", "none", "-i", k.user, "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + w.at("known_hosts"),
		"-o", "LogLevel=ERROR", "-c", cipher, "-p", port, strings.TrimSpace(me) + "@" + addr,
	}}
	return s, w.await("sshd", func() error {
		_, err := output(s.command(w.ctx, "true"))
		return err
	})
}

// command prepares ssh with a command for the machine; none: its login shell.
func (s *openSSH) command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := s.client.command(ctx, "ssh", append(append([]string{}, s.args...), argv...)...)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color")
	return cmd
}

var moshConnect = regexp.MustCompile(`MOSH CONNECT (\d+) (\S+)`)
var moshPid = regexp.MustCompile(`pid = (\d+)`)

// mosh starts a server of mosh's with a login shell, and prepares the client. The
// server is started directly: how a session of mosh begins is OpenSSH's row.
func (w *workshop) mosh(server, client place, addr, predict string) (*exec.Cmd, error) {
	if err := need(map[string]string{"mosh-server": "mosh", "mosh-client": "mosh"}); err != nil {
		return nil, err
	}
	cmd := server.command(w.ctx, "mosh-server", "new", "-c", "256", "-i", addr, "-p", "60001:60999", "--", "bash", "-l")
	cmd.Env = append(os.Environ(), "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=xterm-256color")
	out, err := cmd.CombinedOutput()
	m, pid := moshConnect.FindSubmatch(out), moshPid.FindSubmatch(out)
	if err != nil || m == nil || pid == nil {
		return nil, fmt.Errorf("mosh-server: %w: %s", errors.Join(err, errors.New("it names no port")), out)
	}
	if n, err := strconv.Atoi(string(pid[1])); err == nil && n > 1 {
		w.later(func() { _ = syscall.Kill(n, syscall.SIGTERM) })
	}
	c := client.command(context.WithoutCancel(w.ctx), "mosh-client", addr, string(m[1]))
	c.Env = append(os.Environ(), "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=xterm-256color", "MOSH_PREDICTION_DISPLAY="+predict, "MOSH_KEY="+string(m[2]))
	return c, nil
}

// cpu gives the time that a process has used, in seconds.
func cpu(pid int) (float64, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	// The name, in brackets, may hold anything.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 13 {
		return 0, errors.New("stat is cut short")
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	return float64(user+system) / ticks, errors.Join(err1, err2)
}

// ticks is how many of the kernel's ticks are a second, for every program.
const ticks = 100

// memory gives what a process costs in RAM, in bytes: a page that it shares with others
// counts for its part (PSS), so that the sum over processes of one program is what they
// take together.
func memory(pid int) (float64, error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			return float64(kb) * 1024, err
		}
	}
	return 0, errors.New("smaps_rollup does not say Pss")
}

// family gives a process and all that it has started.
func family(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "children"))
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, child := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, family(n)...)
			}
		}
	}
	return all
}
