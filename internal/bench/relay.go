//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
)

const (
	datagram = 1200             // bytes of a full record, as sessions send them
	pace     = 15_000           // datagrams a second: less than either relay can do
	load     = 10 * time.Second // for which they flow
)

// relayCPU sends the same datagrams at the same pace through either relay, with the
// same client, and takes what the relay's process has used for it.
func relayCPU(w *workshop) (figures, error) {
	if err := need(map[string]string{"turnserver": "coturn"}); err != nil {
		return figures{}, err
	}
	theirs, err := w.coturn()
	if err != nil {
		return figures{}, fmt.Errorf("coturn: %w", err)
	}
	ours, err := w.relayd()
	if err != nil {
		return figures{}, fmt.Errorf("relayd: %w", err)
	}
	return figures{ours: ours, peer: theirs}, nil
}

func (w *workshop) coturn() (float64, error) {
	port, err := freePort("udp")
	if err != nil {
		return 0, err
	}
	turnserver, err := lookup("turnserver")
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(turnserver, "-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp", "-L", "127.0.0.1", "-E", "127.0.0.1", "-p", port,
		"--allow-loopback-peers", "--lt-cred-mech", "-u", "bench:bench", "-r", "bench", "--log-file", w.at("coturn.log"), "--simple-log",
		"--pidfile", w.at("coturn.pid"), "--userdb", w.at("coturn.db"))
	if err := w.start(cmd); err != nil {
		return 0, err
	}
	c := cred.Credential{Username: "bench", Password: "bench"}
	return w.relayed("127.0.0.1:"+port, cmd.Process.Pid, c, c)
}

func (w *workshop) relayd() (float64, error) {
	programs, err := w.programs()
	if err != nil {
		return 0, err
	}
	port, err := freePort("udp")
	if err != nil {
		return 0, err
	}
	secret := cred.NewSecret()
	file := w.at("relay.secret")
	if err := os.WriteFile(file, []byte(secret.SecretText()+"\n"), 0o600); err != nil {
		return 0, err
	}
	addr := "127.0.0.1:" + port
	cmd := exec.Command(filepath.Join(programs, "tucdesk-relayd"), "--listen", addr, "--secret-file", file, "--admin-listen=")
	if err := w.start(cmd); err != nil {
		return 0, err
	}
	session, exp := [16]byte{1}, time.Now().Add(time.Hour)
	return w.relayed(addr, cmd.Process.Pid, secret.Mint(session, cred.Operator, exp), secret.Mint(session, cred.Agent, exp))
}

// relayed gives the seconds of processor time that a relay takes for a GB.
func (w *workshop) relayed(addr string, pid int, ca, cb cred.Credential) (float64, error) {
	var ends [2]*path.Relayed
	for i, c := range []cred.Credential{ca, cb} {
		err := w.await("an allocation", func() (err error) {
			ends[i], err = path.OpenRelay(w.ctx, addr, c)
			return err
		})
		if err != nil {
			return 0, err
		}
		defer ends[i].Close()
	}
	for i, e := range ends {
		if err := e.Permit(w.ctx, ends[1-i].LocalRelayed()); err != nil {
			return 0, err
		}
	}
	var got atomic.Int64
	go func() {
		buf := make([]byte, 2048)
		for {
			n, _, err := ends[1].ReadFrom(buf)
			if err != nil {
				return
			}
			got.Add(int64(n))
		}
	}()
	// The first second is not counted: channels are bound in it.
	if err := flow(w.ctx, ends[0], ends[1].LocalRelayed(), time.Second); err != nil {
		return 0, err
	}
	before, err := cpu(pid)
	if err != nil {
		return 0, err
	}
	counted := got.Load()
	if err := flow(w.ctx, ends[0], ends[1].LocalRelayed(), load); err != nil {
		return 0, err
	}
	time.Sleep(100 * time.Millisecond) // for what is under way
	after, err := cpu(pid)
	if err != nil {
		return 0, err
	}
	passed := float64(got.Load() - counted)
	sent := float64(pace) * load.Seconds() * datagram
	w.say("  %s: %.0f MB passed of %.0f, %.2f s", addr, passed/million, sent/million, after-before)
	if passed < sent/2 {
		return 0, errors.New("more than half of the datagrams were lost")
	}
	return (after - before) / (passed / 1e9), nil
}

// flow sends datagrams at the pace.
func flow(ctx context.Context, from net.PacketConn, to net.Addr, d time.Duration) error {
	const each = 5 * time.Millisecond
	burst := int(pace * each / time.Second)
	t := time.NewTicker(each)
	defer t.Stop()
	b := make([]byte, datagram)
	for range int(d / each) {
		select {
		case <-t.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for range burst {
			if _, err := from.WriteTo(b, to); err != nil {
				return err
			}
		}
	}
	return nil
}
