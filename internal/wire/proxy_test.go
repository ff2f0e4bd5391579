package wire_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// TestProxies: what goes to apid and the rendezvous goes through the proxy that the
// environment names, with its password, which no error shows. The standard library
// reads the environment once in a process, so the test is one of its own.
func TestProxies(t *testing.T) {
	if os.Getenv("TUCDESK_TEST_PROXY") == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		asked := make(chan string, 10)
		go refuseAll(l, asked)
		cmd := exec.Command(os.Args[0], "-test.run=^TestProxies$", "-test.v")
		cmd.Env = append(os.Environ(), "TUCDESK_TEST_PROXY=1", "NO_PROXY=",
			"HTTPS_PROXY=http://alice:canary-password@"+l.Addr().String())
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "canary") {
			t.Fatalf("%v: %s", err, out)
		}
		close(asked)
		got := map[string]int{}
		for a := range asked {
			got[a]++
		}
		for _, want := range []string{"CONNECT apid.invalid:443 alice:canary-password", "CONNECT pinned.invalid:443 alice:canary-password", "CONNECT rendezvous.invalid:443 alice:canary-password"} {
			if got[want] != 1 {
				t.Errorf("%q: %d times; the proxy saw %v", want, got[want], got)
			}
		}
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(url string, client *http.Client) error {
		c, err := wire.NewClient(wire.Options{URL: url, Identity: id, HTTP: client})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Server(ctx)
		return err
	}
	api := ask("https://apid.invalid", nil)
	pinned := ask("https://pinned.invalid", wire.Pinned([]envelope.Hash{{1}}))
	signal := wire.DialAgent(ctx, wire.AgentOptions{URL: "https://rendezvous.invalid"}, nil)
	for _, err := range []error{api, pinned, signal} {
		if err == nil {
			t.Error("a proxy that refuses was an answer")
		}
		t.Log(err)
	}
}

// refuseAll notes what a proxy is asked, and says no.
func refuseAll(l net.Listener, asked chan<- string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err == nil {
			r := http.Request{Header: http.Header{"Authorization": req.Header["Proxy-Authorization"]}}
			name, password, _ := r.BasicAuth()
			asked <- req.Method + " " + req.Host + " " + name + ":" + password
			c.Write([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
		}
		c.Close()
	}
}
