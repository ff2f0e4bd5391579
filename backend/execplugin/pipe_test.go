package execplugin

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/backendtest"
	"github.com/tucdesk/tucdesk/backend/mem"
)

// A piped is a plugin in a goroutine of the test.
type piped struct {
	*io.PipeReader
	*io.PipeWriter
	done chan struct{}
	once sync.Once
	hard func()
}

func (p *piped) Close() error { return p.PipeWriter.Close() }

func (p *piped) end(wait bool) (string, string) {
	if wait {
		_ = p.PipeWriter.Close()
		<-p.done
	}
	p.once.Do(p.hard)
	<-p.done
	return "the goroutine returned", "last words"
}

// within runs a plugin in this process.
func within(plugin func(in io.Reader, out io.WriteCloser)) *piped {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p := &piped{PipeReader: outR, PipeWriter: inW, done: make(chan struct{})}
	p.hard = func() {
		_ = inR.CloseWithError(io.ErrClosedPipe)
		_ = outR.CloseWithError(io.ErrClosedPipe)
	}
	go func() {
		defer close(p.done)
		defer outW.Close()
		defer inR.Close()
		plugin(inR, outW)
	}()
	return p
}

// TestConformance runs the suite through both ends of the protocol, with all capabilities.
func TestConformance(t *testing.T) {
	worlds := make(map[backend.Backend]*mem.World)
	open := func(t backendtest.T, w *mem.World, member string) backend.Backend {
		d := backend.Driver{Scheme: "mem", Open: func(context.Context, *url.URL, backend.Env) (backend.Backend, error) { return w.Backend(member), nil }}
		b, err := connect(t.Context(), "/plugin", within(func(in io.Reader, out io.WriteCloser) {
			if err := ServeOn(context.Background(), in, out, d); err != nil && !errors.Is(err, backend.ErrClosed) {
				t.Errorf("ServeOn: %v", err)
			}
		}), &url.URL{Scheme: "mem"}, "")
		if err != nil {
			t.Fatal(err)
		}
		worlds[b] = w
		return b
	}
	backendtest.Run(t, backendtest.Harness{
		New:    func(t backendtest.T) backend.Backend { return open(t, mem.Demo(), "alice") },
		Target: "web-1",
		Cat:    []string{"cat"},
		Exit:   func(code int) []string { return []string{"exit", strconv.Itoa(code)} },
		Size:   []string{"size"},
		Denied: backend.OpenRequest{Target: "vault", Kind: backend.KindShell, Cols: 80, Rows: 24},
		Held:   backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"restart", "api"}, Reason: "it leaks"},
		Approver: func(t backendtest.T, b backend.Backend) backend.Backend {
			return open(t, worlds[b], "bob")
		},
		Skip: map[string]string{"WatchedByOthers": "the protocol does not carry who watches what"},
	})
}
