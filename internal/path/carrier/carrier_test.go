package carrier

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Address{
		"relay.example.com:3478":         {"relay.example.com", 3478, 0},
		"relay.example.com:3478,tls=443": {"relay.example.com", 3478, 443},
		"127.0.0.1:1":                    {"127.0.0.1", 1, 0},
		"[2001:db8::1]:3478,tls=65535":   {"2001:db8::1", 3478, 65535},
	} {
		if got, err := Parse(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "relay", "relay:", ":3478", "relay:0", "relay:65536", "relay:03478", "relay:+1", "relay:3478,tls=", "relay:3478,tls=0", "relay:3478,tls=0443",
		"relay:3478,tls=443,tls=443", "relay:3478,tcp=1", "relay:3478 ", "a b:3478", "relay\n:3478", "http://relay:3478", "alice@relay:3478", "[relay]:3478", "2001:db8::1:3478",
	} {
		if a, err := Parse(text); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %+v, %v", text, a, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("relay.example.com:3478,tls=443")
	f.Add("[::1]:3478")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse(text)
		if err == nil && a.String() != text {
			t.Fatalf("%q became %q", text, a)
		}
	})
}

// frame is ChannelData with its padding.
func frame(payload string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0x40, 0}, uint16(len(payload)))
	b = append(b, payload...)
	return append(b, make([]byte, (4-len(payload)%4)%4)...)
}

var binding = append([]byte{0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 16)...)

// FuzzReadFrame holds that frames are taken one after the other, none of them longer
// than the buffer or touching what follows, and that all else ends the stream.
func FuzzReadFrame(f *testing.F) {
	f.Add(append(append(frame("key"), binding...), frame("")...))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0x40, 0, 0xff, 0xff})
	f.Add([]byte{0, 1, 0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		p := make([]byte, maxFrame)
		var all []byte
		for {
			n, err := ReadFrame(r, p)
			if err != nil {
				break
			}
			if n < 4 || n > len(p) {
				t.Fatalf("a frame of %d bytes", n)
			}
			all = append(all, p[:n]...)
		}
		if !bytes.HasPrefix(b, all) {
			t.Fatal("frames are not what came")
		}
	})
}

func TestFrames(t *testing.T) {
	all := bytes.Join([][]byte{frame("a"), binding, frame("four"), frame("")}, nil)
	r := bufio.NewReaderSize(bytes.NewReader(all), 16)
	p := make([]byte, 100)
	for _, want := range [][]byte{frame("a"), binding, frame("four"), frame("")} {
		if n, err := ReadFrame(r, p); err != nil || !bytes.Equal(p[:n], want) {
			t.Errorf("%x, %v; want %x", p[:n], err, want)
		}
	}
	if _, err := ReadFrame(r, p); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if _, err := ReadFrame(bufio.NewReader(bytes.NewReader(frame("longer"))), p[:8]); !errors.Is(err, ErrFrame) {
		t.Errorf("a long one: %v", err)
	}
	for _, first := range []byte{0x80, 0xc0, 'S' | 0x80} {
		if _, err := ReadFrame(bufio.NewReader(bytes.NewReader([]byte{first, 0, 0, 0})), p); !errors.Is(err, ErrFrame) {
			t.Errorf("%x: %v", first, err)
		}
	}
}

// A stream that takes nothing slows a writer down, loses what does not fit, and ends.
func TestStuckStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		s := newStream(ours)
		began := time.Now()
		for n := 0; ; n++ {
			if _, err := s.WriteTo(make([]byte, 1200), nil); errors.Is(err, net.ErrClosed) {
				break
			} else if err != nil || n > 1000 {
				t.Fatalf("after %d: %v", n, err)
			}
		}
		if took := time.Since(began); took < stuck || took > stuck+time.Second {
			t.Errorf("ended after %v", took)
		}
		if _, _, err := s.ReadFrom(make([]byte, 100)); err == nil {
			t.Error("a stream that has ended is read")
		}
		theirs.Close()
	})
}

// What waits is written together, in order.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		s := newStream(ours)
		defer s.Close()
		for i := range byte(50) {
			if _, err := s.WriteTo(frame(string(rune('a'+i))), nil); err != nil {
				t.Fatal(err)
			}
		}
		r := bufio.NewReader(theirs)
		p := make([]byte, maxFrame)
		for i := range byte(50) {
			n, err := ReadFrame(r, p)
			if want := frame(string(rune('a' + i))); err != nil || !bytes.Equal(p[:n], want) {
				t.Fatalf("%x, %v; want %x", p[:n], err, want)
			}
		}
	})
}

// What was written before Close arrives, as a goodbye does.
func TestCloseWritesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		s := newStream(ours)
		for range 50 {
			s.WriteTo(frame("goodbye"), nil)
		}
		go s.Close()
		all, err := io.ReadAll(theirs)
		if err != nil || !bytes.Equal(all, bytes.Repeat(frame("goodbye"), 50)) {
			t.Errorf("%d bytes, %v", len(all), err)
		}
		stuck, _ := net.Pipe()
		s = newStream(stuck)
		s.WriteTo(frame("goodbye"), nil)
		began := time.Now()
		s.Close()
		if took := time.Since(began); took != farewell {
			t.Errorf("a stuck one took %v to close", took)
		}
	})
}
