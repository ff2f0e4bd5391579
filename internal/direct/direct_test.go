package direct

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/internal/path"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	"github.com/tucdesk/tucdesk/relayd/relay"
)

// nowhere is a machine without an address.
type nowhere struct{ asked int }

func (n *nowhere) Gather(context.Context) (Attempt, error) {
	n.asked++
	return nil, path.ErrNoDirect
}

func description(candidates ...string) *path.Description {
	d := &path.Description{Fragment: "abcd", Password: strings.Repeat("p", 22)}
	for _, c := range candidates {
		d.Candidates = append(d.Candidates, path.Candidate{Addr: netip.MustParseAddrPort(c)})
	}
	return d
}

func TestMessages(t *testing.T) {
	most := description("[2a01:1:2:3:4:5:6:7]:65535", "[2a01:1:2:3:4:5:6:8]:65535", "[2a01:1:2:3:4:5:6:9]:65535", "[2a01:1:2:3:4:5:6:a]:65535",
		"[2a01:1:2:3:4:5:6:b]:65535", "[2a01:1:2:3:4:5:6:c]:65535", "[2a01:1:2:3:4:5:6:d]:65535", "10.0.0.1:4000")
	most.Fragment, most.Password = strings.Repeat("f", 64), strings.Repeat("p", 64)
	var b bytes.Buffer
	all := []message{{Attempt: 1}, {Attempt: 1 << 63, Description: most}, {Attempt: 2, Description: description("10.0.0.1:4000")}}
	for _, m := range all {
		if err := write(&b, m); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range all {
		got, err := read(&b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%v became %v, %v", m, got, err)
		}
	}
	if _, err := read(&b); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestWhatIsNoMessage(t *testing.T) {
	good, err := encode(message{Attempt: 1, Description: description("10.0.0.1:4000")})
	if err != nil {
		t.Fatal(err)
	}
	zero, err := encode(message{})
	if err != nil {
		t.Fatal(err)
	}
	framed := func(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }
	for name, b := range map[string][]byte{
		"attempt 0":   framed(zero),
		"empty":       {0, 0},
		"too long":    {0xff, 0xff, 0},
		"more behind": framed(append(bytes.Clone(good), 0)),
		"half":        framed(good[:len(good)/2]),
		"no CBOR":     framed([]byte("hello")),
	} {
		if _, err := read(bytes.NewReader(b)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := read(bytes.NewReader(framed(good)[:20])); err != io.ErrUnexpectedEOF {
		t.Errorf("cut off: %v", err)
	}
}

// FuzzParse holds that what is taken is written in the same way again, and that
// judging it never panics.
func FuzzParse(f *testing.F) {
	for _, m := range []message{{Attempt: 1}, {Attempt: 7, Description: description("10.0.0.1:4000", "[fe80::1%eth0]:5000")}, {Attempt: 9, Description: &path.Description{}}} {
		b, err := encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		again, err := encode(m)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
		if m.Description != nil && m.Description.Check(false) == nil && m.Description.Check(true) == nil {
			t.Fatal("one address is good both in a demo and outside")
		}
	})
}

// talkTo runs a side of the conversation and gives the other end of its channel.
func talkTo(t *testing.T, side func(context.Context, io.ReadWriter, Switch) error, s Switch) (peer net.Conn, ended <-chan error) {
	t.Helper()
	ours, peer := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer ours.Close()
		done <- side(t.Context(), ours, s)
	}()
	t.Cleanup(func() { peer.Close() })
	return peer, done
}

func TestFollowRefuses(t *testing.T) {
	offer := message{Attempt: 5, Description: description("10.0.0.1:4000")}
	gone := message{Attempt: 5}
	for name, last := range map[string]message{"the same attempt": offer, "an older one": {Attempt: 4, Description: offer.Description}} {
		t.Run(name, func(t *testing.T) {
			peer, ended := talkTo(t, Follow, &nowhere{})
			for _, m := range []message{{Attempt: 9}, offer} { // what is about no attempt says nothing
				if err := write(peer, m); err != nil {
					t.Fatal(err)
				}
			}
			if m, err := read(peer); err != nil || !reflect.DeepEqual(m, gone) {
				t.Fatalf("%v %v", m, err)
			}
			if err := write(peer, last); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; !errors.Is(err, ErrProtocol) {
				t.Errorf("got %v", err)
			}
		})
	}
	peer, ended := talkTo(t, Follow, &nowhere{})
	if _, err := peer.Write([]byte{0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrProtocol) {
		t.Errorf("noise: %v", err)
	}
}

// An operator can't make an agent try for ever.
func TestFollowIsBounded(t *testing.T) {
	s := &nowhere{}
	peer, ended := talkTo(t, Follow, s)
	for n := uint64(1); ; n++ {
		if err := write(peer, message{Attempt: n, Description: description("10.0.0.1:4000")}); err != nil {
			break
		}
		if _, err := read(peer); err != nil {
			break
		}
	}
	if err := <-ended; err == nil || s.asked != maxAttempts {
		t.Errorf("%d attempts, %v", s.asked, err)
	}
}

// The leader comes again, ever more rarely, and gives up.
func TestLeadPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &nowhere{}
		began := time.Now()
		_, ended := talkTo(t, Lead, s)
		if err := <-ended; err == nil || s.asked != maxAttempts {
			t.Errorf("%d attempts, %v", s.asked, err)
		}
		if took := time.Since(began); took < 3*time.Hour || took > 6*time.Hour {
			t.Errorf("gave up after %v", took)
		}
	})
}

