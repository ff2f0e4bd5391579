package api

import (
	"net/http"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/internal/wire/strict"
)

// A device that nobody knows leaves a request; a member who knows its topic reads
// and answers it; nobody else lists anything.
func TestNewcomers(t *testing.T) {
	s := newServer(t)
	acme := newCrew(t, s, "acme")
	topic := envelope.Sum([]byte("topic"))
	body := mustJSON(t, wire.NewcomerRequest{Topic: topic, Request: []byte("hello")})
	status, b := s.send(t, "POST", "/v1/newcomers", http.Header{}, body)
	var place wire.NewcomerPlace
	if status != 200 || strict.Decode(b, &place) != nil {
		t.Fatalf("status %d: %s", status, b)
	}
	list, err := acme.alice.client.Newcomers(t.Context(), "", topic, 0, 0)
	if err != nil || len(list) != 1 || list[0].ID != place.ID || string(list[0].Request) != "hello" {
		t.Fatalf("%+v %v", list, err)
	}
	if list, err := acme.alice.client.Newcomers(t.Context(), "", envelope.Sum(nil), 0, 0); err != nil || len(list) != 0 {
		t.Errorf("another topic: %+v %v", list, err)
	}
	if err := acme.alice.client.AnswerNewcomer(t.Context(), "", place.ID, []byte("welcome")); err != nil {
		t.Fatal(err)
	}
	answers, err := acme.alice.client.NewcomerAnswers(t.Context(), "", place.ID, 0, time.Second)
	if err != nil || len(answers) != 1 || string(answers[0]) != "welcome" {
		t.Errorf("%q %v", answers, err)
	}
	for path, want := range map[string]int{
		"/v1/newcomers?topic=" + topic.String():                 401,
		"/v1/newcomers/" + place.ID.String() + "?wait=soon":     422,
		"/v1/newcomers/" + place.ID.String() + "?other=1":       422,
		"/v1/newcomers/nonsense":                                404,
		"/v1/newcomers/0123456789abcdef0123456789abcdef?have=0": 410,
		"/v1/newcomers/" + place.ID.String() + "?have=0&wait=0": 200,
	} {
		if status, b := s.send(t, "GET", path, http.Header{}, nil); status != want {
			t.Errorf("%s: status %d, want %d: %s", path, status, want, b)
		}
	}
	if status, _ := s.send(t, "POST", "/v1/newcomers/"+place.ID.String()+"/answer", http.Header{}, mustJSON(t, wire.NewcomerAnswer{Answer: []byte("evil")})); status != 401 {
		t.Errorf("an answer of nobody: status %d", status)
	}
}
