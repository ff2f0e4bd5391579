package openssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"sync"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/local"
	"github.com/tucdesk/tucdesk/internal/sanitize"
)

// maxResolved is how many hosts one listing asks ssh about: each costs a process. The
// others are listed without details.
const maxResolved = 200

// Driver opens the backend under "ssh:", or "ssh:///path/of/a/config" for another file
// than ~/.ssh/config.
func Driver() backend.Driver {
	return backend.Driver{
		Scheme: "ssh",
		Doc:    "hosts of ~/.ssh/config, by the system's ssh: no policy, not recorded",
		Open: func(_ context.Context, u *url.URL, env backend.Env) (backend.Backend, error) {
			if u.Opaque != "" || u.Host != "" {
				return nil, errors.New("openssh: write ssh: for the hosts of ~/.ssh/config, or ssh:///path for those of another file")
			}
			return New(u.Path, env.Dir)
		},
	}
}

// A Backend opens terminals on the hosts of one configuration.
type Backend struct {
	ssh   string   // the program
	args  []string // that choose the configuration
	file  string
	home  string
	dir   string // for what ssh says of itself
	local *local.Backend

	mu     sync.Mutex
	closed bool
	open   sync.WaitGroup // terminals that have a file; none is added once closed
	read   []byte         // the configuration that known is of
	known  map[string]resolved
}

var _ backend.Backend = (*Backend)(nil)

// New returns a Backend of the hosts of a file, or of ~/.ssh/config where config is
// empty. dir holds short-lived private files; empty is the system's own folder for them.
func New(config, dir string) (*Backend, error) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		return nil, errors.New("openssh: there is no ssh program; install it (Debian: apt-get install openssh-client)")
	}
	me, err := user.Current() // ssh, too, goes by this and not by HOME
	if err != nil {
		return nil, fmt.Errorf("openssh: %w", err)
	}
	b := &Backend{ssh: ssh, file: filepath.Join(me.HomeDir, ".ssh", "config"), home: me.HomeDir, dir: dir, local: local.New()}
	if config != "" {
		b.file, b.args = config, []string{"-F", config}
	}
	return b, nil
}

// Targets implements backend.Backend. Nothing is connected to, so that a target's
// State is not known.
func (b *Backend) Targets(ctx context.Context) iter.Seq2[backend.Target, error] {
	return func(yield func(backend.Target, error) bool) {
		fail := func(err error) { yield(backend.Target{}, fmt.Errorf("openssh: %w", err)) }
		hosts, err := b.hosts(ctx)
		if err != nil {
			fail(err)
			return
		}
		for i, name := range hosts.names() {
			detail := map[string]string{"from": hosts.hosts[name]}
			if i < maxResolved {
				to, err := b.resolved(ctx, name)
				maps.Copy(detail, to.detail)
				if err != nil {
					detail["error"] = err.Error()
				}
			}
			if err := ctx.Err(); err != nil {
				fail(err)
				return
			}
			if !yield(backend.Target{ID: backend.TargetID(name), Name: name, Detail: detail}, nil) {
				return
			}
		}
	}
}

// hosts reads the configuration, and forgets what was known of hosts by another one.
func (b *Backend) hosts(ctx context.Context) (*reader, error) {
	// The local backend knows whether both were closed.
	for _, err := range b.local.Targets(ctx) {
		if err != nil {
			return nil, err
		}
	}
	hosts, err := readHosts(b.file, b.home)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil || !bytes.Equal(b.read, hosts.whole.Bytes()) {
		b.read, b.known = hosts.whole.Bytes(), make(map[string]resolved)
	}
	return hosts, nil
}

// resolved answers what a host comes to.
func (b *Backend) resolved(ctx context.Context, name string) (resolved, error) {
	b.mu.Lock()
	to, known := b.known[name]
	b.mu.Unlock()
	if known {
		return to, nil
	}
	to, err := resolve(ctx, b.ssh, b.args, name)
	if err != nil {
		return to, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[name] = to
	return to, nil
}

// Open implements backend.Backend. It returns once ssh runs: whether that reaches the
// host, the terminal says.
func (b *Backend) Open(ctx context.Context, req backend.OpenRequest) (backend.Terminal, error) {
	hosts, err := b.hosts(ctx)
	if err != nil {
		return nil, fmt.Errorf("openssh: %w", err)
	}
	host := string(req.Target)
	if _, ok := hosts.hosts[host]; !ok {
		return nil, fmt.Errorf("openssh: %w: %s has no `Host` line with this name", backend.ErrNotFound, b.file)
	}
	to, err := b.resolved(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("openssh: %w", err)
	}
	return b.start(ctx, req, to)
}

func (b *Backend) start(ctx context.Context, req backend.OpenRequest, to resolved) (_ backend.Terminal, err error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, fmt.Errorf("openssh: %w", backend.ErrClosed)
	}
	b.open.Add(1)
	b.mu.Unlock()
	try := sanitize.Argv(slices.Concat([]string{"ssh"}, b.args, []string{string(req.Target)})).String()
	said, err := newSaid(b.dir, string(req.Target), try)
	if err != nil {
		b.open.Done()
		return nil, fmt.Errorf("openssh: %w", err)
	}
	defer func() {
		if err != nil {
			said.remove()
			b.open.Done()
			err = fmt.Errorf("openssh: %w", err)
		}
	}()
	argv, err := b.command(req, said.file, to.endless)
	if err != nil {
		return nil, err
	}
	inner, err := b.local.Open(ctx, backend.OpenRequest{
		Target: local.TargetID, Kind: backend.KindExec, Argv: argv,
		TTY: tty(req), Cols: req.Cols, Rows: req.Rows, Term: req.Term,
	})
	if err != nil {
		return nil, err
	}
	t := &terminal{Terminal: inner, said: said, tty: tty(req), ended: make(chan struct{})}
	backend.Go(func() {
		defer b.open.Done()
		t.judge()
	})
	return t, nil
}

// Close implements backend.Backend.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	err := b.local.Close()
	b.open.Wait()
	return err
}
