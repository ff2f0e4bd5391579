package doctor

import (
	"crypto/x509"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/wire"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newPatient(t *testing.T, pins ...envelope.Hash) *patient {
	t.Helper()
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	b, err := control.New(&profile.Home{Identity: id, Profile: profile.Profile{API: "https://api.example.com", TeamID: "acme", Pins: pins}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &patient{b: b, now: func() time.Time { return now }}
}

func TestClock(t *testing.T) {
	p := newPatient(t)
	for _, test := range []struct {
		off  time.Duration // of apid's clock
		want State
	}{
		{0, OK}, {3 * time.Second, OK}, {-3 * time.Second, OK}, {5 * time.Second, Warn}, {-20 * time.Second, Warn},
		{31 * time.Second, Fail}, {-time.Hour, Fail}, {24 * time.Hour, Fail},
	} {
		if f := p.clock(reached{Date: now.Add(test.off)}); f.State != test.want || f.State != OK && f.Next == "" {
			t.Errorf("apid is %v off: %+v", test.off, f)
		}
	}
	if f := p.clock(reached{}); f.State != Warn {
		t.Errorf("without a Date: %+v", f)
	}
	// Half of the way is the network's.
	if f := p.clock(reached{Date: now.Add(-5 * time.Second), RTT: 8 * time.Second}); f.State != OK {
		t.Errorf("over a slow network: %+v", f)
	}
}

func TestTLS(t *testing.T) {
	until := func(d time.Duration) reached {
		return reached{Certificate: &x509.Certificate{NotAfter: now.Add(d)}}
	}
	p, pinned := newPatient(t), newPatient(t, envelope.Sum([]byte("pin")))
	for _, test := range []struct {
		p    *patient
		r    reached
		want State
	}{
		{p, reached{}, OK}, {p, until(90 * 24 * time.Hour), OK}, {p, until(time.Hour), Warn}, {p, until(-time.Hour), Warn}, {pinned, until(-time.Hour), OK},
	} {
		if f := test.p.tls("tls", test.r); f.State != test.want || f.State != OK && f.Next == "" {
			t.Errorf("%+v", f)
		}
	}
	if f := down("apid", fmt.Errorf("no: %w", wire.ErrPin), "x"); f.State != Fail || f.Next[:9] != "do not go" {
		t.Errorf("another key than the pinned one: %+v", f)
	}
}

func TestHome(t *testing.T) {
	for _, err := range []error{profile.ErrNone, errors.New("damaged")} {
		if f := Home(err); Healthy(f) || f[0].Next == "" {
			t.Errorf("%v: %+v", err, f)
		}
	}
	if !Healthy([]Finding{{State: OK}, {State: Warn}}) || Healthy([]Finding{{State: OK}, {State: Fail}}) {
		t.Error("only what fails is a failure")
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 seconds ago", 59 * time.Second: "59 seconds ago", 90 * time.Minute: "90 minutes ago",
		47 * time.Hour: "47 hours ago", 100 * time.Hour: "4 days ago",
	} {
		if got := Age(now.Add(-d), true, now); got != want {
			t.Errorf("%v: %q", d, got)
		}
	}
	if got := Age(time.Time{}, false, now); got != "a time that is not known" {
		t.Error(got)
	}
}
