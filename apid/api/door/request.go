package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

// A Request is one HTTP request after authentication, before its body is read.
type Request struct {
	Caller Caller
	HTTP   *http.Request
	body   []byte
}

// Number gives a query parameter that is a whole number.
func (r *Request) Number(name string, absent uint64) (uint64, error) {
	text := r.HTTP.URL.Query().Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, Malformed("the parameter "+name+" is not a number", "")
	}
	return n, nil
}

// Text gives a query parameter, empty when it is not there.
func (r *Request) Text(name string) string { return r.HTTP.URL.Query().Get(name) }

// ID gives the {id} of the path. What is no id names nothing.
func (r *Request) ID() (token.ID, error) {
	id, err := token.ParseID(r.HTTP.PathValue("id"))
	if err != nil {
		return token.ID{}, NotFound()
	}
	return id, nil
}

// Part gives a number of the path. What is none names nothing.
func (r *Request) Part(name string) (uint64, error) {
	n, err := strconv.ParseUint(r.HTTP.PathValue(name), 10, 32)
	if err != nil {
		return 0, NotFound()
	}
	return n, nil
}

// Get makes a route that has no body.
func Get[Out any](path string, serves Who, doc string, f func(context.Context, *Request) (Out, error)) Route {
	return Route{Method: "GET", Path: path, Who: serves, Doc: doc, out: reflect.TypeFor[Out](), serve: func(ctx context.Context, r *Request) (any, error) {
		if len(r.body) > 0 {
			return nil, Malformed("this route takes no body", "")
		}
		return f(ctx, r)
	}}
}

// Post makes a route that decodes its body strictly.
func Post[In, Out any](path string, serves Who, doc string, f func(context.Context, *Request, In) (Out, error)) Route {
	return Route{Method: "POST", Path: path, Who: serves, Doc: doc, in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), serve: func(ctx context.Context, r *Request) (any, error) {
		var in In
		if err := strict.Decode(r.body, &in); err != nil {
			return nil, Malformed(err.Error(), "update the client; /v1/openapi.json describes the body")
		}
		return f(ctx, r, in)
	}}
}

// Put makes a route that takes a body of bytes, at most limit of them. It serves
// agents only: the body is read after its signature was checked.
func Put[Out any](path string, limit int64, doc string, f func(context.Context, *Request, []byte) (Out, error)) Route {
	return Route{Method: "PUT", Path: path, Who: Agent, Doc: doc, upload: limit, out: reflect.TypeFor[Out](), serve: func(ctx context.Context, r *Request) (any, error) {
		return f(ctx, r, r.body)
	}}
}

// A Stream is an answer that is written as it comes. An error after the first
// byte cuts the connection, so that nobody takes a part for the whole.
type Stream func(w io.Writer) error

// A Feed is an answer that goes on while its caller listens: server-sent events.
// It ends when it returns. ctx ends with the connection; send gives up on a
// reader that takes nothing for feedWrite.
type Feed func(ctx context.Context, send func([]byte) error) error

// feedWrite bounds how long one send of a Feed may take.
const feedWrite = 10 * time.Second

// feed writes a Feed.
func (d *Door) feed(w http.ResponseWriter, hr *http.Request, feed Feed) {
	w.Header().Set("Content-Type", wire.ContentTypeEvents)
	w.Header().Set("X-Accel-Buffering", "no") // for a proxy that would hold it back
	// The server's deadlines are for a request and its answer; here each send
	// has its own. As for a Stream, a test's writer has none.
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{})
	_ = c.SetWriteDeadline(time.Time{})
	err := feed(hr.Context(), func(b []byte) error {
		_ = c.SetWriteDeadline(time.Now().Add(feedWrite))
		if _, err := w.Write(b); err != nil {
			return err
		}
		if err := c.Flush(); err != nil {
			return err
		}
		// On HTTP/2 it would end the stream also while nothing is written.
		return ignoreUnsupported(c.SetWriteDeadline(time.Time{}))
	})
	_ = c.SetWriteDeadline(time.Now().Add(feedWrite))
	if err != nil {
		d.cfg.Logger.Debug("a stream of events ended", "err", err)
	}
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// serve is the one way through which every request goes.
func (d *Door) serve(rt *Route) http.HandlerFunc {
	return func(w http.ResponseWriter, hr *http.Request) {
		began := d.cfg.Now()
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set(wire.HeaderDPoPNonce, d.nonces.Nonce(began))
		status := d.answer(w, hr, rt)
		d.metrics.requests.WithLabelValues(rt.Label(), strconv.Itoa(status)).Inc()
	}
}

func (d *Door) answer(w http.ResponseWriter, hr *http.Request, rt *Route) (status int) {
	answer, err := d.call(w, hr, rt)
	if err != nil {
		return d.refuse(w, err)
	}
	if feed, ok := answer.(Feed); ok {
		d.feed(w, hr, feed)
		return http.StatusOK
	}
	if write, ok := answer.(Stream); ok {
		w.Header().Set("Content-Type", "application/octet-stream")
		// Not every ResponseWriter has a deadline to lift (a test's has none).
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(StreamTime))
		if err := write(w); err != nil {
			d.cfg.Logger.Error("an export was cut", "err", err)
			panic(http.ErrAbortHandler)
		}
		return http.StatusOK
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return d.refuse(w, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) // who does not read the answer asks again
	return http.StatusOK
}

