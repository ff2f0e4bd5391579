package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// talk gives the record layers of a session that stands.
func talk(t testing.TB) (operator, agent *Records) {
	t.Helper()
	c, a := pair(t)
	c.Suites = []Suite{SuiteClassic}
	eo, ea := shake(t, c, a)
	accept(t, eo, ea)
	return eo.Records(), ea.Records()
}

func seal(t testing.TB, r *Records, payload string) []byte {
	t.Helper()
	d, err := r.Seal(nil, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func opens(t testing.TB, r *Records, d []byte, want string) {
	t.Helper()
	got, kind, err := r.Open(nil, d)
	if err != nil || kind != KindData || string(got) != want {
		t.Fatalf("opened %q, kind %d, %v, want %q", got, kind, err, want)
	}
}

func refuses(t testing.TB, r *Records, d []byte, want error) {
	t.Helper()
	if got, _, err := r.Open(nil, d); !errors.Is(err, want) || got != nil {
		t.Fatalf("opened %q, %v, want %v", got, err, want)
	}
}

func TestRecordTampering(t *testing.T) {
	o, a := talk(t)
	d := seal(t, o, "payload")
	for i := range d {
		for bit := range 8 {
			bad := bytes.Clone(d)
			bad[i] ^= 1 << bit
			refuses(t, a, bad, ErrRecord)
		}
	}
	for n := range d {
		refuses(t, a, d[:n], ErrRecord)
	}
	refuses(t, a, append(bytes.Clone(d), 0), ErrRecord)
	refuses(t, o, d, ErrRecord) // reflected to its sender
	o2, _ := talk(t)
	refuses(t, a, seal(t, o2, "payload"), ErrRecord) // of another session
	opens(t, a, d, "payload")
	refuses(t, a, d, ErrRecord)
}

func TestNothingBeforeAccept(t *testing.T) {
	c, ca := pair(t)
	eo, ea := shake(t, c, ca)
	o, a := eo.Records(), ea.Records()
	if _, err := o.Seal(nil, []byte("too early")); !errors.Is(err, ErrNotAccepted) {
		t.Fatalf("the operator sends before ACCEPT: %v", err)
	}
	if _, err := a.Seal(nil, []byte("too early")); !errors.Is(err, ErrNotAccepted) {
		t.Fatalf("the agent sends data before ACCEPT: %v", err)
	}
	if _, err := o.Accept(nil); !errors.Is(err, ErrState) {
		t.Fatalf("the operator accepts: %v", err)
	}
	early, err := a.seal.record(nil, KindData, []byte("x")) // a dishonest agent
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, o, early, ErrOrder)
	for _, wrong := range []struct {
		kind    Kind
		payload string
	}{{KindAccept, "x"}, {0, ""}, {0, "x\x00"}, {3, "x"}} {
		d, err := a.seal.record(nil, wrong.kind, []byte(wrong.payload))
		if err != nil {
			t.Fatal(err)
		}
		if wrong.kind == 0 && wrong.payload != "" {
			continue // kind 0 is padding: the payload's last byte would be the kind
		}
		refuses(t, o, d, ErrOrder)
	}
	accept(t, eo, ea)
	accept(t, eo, ea) // a second one is fine
	opens(t, a, seal(t, o, "now"), "now")
	fromOperator, err := o.seal.record(nil, KindAccept, nil)
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, a, fromOperator, ErrOrder)
}

func TestPadding(t *testing.T) {
	o, _ := talk(t)
	for _, row := range []struct{ payload, datagram int }{
		{0, headerSize + 64 + tagSize}, {1, headerSize + 64 + tagSize}, {63, headerSize + 64 + tagSize},
		{64, headerSize + 128 + tagSize}, {1022, headerSize + 1024 + tagSize},
		{1023, 1023 + Overhead}, {1200, 1200 + Overhead}, {MaxPayload, MaxPayload + Overhead},
	} {
		if d := seal(t, o, string(make([]byte, row.payload))); len(d) != row.datagram {
			t.Errorf("payload of %d bytes: datagram of %d, want %d", row.payload, len(d), row.datagram)
		}
	}
	if _, err := o.Seal(nil, make([]byte, MaxPayload+1)); err == nil {
		t.Error("a payload too long was sealed")
	}
}

func TestRekeyByRecordsAndBytes(t *testing.T) {
	for name, exhaust := range map[string]func(*sealer){
		"records": func(s *sealer) { s.counter = RekeyRecords - 1 },
		"bytes":   func(s *sealer) { s.bytes = RekeyBytes - 1 },
	} {
		t.Run(name, func(t *testing.T) {
			o, a := talk(t)
			exhaust(&o.seal)
			last := seal(t, o, "last of epoch 0")
			old := o.seal.cur.secret
			first, second := seal(t, o, "first of epoch 1"), seal(t, o, "second of epoch 1")
			if *old != (secret{}) {
				t.Error("the sender keeps the old secret")
			}
			if last[1] != 0 || first[1] != 1 || binary.BigEndian.Uint64(first[12:]) != 0 {
				t.Fatalf("headers % x and % x", last[:20], first[:20])
			}
			opens(t, a, second, "second of epoch 1")
			opens(t, a, last, "last of epoch 0") // reordered over the change
			opens(t, a, first, "first of epoch 1")
			for _, d := range [][]byte{last, first, second} {
				refuses(t, a, d, ErrRecord)
			}
		})
	}
}

func TestRekeyByTimeAndGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := talk(t)
		opens(t, a, seal(t, o, "epoch 0"), "epoch 0")
		late := seal(t, o, "late")
		tooLate := seal(t, o, "too late")
		time.Sleep(RekeyAfter - time.Nanosecond)
		if d := seal(t, o, "still 0"); d[1] != 0 {
			t.Fatalf("epoch %d after less than %v", d[1], RekeyAfter)
		}
		time.Sleep(time.Nanosecond)
		d := seal(t, o, "epoch 1")
		if d[1] != 1 {
			t.Fatalf("epoch %d after %v", d[1], RekeyAfter)
		}
		opens(t, a, d, "epoch 1")
		time.Sleep(reorderGrace - time.Nanosecond)
		opens(t, a, late, "late")
		a.open.mu.Lock()
		old := a.open.prev.secret
		a.open.mu.Unlock()
		time.Sleep(time.Nanosecond)
		refuses(t, a, tooLate, ErrRecord)
		a.open.mu.Lock()
		defer a.open.mu.Unlock()
		if *old != (secret{}) || a.open.prev != nil {
			t.Error("the receiver keeps the old secret after the grace period")
		}
	})
}

// A silent peer does not keep an old key alive: the clock alone erases it, and
// closing leaves no timer behind.
func TestGraceEndsInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := talk(t)
		for range 3 { // a later change does not inherit the earlier timer
			o.seal.bytes = RekeyBytes
			opens(t, a, seal(t, o, "x"), "x")
			time.Sleep(reorderGrace / 2)
		}
		old := a.open.prev.secret
		erased := func() bool {
			synctest.Wait()
			a.open.mu.Lock()
			defer a.open.mu.Unlock()
			return *old == (secret{})
		}
		time.Sleep(reorderGrace/2 - time.Nanosecond)
		if erased() {
			t.Error("the old secret went before the grace period was over")
		}
		time.Sleep(time.Nanosecond)
		if !erased() || a.open.prev != nil {
			t.Error("the old secret stays after the grace period, since nothing arrives")
		}
		o.seal.bytes = RekeyBytes
		opens(t, a, seal(t, o, "x"), "x")
		old = a.open.prev.secret
		a.close()
		if *old != (secret{}) {
			t.Error("closing leaves the secret of the epoch before")
		}
		time.Sleep(2 * reorderGrace)
	})
}

// Epochs go forward, and their low byte wraps without confusion.
func TestManyEpochs(t *testing.T) {
	o, a := talk(t)
	var previous []byte
	for range 600 {
		o.seal.bytes = RekeyBytes
		d := seal(t, o, "x")
		opens(t, a, d, "x")
		if previous != nil {
			refuses(t, a, previous, ErrRecord)
		}
		previous = d
	}
	if a.open.cur.number != 600 || previous[1] != byte(600%256) {
		t.Fatalf("epoch %d, header %d", a.open.cur.number, previous[1])
	}
	for _, lost := range []int{maxAhead - 1, maxAhead} {
		for range lost {
			o.seal.bytes = RekeyBytes
			seal(t, o, "lost with its whole epoch")
		}
		o.seal.bytes = RekeyBytes
		d := seal(t, o, "after lost epochs")
		if lost < maxAhead {
			opens(t, a, d, "after lost epochs")
		} else {
			refuses(t, a, d, ErrRecord)
		}
	}
}

// A sender that hears nothing for hours does not run ahead of where its peer looks,
// and goes on as ever when it hears again.
func TestSilenceStopsRekeying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := talk(t)
		for range 100 {
			time.Sleep(RekeyAfter)
			seal(t, o, "nobody hears this")
		}
		opens(t, a, seal(t, o, "heard"), "heard")
		if n := o.seal.cur.number; n != maxUnheard {
			t.Errorf("epoch %d, want %d", n, maxUnheard)
		}
		opens(t, o, seal(t, a, "answer"), "answer")
		opens(t, a, seal(t, o, "next"), "next")
		if n := o.seal.cur.number; n != maxUnheard+1 {
			t.Errorf("epoch %d after an answer, want %d", n, maxUnheard+1)
		}
	})
}

