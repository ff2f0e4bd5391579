package rendezvous_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/token"
)

// A resume is tried until it works: a later one takes the place of the same device's
// earlier one, and of nobody else's. An offer that is no resume takes no place.
func TestResumeTakesItsPlace(t *testing.T) {
	w := newWorld(t, nil)
	h := newHandler()
	w.online(w.acme, w.acme.web, h)
	o, session := w.operator(w.acme), token.NewID()
	resume := func(session token.ID) (int, string) {
		body := fmt.Sprintf(`{"session_id":%q,"agent":%q,"sealed":"","hs1":"aHMx","candidate":""}`, session, w.acme.web.Kid())
		return w.answer(o.request("/v1/offers", body))
	}
	for range 3 {
		if status, body := resume(session); status != 200 || !strings.Contains(body, `"hs2"`) {
			t.Fatal(status, body)
		}
	}
	if status, body := o.offer(session, w.acme.web.Kid()); status != 409 {
		t.Errorf("an offer took a resume's place: %d %s", status, body)
	}
	if status, body := o.finish(session); status != 204 {
		t.Fatal(status, body)
	}
	if f := <-h.finish; f.SessionID != session {
		t.Fatalf("%+v", f)
	}
	begun := token.NewID()
	if status, body := o.offer(begun, w.acme.web.Kid()); status != 200 {
		t.Fatal(status, body)
	}
	if status, body := resume(begun); status != 409 {
		t.Errorf("a resume took an offer's place: %d %s", status, body)
	}
}
