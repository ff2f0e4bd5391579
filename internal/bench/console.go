//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tucdesk/tucdesk/internal/typist"
	"github.com/tucdesk/tucdesk/internal/vt"
)

// Size of the terminals in which the console and tmux are measured.
const cols, lines = 200, 50

// shellPrompt is what the shells of these rows say when they wait, and nothing else
// on either screen.
const shellPrompt = "bench-prompt>"

// desk prepares the console on this machine's own terminals: what it costs by
// itself, without servers and network.
func (w *workshop) desk() (*exec.Cmd, error) {
	programs, err := w.programs()
	if err != nil {
		return nil, err
	}
	return w.inShell(exec.Command(filepath.Join(programs, "tucdesk"), "--backend", "local:")), nil
}

// inShell gives a program an environment in which shells are plain.
func (w *workshop) inShell(cmd *exec.Cmd) *exec.Cmd {
	home := w.at("home")
	_ = os.Mkdir(home, 0o700)
	_ = os.WriteFile(filepath.Join(home, ".bashrc"), []byte("PS1='"+shellPrompt+" '\n"), 0o600)
	_ = os.WriteFile(filepath.Join(home, ".profile"), []byte(". ~/.bashrc\n"), 0o600)
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home, "TUCDESK_HOME="+w.at("console"), "TERM=xterm-256color", "LANG=C.UTF-8", "SHELL=/bin/bash")
	return skipTour(cmd)
}

// skipTour has a console that is in a home of its own begin with the list.
func skipTour(cmd *exec.Cmd) *exec.Cmd {
	for _, v := range cmd.Env {
		if home, ok := strings.CutPrefix(v, "TUCDESK_HOME="); ok {
			_ = os.Mkdir(home, 0o700)
			_ = os.WriteFile(filepath.Join(home, "console.yaml"), []byte("tour: false\n"), 0o600)
		}
	}
	return cmd
}

// listed is what the console's first screen shows.
const listed = "approvals"

