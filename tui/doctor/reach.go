package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/tucdesk/tucdesk/internal/wire"
)

// maxHeader bounds the header of an answer, in bytes.
const maxHeader = 64 << 10

// reached is what one unsigned request tells about the way to a server. Nothing in it
// is proved beyond what TLS proves.
type reached struct {
	RTT         time.Duration
	Date        time.Time         // of the answer, to the second; zero if it names none
	Certificate *x509.Certificate // nil over plain http
	Status      int
}

// reach asks a server for anything at all, by a client from [wire.Pinned], to see
// whether and how it is reached. Any HTTP answer is a success. ctx bounds it.
func reach(ctx context.Context, client *http.Client, base string) (reached, error) {
	u, err := wire.ParseBase(base)
	if err != nil {
		return reached{}, err
	}
	req, err := http.NewRequestWithContext(ctx, "GET", u.String()+"/", nil)
	if err != nil {
		return reached{}, fmt.Errorf("doctor: %w", err)
	}
	var c http.Client
	if client != nil {
		c = *client
	} else {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxResponseHeaderBytes = maxHeader
		defer t.CloseIdleConnections()
		c.Transport = t
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	began := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err // without the URL
		}
		return reached{}, fmt.Errorf("%w: no answer from %s: %w", wire.ErrUnavailable, u.Host, err)
	}
	defer resp.Body.Close()
	r := reached{RTT: time.Since(began), Status: resp.StatusCode}
	io.Copy(io.Discard, io.LimitReader(resp.Body, wire.MaxBody))
	if d, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.Date = d
	}
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		r.Certificate = resp.TLS.PeerCertificates[0]
	}
	return r, nil
}
