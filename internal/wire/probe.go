package wire

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A Reached is what one unsigned request tells about the way to a server. Nothing
// in it is proved beyond what TLS proves.
type Reached struct {
	RTT         time.Duration
	Date        time.Time         // of the answer, to the second; zero if it names none
	Certificate *x509.Certificate // nil over plain http
	Status      int
}

// Probe asks a server for anything at all, by a client from Pinned, to see whether
// and how it is reached. Any HTTP answer is a success.
func Probe(ctx context.Context, client *http.Client, base string) (Reached, error) {
	u, err := ParseBase(base)
	if err != nil {
		return Reached{}, err
	}
	req, err := http.NewRequestWithContext(ctx, "GET", u.String()+"/", nil)
	if err != nil {
		return Reached{}, fmt.Errorf("wire: %w", err)
	}
	began := time.Now()
	resp, err := httpClient(client).Do(req)
	if err != nil {
		return Reached{}, noAnswer(u.Host, err)
	}
	defer resp.Body.Close()
	r := Reached{RTT: time.Since(began), Status: resp.StatusCode}
	io.Copy(io.Discard, io.LimitReader(resp.Body, MaxBody))
	if d, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		r.Date = d
	}
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		r.Certificate = resp.TLS.PeerCertificates[0]
	}
	return r, nil
}
