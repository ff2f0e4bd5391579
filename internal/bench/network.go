//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/memnet"
	"github.com/tucdesk/tucdesk/internal/netlab"
	"github.com/tucdesk/tucdesk/internal/typist"
)

// roundTrip is the distance of the operator on the bad network.
const roundTrip = 50 * time.Millisecond

// A labSite is the team in the lab, with OpenSSH on the same machines.
type labSite struct {
	*netlab.Site
	ssh *openSSH
}

func (w *workshop) openLab() (*labSite, error) {
	if err := netlab.Able(); err != nil {
		return nil, err
	}
	programs, err := w.programs()
	if err != nil {
		return nil, err
	}
	dir := w.at("site")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	w.say("starting a team in the network lab")
	s, err := netlab.OpenSite(w.ctx, programs, dir)
	if err != nil {
		return nil, err
	}
	w.later(s.Close)
	// Both of OpenSSH's ends, and ours where it speaks TCP, have the controller that
	// does best on links that lose.
	for _, h := range []*netlab.Host{s.Operator, s.Servers, s.Agent} {
		if err := h.Sysctl("ipv4/tcp_congestion_control", "bbr"); err != nil {
			return nil, fmt.Errorf("the kernel has no BBR (modprobe tcp_bbr): %w", err)
		}
	}
	ssh, err := w.openSSH(place{s.Agent}, place{s.Operator}, s.Agent.Addr.String())
	return &labSite{s, ssh}, err
}

// prompt is how a shell of root's says that it waits, and anybody else's.
func prompt() string {
	if os.Geteuid() == 0 {
		return "# "
	}
	return "$ "
}

// ready gives how long a command takes to a shell's prompt.
func ready(cmd *exec.Cmd) (time.Duration, error) {
	begin := time.Now()
	t, err := typist.Start(cmd, 80, 24)
	if err != nil {
		return 0, err
	}
	defer t.Close()
	at, err := t.See(prompt(), patience)
	return at.Sub(begin), err
}

func shellReady(w *workshop) (figures, error) {
	s, err := w.lab()
	if err != nil {
		return figures{}, err
	}
	s.Weather(roundTrip, memnet.Options{})
	defer s.Weather(0, memnet.Options{})
	var ours, theirs []time.Duration
	for range 9 {
		o, err := ready(s.Tucdesk(w.ctx, "connect", netlab.Target))
		if err != nil {
			return figures{}, err
		}
		p, err := ready(s.ssh.command(w.ctx))
		if err != nil {
			return figures{}, err
		}
		ours, theirs = append(ours, o), append(theirs, p)
	}
	return figures{ours: percentile(ours, 50), peer: percentile(theirs, 50)}, nil
}

// shellReadyWarm opens further shells from a console that runs, as people do all day:
// its connections are there. OpenSSH's are as before.
func shellReadyWarm(w *workshop) (figures, error) {
	s, err := w.lab()
	if err != nil {
		return figures{}, err
	}
	s.Weather(roundTrip, memnet.Options{})
	defer s.Weather(0, memnet.Options{})
	t, err := typist.Start(skipTour(s.Tucdesk(w.ctx)), cols, lines)
	if err != nil {
		return figures{}, err
	}
	defer t.Close()
	var ours, theirs []time.Duration
	for i := range 6 {
		if _, err := t.See(netlab.Target, patience); err != nil {
			return figures{}, err
		}
		time.Sleep(500 * time.Millisecond) // for the list's verdicts
		t.Forget()
		begin := time.Now()
		if err := t.Type("\r"); err != nil {
			return figures{}, err
		}
		at, err := t.See("~"+strings.TrimSpace(prompt()), patience)
		if err != nil {
			return figures{}, err
		}
		p, err := ready(s.ssh.command(w.ctx))
		if err != nil {
			return figures{}, err
		}
		if i > 0 { // the first made the connections
			ours, theirs = append(ours, at.Sub(begin)), append(theirs, p)
		}
		t.Forget()
		if err := t.Type(prefix + "1"); err != nil {
			return figures{}, err
		}
	}
	return figures{ours: percentile(ours, 50), peer: percentile(theirs, 50)}, nil
}

// keys is how many keys are typed for a 99th percentile.
const keys = 500