// A channel that ends ends the talk, whatever the side waits for.
func TestTheChannelEnds(t *testing.T) {
	for name, side := range map[string]func(context.Context, io.ReadWriter, Switch) error{"lead": Lead, "follow": Follow} {
		peer, ended := talkTo(t, side, &nowhere{})
		peer.Close()
		if err := <-ended; err == nil {
			t.Errorf("%s ended without a reason", name)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		ours, peer := net.Pipe()
		if err := side(ctx, ours, &nowhere{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		ours.Close()
		peer.Close()
	}
}

// onRelay gives a Switch of a demo, or of a real machine, on a relay of its own.
func onRelay(t *testing.T, demo bool) *path.Switch {
	t.Helper()
	secret := cred.NewSecret()
	server, err := relay.New(relay.Config{Listen: "127.0.0.1:0", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- server.Run(ctx, func() { close(up) }) }()
	t.Cleanup(func() { cancel(); <-ended })
	<-up
	r, err := path.OpenRelay(t.Context(), server.Addr().String(), secret.Mint([16]byte{1}, cred.Agent, time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	s := path.NewSwitch(r, path.Options{Loopback: demo})
	t.Cleanup(func() { s.Close() })
	return s
}

// Bad candidates end the talk before anything is sent to them, on either side.
func TestHostileCandidatesEndTheTalk(t *testing.T) {
	victim, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	bad := description("10.0.0.1:4000", victim.LocalAddr().String())
	t.Run("follow", func(t *testing.T) {
		peer, ended := talkTo(t, Follow, On(onRelay(t, true)))
		if err := write(peer, message{Attempt: 1, Description: bad}); err != nil {
			t.Fatal(err)
		}
		if m, err := read(peer); err != nil || m.Description == nil || m.Description.Check(true) != nil {
			t.Fatalf("answer: %v %v", m, err)
		}
		if err := <-ended; !errors.Is(err, path.ErrCandidate) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("lead", func(t *testing.T) {
		peer, ended := talkTo(t, Lead, On(onRelay(t, true)))
		m, err := read(peer)
		if err != nil || m.Attempt != 1 || m.Description == nil {
			t.Fatalf("offer: %v %v", m, err)
		}
		for _, m := range []message{{Attempt: 99}, {Attempt: 1, Description: bad}} {
			if err := write(peer, m); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-ended; !errors.Is(err, path.ErrCandidate) {
			t.Errorf("got %v", err)
		}
	})
	victim.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, _, err := victim.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes were sent to a candidate of a refused description", n)
	}
}

// Both sides over a pipe: a path, its loss said by the peer, and the next one.
func TestLeadAndFollow(t *testing.T) {
	one, two := onRelay(t, true), onRelay(t, true)
	peer, _ := talkTo(t, Lead, On(one))
	ctx, cancel := context.WithCancel(t.Context())
	followed := make(chan error, 1)
	go func() { followed <- Follow(ctx, peer, On(two)) }()
	for _, s := range []*path.Switch{one, two} {
		if err := s.Await(t.Context(), path.Direct); err != nil {
			t.Fatal(err)
		}
	}
	cancel() // the follower's end: its side of the path is closed
	if err := <-followed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if two.Path() == path.Direct {
		t.Error("the follower has left a path open")
	}
	if err := one.Await(t.Context(), path.Relay); err != nil {
		t.Error(err)
	}
}
