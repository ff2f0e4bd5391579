//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tucdesk/tucdesk/internal/netlab"
)

// patience is how long what is waited for may take.
const patience = time.Minute

// A workshop is what rows share: programs, servers and peers, each made when the
// first row needs it and gone with close.
type workshop struct {
	ctx    context.Context
	dir    string
	stderr io.Writer

	mu   sync.Mutex
	stop []func()

	programs func() (string, error)
	lab      func() (*labSite, error)
	demo     func() (*demo, error)
	keys     func() (*sshKeys, error)
	ssh      func() (*openSSH, error) // on loopback

	// What several rows compare with is measured once.
	echo     func() (map[string]echo, error)
	sshLossy func() (float64, error)
	sshClean func() (float64, error)
	idle     func() (map[string]float64, error)
}

func newWorkshop(ctx context.Context, stderr io.Writer) (*workshop, error) {
	dir, err := os.MkdirTemp("", "tucdesk-bench")
	if err != nil {
		return nil, err
	}
	w := &workshop{ctx: ctx, dir: dir, stderr: stderr}
	w.programs = sync.OnceValues(func() (string, error) {
		w.say("building the programs")
		at := w.at("programs")
		return at, errors.Join(os.Mkdir(at, 0o755), netlab.Programs(ctx, at))
	})
	w.lab = sync.OnceValues(w.openLab)
	w.demo = sync.OnceValues(w.startDemo)
	w.keys = sync.OnceValues(w.makeKeys)
	w.ssh = sync.OnceValues(w.loopbackSSH)
	w.echo = sync.OnceValues(w.echoes)
	w.sshLossy = sync.OnceValues(func() (float64, error) {
		s, err := w.lab()
		if err != nil {
			return 0, err
		}
		return counted(s.ssh.command(ctx, "cat", "/dev/zero"))
	})
	w.sshClean = sync.OnceValues(w.countSSH)
	w.idle = sync.OnceValues(w.runIdle)
	return w, nil
}

func (w *workshop) at(name string) string { return filepath.Join(w.dir, name) }

// say tells what goes on.
func (w *workshop) say(format string, args ...any) {
	fmt.Fprintf(w.stderr, format+"\n", args...)
}

// later has do called when the workshop closes, last first.
func (w *workshop) later(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop = append(w.stop, do)
}

func (w *workshop) close() {
	w.mu.Lock()
	stop := w.stop
	w.mu.Unlock()
	for i := len(stop) - 1; i >= 0; i-- {
		stop[i]()
	}
	os.RemoveAll(w.dir)
}

// need finds programs, or says how to install what is missing.
func need(programs map[string]string) error {
	var missing, packages []string
	for program, pkg := range programs {
		if _, err := lookup(program); err != nil {
			missing, packages = append(missing, program), append(packages, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s not found; apt-get install --no-install-recommends %s", strings.Join(missing, ", "), strings.Join(packages, " "))
}

// lookup finds a program also where only root looks.
func lookup(program string) (string, error) {
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, program))
	}
	return path, err
}

// start runs a process until the workshop closes. Its output goes to a file, which
// an early end shows.
func (w *workshop) start(cmd *exec.Cmd) error {
	w.mu.Lock()
	log := w.at(fmt.Sprintf("%d-%s.log", len(w.stop), filepath.Base(cmd.Args[0])))
	w.mu.Unlock()
	f, err := os.Create(log)
	if err != nil {
		return err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	w.later(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	})
	select {
	case <-ended:
		b, _ := os.ReadFile(log)
		return fmt.Errorf("%s ended: %s", cmd.Args[0], bytes.TrimSpace(b))
	case <-time.After(200 * time.Millisecond):
		return nil
	}
}

// await tries until do succeeds.
func (w *workshop) await(what string, do func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := do()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || w.ctx.Err() != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// output runs a command to its end.
func output(cmd *exec.Cmd) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.String(), nil
}

// freePort is a port of loopback that nobody uses just now.
func freePort(network string) (string, error) {
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer c.Close()
		return strconv.Itoa(c.LocalAddr().(*net.UDPAddr).Port), nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// A demo is `tucdesk demo --processes` on loopback: every part a process of its
// own, one machine that is used, nothing recorded.
type demo struct {
	program string
	Homes   map[string]string `json:"homes"`
	Pids    map[string]int    `json:"pids"`
}

// demoRules let alice do anything on web-1, as whoever runs the demo.
const demoRules = `version: 1
mode: allowlist
allowlist:
  - {name: bench, members: ["*"], targets: {names: ["*"]}, sessions: [shell, exec], as: ["%s"], record: off}
commands: {default: low, tiers: {low: allow}}
gate: none
`

func (w *workshop) startDemo() (*demo, error) {
	programs, err := w.programs()
	if err != nil {
		return nil, err
	}
	who, err := output(exec.Command("id", "-un"))
	if err != nil {
		return nil, err
	}
	policy := w.at("demo.yaml")
	if err := os.WriteFile(policy, fmt.Appendf(nil, demoRules, strings.TrimSpace(who)), 0o600); err != nil {
		return nil, err
	}
	d := &demo{program: filepath.Join(programs, "tucdesk")}
	w.say("starting a demo on loopback, each part a process")
	if err := w.start(exec.Command(d.program, "demo", "--processes", "--headless", "--policy", policy, "--dir", w.at("demo"))); err != nil {
		return nil, err
	}
	return d, w.await("the demo", func() error {
		b, err := os.ReadFile(w.at("demo/ready.json"))
		if err != nil {
			return err
		}
		return json.Unmarshal(b, d)
	})
}

// tucdesk prepares a command of alice's.
func (d *demo) tucdesk(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.program, args...)
	cmd.Env = append(os.Environ(), "TUCDESK_HOME="+d.Homes["alice"], "NO_COLOR=1", "TERM=xterm-256color")
	return cmd
}

// target is the machine of the demo that rows use.
const target = "web-1"
