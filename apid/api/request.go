package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// A request is one HTTP request after authentication, before its body is read.
type request struct {
	caller caller
	http   *http.Request
	body   []byte
}

// number gives a query parameter that is a whole number.
func (r *request) number(name string, absent uint64) (uint64, error) {
	text := r.http.URL.Query().Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, malformed("the parameter "+name+" is not a number", "")
	}
	return n, nil
}

// text gives a query parameter, empty when it is not there.
func (r *request) text(name string) string { return r.http.URL.Query().Get(name) }

// id gives the {id} of the path. What is no id names nothing.
func (r *request) id() (token.ID, error) {
	id, err := token.ParseID(r.http.PathValue("id"))
	if err != nil {
		return token.ID{}, notFound()
	}
	return id, nil
}

// An endpoint is a handler with the types of its body and its answer.
type endpoint struct {
	in, out reflect.Type // in is nil where there is no body
	serve   func(ctx context.Context, r *request) (any, error)
}

// get makes an endpoint that has no body.
func get[Out any](f func(context.Context, *request) (Out, error)) endpoint {
	return endpoint{out: reflect.TypeFor[Out](), serve: func(ctx context.Context, r *request) (any, error) {
		if len(r.body) > 0 {
			return nil, malformed("this route takes no body", "")
		}
		return f(ctx, r)
	}}
}

// post makes an endpoint that decodes its body strictly.
func post[In, Out any](f func(context.Context, *request, In) (Out, error)) endpoint {
	return endpoint{in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), serve: func(ctx context.Context, r *request) (any, error) {
		var in In
		if err := wire.Decode(r.body, &in); err != nil {
			return nil, malformed(err.Error(), "update the client; /v1/openapi.json describes the body")
		}
		return f(ctx, r, in)
	}}
}

// A stream is an answer that is written as it comes. An error after the first
// byte cuts the connection, so that nobody takes a part for the whole.
type stream func(w io.Writer) error

// serve is the one way through which every request goes.
func (s *Server) serve(rt *route) http.HandlerFunc {
	return func(w http.ResponseWriter, hr *http.Request) {
		began := s.now()
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set(wire.HeaderDPoPNonce, s.nonces.Nonce(began))
		status := s.answer(w, hr, rt)
		s.metrics.requests.WithLabelValues(rt.label(), strconv.Itoa(status)).Inc()
	}
}

func (s *Server) answer(w http.ResponseWriter, hr *http.Request, rt *route) (status int) {
	answer, err := s.call(w, hr, rt)
	if err != nil {
		return s.refuse(w, err)
	}
	if write, ok := answer.(stream); ok {
		w.Header().Set("Content-Type", "application/octet-stream")
		// Not every ResponseWriter has a deadline to lift (a test's has none).
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(exportTime))
		if err := write(w); err != nil {
			s.logger.Error("an export was cut", "err", err)
			panic(http.ErrAbortHandler)
		}
		return http.StatusOK
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return s.refuse(w, err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) // who does not read the answer asks again
	return http.StatusOK
}

// call reads the body, authenticates the caller and runs the endpoint.
func (s *Server) call(w http.ResponseWriter, hr *http.Request, rt *route) (any, error) {
	addr, _, err := net.SplitHostPort(hr.RemoteAddr)
	if err != nil {
		addr = hr.RemoteAddr
	}
	// Who proves nobody pays before any work is done, others only when they
	// fail to prove themselves.
	if rt.who == anyone && !s.strangers.take(addr, s.now()) || !s.strangers.left(addr, s.now()) {
		return nil, tooMany()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, hr.Body, wire.MaxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, wire.NewProblem(wire.KindTooLarge, "the body is longer than "+strconv.Itoa(wire.MaxBody)+" bytes", "send less at once")
		}
		return nil, malformed("the body could not be read", "")
	}
	r := &request{http: hr, body: body}
	if r.caller, err = s.authenticate(hr, body, rt.who); err != nil {
		s.strangers.take(addr, s.now())
		return nil, err
	}
	if !r.caller.kid.IsZero() && !s.devices.take(string(r.caller.kid[:]), s.now()) {
		return nil, tooMany()
	}
	if err := rt.checkQuery(hr); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(hr.Context(), rt.timeout())
	defer cancel()
	return rt.endpoint.serve(ctx, r)
}

// requestTimeout bounds the work for one answer, beyond what a route may wait.
const requestTimeout = 15 * time.Second

// refuse writes a problem. What is not one of ours becomes "internal" without
// a word of its own: it may speak of what the caller must not know.
func (s *Server) refuse(w http.ResponseWriter, err error) int {
	var p *wire.ProblemError
	if !errors.As(err, &p) {
		kind, level := wire.KindInternal, s.logger.Error
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			kind, level = wire.KindUnavailable, s.logger.Debug
		}
		level("request failed", "err", err)
		p = wire.NewProblem(kind, "apid could not do this now", "try again; its log says why")
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

// notFound is the one answer for what is foreign and for what never was.
func notFound() error {
	return wire.NewProblem(wire.KindNotFound, "there is no such thing in your team", "check the name; tucdesk agents and tucdesk approvals list say what there is")
}

func unauthenticated() error {
	return wire.NewProblem(wire.KindUnauthenticated, "the request does not prove a device, agent or server that is on the team's roster now", "sign in again; tucdesk doctor checks clock, token and roster")
}

func tooMany() error {
	return wire.NewProblem(wire.KindTooMany, "too many requests", "wait a few seconds")
}

func malformed(detail, next string) *wire.ProblemError {
	return wire.NewProblem(wire.KindMalformed, detail, next)
}

func denied(detail, next string) *wire.ProblemError {
	return wire.NewProblem(wire.KindDenied, detail, next)
}
