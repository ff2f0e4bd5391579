package memnet

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// receive reads what arrives at c until nothing has come for a second.
func receive(t *testing.T, c net.PacketConn) (got []byte) {
	t.Helper()
	for {
		c.SetReadDeadline(time.Now().Add(time.Second))
		var b [1]byte
		n, from, err := c.ReadFrom(b[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err != nil || n != 1 || from == nil {
			t.Fatal(n, from, err)
		}
		got = append(got, b[0])
	}
}

func send(t *testing.T, c net.PacketConn, n int) (sent []byte) {
	t.Helper()
	for i := range n {
		sent = append(sent, byte(i))
		if _, err := c.WriteTo(sent[i:], Addr("anywhere")); err != nil {
			t.Fatal(err)
		}
	}
	return sent
}

func TestWeather(t *testing.T) {
	for name, row := range map[string]struct {
		o     Options
		check func(sent, got []byte) bool
	}{
		"perfect":    {Options{}, func(sent, got []byte) bool { return slices.Equal(sent, got) }},
		"all lost":   {Options{Loss: 1}, func(_, got []byte) bool { return len(got) == 0 }},
		"all twice":  {Options{Dup: 1}, func(sent, got []byte) bool { return len(got) == 2*len(sent) }},
		"half lost":  {Options{Loss: .5}, func(sent, got []byte) bool { return len(got) > 20 && len(got) < 80 }},
		"some late":  {Options{Reorder: .3}, func(sent, got []byte) bool { return !slices.Equal(sent, got) && len(got) == len(sent) }},
		"short tail": {Options{Queue: 10}, func(sent, got []byte) bool { return slices.Equal(sent[:10], got) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var before []byte
				for range 2 { // the same seed makes the same weather
					a, b := PacketPipe(row.o)
					sent := send(t, a, 100)
					got := receive(t, b)
					if !row.check(sent, got) {
						t.Fatalf("sent %v, got %v", sent, got)
					}
					slices.Sort(got)
					if before != nil && !slices.Equal(before, got) {
						t.Fatal("one seed made two kinds of weather")
					}
					before = got
				}
			})
		})
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tapped := 0
		a, b := PacketPipe(Options{Delay: 50 * time.Millisecond, Tap: func(side string, d []byte) {
			if side != "b" || len(d) != 1 {
				t.Errorf("tapped %q of %s", d, side)
			}
			tapped++
		}})
		begin := time.Now()
		b.WriteTo([]byte{1}, a.LocalAddr())
		n, from, err := a.ReadFrom(make([]byte, 10))
		if n != 1 || from.String() != "b" || err != nil || time.Since(begin) != 50*time.Millisecond || tapped != 1 {
			t.Fatal(n, from, err, time.Since(begin), tapped)
		}
	})
}

func TestDeadlineAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := PacketPipe(Options{})
		read := make(chan error)
		go func() {
			for range 2 {
				_, _, err := a.ReadFrom(make([]byte, 1))
				read <- err
			}
		}()
		synctest.Wait() // the read is under way when the deadline is set
		a.SetReadDeadline(time.Now())
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) { // and it stays
			t.Fatal(err)
		}
		a.SetReadDeadline(time.Time{})
		b.WriteTo([]byte{1}, nil)
		if n, _, err := a.ReadFrom(make([]byte, 1)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		var timeout net.Error
		a.SetReadDeadline(time.Now().Add(-time.Second))
		if _, _, err := a.ReadFrom(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Fatal(err)
		}
		a.Close()
		a.Close()
		if _, _, err := a.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		if _, err := a.WriteTo(nil, nil); !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		if _, err := b.WriteTo([]byte{1}, nil); err != nil {
			t.Fatal("the other end noticed: ", err)
		}
	})
}
