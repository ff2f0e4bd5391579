package netlab

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tucdesk/tucdesk/internal/memnet"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Target is the name of a site's one machine.
const Target = "web-1"

// patience is how long a part may take to do what it does at once on an idle
// machine.
const patience = time.Minute

// Programs builds the programs of this module into dir. It needs the go command and
// must run within the module.
func Programs(ctx context.Context, dir string) error {
	for _, p := range []struct{ folder, name string }{
		{"tui", "tucdesk"}, {"agent", "tucdesk-agent"}, {"apid", "tucdesk-apid"},
		{"rendezvousd", "tucdesk-rendezvousd"}, {"relayd", "tucdesk-relayd"},
	} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, p.name), "github.com/tucdesk/tucdesk/"+p.folder)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("netlab: build %s: %w: %s", p.name, err, out)
		}
	}
	return nil
}

// A Site is a team with its servers on one host, an agent on another, and the
// device of its founder, alice, on a third. Policy lets her do anything, and
// records nothing. All of them trust one certificate by its pin.
type Site struct {
	Lab                      *Lab
	Operator, Servers, Agent *Host

	programs, dir string
	stop          []func()
	agent         *part
}

// OpenSite starts a site with the programs of a folder, and keeps all that it
// writes in dir. The network is perfect until its hosts' weather is set.
func OpenSite(ctx context.Context, programs, dir string) (_ *Site, err error) {
	s := &Site{programs: programs, dir: dir}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.Lab, err = New(); err != nil {
		return nil, err
	}
	for _, h := range []struct {
		host **Host
		name string
	}{{&s.Operator, "operator"}, {&s.Servers, "servers"}, {&s.Agent, "agent"}} {
		if *h.host, err = s.Lab.Host(h.name); err != nil {
			return nil, err
		}
	}
	if err := s.emptyHome(); err != nil {
		return nil, err
	}
	pin, err := certificate(s.at("cert.pem"), s.at("key.pem"), s.Servers.Addr)
	if err != nil {
		return nil, err
	}
	if err := s.serve(ctx, pin); err != nil {
		return nil, err
	}
	if err := s.join(ctx, pin); err != nil {
		return nil, err
	}
	return s, s.await(ctx, "the first command", func() error {
		_, err := s.output(s.Tucdesk(ctx, "exec", "--path", "relay", Target, "--", "true"))
		return err
	})
}

// emptyHome has shells on the machine begin without what this person's own profile
// starts in them: it is no part of any product, and can take longer than the rest.
func (s *Site) emptyHome() error {
	me, err := user.Current()
	if err != nil {
		return fmt.Errorf("netlab: %w", err)
	}
	for _, needed := range []string{s.dir, s.programs} {
		if rel, err := filepath.Rel(me.HomeDir, needed); err != nil || filepath.IsLocal(rel) {
			return nil // it would be hidden too
		}
	}
	s.Agent.Hide(me.HomeDir)
	return nil
}

func (s *Site) at(name string) string      { return filepath.Join(s.dir, name) }
func (s *Site) program(name string) string { return filepath.Join(s.programs, name) }
func (s *Site) url(port string) string     { return "https://" + s.Servers.Addr.String() + ":" + port }

// Ports of the servers.
const (
	apiPort, meetPort, relayPort = "8443", "8444", "3478"
)