// call reads the body, authenticates the caller and runs the endpoint.
func (d *Door) call(w http.ResponseWriter, hr *http.Request, rt *Route) (any, error) {
	addr, _, err := net.SplitHostPort(hr.RemoteAddr)
	if err != nil {
		addr = hr.RemoteAddr
	}
	// Who proves nobody pays before any work is done, others only when they
	// fail to prove themselves.
	if rt.Who == Anyone && !d.strangers.Take(addr, d.cfg.Now()) || !d.strangers.left(addr, d.cfg.Now()) {
		return nil, TooMany()
	}
	if rt.upload > 0 {
		return d.upload(w, hr, rt, addr)
	}
	limit := int64(wire.MaxBody)
	if rt.Who == Anyone || rt.Who == Device {
		limit = maxStranger
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, hr.Body, limit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, wire.NewProblem(wire.KindTooLarge, fmt.Sprintf("the body is longer than %d bytes", limit), "send less at once")
		}
		return nil, Malformed("the body could not be read", "")
	}
	r := &Request{HTTP: hr, body: body}
	if r.Caller, err = d.authenticate(hr, envelope.Sum(body), rt.Who); err != nil {
		d.strangers.Take(addr, d.cfg.Now())
		return nil, err
	}
	return d.run(rt, r)
}

// run is what follows once the caller is known.
func (d *Door) run(rt *Route, r *Request) (any, error) {
	hr := r.HTTP
	if !r.Caller.Kid.IsZero() && !d.devices.Take(string(r.Caller.Kid[:]), d.cfg.Now()) {
		return nil, TooMany()
	}
	if err := rt.checkQuery(hr); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(hr.Context(), rt.timeout())
	defer cancel()
	return rt.serve(ctx, r)
}

// upload is call for a large body: who sends it is known before it is read, by a
// signature over what it will be, and few are in memory at once.
func (d *Door) upload(w http.ResponseWriter, hr *http.Request, rt *Route, addr string) (any, error) {
	sum, err := claimedSum(hr)
	r := &Request{HTTP: hr}
	if err == nil {
		r.Caller, err = d.authenticate(hr, sum, rt.Who)
	} else {
		err = Unauthenticated()
	}
	if err != nil {
		d.strangers.Take(addr, d.cfg.Now())
		return nil, err
	}
	select {
	case d.uploads <- struct{}{}:
		defer func() { <-d.uploads }()
	default:
		return nil, TooMany()
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(uploadTime)) // as for a Stream
	if r.body, err = io.ReadAll(http.MaxBytesReader(w, hr.Body, rt.upload)); err != nil {
		return nil, wire.NewProblem(wire.KindTooLarge, fmt.Sprintf("the body was cut off, or is longer than %d bytes", rt.upload), "")
	}
	if envelope.Sum(r.body) != sum {
		return nil, Unauthenticated()
	}
	return d.run(rt, r)
}

const (
	// maxUploads bounds the large bodies in memory.
	maxUploads = 4
	// uploadTime bounds how long one may take.
	uploadTime = 5 * time.Minute
)

// maxStranger bounds the body of a request by somebody who is on no roster yet,
// in bytes: a genesis in base64 fits.
const maxStranger = 128 << 10

// requestTimeout bounds the work for one answer, beyond what a route may wait.
const requestTimeout = 15 * time.Second

// refuse writes a problem. What is not one of ours becomes "internal" without
// a word of its own: it may speak of what the caller must not know.
func (d *Door) refuse(w http.ResponseWriter, err error) int {
	var p *wire.ProblemError
	if !errors.As(err, &p) {
		kind, level := wire.KindInternal, d.cfg.Logger.Error
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			kind, level = wire.KindUnavailable, d.cfg.Logger.Debug
		}
		level("request failed", "err", err)
		p = wire.NewProblem(kind, "apid could not do this now", "try again; its log says why")
		if errors.Is(err, ErrDamaged) {
			p = wire.NewProblem(wire.KindDamaged, "rows in apid's database do not verify: they were damaged, or changed by whoever holds it; apid serves nothing that rests on them",
				"tell whoever runs the server: apid's log names the rows, and a backup that verifies brings them back")
		}
	}
	b, err := json.Marshal(p)
	if err != nil {
		b = []byte("{}")
	}
	w.Header().Set("Content-Type", wire.ContentTypeProblem)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `DPoP algs="EdDSA"`)
	}
	w.WriteHeader(p.Status)
	w.Write(b)
	return p.Status
}

// The problems that several routes share.

// NotFound is the one answer for what is foreign and for what never was.
func NotFound() error {
	return wire.NewProblem(wire.KindNotFound, "there is no such thing in your team", "check the name; tucdesk agents and tucdesk approvals list say what there is")
}

func Unauthenticated() error {
	return wire.NewProblem(wire.KindUnauthenticated, "the request does not prove a device, agent or server that is on the team's roster now", "sign in again; tucdesk doctor checks clock, token and roster")
}

func TooMany() error {
	return wire.NewProblem(wire.KindTooMany, "too many requests", "wait a few seconds")
}

func Malformed(detail, next string) *wire.ProblemError {
	return wire.NewProblem(wire.KindMalformed, detail, next)
}

func Denied(detail, next string) *wire.ProblemError {
	return wire.NewProblem(wire.KindDenied, detail, next)
}
