package host

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/audit"
	"github.com/tucdesk/tucdesk/internal/channel"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/filecopy"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/tunnel"
)

// errandPolicy lets alice copy below a folder, forward to one port, and go to sshd by
// approval.
const errandPolicy = `version: 1
mode: allowlist
allowlist:
  - name: files
    members: ["role:sre"]
    targets: {tags: {env: staging}}
    sessions: [copy]
    as: [%[1]s, nobody]
    copies: {from: ["%[2]s/*"], to: ["%[2]s/in/*"]}
  - name: ports
    members: ["role:sre"]
    targets: {tags: {env: staging}}
    sessions: [forward]
    as: [%[1]s]
    forwards: ["%[3]s", "localhost:*"]
  - name: ssh
    members: ["role:sre"]
    targets: {tags: {env: staging}}
    sessions: [proxy]
    as: [%[1]s]
    forwards: ["%[3]s"]
    hold: {approvers: ["role:approver"]}
gate: none
`

// listening serves each connection by serve.
func listening(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

// carried is the operator's end of a channel of bytes, with what else came.
type carried struct {
	ch     *channel.Channel
	stderr string
	exit   channel.Exit
	rest   []byte
}

// Read gives what comes on stdout.
func (c *carried) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		f, err := c.ch.ReadFrame()
		if err != nil {
			return 0, err
		}
		switch f.Type {
		case channel.FrameStdout:
			c.rest = bytes.Clone(f.Payload)
		case channel.FrameStderr:
			c.stderr += string(f.Payload)
		case channel.FrameEOF:
			return 0, io.EOF
		case channel.FrameExit:
			c.exit, err = f.Exit()
			if err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// ended reads to the exit.
func (c *carried) ended() *carried {
	for c.exit == (channel.Exit{}) {
		f, err := c.ch.ReadFrame()
		if err != nil {
			return c
		}
		switch f.Type {
		case channel.FrameStderr:
			c.stderr += string(f.Payload)
		case channel.FrameExit:
			c.exit, _ = f.Exit()
			return c
		}
	}
	return c
}

func TestErrands(t *testing.T) {
	echo := listening(t, func(c net.Conn) { io.Copy(c, c) })
	sshd := listening(t, func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); io.Copy(io.Discard, c) })
	w := newWorld(t)
	w.errand = []string{errandArg}
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	w.must(os.MkdirAll(filepath.Join(dir, "in"), 0o777))
	w.must(os.Chmod(filepath.Join(dir, "in"), 0o777))
	w.must(os.WriteFile(filepath.Join(dir, "a"), []byte("content"), 0o640))
	w.must(os.WriteFile(filepath.Join(dir, "secret"), []byte("root's"), 0o600))
	w.must(os.Symlink("/etc", filepath.Join(dir, "link")))
	w.setPolicy(fmt.Sprintf(errandPolicy, w.user, dir, echo))
	w.start()

	mine := t.TempDir()
	root, err := os.OpenRoot(mine)
	w.must(err)
	defer root.Close()
	w.must(os.WriteFile(filepath.Join(mine, "up"), []byte(strings.Repeat("upward\n", 20_000)), 0o751))

	from := func(path, as string) (*carried, end, error) {
		var c *carried
		var got error
		e := w.try(attempt{kind: "copy", as: as, argv: []string{"from", path}, drive: func(_ *channel.Mux, ch *channel.Channel) {
			c = &carried{ch: ch}
			got = filecopy.Receive(filecopy.NewReader(c, filecopy.Limits{}), root, "down", false)
			c.ended()
		}})
		return c, e, got
	}
	to := func(path string, send func(*channel.Channel) error) (*carried, end) {
		var c *carried
		e := w.try(attempt{kind: "copy", as: "nobody", argv: []string{"to", path}, stdin: token.StdinStream, drive: func(_ *channel.Mux, ch *channel.Channel) {
			c = &carried{ch: ch}
			if send(ch) == nil {
				ch.CloseWrite()
			}
			c.ended()
		}})
		return c, e
	}

	// A file down, and up as another account, whose file it becomes.
	c, e, err := from(filepath.Join(dir, "a"), w.user)
	if err != nil || c.exit.Code != 0 || e.answer.Gate != "none" || e.answer.Recording != "on" {
		t.Fatalf("%v, %+v, %+v\n%s", err, c, e, w.logs)
	}
	if b, _ := os.ReadFile(filepath.Join(mine, "down")); string(b) != "content" {
		t.Fatalf("%q", b)
	}
	other := os.Geteuid() == 0
	if other {
		c, e = to(filepath.Join(dir, "in/up"), func(ch *channel.Channel) error { return filecopy.Send(ch, root, "up", false, nil) })
		st, err := os.Stat(filepath.Join(dir, "in/up"))
		if err != nil || c.exit.Code != 0 || st.Size() != 140_000 || st.Mode() != 0o751 {
			t.Fatalf("%v, %+v, %+v\n%s", err, c, e, w.logs)
		}
		// With that account's rights, and no others.
		if c, _, err := from(filepath.Join(dir, "secret"), "nobody"); err == nil || c.exit.Code == 0 || !strings.Contains(c.stderr, "permission denied") {
			t.Errorf("a file of root's was read as nobody: %v, %+v", err, c)
		}
	}
	// No link on the way, nothing that policy does not name, and no way around its names.
	if c, _, err := from(filepath.Join(dir, "link/passwd"), w.user); err == nil || !strings.Contains(c.stderr, "symbolic link to \"/etc\"") {
		t.Errorf("through a link: %v, %+v", err, c)
	}
	for path, want := range map[string]string{
		"/etc/hostname":          "`copies` does not name this path",
		dir + "/../etc/hostname": "neither . nor ..",
		"etc/hostname":           "a path on a target is absolute",
		"~/x":                    "`copies` does not name this path",
	} {
		if _, e, _ := from(path, w.user); e.answer.Allowed() || !strings.Contains(e.answer.Reason, want) {
			t.Errorf("%s: %+v", path, e.answer)
		}
	}
	// A stream that lies about a size, or goes the wrong way, ends before anything is there.
	if other {
		c, _ = to(filepath.Join(dir, "in/bad"), func(ch *channel.Channel) error {
			_, err := ch.Write(append([]byte("TDC1\x02\x01\xa4\x00\x00\xff\xff\xff\xff"), make([]byte, 64)...))
			return err
		})
		if c.exit.Code == 0 || !strings.Contains(c.exit.Reason, "not a copy") {
			t.Errorf("%+v", c)
		}
		if left, _ := os.ReadDir(filepath.Join(dir, "in")); len(left) != 1 {
			t.Errorf("left: %v", left)
		}
	}

	// Forwards: several connections of one session, each judged and on its own.
	forward := func(dest string, drive func(*channel.Mux, *channel.Channel)) end {
		return w.try(attempt{kind: "forward", as: w.user, argv: []string{dest}, stdin: token.StdinStream, drive: drive})
	}
	say := func(ch *channel.Channel, text string) (string, *carried) {
		c := &carried{ch: ch}
		if err := tunnel.Connect(struct {
			io.Reader
			io.Writer
		}{c, ch}); err != nil {
			return "", c.ended()
		}
		go func() {
			io.WriteString(ch, text)
			ch.CloseWrite()
		}()
		b, _ := io.ReadAll(c)
		return string(b), c.ended()
	}
	e = forward(echo, func(mux *channel.Mux, ch *channel.Channel) {
		if got, c := say(ch, "one"); got != "one" || c.exit.Code != 0 {
			t.Errorf("%q, %+v\n%s", got, c, w.logs)
		}
		again, err := mux.Open(t.Context(), ch.Request())
		w.must(err)
		if a, err := again.AwaitAnswer(t.Context()); err != nil || !a.Allowed() {
			t.Fatalf("%+v, %v", a, err)
		}
		if got, _ := say(again, "two"); got != "two" {
			t.Errorf("%q", got)
		}
	})
	if e.answer.Gate != "none" || e.answer.Recording != "off" {
		t.Errorf("%+v", e.answer)
	}
	for dest, want := range map[string]string{
		"127.0.0.1:1":        "must be spelled out",
		"localhost:22":       "port 22 is sshd's",
		"169.254.169.254:80": "must be spelled out",
		"db.internal:80":     "`forwards` does not name",
	} {
		if e := forward(dest, nil); e.answer.Allowed() || !strings.Contains(e.answer.Reason, want) {
			t.Errorf("%s: %+v", dest, e.answer)
		}
	}
	// Whatever its port, what speaks SSH is no forward: neither end gets its first bytes.
	_, port, _ := net.SplitHostPort(sshd)
	for _, text := range []string{"", "SSH-2.0-mine\r\n"} {
		forward("localhost:"+port, func(_ *channel.Mux, ch *channel.Channel) {
			if got, c := say(ch, text); got != "" || !strings.Contains(c.exit.Reason, "speaks SSH") {
				t.Errorf("%q, %+v", got, c)
			}
		})
	}
	// A proxy is its own kind, held here; one approval, one connection.
	proxy := attempt{kind: "proxy", as: w.user, argv: []string{echo}, stdin: token.StdinStream}
	if e := w.try(proxy); e.answer.Allowed() || e.answer.Effect != "hold" {
		t.Errorf("%+v", e.answer)
	}
	proxy.approve = w.approvedBy(w.bob)
	proxy.drive = func(mux *channel.Mux, ch *channel.Channel) {
		if got, _ := say(ch, "SSH-2.0-mine"); got != "SSH-2.0-mine" {
			t.Errorf("%q\n%s", got, w.logs)
		}
		again, err := mux.Open(t.Context(), ch.Request())
		w.must(err)
		if a, err := again.AwaitAnswer(t.Context()); err != nil || a.Allowed() {
			t.Errorf("a second connection of a proxy: %+v, %v", a, err)
		}
	}
	if e := w.try(proxy); !e.answer.Allowed() {
		t.Errorf("%+v", e.answer)
	}
	w.errandEvidence(filepath.Join(dir, "a"), echo)
}

