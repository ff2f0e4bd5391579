package teletype

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// run starts a program, types, and gives all that was shown.
func run(t *testing.T, p Program, typed ...string) (shown string, code int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		term := Start(t.Context(), p)
		out := make(chan string)
		go func() {
			b, _ := io.ReadAll(term)
			out <- string(b)
		}()
		for _, s := range typed {
			synctest.Wait()
			if n, err := term.Write([]byte(s)); n != len(s) || err != nil {
				t.Errorf("Write(%q) = %d, %v", s, n, err)
			}
		}
		shown = <-out
		exit, err := term.Wait()
		if err != nil {
			t.Error(err)
		}
		code = exit.Code
		if err := term.Close(); err != nil {
			t.Error(err)
		}
	})
	return shown, code
}

func greet(_ context.Context, in io.Reader, out io.Writer) (int, error) {
	fmt.Fprint(out, "who?\n> ")
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		return 2, fmt.Errorf("no name: %w", err)
	}
	fmt.Fprintf(out, "hello %s", line)
	return 3, nil
}

func TestLines(t *testing.T) {
	for _, tc := range []struct {
		typed []string
		shown string
		code  int
	}{
		{[]string{"bob\r"}, "who?\r\n> bob\r\nhello bob\r\n", 3},
		{[]string{"b", "x\x7f", "\x1bob\r"}, "who?\r\n> bx\b \bob\r\nhello bob\r\n", 3},
		{[]string{"żó\x15bob\r", "more\r"}, "who?\r\n> żó\b \b\b \bbob\r\nhello bob\r\n", 3},
		{[]string{"\x04"}, "who?\r\n> no name: EOF\r\n", 2},
		{[]string{"\x7f\x03"}, "who?\r\n> ^C\r\nno name: context canceled\r\n", 2},
	} {
		if shown, code := run(t, greet, tc.typed...); shown != tc.shown || code != tc.code {
			t.Errorf("%q shows %q and ends with %d, want %q and %d", tc.typed, shown, code, tc.shown, tc.code)
		}
	}
}

func TestCloseEndsTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term := Start(t.Context(), func(ctx context.Context, in io.Reader, out io.Writer) (int, error) {
			for {
				if _, err := fmt.Fprint(out, strings.Repeat("x", 1000)); err != nil {
					break
				}
			}
			_, err := io.ReadAll(in)
			return 1, errors.Join(err, ctx.Err())
		})
		if err := term.Close(); err != nil {
			t.Error(err)
		}
		if exit, _ := term.Wait(); exit.Code != 1 {
			t.Errorf("%+v", exit)
		}
	})
}
