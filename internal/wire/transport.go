package wire

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

const (
	callTimeout   = 30 * time.Second // one request and its answer, beyond what it was asked to wait
	exportTimeout = 30 * time.Minute
	maxExport     = 16 << 30 // bytes
)

// ErrPlainHTTP means a plain http URL that leads beyond this machine.
var ErrPlainHTTP = errors.New("wire: plain http is for loopback only; use an https URL")

// ParseBase reads the base URL of a server: a scheme and a host, no path, query,
// fragment or user. Plain http is ErrPlainHTTP beyond loopback.
func ParseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("wire: not a URL: %w", err)
	}
	if u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("wire: %q: want https://host[:port] and nothing more", u.Redacted())
	}
	switch u.Scheme {
	case "https":
	case "http":
		if !loopback(u.Hostname()) {
			return nil, fmt.Errorf("%w: %s", ErrPlainHTTP, u.Redacted())
		}
	default:
		return nil, fmt.Errorf("wire: %q: the scheme must be https", u.Redacted())
	}
	u.Path = ""
	return u, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// httpClient makes a copy of base, or a new client, that follows no redirect: a
// signed request is for the URL it was signed for.
func httpClient(base *http.Client) *http.Client {
	c := http.Client{}
	if base != nil {
		c = *base
	} else {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
		t.ResponseHeaderTimeout = callTimeout + MaxWait*time.Second
		t.MaxResponseHeaderBytes = 64 << 10
		c.Transport = t
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// A call is one request, before it is signed.
type call struct {
	base   *url.URL
	method string
	path   string
	query  url.Values
	in     any           // JSON body; nil: none
	raw    []byte        // a body of bytes instead
	out    any           // pointer for the JSON answer; nil: ignored
	wait   time.Duration // that the server was asked to wait before it answers
	open   bool          // needs no token

	lastEvent token.ID // of a stream of events that goes on
}

// url is what is signed; with the query when withQuery is set.
func (c *call) url(withQuery bool) string {
	u := *c.base
	u.Path = c.path
	if withQuery {
		u.RawQuery = c.query.Encode()
	}
	return u.String()
}

// body gives the request's body and its SHA-256.
func (c *call) body() ([]byte, [sha256.Size]byte, error) {
	if c.raw != nil {
		return c.rawBody()
	}
	if c.in == nil {
		return nil, sha256.Sum256(nil), nil
	}
	b, err := json.Marshal(c.in)
	if err != nil {
		return nil, [sha256.Size]byte{}, fmt.Errorf("wire: encode %T: %w", c.in, err)
	}
	if len(b) > MaxBody {
		return nil, [sha256.Size]byte{}, NewProblem(KindTooLarge, fmt.Sprintf("the request has %d bytes, at most %d", len(b), MaxBody), "send less at once")
	}
	return b, sha256.Sum256(b), nil
}

// send makes the request with the given headers and gives the answer, whatever
// its status. The caller closes its body.
func (c *call) send(ctx context.Context, client *http.Client, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url(true), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	req.Header = header
	req.Header.Set("Accept", "application/json, application/octet-stream, "+ContentTypeEvents+", "+ContentTypeProblem)
	req.Header.Set("User-Agent", "tucdesk")
	if !c.lastEvent.IsZero() {
		req.Header.Set(HeaderLastEvent, c.lastEvent.String())
	}
	switch {
	case c.raw != nil:
		req.Header.Set("Content-Type", "application/octet-stream")
	case body != nil:
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, noAnswer(c.base.Host, err)
	}
	return resp, nil
}

// ask sends a call through do and gives its answer, the zero T with an error.
func ask[T any](ctx context.Context, do func(context.Context, *call) error, k *call) (T, error) {
	var out T
	k.out = &out
	if err := do(ctx, k); err != nil {
		var none T
		return none, err
	}
	return out, nil
}

func rosterQuery(after uint64) url.Values {
	return url.Values{"after": {strconv.FormatUint(after, 10)}}
}

// noAnswer is the problem of a request that got no answer.
func noAnswer(host string, err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err // without the URL: it is in the problem
	}
	p := NewProblem(KindUnavailable, fmt.Sprintf("no answer from %s: %v", host, err), "try again; tucdesk doctor tells more")
	p.wrapped = err
	return p
}

// finish reads a bounded answer into c.out, or gives its problem.
func (c *call) finish(resp *http.Response) error {
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	if err != nil {
		return noAnswer(c.base.Host, err)
	}
	if len(b) > MaxAnswer {
		return NewProblem(KindUnavailable, fmt.Sprintf("the answer of %s is longer than %d bytes", c.base.Host, MaxAnswer), "ask for less at once")
	}
	if resp.StatusCode/100 != 2 {
		return problemOf(resp, b)
	}
	if c.out == nil {
		return nil
	}
	if err := strict.Decode(b, c.out); err != nil {
		p := NewProblem(KindUnavailable, fmt.Sprintf("%s does not answer like the server of this version: %v", c.base.Host, err), "check the URL and the versions of both sides")
		p.wrapped = err
		return p
	}
	return nil
}

// problemOf reads the problem of a refused request. An answer that is not a
// problem of ours, such as a proxy's page, becomes one by its status alone; its
// text is not taken over.
func problemOf(resp *http.Response, body []byte) error {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p ProblemError
	if mediaType == ContentTypeProblem && strict.Decode(body, &p) == nil && p.Status == resp.StatusCode && p.Kind() != KindInternal {
		return &p
	}
	kind := KindInternal
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		kind = KindUnauthenticated
	case http.StatusForbidden:
		kind = KindDenied
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		kind = KindNotFound
	case http.StatusConflict:
		kind = KindConflict
	case http.StatusGone:
		kind = KindExpired
	case http.StatusRequestEntityTooLarge:
		kind = KindTooLarge
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		kind = KindMalformed
	case http.StatusTooManyRequests:
		kind = KindTooMany
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		kind = KindUnavailable
	}
	return NewProblem(kind, fmt.Sprintf("%s answered with status %d", resp.Request.URL.Host, resp.StatusCode), "")
}