// Noise that names the next epoch does not move the receiver.
func TestForgedEpochChangesNothing(t *testing.T) {
	o, a := talk(t)
	bad := seal(t, o, "x")
	bad[1] = 1
	refuses(t, a, bad, ErrRecord)
	if a.open.cur.number != 0 {
		t.Fatal("a forged record changed the epoch")
	}
	opens(t, a, seal(t, o, "still fine"), "still fine")
	bad[1] = 255
	refuses(t, a, bad, ErrRecord)
}

func TestReceiverEnforcesTheLimit(t *testing.T) {
	o, a := talk(t)
	o.seal.counter = RekeyRecords // a sender that does not rekey
	o.seal.since = time.Now()
	ep := o.seal.cur
	h := []byte{typeData, 0, 0, 64 + tagSize}
	h = append(h, o.seal.connID[:]...)
	h = binary.BigEndian.AppendUint64(h, RekeyRecords)
	nonce := ep.nonce(RekeyRecords)
	refuses(t, a, ep.aead.Seal(h, nonce[:], append([]byte{'x', byte(KindData)}, make([]byte, 62)...), h), ErrRecord)
}

func TestForgeriesAreLimited(t *testing.T) {
	o, a := talk(t)
	d := seal(t, o, "x")
	bad := bytes.Clone(d)
	bad[30] ^= 1
	a.open.forgeries = maxForgeries - 1
	refuses(t, a, bad, ErrRecord)
	refuses(t, a, d, ErrExhausted)
}

// Over any network that loses, repeats, reorders and changes datagrams, with
// rekeying in between: what is opened was sealed, and once only.
func TestRecordsModel(t *testing.T) {
	operator, agent := pair(t)
	operator.Suites = []Suite{SuiteClassic}
	rapid.Check(t, func(rt *rapid.T) {
		eo, ea := shake(t, operator, agent)
		accept(t, eo, ea)
		o, a := eo.Records(), ea.Records()
		var flying [][]byte
		opened := map[string]bool{}
		sent := map[string]bool{}
		for i := range rapid.IntRange(1, 150).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "step") {
			case 0, 1:
				payload := string(binary.BigEndian.AppendUint32(nil, uint32(i)))
				sent[payload] = true
				flying = append(flying, seal(t, o, payload))
			case 2:
				if rapid.IntRange(0, 9).Draw(rt, "rekey") == 0 {
					o.seal.bytes = RekeyBytes
				}
			default:
				if len(flying) == 0 {
					continue
				}
				d := flying[rapid.IntRange(0, len(flying)-1).Draw(rt, "which")]
				if rapid.IntRange(0, 4).Draw(rt, "tamper") == 0 {
					d = bytes.Clone(d)
					d[rapid.IntRange(0, len(d)-1).Draw(rt, "at")] ^= byte(rapid.IntRange(1, 255).Draw(rt, "flip"))
					if got, _, err := a.Open(nil, d); err == nil {
						rt.Fatalf("opened a changed record: %q", got)
					}
					continue
				}
				got, _, err := a.Open(nil, d)
				if err != nil {
					if !errors.Is(err, ErrRecord) {
						rt.Fatal(err)
					}
					continue
				}
				if !sent[string(got)] || opened[string(got)] {
					rt.Fatalf("opened %q: sent %v, opened before %v", got, sent[string(got)], opened[string(got)])
				}
				opened[string(got)] = true
			}
		}
	})
}

func TestNoAllocations(t *testing.T) {
	o, a := talk(t)
	payload := make([]byte, 1200)
	sealed, opened := make([]byte, 0, 2048), make([]byte, 0, 2048)
	if n := testing.AllocsPerRun(100, func() {
		d, err := o.Seal(sealed, payload)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.Open(opened, d); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a record", n)
	}
}

func FuzzData(f *testing.F) {
	o, a := talk(f)
	f.Add(seal(f, o, "payload"))
	f.Add(seal(f, o, string(make([]byte, 1200))))
	sealed := map[string]bool{}
	f.Add([]byte{typeData})
	_, fresh := talk(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := fresh.Open(nil, b); err != ErrRecord {
			t.Fatalf("opened, or %v", err)
		}
		_, _, err := a.Open(nil, b)
		if err == nil && sealed[string(b)] {
			t.Fatal("opened twice")
		}
		if err == nil {
			sealed[string(b)] = true
		}
		// Whatever an authentic peer seals is opened or refused, never worse.
		if len(b) <= MaxPayload {
			d, err := o.seal.record(nil, KindData, b)
			if err != nil {
				t.Fatal(err)
			}
			if got, _, err := a.Open(nil, d); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("sealed %d bytes, opened %d, %v", len(b), len(got), err)
			}
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	for name, size := range map[string]int{"keystroke": 1, "full": 1200} {
		b.Run(name, func(b *testing.B) {
			o, a := talk(b)
			payload := make([]byte, size)
			sealed, opened := make([]byte, 0, 2048), make([]byte, 0, 2048)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				d, err := o.Seal(sealed, payload)
				if err != nil {
					b.Fatal(err)
				}
				if _, _, err := a.Open(opened, d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