// openDesk starts the console, and opens a shell in it.
func (w *workshop) openDesk() (*typist.Terminal, error) {
	cmd, err := w.desk()
	if err != nil {
		return nil, err
	}
	t, err := typist.Start(cmd, cols, lines)
	if err != nil {
		return nil, err
	}
	if _, err = t.See("online", patience); err == nil {
		err = newShell(t, "\r")
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// newShell presses keys that open a shell, and waits for it. They come one by one:
// tmux takes keys within a millisecond of each other for a paste.
func newShell(t *typist.Terminal, keys string) error {
	t.Forget()
	for _, key := range keys {
		time.Sleep(50 * time.Millisecond)
		if err := t.Type(string(key)); err != nil {
			return err
		}
	}
	_, err := t.See(shellPrompt, patience)
	return err
}

// openTmux starts tmux with a shell.
func (w *workshop) openTmux() (*typist.Terminal, error) {
	if err := need(map[string]string{"tmux": "tmux"}); err != nil {
		return nil, err
	}
	socket := w.at("tmux")
	t, err := typist.Start(w.inShell(exec.Command("tmux", "-S", socket, "-f", "/dev/null", "new-session", "bash")), cols, lines)
	if err != nil {
		return nil, err
	}
	w.later(func() { _ = exec.Command("tmux", "-S", socket, "kill-server").Run() })
	if _, err := t.See(shellPrompt, patience); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// endTmux ends all of tmux's shells, so that the next row has a new server.
func (w *workshop) endTmux(t *typist.Terminal) {
	_ = exec.Command("tmux", "-S", w.at("tmux"), "kill-server").Run()
	t.Close()
}

func firstFrame(w *workshop) (figures, error) {
	var times []time.Duration
	for range 15 {
		cmd, err := w.desk()
		if err != nil {
			return figures{}, err
		}
		begin := time.Now()
		t, err := typist.Start(cmd, cols, lines)
		if err != nil {
			return figures{}, err
		}
		at, err := t.See(listed, patience)
		t.Close()
		if err != nil {
			return figures{}, err
		}
		times = append(times, at.Sub(begin))
	}
	return figures{ours: percentile(times, 50), note: fmt.Sprintf("the median of %d starts; the slowest took %.0f ms", len(times), percentile(times, 100))}, nil
}

// screenEcho makes the shell of a terminal echo, and gives the 99th percentile.
func (w *workshop) screenEcho(t *typist.Terminal) (float64, error) {
	if err := t.Cat(patience); err != nil {
		return 0, err
	}
	times, err := typed(w.ctx, t, keys)
	return percentile(times, 99), err
}

func consoleEcho(w *workshop) (figures, error) {
	tm, err := w.openTmux()
	if err != nil {
		return figures{}, err
	}
	defer w.endTmux(tm)
	theirs, err := w.screenEcho(tm)
	if err != nil {
		return figures{}, err
	}
	d, err := w.openDesk()
	if err != nil {
		return figures{}, err
	}
	defer d.Close()
	ours, err := w.screenEcho(d)
	return figures{ours: ours, peer: theirs}, err
}

// flooding is what the tile beside writes without end.
const flooding = "while :; do seq 1000; done\r"

// prefix is the key after which one key goes to the console.
const prefix = "\x1d"

func consoleEchoFlood(w *workshop) (figures, error) {
	tm, err := w.openTmux()
	if err != nil {
		return figures{}, err
	}
	defer w.endTmux(tm)
	if err := tm.Type(flooding); err != nil {
		return figures{}, err
	}
	if err := newShell(tm, "\x02%"); err != nil {
		return figures{}, err
	}
	theirs, err := w.screenEcho(tm)
	if err != nil {
		return figures{}, fmt.Errorf("tmux: %w", err)
	}
	d, err := w.openDesk()
	if err != nil {
		return figures{}, err
	}
	defer d.Close()
	if err := d.Type(flooding); err != nil {
		return figures{}, err
	}
	d.Forget()
	if err := d.Type(prefix + "1"); err != nil {
		return figures{}, err
	}
	if _, err := d.See("online", patience); err != nil {
		return figures{}, err
	}
	if err := newShell(d, "\r"); err != nil {
		return figures{}, err
	}
	ours, err := w.screenEcho(d)
	return figures{ours: ours, peer: theirs, note: "ours floods in another tab, tmux in a tile that is seen: the console has no tiles yet"}, err
}

// big is the size of the file that is shown, in bytes.
const big = 50 * million

// cat shows the file and gives how long it took until the shell is back.
func (w *workshop) cat(t *typist.Terminal, file string) (float64, error) {
	t.Forget()
	begin := time.Now()
	// The word is not in the line that is typed.
	if err := t.Type("cat " + file + "; printf 'cat%s\\n' -is-over\r"); err != nil {
		return 0, err
	}
	at, err := t.See("cat-is-over", 10*patience)
	return at.Sub(begin).Seconds(), err
}

func consoleCat(w *workshop) (figures, error) {
	file := w.at("big.txt")
	text := strings.Repeat("the quick brown fox jumps over the lazy dog and the other one sleeps 0123456789\n", big/80)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return figures{}, err
	}
	tm, err := w.openTmux()
	if err != nil {
		return figures{}, err
	}
	defer w.endTmux(tm)
	theirs, err := w.cat(tm, file)
	if err != nil {
		return figures{}, err
	}
	d, err := w.openDesk()
	if err != nil {
		return figures{}, err
	}
	defer d.Close()
	ours, err := w.cat(d, file)
	return figures{ours: ours, peer: theirs}, err
}

// filter takes the slowest query of the benchmark.
func filter(w *workshop) (figures, error) {
	runs, err := goBench(w.ctx, "tui/console/agents", "Filter100k", "20x")
	if err != nil {
		return figures{}, err
	}
	var f figures
	for name, units := range runs {
		if ms := units["ns/op"] / 1e6; ms > f.ours && !strings.HasSuffix(name, "typing") {
			f = figures{ours: ms, note: "the mean of 20 for the slowest of the queries, " + name}
		}
	}
	return f, nil
}

// scrollback fills an emulator's, in this process.
func scrollback(*workshop) (figures, error) {
	heap := func() float64 {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	t := vt.New(cols, lines, vt.Options{Scrollback: 10_000})
	for i := range 10_000 + lines {
		fmt.Fprintf(t, "-rw-r--r-- 1 root root %9d Nov 24 09:41 \x1b[1;3%dma-file-with-a-name-%d\x1b[m of some length\r\n", i*i, i%8, i)
	}
	f := figures{ours: (heap() - before) / million, note: "10,000 coloured lines of some 80 columns"}
	runtime.KeepAlive(t)
	return f, nil
}

// idleDesk starts the console with a shell in which nothing happens.
func (w *workshop) idleDesk() (*typist.Terminal, error) {
	d, err := w.openDesk()
	if err == nil {
		time.Sleep(2 * time.Second)
	}
	return d, err
}

func consoleCPU(w *workshop) (figures, error) {
	d, err := w.idleDesk()
	if err != nil {
		return figures{}, err
	}
	defer d.Close()
	const during = 20 * time.Second
	before, err := familyCPU(d.Pid())
	if err != nil {
		return figures{}, err
	}
	time.Sleep(during)
	after, err := familyCPU(d.Pid())
	return figures{ours: 100 * (after - before) / during.Seconds()}, err
}

// familyCPU is the processor time of a console and of what it has started.
func familyCPU(pid int) (all float64, err error) {
	for _, p := range family(pid) {
		v, e := cpu(p)
		all, err = all+v, errors.Join(err, e)
	}
	return all, err
}

func consoleRSS(w *workshop) (figures, error) {
	d, err := w.idleDesk()
	if err != nil {
		return figures{}, err
	}
	defer d.Close()
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", d.Pid()))
	if err != nil {
		return figures{}, err
	}
	all := 0.0
	for _, pid := range family(d.Pid()) { // not its shell
		if other, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); other == exe {
			bytes, err := memory(pid)
			if err != nil {
				return figures{}, err
			}
			all += bytes
		}
	}
	return figures{ours: all / million}, nil
}
