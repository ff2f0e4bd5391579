package tunnel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/policy/reach"
)

func dest(t testing.TB, s string) reach.Dest {
	t.Helper()
	d, err := reach.ParseDest(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// echo is a server that says back what it hears, then bye, once the other side has ended.
func echo(t *testing.T) string {
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
				io.Copy(c, c)
				io.WriteString(c, "bye")
			}()
		}
	}()
	return l.Addr().String()
}

// pair gives an operator's stream to a Serve, and what that returned.
func pair(t *testing.T, d reach.Dest, o Dialer) (io.Reader, *io.PipeWriter, <-chan error) {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := Serve(t.Context(), inR, outW, d, o)
		outW.Close()
		done <- err
	}()
	return outR, inW, done
}

func TestServe(t *testing.T) {
	out, in, done := pair(t, dest(t, echo(t)), Dialer{})
	if err := Connect(struct {
		io.Reader
		io.Writer
	}{out, in}); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("all bytes\x00\xff", 10_000)
	go func() {
		io.WriteString(in, text)
		in.Close()
	}()
	b, err := io.ReadAll(out)
	if err != nil || string(b) != text+"bye" || <-done != nil {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
}

func TestNotConnected(t *testing.T) {
	touched := Dialer{Dial: func(context.Context, string) (net.Conn, error) { t.Error("connected"); return nil, errors.New("no") }}
	out, in, done := pair(t, dest(t, "10.0.0.1:1"), touched)
	in.Close()
	if b, _ := io.ReadAll(out); len(b) > 0 || <-done != nil {
		t.Errorf("not needed: %q", b)
	}
	out, in, done = pair(t, dest(t, "10.0.0.1:1"), touched)
	go io.WriteString(in, "GET /")
	if b, _ := io.ReadAll(out); len(b) > 0 || !errors.Is(<-done, ErrProtocol) {
		t.Errorf("another first byte: %q", b)
	}
}

// Whoever answers for a name can't lead it to the machine itself, its link or a metadata
// service, also not as one address of several.
func TestRebinding(t *testing.T) {
	for _, test := range []struct {
		dest, at string
		want     string // connected to; "": refused
	}{
		{"db.internal:5432", "10.0.0.9", "10.0.0.9:5432"},
		{"db.internal:5432", "127.0.0.1", ""},
		{"db.internal:5432", "10.0.0.9 127.0.0.1", ""},
		{"db.internal:5432", "::ffff:169.254.169.254", ""},
		{"db.internal:5432", "fd00:ec2::254", ""},
		{"metadata.google.internal:80", "169.254.169.254", ""},
		{"localhost:80", "127.0.0.1", "127.0.0.1:80"},
		{"169.254.169.254:80", "", "169.254.169.254:80"},
		{"[::1]:80", "", "[::1]:80"},
	} {
		got := ""
		_, err := Dialer{
			Lookup: func(_ context.Context, host string) (all []netip.Addr, _ error) {
				for a := range strings.FieldsSeq(test.at) {
					all = append(all, netip.MustParseAddr(a))
				}
				return all, nil
			},
			Dial: func(_ context.Context, address string) (net.Conn, error) {
				got = address
				c, _ := net.Pipe()
				return c, nil
			},
		}.Open(t.Context(), dest(t, test.dest))
		if got != test.want || test.want == "" && !errors.Is(err, ErrSpecial) {
			t.Errorf("%s at %s: %q, %v", test.dest, test.at, got, err)
		}
	}
}

func TestSSH(t *testing.T) {
	for in, want := range map[string]bool{
		"\x01SSH-2.0-OpenSSH": true, "\x00SSH-1.99": true, "\x01SSH": false, "SSH-2.0": false, "\x01HTTP/1.1 SSH-": false, "\x01 SSH-": false, "": false,
	} {
		whole, single := SSH{}, SSH{}
		found := false
		for _, b := range []byte(in) {
			found = single.Seen([]byte{b}) || found
		}
		if got := whole.Seen([]byte(in)); got != want || found != want {
			t.Errorf("%q: %t, byte by byte %t", in, got, found)
		}
	}
}

// However the bytes are cut, the same is found.
func FuzzSSH(f *testing.F) {
	f.Add([]byte("\x01SSH-2.0"), 3)
	f.Add([]byte("\x00220 hello"), 1)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		if at < 0 || at > len(b) {
			return
		}
		var s SSH
		found := s.Seen(b[:at])
		found = s.Seen(b[at:]) || found
		if want := len(b) > 4 && bytes.Equal(b[1:5], []byte(version)); found != want {
			t.Fatalf("%q at %d: %t", b, at, found)
		}
	})
}
