package rendezvous

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/mailbox"
	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

// The mailbox: agents that are on no roster leave a request, members of any team
// who know its topic read and answer it. This server understands none of it.

// postNewcomer is POST /v1/newcomers, from anybody.
func (s *Server) postNewcomer(r *http.Request, body []byte) (any, error) {
	if !s.strangers.Allow() {
		return nil, tooMany()
	}
	var in wire.NewcomerRequest
	if err := strict.Decode(body, &in); err != nil {
		return nil, malformed(err)
	}
	id, err := s.mailbox.Put(mailbox.Source(r.RemoteAddr), in.Topic, in.Request)
	return wire.NewcomerPlace{ID: id}, mailbox.Problem(err)
}

// getAnswers is GET /v1/newcomers/{id}, from anybody who knows the id.
func (s *Server) getAnswers(r *http.Request, _ []byte) (any, error) {
	if !s.strangers.Allow() {
		return nil, tooMany()
	}
	id, err := token.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, notFound()
	}
	have, wait, err := patience(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	answers, err := s.mailbox.Answers(ctx, id, have, wait)
	if answers == nil {
		answers = [][]byte{}
	}
	return wire.NewcomerAnswers{Answers: answers}, mailbox.Problem(err)
}

// getNewcomers is GET /v1/newcomers, from a member.
func (s *Server) getNewcomers(r *http.Request, body []byte) (any, error) {
	if _, err := s.member(r, body); err != nil {
		return nil, err
	}
	topic, err := envelope.ParseHash(r.URL.Query().Get("topic"))
	if err != nil {
		return nil, malformed(err)
	}
	have, wait, err := patience(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	list, err := s.mailbox.Requests(ctx, topic, have, wait)
	out := wire.Newcomers{Newcomers: make([]wire.Newcomer, len(list))}
	for i, n := range list {
		out.Newcomers[i] = wire.Newcomer(n)
	}
	return out, mailbox.Problem(err)
}

// postAnswer is POST /v1/newcomers/{id}/answer, from a member.
func (s *Server) postAnswer(r *http.Request, body []byte) (any, error) {
	if _, err := s.member(r, body); err != nil {
		return nil, err
	}
	id, err := token.ParseID(r.PathValue("id"))
	if err != nil {
		return nil, notFound()
	}
	var in wire.NewcomerAnswer
	if err := strict.Decode(body, &in); err != nil {
		return nil, malformed(err)
	}
	return wire.Nothing{}, mailbox.Problem(s.mailbox.Answer(id, in.Answer))
}

// patience reads the parameters have and wait.
func patience(r *http.Request) (have int, wait time.Duration, err error) {
	if have, err = number(r, "have"); err != nil {
		return 0, 0, err
	}
	n, err := number(r, "wait")
	return have, time.Duration(min(n, wire.MaxWait)) * time.Second, err
}

// number gives a query parameter; 0 where it is not there.
func number(r *http.Request, name string) (int, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, malformed(errors.New("the parameter " + name + " is not a number"))
	}
	return int(n), nil
}

// untilStop ends a wait when this server stops.
func (s *Server) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func tooMany() error {
	return wire.NewProblem(wire.KindTooMany, "too many newcomers at once", "try again in some seconds")
}
