package e2e

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdForwards has a machine lead a port of this device to a server of the test's, which
// says GREETING and then back what it hears: forwards TARGET GREETING. With ! nothing
// must come through.
func cmdForwards(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: forwards TARGET GREETING")
	}
	greeting := args[1]
	server, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.WriteString(c, greeting)
				io.Copy(c, c)
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(server.Addr().String())
	cmd := exec.Command(program, "forward", "0:localhost:"+port, args[0], "--json")
	cmd.Env = append(os.Environ(), "TUCDESK_HOME="+ts.Getenv("TUCDESK_HOME"))
	errs, err := os.Create(ts.MkAbs("forward-stderr"))
	ts.Check(err)
	defer errs.Close()
	cmd.Stderr = errs
	said := func() string { return ts.ReadFile(errs.Name()) }
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	late := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer late.Stop()
	var at struct{ Listening string }
	if err := json.NewDecoder(out).Decode(&at); err != nil {
		cmd.Wait()
		ts.Fatalf("forward: %v: %s", err, said())
	}
	for range 2 { // connections of one session
		conn, err := net.Dial("tcp", at.Listening)
		ts.Check(err)
		conn.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(conn, " and back")
		conn.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(conn)
		conn.Close()
		if want := greeting + " and back"; string(got) != want && !neg || neg && len(got) > 0 {
			ts.Fatalf("%q came through, of %q: %s", got, want, said())
		}
	}
	for until := time.Now().Add(30 * time.Second); neg && !strings.Contains(said(), "SSH"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			ts.Fatalf("it does not say why: %s", said())
		}
	}
	cmd.Process.Signal(os.Interrupt)
	go io.Copy(io.Discard, out)
	cmd.Wait()
}
