package errands

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/internal/filecopy"
	"github.com/tucdesk/tucdesk/internal/policy/reach"
	"github.com/tucdesk/tucdesk/internal/sanitize"
	"github.com/tucdesk/tucdesk/tui/cli/output"
)

const (
	// maxBound is the largest copy whose content a request binds by its digest: what an
	// agent reads whole before it writes.
	maxBound = 1 << 20
	// defaultMost bounds what a machine may send, in bytes, where nobody says.
	defaultMost = "10G"
	progressIn  = 200 * time.Millisecond
)

func (c *CLI) copyCommand() *cobra.Command {
	var (
		tree, asJSON, quiet bool
		most                string
	)
	cmd := &cobra.Command{
		Use:   "cp [-r] SRC DST",
		Short: "Copy a file or a directory to or from a machine",
		Long: "Copy a file, or with -r a directory and all below it, to or from a machine. One of SRC and DST is\n" +
			"MACHINE:PATH; a path there that is not absolute is below the user's home. An end with / is a directory to\n" +
			"copy into. Files keep their permissions and appear whole, in one step, so an interrupted copy leaves no half\n" +
			"file and can be started again. Symbolic links are not followed, on the way or in a tree: those in a tree are\n" +
			"left out, and said. The machine opens files as the user (--as), with that user's rights.\n\n" +
			"Policy judges each copy by its direction and path (`copies`). Up to 1 MB to a machine, an approval covers the\n" +
			"content; beyond, who approves is told that it does not.",
		Example: "  tucdesk cp web-1:/var/log/syslog .\n  tucdesk cp -r ./site web-1:/srv/app/\n  tucdesk cp app.conf web-1:",
		Args:    cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
			machines, _ := c.Complete(cmd, nil, prefix)
			var names []string
			for _, n := range machines {
				names = append(names, n+":")
			}
			return names, cobra.ShellCompDirectiveNoSpace // files complete, too
		},
	}
	open := c.Asking(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		limit, err := parseSize(most)
		if err != nil {
			return fmt.Errorf("--max-size: %w", err)
		}
		w, err := plan(args[0], args[1], tree)
		if err != nil {
			return err
		}
		w.cli, w.limit = c, limit
		return w.run(cmd.Context(), open, asJSON, quiet)
	}
	cmd.Flags().BoolVarP(&tree, "recursive", "r", false, "a directory, and all below it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was copied as JSON")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "no progress and no summary")
	cmd.Flags().StringVar(&most, "max-size", defaultMost, "the most that is copied, in bytes or with K, M, G, T")
	return cmd
}

// A work is one copy.
type work struct {
	cli    *CLI
	target string
	copy   reach.Copy
	local  string // the file or directory here
	limit  int64
}

