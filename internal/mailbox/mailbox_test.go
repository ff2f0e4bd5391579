package mailbox

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/internal/contact"
	"github.com/tucdesk/tucdesk/internal/envelope"
	"github.com/tucdesk/tucdesk/internal/token"
)

func under(s string) envelope.Hash { return envelope.Sum([]byte(s)) }

// must puts a request.
func must(t *testing.T, b *Box, topic, request string) token.ID {
	t.Helper()
	id, err := b.Put("", under(topic), []byte(request))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestRequestAndAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		got := make(chan string, 2)
		go func() {
			r, err := b.Requests(t.Context(), under("a"), 0, 20*time.Second)
			got <- fmt.Sprintf("%d %v", len(r), err)
		}()
		synctest.Wait()
		id := must(t, b, "a", "hello")
		if s := <-got; s != "1 <nil>" {
			t.Errorf("who waited for a request got %s", s)
		}
		go func() {
			a, err := b.Answers(t.Context(), id, 0, 20*time.Second)
			got <- fmt.Sprintf("%s %v", a, err)
		}()
		synctest.Wait()
		if err := b.Answer(id, []byte("welcome")); err != nil {
			t.Fatal(err)
		}
		if s := <-got; s != "[welcome] <nil>" {
			t.Errorf("who waited for an answer got %s", s)
		}
		// Who has seen this answer waits for another.
		start := time.Now()
		a, err := b.Answers(t.Context(), id, 1, 20*time.Second)
		if err != nil || len(a) != 1 || time.Since(start) != 20*time.Second {
			t.Errorf("%s %v after %s", a, err, time.Since(start))
		}
		if r, err := b.Requests(t.Context(), under("b"), 0, 0); len(r) != 0 || err != nil {
			t.Errorf("another topic has %d requests, %v", len(r), err)
		}
		if b.waiters != 0 || len(b.topics) != 1 {
			t.Errorf("%d waiters and %d topics are left", b.waiters, len(b.topics))
		}
	})
}

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		id := must(t, b, "a", "hello")
		time.Sleep(Life - time.Second)
		if again := must(t, b, "a", "hello"); again != id {
			t.Error("the same request has another id")
		}
		time.Sleep(Life - time.Second)
		if _, err := b.Answers(t.Context(), id, 0, 0); err != nil {
			t.Errorf("put again, within its life: %v", err)
		}
		time.Sleep(sweepEvery + time.Second)
		if _, err := b.Answers(t.Context(), id, 0, 0); !errors.Is(err, ErrUnknown) {
			t.Errorf("after its life: %v", err)
		}
		if err := b.Answer(id, []byte("late")); !errors.Is(err, ErrUnknown) {
			t.Errorf("a late answer: %v", err)
		}
		if len(b.entries)+len(b.topics)+len(b.sources)+b.bytes != 0 {
			t.Errorf("something is left: %d entries, %d topics, %d sources, %d bytes", len(b.entries), len(b.topics), len(b.sources), b.bytes)
		}
	})
}

// A reader is not left waiting for what is over, nor after its own end.
func TestWaitersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(nil)
		id := must(t, b, "a", "hello")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { _, err := b.Answers(ctx, id, 0, time.Hour); done <- err }()
		go func() { _, err := b.Requests(ctx, under("b"), 0, time.Hour); done <- err }()
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if b.waiters != 0 || len(b.topics) != 1 {
			t.Errorf("%d waiters and %d topics are left", b.waiters, len(b.topics))
		}
	})
}

func TestBounds(t *testing.T) {
	b := New(nil)
	number := func(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }
	if _, err := b.Put("x", under("a"), bytes.Repeat([]byte{1}, contact.MaxRequest+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a long request: %v", err)
	}
	for i := range maxOfTopic {
		if _, err := b.Put("x", under("a"), number(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Put("y", under("a"), number(-1)); !errors.Is(err, ErrFull) {
		t.Errorf("one topic: %v", err)
	}
	for i := maxOfTopic; i < maxOfSource; i++ {
		if _, err := b.Put("x", envelope.Sum(number(i)), number(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Put("x", under("b"), number(0)); !errors.Is(err, ErrFull) {
		t.Errorf("one source: %v", err)
	}
	for i := maxOfSource; i < maxEntries; i++ {
		if _, err := b.Put(fmt.Sprint(i), envelope.Sum(number(i)), number(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Put("z", under("c"), number(0)); !errors.Is(err, ErrFull) {
		t.Errorf("in all: %v", err)
	}
	id := ID(under("a"), number(0))
	for i := range maxAnswers {
		if err := b.Answer(id, number(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Answer(id, number(0)); err != nil {
		t.Errorf("the same answer again: %v", err)
	}
	if err := b.Answer(id, number(99)); !errors.Is(err, ErrFull) {
		t.Errorf("answers: %v", err)
	}
	if err := b.Answer(id, bytes.Repeat([]byte{1}, contact.MaxAnswer+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a long answer: %v", err)
	}
}

func TestSource(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[2001:db8::1:2:3:4]:5": "2001:db8::",
		"127.0.0.1:5": "", "[::1]:5": "", "nonsense": "",
	} {
		if got := Source(remote); got != want {
			t.Errorf("%s: %q, want %q", remote, got, want)
		}
	}
}
