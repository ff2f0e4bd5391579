package api

import (
	"context"
	"time"

	"github.com/tucdesk/tucdesk/apid/api/door"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/mailbox"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// The mailbox: devices that are on no roster leave a request, members of any team
// who know its topic read and answer it. apid understands none of it, and who
// takes its word for whose a key is has not read internal/contact.

// postNewcomer takes a request, from anybody.
func (s *Server) postNewcomer(_ context.Context, r *door.Request, in wire.NewcomerRequest) (wire.NewcomerPlace, error) {
	id, err := s.mailbox.Put(mailbox.Source(r.HTTP.RemoteAddr), in.Topic, in.Request)
	return wire.NewcomerPlace{ID: id}, mailbox.Problem(err)
}

// getNewcomerAnswers gives the answers to a request, to anybody who knows it.
func (s *Server) getNewcomerAnswers(ctx context.Context, r *door.Request) (wire.NewcomerAnswers, error) {
	id, err := r.ID()
	if err != nil {
		return wire.NewcomerAnswers{}, err
	}
	have, wait, err := patience(r)
	if err != nil {
		return wire.NewcomerAnswers{}, err
	}
	answers, err := s.mailbox.Answers(ctx, id, have, wait)
	if answers == nil {
		answers = [][]byte{}
	}
	return wire.NewcomerAnswers{Answers: answers}, mailbox.Problem(err)
}

// getNewcomers gives the requests under a topic.
func (s *Server) getNewcomers(ctx context.Context, r *door.Request) (wire.Newcomers, error) {
	topic, err := envelope.ParseHash(r.Text("topic"))
	if err != nil {
		return wire.Newcomers{}, door.Malformed("the parameter topic is not a hash", "")
	}
	have, wait, err := patience(r)
	if err != nil {
		return wire.Newcomers{}, err
	}
	list, err := s.mailbox.Requests(ctx, topic, have, wait)
	out := wire.Newcomers{Newcomers: make([]wire.Newcomer, len(list))}
	for i, n := range list {
		out.Newcomers[i] = wire.Newcomer(n)
	}
	return out, mailbox.Problem(err)
}

// postNewcomerAnswer answers a request.
func (s *Server) postNewcomerAnswer(_ context.Context, r *door.Request, in wire.NewcomerAnswer) (wire.Nothing, error) {
	id, err := r.ID()
	if err != nil {
		return wire.Nothing{}, err
	}
	return wire.Nothing{}, mailbox.Problem(s.mailbox.Answer(id, in.Answer))
}

// patience reads how much a reader has seen, and how long it waits for more.
func patience(r *door.Request) (have int, wait time.Duration, err error) {
	n, err := r.Number("have", 0)
	if err != nil {
		return 0, 0, err
	}
	seconds, err := r.Number("wait", 0)
	return int(min(n, 1<<16)), time.Duration(min(seconds, wire.MaxWait)) * time.Second, err
}
