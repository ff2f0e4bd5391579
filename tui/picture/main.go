// Picture makes the README's pictures from the real console: it starts a demo,
// opens consoles in terminals of its own, types, and draws what they show as
// PNG, cell by cell: letters of the Go Mono font, and lines, blocks and marks as shapes.
//
//	go run ./tui/picture
//
// It runs from the root of the repository and writes beside itself.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"

	"github.com/tucdesk/tucdesk/internal/vt"
	"github.com/tucdesk/tucdesk/tui/settings"
	"github.com/tucdesk/tucdesk/tui/up"
)

const (
	cols, rows = 96, 26
	patience   = 30 * time.Second
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "picture")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "tucdesk")
	if out, err := exec.Command("go", "build", "-o", program, "./tui").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready := make(chan up.Ready, 1)
	ended := make(chan error, 1)
	go func() {
		d := &up.Demo{Dir: filepath.Join(dir, "demo"), Furnish: func(home string) error { return settings.Shelf{Home: home}.SkipTour() }}
		ended <- d.Run(ctx, func(r up.Ready) { ready <- r })
	}()
	var r up.Ready
	select {
	case r = <-ready:
	case err := <-ended:
		return err
	}
	if err := scenes(program, r); err != nil {
		return err
	}
	cancel()
	return <-ended
}

// scenes types the story and draws its pictures.
func scenes(program string, r up.Ready) error {
	alice, err := open(program, r.Homes["alice"])
	if err != nil {
		return err
	}
	defer alice.close()
	for _, step := range []struct{ keys, see string }{
		{"", "✓ allow"},
		{"\x1b[B\x1b[B", "sre-staging"},
	} {
		if err := alice.do(step.keys, step.see); err != nil {
			return err
		}
	}
	if err := alice.draw("list.png", "tucdesk: verdicts before you connect"); err != nil {
		return err
	}
	for _, step := range []struct{ keys, see string }{
		{"x", "Command"},
		{"systemctl restart nginx\r", "Why do you need it?"},
		{"the certificate was renewed\r", "waiting for approval"},
	} {
		if err := alice.do(step.keys, step.see); err != nil {
			return err
		}
	}
	bob, err := open(program, r.Homes["bob"])
	if err != nil {
		return err
	}
	defer bob.close()
	for _, step := range []struct{ keys, see string }{
		{"", "approvals 1"},
		{"v", "systemctl"},
		{"\r", "a approves"},
	} {
		if err := bob.do(step.keys, step.see); err != nil {
			return err
		}
	}
	return bob.draw("approval.png", "tucdesk: what an approver signs")
}

// A console is a console in a terminal of our own.
type console struct {
	cmd *exec.Cmd
	tty *os.File

	mu  sync.Mutex
	emu *vt.Terminal
}

func open(program, home string) (*console, error) {
	c := &console{cmd: exec.Command(program), emu: vt.New(cols, rows, vt.Options{})}
	c.cmd.Env = append(os.Environ(), "TUCDESK_HOME="+home, "TERM=xterm-256color", "COLORTERM=truecolor")
	var err error
	if c.tty, err = pty.StartWithSize(c.cmd, &pty.Winsize{Cols: cols, Rows: rows}); err != nil {
		return nil, err
	}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := c.tty.Read(b)
			c.mu.Lock()
			c.emu.Write(b[:n])
			answers := c.emu.Replies()
			c.mu.Unlock()
			if err != nil {
				return
			}
			if _, err := c.tty.Write(answers); err != nil {
				return
			}
		}
	}()
	return c, nil
}

// do types keys and waits for a text.
func (c *console) do(keys, see string) error {
	if _, err := c.tty.WriteString(keys); err != nil {
		return err
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if strings.Contains(c.text(), see) {
			return nil
		}
	}
	return fmt.Errorf("the console never showed %q:\n%s", see, c.text())
}

func (c *console) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text []byte
	for y := range rows {
		text, _ = c.emu.Text(text, y)
		text = append(text, '\n')
	}
	return string(text)
}

func (c *console) draw(name, title string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := picture(c.emu, title)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join("tui", "picture", name), b, 0o644)
}

func (c *console) close() {
	c.cmd.Process.Kill()
	c.cmd.Wait()
	c.tty.Close()
}