// errandEvidence looks at what the audit log has of TestErrands.
func (w *world) errandEvidence(path, dest string) {
	w.t.Helper()
	seen := map[string]int{}
	for _, e := range w.evidence() {
		words := ""
		if plain, err := w.auditor.Open(e.Command.Sealed, filecopy.MaxReport); err == nil {
			if c, err := unmarshalCommand(plain); err == nil {
				words = strings.Join(c.Argv, " ")
			} else if rep, err := filecopy.ParseReport(plain); err == nil && len(rep.Files) > 0 {
				words = fmt.Sprintf("%d %x", rep.Files[0].Size, rep.Files[0].SHA256[:4])
			}
		}
		reason := e.Outcome.Reason
		if e.Type == audit.Refusal {
			reason, _, _ = strings.Cut(reason, ":")
		}
		if strings.Contains(reason, path) || strings.Contains(reason, dest) {
			w.t.Errorf("the words stand open: %s", reason)
		}
		seen[fmt.Sprintf("%s %s [%s] %s", e.Type, e.Action, words, reason)]++
	}
	want := map[string]int{
		"exec exit [7 ed7002b4] 1 files and directories, 7 bytes": 1,
		"exec exit [] 3 bytes out, 3 bytes in":                    2,
		"refusal forward [127.0.0.1:1] policy":                    1,
		"refusal forward [localhost:22] policy":                   1,
		"refusal copy [from /etc/hostname] policy":                1,
	}
	for what, n := range want {
		if seen[what] != n {
			w.t.Errorf("%d of %q", seen[what], what)
		}
	}
	if w.t.Failed() {
		for what, n := range seen {
			w.t.Logf("%d %s", n, what)
		}
	}
}

func unmarshalCommand(b []byte) (c token.Command, err error) {
	err = envelope.Unmarshal(b, &c)
	return c, err
}
