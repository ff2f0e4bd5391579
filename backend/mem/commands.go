package mem

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tucdesk/tucdesk/backend"
)

// command returns what a request runs. One that does not exist is a
// program that says so and ends with 127, as a shell does.
func (w *World) command(req backend.OpenRequest) command {
	if req.Kind == backend.KindShell {
		return w.shell
	}
	if p := w.commands[req.Argv[0]]; p != nil {
		return p
	}
	return func(p *process) int {
		fmt.Fprintf(p.Stderr, "%+q: command not found\r\n", p.Argv[0])
		return 127
	}
}

// builtins are the commands that exist in every world.
func builtins() map[string]command {
	return map[string]command{
		"cat":     cat,
		"echo":    echo,
		"exit":    exit,
		"flood":   flood,
		"restart": restart,
		"size":    size,
		"uname":   func(p *process) int { return echo(&process{Argv: []string{"echo", "mem"}, Stdout: p.Stdout}) },
		"uptime": func(p *process) int {
			return echo(&process{Argv: []string{"echo", "up for as long as this window"}, Stdout: p.Stdout})
		},
	}
}

// cat copies its input to its output.
func cat(p *process) int {
	if _, err := io.Copy(p.Stdout, p.Stdin); err != nil {
		return 1
	}
	return 0
}

// echo prints its arguments.
func echo(p *process) int {
	if _, err := fmt.Fprintf(p.Stdout, "%s\r\n", strings.Join(p.Argv[1:], " ")); err != nil {
		return 1
	}
	return 0
}

// exit ends with the code it is given.
func exit(p *process) int {
	if len(p.Argv) != 2 {
		return 0
	}
	code, err := strconv.ParseUint(p.Argv[1], 10, 8)
	if err != nil {
		return 2
	}
	return int(code)
}

// flood prints as many numbered lines as it is told.
func flood(p *process) int {
	n := 1000
	if len(p.Argv) == 2 {
		n, _ = strconv.Atoi(p.Argv[1])
	}
	out := bufio.NewWriter(p.Stdout)
	for i := range n {
		if _, err := fmt.Fprintf(out, "%8d the quick brown fox jumps over the lazy dog\r\n", i); err != nil {
			return 1
		}
	}
	if out.Flush() != nil {
		return 1
	}
	return 0
}

// restart stands for a command that people hold.
func restart(p *process) int {
	if _, err := fmt.Fprintf(p.Stdout, "restarted %s\r\n", strings.Join(p.Argv[1:], " ")); err != nil {
		return 1
	}
	return 0
}

// size prints rows and columns for each line that it reads.
func size(p *process) int {
	in := bufio.NewReader(p.Stdin)
	for {
		if _, err := in.ReadString('\n'); err != nil {
			return 0
		}
		cols, rows := p.Size()
		if _, err := fmt.Fprintf(p.Stdout, "%d %d\r\n", rows, cols); err != nil {
			return 1
		}
	}
}

// shell reads lines with echo and backspace, and runs builtins by words
// between blanks.
func (w *World) shell(p *process) int {
	in := bufio.NewReader(p.Stdin)
	for {
		if _, err := fmt.Fprintf(p.Stdout, "%s@%s$ ", p.Member, p.Target); err != nil {
			return 1
		}
		line, err := readLine(in, p.Stdout)
		if err != nil {
			return 0
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if words[0] == "exit" {
			return exit(&process{Argv: words})
		}
		run := w.commands[words[0]]
		if run == nil {
			fmt.Fprintf(p.Stdout, "%+q: command not found\r\n", words[0])
			continue
		}
		if words[0] == "cat" || words[0] == "size" {
			fmt.Fprintf(p.Stdout, "%s reads its input: it only runs by itself here\r\n", words[0])
			continue
		}
		run(&process{Argv: words, Member: p.Member, Target: p.Target, TTY: true, Stdin: in, Stdout: p.Stdout, Stderr: p.Stdout, term: p.term})
	}
}

// maxLine bounds a line of the shell; more is dropped.
const maxLine = 4096

// readLine is a terminal's line discipline in small: echo, backspace, ctrl+c
// and ctrl+d. Escape sequences are not shown.
func readLine(in *bufio.Reader, out io.Writer) (string, error) {
	var line []byte
	for {
		c, err := in.ReadByte()
		if err != nil {
			return "", err
		}
		echo := []byte{c}
		switch {
		case c == '\r' || c == '\n':
			_, err = out.Write([]byte("\r\n"))
			return string(line), err
		case c == 3:
			line, echo = nil, []byte("^C\r\n$ ")
		case c == 4 && len(line) == 0:
			return "", io.EOF
		case c == 0x7f || c == 8:
			echo = nil
			if len(line) > 0 {
				_, n := utf8.DecodeLastRune(line)
				line, echo = line[:len(line)-n], []byte("\b \b")
			}
		case c == 0x1b:
			echo = nil
			skipEscape(in)
		case c < 0x20 || len(line) >= maxLine:
			echo = nil
		default:
			line = append(line, c)
			// What is buffered belongs to the same write: echo it at once.
			if rest, _ := in.Peek(min(in.Buffered(), maxLine-len(line))); len(rest) > 0 {
				n := bytes.IndexFunc(rest, func(r rune) bool { return r < 0x20 || r == 0x7f })
				if n < 0 {
					n = len(rest)
				}
				line, echo = append(line, rest[:n]...), append(echo, rest[:n]...)
				in.Discard(n)
			}
		}
		if len(echo) > 0 {
			if _, err := out.Write(echo); err != nil {
				return "", err
			}
		}
	}
}

// skipEscape drops the rest of a CSI sequence that is buffered already.
func skipEscape(in *bufio.Reader) {
	if in.Buffered() == 0 {
		return
	}
	if c, _ := in.ReadByte(); c != '[' {
		return
	}
	for in.Buffered() > 0 {
		if c, _ := in.ReadByte(); c >= 0x40 && c <= 0x7e {
			return
		}
	}
}
