//go:build unix

package link

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzReadFrame: what is taken is written in the same way again.
func FuzzReadFrame(f *testing.F) {
	for _, s := range []Frame{
		{Kind: KindCall, Op: 1, ID: 1}, {Kind: KindNote, Op: 32, Body: []byte("body")},
		{Kind: KindAnswer, Op: 65, Files: 1, ID: 1 << 31, Body: []byte{0xa0}}, {Kind: KindFailure, Op: 65, ID: 7},
	} {
		f.Add(s.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		got, err := ReadFrame(r, 1<<10)
		if err != nil {
			return
		}
		if again := got.Bytes(); !bytes.Equal(again, b[:len(b)-r.Len()]) || len(got.Body) > 1<<10 {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

// echo answers with what it got, files and all.
type echo struct{ notes chan string }

type word struct {
	Word string `cbor:"word"`
}

func (e echo) Call(_ context.Context, r Request) (Reply, error) {
	var w word
	if err := Decode(r.Body, &w); err != nil {
		return Reply{}, err
	}
	if w.Word == "no" {
		CloseFiles(r.Files)
		return Reply{}, errNo
	}
	return Reply{Body: w, Files: r.Files}, nil
}

func (e echo) Note(r Request) error {
	var w word
	err := Decode(r.Body, &w)
	e.notes <- w.Word
	return err
}

var errNo = errors.New("no")

func testOptions() Options {
	return Options{
		Inward: 1 << 20,
		Fail:   func(error) Failure { return Failure{Code: 9} },
		Err: func(f Failure) error {
			if f.Code == 9 {
				return errNo
			}
			return errors.New("another")
		},
	}
}

// Both sides ask, answer and tell at the same time, with descriptors.
func TestBothWays(t *testing.T) {
	ours, theirs, err := Pair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	other, err := Unix(theirs)
	if err != nil {
		t.Fatal(err)
	}
	notes := make(chan string, 64)
	a, b := New(ours, testOptions()), New(other, testOptions())
	var ended sync.WaitGroup
	ended.Go(func() { a.Serve(echo{notes}) })
	ended.Go(func() { b.Serve(echo{notes}) })
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var asking sync.WaitGroup
	for _, k := range []*Conn{a, b} {
		for i := range 16 {
			asking.Go(func() {
				files := []*os.File{null, null, null}[:i%4]
				var w word
				got, err := k.Call(t.Context(), 7, word{"yes"}, &w, files...)
				if err != nil || w.Word != "yes" || len(got) != len(files) {
					t.Errorf("%v, %+v, %d files of %d", err, w, len(got), len(files))
				}
				CloseFiles(got)
				if _, err := k.Call(t.Context(), 7, word{"no"}, &w); !errors.Is(err, errNo) {
					t.Error(err)
				}
				k.Tell(8, word{"told"})
			})
		}
	}
	asking.Wait()
	for range 32 {
		if w := <-notes; w != "told" {
			t.Errorf("told %q", w)
		}
	}
	a.End(ErrAway)
	ended.Wait()
	<-b.Done()
	for _, k := range []*Conn{a, b} {
		if _, err := k.Call(t.Context(), 7, word{"yes"}, nil); !errors.Is(err, ErrAway) {
			t.Errorf("after the end: %v", err)
		}
	}
}
