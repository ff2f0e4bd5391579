package carrier

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// ErrProxy means a proxy that can't be used, or that does not let us through.
var ErrProxy = errors.New("carrier: proxy")

const (
	// proxyTime bounds what a proxy may take to connect.
	proxyTime = 10 * time.Second
	// maxHead bounds what it says before, in bytes.
	maxHead = 16 << 10
)

// through opens a stream to hostPort by the CONNECT method (RFC 9110, 9.3.6).
func (d *Dialer) through(ctx context.Context, proxy *url.URL, hostPort string) (net.Conn, error) {
	at := proxy.Host
	port := map[string]string{"http": "80", "https": "443"}[proxy.Scheme]
	if port == "" {
		return nil, fmt.Errorf("%w: the scheme of %s must be http or https", ErrProxy, at)
	}
	if proxy.Port() == "" {
		at = net.JoinHostPort(proxy.Hostname(), port)
	}
	c, err := dialTCP(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProxy, err)
	}
	if proxy.Scheme == "https" {
		if c, err = (&Dialer{}).secure(ctx, c, proxy.Hostname()); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrProxy, err)
		}
	}
	if err := ask(ctx, c, proxy.User, hostPort); err != nil {
		c.Close()
		return nil, fmt.Errorf("%w: %s: %w", ErrProxy, at, err)
	}
	return c, nil
}

// ask has the proxy at the other end of c connect to hostPort.
func ask(ctx context.Context, c net.Conn, user *url.Userinfo, hostPort string) error {
	until := time.Now().Add(proxyTime)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	if err := c.SetDeadline(until); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req := &http.Request{Method: "CONNECT", URL: &url.URL{Opaque: hostPort}, Host: hostPort, Header: http.Header{"User-Agent": {"tucdesk"}}}
	if user != nil {
		password, _ := user.Password()
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(user.Username(), password)
		req.Header.Set("Proxy-Authorization", r.Header.Get("Authorization"))
	}
	if err := req.Write(c); err != nil {
		return err
	}
	b := bufio.NewReader(io.LimitReader(c, maxHead))
	resp, err := http.ReadResponse(b, req)
	if err != nil {
		return errors.New("it does not answer like a proxy") // its text is not ours to show
	}
	switch {
	case resp.StatusCode == http.StatusProxyAuthRequired:
		return errors.New("it wants a name and a password; put them into HTTPS_PROXY: http://name:password@host:port")
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("it does not connect to %s (status %d)", hostPort, resp.StatusCode)
	case b.Buffered() > 0:
		return errors.New("it speaks before the relay can have") // TURN's clients speak first
	}
	if !stop() {
		return context.Cause(ctx)
	}
	return c.SetDeadline(time.Time{})
}
