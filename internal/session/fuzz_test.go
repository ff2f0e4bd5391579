package session

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// addVectors seeds a target with the messages of testdata: the refused ones of
// that kind, and what the fields of the positive vectors hold.
func addVectors(f *testing.F, message string, fields ...string) {
	f.Helper()
	read := func(file string, into any) {
		f.Helper()
		b, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			f.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			f.Fatalf("%s: %v", file, err)
		}
	}
	n := 0
	add := func(b []byte) {
		n++
		f.Add(b)
	}
	for _, dir := range []string{"vectors", "resume"} {
		for _, file := range []string{"suite-0001.json", "suite-0002.json"} {
			var v map[string]json.RawMessage
			read(filepath.Join(dir, file), &v)
			for _, field := range fields {
				var h hexBytes
				if json.Unmarshal(v[field], &h) == nil && len(h) > 0 {
					add(h)
				}
			}
		}
	}
	var refused []refusedMessage
	read("vectors/messages-refused.json", &refused)
	for _, m := range refused {
		if m.Message == message {
			add(m.Bytes)
		}
	}
	if n == 0 {
		f.Fatal("no seeds")
	}
}

// resuming is a resume in which RS1 was answered.
func resuming(t testing.TB, suite Suite) (i *Initiator, r *Responder, rs2 []byte) {
	t.Helper()
	c := newChained(t, suite)
	i, rs1, err := c.o.Initiate(c.operator)
	if err != nil {
		t.Fatal(err)
	}
	r, rs2, err = c.a.Respond(c.agent, rs1)
	if err != nil {
		t.Fatal(err)
	}
	return i, r, rs2
}

func FuzzRS2(f *testing.F) {
	addVectors(f, "HS2", "hs2", "rs2")
	i, _, rs2 := resuming(f, SuiteClassic)
	h, _, hrs2 := resuming(f, SuiteHybrid)
	f.Add(rs2)
	f.Add(hrs2)
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Equal(b, rs2) || bytes.Equal(b, hrs2) {
			return
		}
		for _, i := range []*Initiator{i, h} {
			if rs3, est, err := i.Consume(b); err != ErrHandshake || rs3 != nil || est != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzRS3(f *testing.F) {
	addVectors(f, "HS3", "hs3", "rs3")
	i, r, rs2 := resuming(f, SuiteClassic)
	rs3, _, err := i.Consume(rs2)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(rs3)
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Equal(b, rs3) {
			return
		}
		if est, err := r.Consume(b); err != ErrHandshake || est != nil {
			t.Fatal(err)
		}
	})
}