// serve starts the three servers.
func (s *Site) serve(ctx context.Context, pin string) error {
	keys, err := s.output(exec.CommandContext(ctx, s.program("tucdesk-apid"), "keys", "init", s.at("keys")))
	if err != nil {
		return err
	}
	meetKey := ""
	for line := range strings.Lines(keys) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "rendezvous" {
			meetKey = f[1]
		}
	}
	listen := func(port string) string { return s.Servers.Addr.String() + ":" + port }
	tls := []string{"--tls-cert", s.at("cert.pem"), "--tls-key", s.at("key.pem"), "--admin-listen="}
	for _, p := range [][]string{
		{"tucdesk-relayd", "--listen", listen(relayPort), "--secret-file", s.at("keys/relay.secret"), "--admin-listen="},
		append([]string{
			"tucdesk-apid", "--listen", listen(apiPort), "--url", s.url(apiPort), "--database", s.at("apid.db"), "--keys-dir", s.at("keys"),
			"--relay-secret-file", s.at("keys/relay.secret"), "--relays", listen(relayPort), "--rendezvous-url", s.url(meetPort),
			"--rendezvous-key", meetKey, "--rendezvous-pins", pin, "--founding", "first",
		}, tls...),
		append([]string{
			"tucdesk-rendezvousd", "--listen", listen(meetPort), "--url", s.url(meetPort), "--api-url", s.url(apiPort), "--api-pins", pin,
			"--key-file", s.at("keys/rendezvous.key"),
		}, tls...),
	} {
		if _, err := s.start(ctx, s.Servers, p[0], p[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// siteRules let alice do anything, as whoever the agent runs as.
const siteRules = `version: 1
mode: allowlist
allowlist:
  - {name: lab, members: [alice@example.com], targets: {names: ["*"]}, sessions: [shell, exec], as: [root], record: off}
commands: {default: low, tiers: {low: allow}}
gate: none
`

// join founds the team, pairs the machine and starts its agent.
func (s *Site) join(ctx context.Context, pin string) error {
	err := s.await(ctx, "the team's founding", func() error {
		_, err := s.output(s.Tucdesk(ctx, "login", "--found", s.url(apiPort), "--team-id", "lab", "--email", "alice@example.com", "--yes", "--pin", pin))
		return err
	})
	if err != nil {
		return err
	}
	pairing, err := s.start(ctx, s.Agent, "tucdesk-agent", "pair", s.url(apiPort), "--pin", pin, "--dir", s.at("agent"), "--key-file", s.at("pairing"))
	if err != nil {
		return err
	}
	var word []byte
	err = s.await(ctx, "the pairing key", func() error {
		word, err = os.ReadFile(s.at("pairing"))
		if err == nil && !bytes.HasSuffix(word, []byte("\n")) {
			err = errors.New("half written")
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := s.output(s.Tucdesk(ctx, "pair", strings.TrimSpace(string(word)), "--name", Target, "--login-user", "root")); err != nil {
		return err
	}
	if err := <-pairing.ended; err != nil {
		return pairing.fail(err)
	}
	if err := os.WriteFile(s.at("policy.yaml"), []byte(siteRules), 0o600); err != nil {
		return err
	}
	if _, err := s.output(s.Tucdesk(ctx, "policy", "set", s.at("policy.yaml"))); err != nil {
		return err
	}
	return s.startAgent(ctx)
}

func (s *Site) startAgent(ctx context.Context) (err error) {
	s.agent, err = s.start(ctx, s.Agent, "tucdesk-agent", "--dir", s.at("agent"), "--admin-listen=")
	return err
}

// RestartAgent kills the agent (SIGKILL) and starts another one.
func (s *Site) RestartAgent(ctx context.Context) error {
	if err := s.agent.cmd.Process.Kill(); err != nil {
		return err
	}
	<-s.agent.ended
	return s.startAgent(ctx)
}

// Tucdesk prepares a command of alice's on her host.
func (s *Site) Tucdesk(ctx context.Context, args ...string) *exec.Cmd {
	cmd := s.Operator.Command(ctx, s.program("tucdesk"), args...)
	cmd.Env = append(os.Environ(), "TUCDESK_HOME="+s.at("alice"), "NO_COLOR=1", "TERM=xterm-256color")
	return cmd
}

// Weather makes a network of a round trip between the operator and everybody else,
// who are near each other. The loss and the rest hold for each direction.
func (s *Site) Weather(roundTrip time.Duration, o memnet.Options) {
	o.Delay = roundTrip / 2
	s.Operator.Weather(o)
}

// AgentPid is the process of the agent.
func (s *Site) AgentPid() int { return s.agent.cmd.Process.Pid }

// await tries until do succeeds, or patience is over.
func (s *Site) await(ctx context.Context, what string, do func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := do()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("netlab: waiting for %s: %w\n%s", what, err, s.logs())
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// output runs a command to its end.
func (s *Site) output(cmd *exec.Cmd) (string, error) {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("netlab: %s: %w: %s", strings.Join(cmd.Args, " "), err, errs.String())
	}
	return out.String(), nil
}

// A part is a process of the site.
type part struct {
	cmd   *exec.Cmd
	log   string
	ended chan error
}

func (p *part) fail(err error) error {
	b, _ := os.ReadFile(p.log)
	return fmt.Errorf("netlab: %s: %w: %s", filepath.Base(p.log), err, b)
}

// start runs a program on a host until the site is closed.
func (s *Site) start(ctx context.Context, h *Host, name string, args ...string) (*part, error) {
	p := &part{log: s.at(fmt.Sprintf("%d-%s.log", len(s.stop), name)), ended: make(chan error, 1)}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = h.Command(context.WithoutCancel(ctx), s.program(name), args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("netlab: %s: %w", name, err)
	}
	go func() {
		p.ended <- p.cmd.Wait()
		close(p.ended)
	}()
	s.stop = append(s.stop, sync.OnceFunc(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(patience):
			p.cmd.Process.Kill()
			<-p.ended
		}
	}))
	return p, nil
}

// logs are the last words of all parts.
func (s *Site) logs() string {
	var b strings.Builder
	files, _ := filepath.Glob(s.at("*.log"))
	for _, f := range files {
		text, _ := os.ReadFile(f)
		fmt.Fprintf(&b, "%s:\n%s", filepath.Base(f), text[max(0, len(text)-2048):])
	}
	return b.String()
}

// Close stops everything, the agent first, and takes the network down.
func (s *Site) Close() {
	if s.Lab == nil {
		return
	}
	for _, h := range []*Host{s.Operator, s.Servers, s.Agent} {
		if h != nil {
			h.Weather(memnet.Options{})
			h.BlockUDP(false)
		}
	}
	for i := len(s.stop) - 1; i >= 0; i-- {
		s.stop[i]()
	}
	s.Lab.Close()
}

// certificate writes a self-signed certificate for an address and its key, and
// gives the pin.
func certificate(certFile, keyFile string, a netip.Addr) (string, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{a.AsSlice()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return "", err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return "", err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", err
	}
	for _, f := range []struct {
		path, kind string
		b          []byte
	}{{certFile, "CERTIFICATE", der}, {keyFile, "PRIVATE KEY", secret}} {
		if err := os.WriteFile(f.path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.b}), 0o600); err != nil {
			return "", err
		}
	}
	return wire.Pin(c).String(), nil
}