// typed types keys as a person does, and gives how long each took to come back.
func typed(ctx context.Context, t *typist.Terminal, n int) ([]time.Duration, error) {
	times := make([]time.Duration, 0, n)
	for i := range n {
		took, err := t.Echo(typist.Keys[i%len(typist.Keys)], patience)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		times = append(times, took)
		select {
		case <-time.After(20*time.Millisecond + rand.N(40*time.Millisecond)):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return times, nil
}

// echoing starts a program that ends in a shell, and makes it echo. The console's shell
// has to be opened first.
func echoing(who string, cmd *exec.Cmd) (*typist.Terminal, error) {
	t, err := typist.Start(cmd, 80, 24)
	if err != nil {
		return nil, err
	}
	waits := prompt()
	if who == ofConsole {
		waits = "~" + strings.TrimSpace(prompt())
		if _, err = t.See(netlab.Target, patience); err == nil {
			time.Sleep(500 * time.Millisecond) // for the list's verdicts
			t.Forget()
			err = t.Type("\r")
		}
	}
	if err == nil {
		_, err = t.See(waits, patience)
	}
	if err == nil {
		err = t.Cat(patience)
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// An echo is how long a program's echo takes, in milliseconds, or why there is none.
type echo struct {
	p50, p99 float64
	err      error
}

// Whose echo it is.
const (
	ofOurs      = "tucdesk connect"
	ofConsole   = "tucdesk's console, which predicts"
	ofSSH       = "ssh"
	ofMosh      = "mosh, predict never"
	ofPredicted = "mosh, predict adaptive"
)

// echoes has all of them typed at, at the same time, on the bad network.
func (w *workshop) echoes() (map[string]echo, error) {
	s, err := w.lab()
	if err != nil {
		return nil, err
	}
	commands := map[string]*exec.Cmd{
		ofOurs: s.Tucdesk(w.ctx, "connect", netlab.Target), ofConsole: skipTour(s.Tucdesk(w.ctx)), ofSSH: s.ssh.command(w.ctx),
	}
	all := map[string]echo{}
	for who, predict := range map[string]string{ofMosh: "never", ofPredicted: "adaptive"} {
		cmd, err := w.mosh(place{s.Agent}, place{s.Operator}, s.Agent.Addr.String(), predict)
		if err != nil {
			all[who] = echo{err: err}
			continue
		}
		commands[who] = cmd
	}
	terminals := map[string]*typist.Terminal{}
	for who, cmd := range commands {
		t, err := echoing(who, cmd)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", who, err)
		}
		defer t.Close()
		terminals[who] = t
	}
	// Ours goes over to a direct path soon after its start.
	time.Sleep(3 * time.Second)
	s.Weather(roundTrip, memnet.Options{Loss: .1})
	defer s.Weather(0, memnet.Options{})
	var mu sync.Mutex
	var typing sync.WaitGroup
	for who, t := range terminals {
		typing.Go(func() {
			times, err := typed(w.ctx, t, keys)
			if err == nil {
				w.say("  %s: p50 %.0f ms, p99 %.0f ms", who, percentile(times, 50), percentile(times, 99))
			}
			mu.Lock()
			defer mu.Unlock()
			all[who] = echo{percentile(times, 50), percentile(times, 99), err}
		})
	}
	typing.Wait()
	return all, nil
}

func echoLossy(peer string) func(*workshop) (figures, error) {
	return func(w *workshop) (figures, error) {
		all, err := w.echo()
		if err != nil {
			return figures{}, err
		}
		if err := errors.Join(all[ofOurs].err, all[peer].err); err != nil {
			return figures{}, err
		}
		return figures{ours: all[ofOurs].p99, peer: all[peer].p99}, nil
	}
}

func echoPerceived(w *workshop) (figures, error) {
	all, err := w.echo()
	if err != nil {
		return figures{}, err
	}
	if err := errors.Join(all[ofConsole].err, all[ofPredicted].err); err != nil {
		return figures{}, err
	}
	return figures{
		ours: all[ofConsole].p99, peer: all[ofPredicted].p99,
		note: fmt.Sprintf("ours is the console, which predicts as mosh does; the medians are %.1f and %.1f ms. `tucdesk connect` predicts nothing: its median is %.0f ms",
			all[ofConsole].p50, all[ofPredicted].p50, all[ofOurs].p50),
	}, nil
}

// window is how long a bulk is counted, after a start that is not.
const (
	window = 15 * time.Second
	start  = 3 * time.Second
)

// counted runs a command that writes without end, and gives its bytes a second.
func counted(cmd *exec.Cmd) (float64, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	buf := make([]byte, 256<<10)
	var first, counting time.Time
	total := 0.0
	for {
		n, err := out.Read(buf)
		now := time.Now()
		switch {
		case err != nil && (err != io.EOF || counting.IsZero()):
			return 0, fmt.Errorf("%s: %w", cmd.Args[0], err)
		case err != nil, !counting.IsZero() && now.Sub(counting) >= window:
			return total / now.Sub(counting).Seconds(), nil
		case first.IsZero():
			first = now
		case !counting.IsZero():
			total += float64(n)
		case now.Sub(first) >= start:
			counting = now
		}
	}
}

const million = 1e6

// bulkLossy is a bulk by a path; blocked: where UDP is, so that it goes to the relay
// over TCP.
func bulkLossy(path string, blocked bool) func(*workshop) (figures, error) {
	return func(w *workshop) (figures, error) {
		s, err := w.lab()
		if err != nil {
			return figures{}, err
		}
		s.Operator.BlockUDP(blocked)
		defer s.Operator.BlockUDP(false)
		s.Weather(roundTrip, memnet.Options{Loss: .02, Rate: 25 * million, Buffer: 1250 * 1000})
		defer s.Weather(0, memnet.Options{})
		theirs, err := w.sshLossy()
		if err != nil {
			return figures{}, err
		}
		ours, err := counted(s.Tucdesk(w.ctx, "exec", "--path", path, "-n", netlab.Target, "--", "cat", "/dev/zero"))
		return figures{ours: ours / million, peer: theirs / million}, err
	}
}

// bulkTCP is a bulk without a datagram: where UDP is blocked, on a good network. Both
// pass the lab's router.
func bulkTCP(w *workshop) (figures, error) {
	s, err := w.lab()
	if err != nil {
		return figures{}, err
	}
	theirs, err := counted(s.ssh.command(w.ctx, "cat", "/dev/zero"))
	if err != nil {
		return figures{}, err
	}
	s.Operator.BlockUDP(true)
	defer s.Operator.BlockUDP(false)
	ours, err := counted(s.Tucdesk(w.ctx, "exec", "-n", netlab.Target, "--", "cat", "/dev/zero"))
	return figures{
		ours: ours / million, peer: theirs / million,
		note: "ours goes through the relay, over TCP with QUIC's datagrams in it: records on TCP from end to end are not there yet; both pass the lab's router",
	}, err
}
