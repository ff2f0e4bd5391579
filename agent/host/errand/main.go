package errand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tucdesk/tucdesk/internal/filecopy"
	"github.com/tucdesk/tucdesk/internal/policy/reach"
	"github.com/tucdesk/tucdesk/internal/tunnel"
)

// Main does an errand on standard input and output. args are a kind of session and its
// words, as Argv has put them. Its error is for the operator.
func Main(args []string) error {
	if len(args) < 2 {
		return errors.New("errand: the agent starts this by itself; it is not for the command line")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = ""
	}
	return run(context.Background(), args[0], args[1:], home, os.Stdin, os.Stdout, os.Stderr)
}

var errEnded = errors.New("errand: it was ended")

func run(ctx context.Context, kind string, words []string, home string, in io.Reader, out io.WriteCloser, notes io.Writer) error {
	switch kind {
	case reach.KindCopy:
		c, err := reach.ParseCopy(words)
		if err != nil {
			return err
		}
		return carry(ctx, c, home, in, out, notes)
	case reach.KindForward, reach.KindProxy:
		d, err := reach.ParseArgv(words)
		if err != nil {
			return err
		}
		return tunnel.Serve(ctx, in, out, d, tunnel.Dialer{})
	}
	return fmt.Errorf("errand: there is none for %q", kind)
}

// carry does a copy.
func carry(ctx context.Context, c reach.Copy, home string, in io.Reader, out io.Writer, notes io.Writer) error {
	dir, name, err := locate(c.Path, home)
	if err != nil {
		return err
	}
	defer dir.Close()
	if c.From {
		return filecopy.Send(out, dir, name, c.Tree, func(s string) { fmt.Fprintln(notes, s) })
	}
	// What is half done is taken away before the end.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return filecopy.Receive(filecopy.NewReader(until(ctx, in), filecopy.Limits{}), dir, name, c.Tree)
}

// until reads from in until ctx ends: then a copy that is on cleans up.
func until(ctx context.Context, in io.Reader) io.Reader {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, in)
		w.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { w.CloseWithError(errEnded) })
	return r
}

// locate opens the directory that a path is in, following no link, and gives the name in
// it. The user's home is what the system says: it may be behind links.
func locate(path, home string) (*os.Root, string, error) {
	if err := reach.CheckPath(path); err != nil {
		return nil, "", err
	}
	top, rest := "/", strings.TrimPrefix(path, "/")
	if below, ok := strings.CutPrefix(path, "~"); ok {
		if top, rest = home, strings.TrimPrefix(below, "/"); !filepath.IsAbs(home) {
			return nil, "", errors.New("errand: this user has no home; name an absolute path")
		}
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, "", err
	}
	if rest == "" {
		return root, ".", nil
	}
	defer root.Close()
	parts := strings.Split(rest, "/")
	last := len(parts) - 1
	dir, err := filecopy.Enter(root, parts[:last]...)
	return dir, parts[last], err
}