// isRemote cuts MACHINE:PATH.
func isRemote(s string) (target, path string, ok bool) {
	target, path, ok = strings.Cut(s, ":")
	if !ok || target == "" || strings.ContainsAny(target, `/\`) || runtime.GOOS == "windows" && len(target) == 1 {
		return "", "", false
	}
	return target, path, true
}

// plan reads the two sides.
func plan(src, dst string, tree bool) (*work, error) {
	from, fromPath, isFrom := isRemote(src)
	to, toPath, isTo := isRemote(dst)
	w := &work{copy: reach.Copy{From: isFrom, Tree: tree}}
	switch {
	case isFrom && isTo:
		return nil, errors.New("one of SRC and DST is on this device; to go from machine to machine, copy here first")
	case isFrom:
		w.target, w.copy.Path = from, there(fromPath)
		into := dst
		if st, err := os.Stat(dst); strings.HasSuffix(dst, "/") || strings.HasSuffix(dst, string(filepath.Separator)) || err == nil && st.IsDir() {
			base := path.Base(w.copy.Path)
			if base == "/" || base == "~" {
				base = from
			}
			into = filepath.Join(dst, base)
		}
		w.local = into
	case isTo:
		local, err := filepath.EvalSymlinks(src) // what was named here, wherever it is
		if err == nil {
			local, err = filepath.Abs(local)
		}
		if err != nil {
			return nil, err
		}
		if toPath == "" || strings.HasSuffix(toPath, "/") {
			base := filepath.Base(src)
			if base == "." || base == ".." {
				base = filepath.Base(local)
			}
			toPath = path.Join(cmp.Or(toPath, "~"), base)
		}
		w.target, w.copy.Path, w.local = to, there(toPath), local
	default:
		return nil, errors.New("one of SRC and DST is MACHINE:PATH; `tucdesk agents` lists machines")
	}
	if err := reach.CheckPath(w.copy.Path); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "reach: "))
	}
	return w, nil
}

// there gives a path on a machine in its one spelling.
func there(p string) string {
	switch {
	case p == "" || p == "~":
		return "~"
	case strings.HasPrefix(p, "/"):
		return path.Clean(p)
	}
	p = path.Clean("/" + strings.TrimPrefix(p, "~/"))
	return strings.TrimSuffix("~"+p, "/")
}

func parseSize(s string) (int64, error) {
	number, shift := strings.TrimSuffix(strings.ToUpper(s), "B"), 0
	for i, unit := range []string{"K", "M", "G", "T"} {
		if n, ok := strings.CutSuffix(number, unit); ok {
			number, shift = n, 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > filecopy.MaxBytes>>shift {
		return 0, fmt.Errorf("%q is no size from 1 to 1T: a number, or one with K, M, G or T", s)
	}
	return n << shift, nil
}

// jsonCopy is what cp prints with --json.
type jsonCopy struct {
	Target    string  `json:"target"`
	Direction string  `json:"direction"` // from, to
	Path      string  `json:"path"`
	Local     string  `json:"local"`
	Seconds   float64 `json:"seconds"`
	Copied
}

func (w *work) run(ctx context.Context, open Opener, asJSON, quiet bool) error {
	began := time.Now()
	rep, err := w.carry(ctx, open, !quiet && !asJSON)
	if err != nil {
		return err
	}
	if asJSON {
		out := jsonCopy{
			Target: w.target, Direction: w.copy.Argv()[0], Path: w.copy.Path, Local: w.local,
			Seconds: time.Since(began).Round(time.Millisecond).Seconds(), Copied: *CopiedOf(rep),
		}
		return output.JSON(w.cli.Out, out)
	}
	if w.cli.watched() && !quiet {
		w.cli.say("%s: %s, %s", w.target, count(rep.Entries), size(int64(rep.Bytes)))
	}
	return nil
}

func count(n uint64) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files and directories", n)
}

func size(n int64) string {
	const units = "kMGT"
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, i := float64(n)/1000, 0
	for ; f >= 1000 && i < len(units)-1; i++ {
		f /= 1000
	}
	return fmt.Sprintf("%.1f %cB", f, units[i])
}

// carry copies, and says what passed.
func (w *work) carry(ctx context.Context, open Opener, progress bool) (filecopy.Report, error) {
	dir, err := os.OpenRoot(filepath.Dir(w.local))
	if err != nil {
		return filecopy.Report{}, err
	}
	defer dir.Close()
	name := filepath.Base(w.local)
	req := backend.OpenRequest{Target: backend.TargetID(w.target), Kind: backend.KindCopy, Argv: w.copy.Argv(), Stdin: "none"}
	var bound []byte
	if !w.copy.From {
		st, err := dir.Stat(name)
		switch {
		case err != nil:
			return filecopy.Report{}, err
		case st.IsDir() && !w.copy.Tree:
			return filecopy.Report{}, fmt.Errorf("%s is a directory; say -r to copy one", sanitize.Clean(w.local))
		case st.Size() > w.limit:
			return filecopy.Report{}, fmt.Errorf("%s has %s, more than --max-size", sanitize.Clean(w.local), size(st.Size()))
		}
		req.Stdin = ""
		if st.Mode().IsRegular() && st.Size() < maxBound-8<<10 {
			var b bytes.Buffer
			if err := filecopy.Send(&b, dir, name, false, w.note); err != nil {
				return filecopy.Report{}, err
			}
			bound = b.Bytes()
			req.Stdin = fmt.Sprintf("sha256:%x", sha256.Sum256(bound))
		}
	}
	t, done, err := open(ctx, req)
	if err != nil {
		return filecopy.Report{}, err
	}
	defer done()
	defer t.Close()
	defer context.AfterFunc(ctx, func() { t.Close() })()
	last := w.cli.notes(t, true)
	tally := filecopy.NewTally(w.copy.Tree, filecopy.Limits{Bytes: w.limit})
	moved := &counter{}
	stop := func() {}
	if progress && w.cli.watched() {
		stop = w.progress(moved)
	}
	if w.copy.From {
		err = filecopy.Receive(filecopy.NewReader(io.TeeReader(t, io.MultiWriter(moved, tally)), filecopy.Limits{Bytes: w.limit}), dir, name, w.copy.Tree)
	} else {
		out := io.MultiWriter(tally, moved, t)
		if bound != nil {
			_, err = out.Write(bound)
		} else {
			err = filecopy.Send(out, dir, name, w.copy.Tree, w.note)
		}
		if err == nil {
			err = closeWrite(t)
		}
	}
	err = ended(t, w.target, last, err)
	stop()
	if ctx.Err() != nil {
		err = errors.New("interrupted; what was copied whole is there, start again for the rest")
	}
	rep, terr := tally.Report()
	if err == nil {
		err = terr
	}
	return rep, err
}

func (w *work) note(s string) { w.cli.say("%s", s) }

// A counter counts what passes.
type counter struct{ n atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// progress shows how far it is, until stop is called.
func (w *work) progress(c *counter) (stop func()) {
	end, gone := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(gone)
		tick := time.NewTicker(progressIn)
		defer tick.Stop()
		shown := false
		for {
			select {
			case <-end:
				if shown {
					fmt.Fprint(w.cli.Err, "\r\x1b[K")
				}
				return
			case <-tick.C:
				n := c.n.Load()
				fmt.Fprintf(w.cli.Err, "\r\x1b[K%s %s, %s/s", sanitize.Clean(filepath.Base(w.local)), size(n), size(int64(float64(n)/time.Since(began).Seconds())))
				shown = true
			}
		}
	}()
	return func() { close(end); <-gone }
}
