// Package blobtest is the suite that every blob.Store passes. It serves tests
// and must not be imported by a program.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tucdesk/tucdesk/internal/recording/blob"
)

// Run runs the suite on an empty store.
func Run(t *testing.T, s blob.Store) {
	t.Run("PutAndGet", func(t *testing.T) { putAndGet(t, s) })
	t.Run("NotFound", func(t *testing.T) { notFound(t, s) })
	t.Run("Names", func(t *testing.T) { names(t, s) })
	t.Run("Whole", func(t *testing.T) { whole(t, s) })
	t.Run("Concurrent", func(t *testing.T) { concurrent(t, s) })
	if p, ok := s.(blob.Presigner); ok {
		t.Run("Presigned", func(t *testing.T) { presigned(t, s, p) })
	}
}

func put(t *testing.T, s blob.Store, name string, b []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, bytes.NewReader(b), int64(len(b))); err != nil {
		t.Fatalf("Put %s: %v", name, err)
	}
}

func want(t *testing.T, s blob.Store, name string, b []byte) {
	t.Helper()
	r, size, err := s.Get(t.Context(), name)
	if err != nil {
		t.Errorf("Get %s: %v", name, err)
		return
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, b) || size != int64(len(b)) {
		t.Errorf("Get %s: %d bytes, size %d, %v; want %d", name, len(got), size, err, len(b))
	}
	if n, err := s.Stat(t.Context(), name); err != nil || n != int64(len(b)) {
		t.Errorf("Stat %s: %d, %v; want %d", name, n, err, len(b))
	}
}

func putAndGet(t *testing.T, s blob.Store) {
	for name, b := range map[string][]byte{
		"small": []byte("x"), "a/b/c.seg": []byte("nested"), "empty": {}, "large": bytes.Repeat([]byte("0123456789abcdef"), 1<<19),
	} {
		put(t, s, name, b)
		want(t, s, name, b)
	}
	put(t, s, "small", []byte("another"))
	want(t, s, "small", []byte("another"))
}

func notFound(t *testing.T, s blob.Store) {
	for _, name := range []string{"nothing", "a/nothing", "small/below"} {
		if _, _, err := s.Get(t.Context(), name); !errors.Is(err, blob.ErrNotFound) && name != "small/below" || err == nil {
			t.Errorf("Get %s = %v, want ErrNotFound", name, err)
		}
		if _, err := s.Stat(t.Context(), name); !errors.Is(err, blob.ErrNotFound) && name != "small/below" || err == nil {
			t.Errorf("Stat %s = %v, want ErrNotFound", name, err)
		}
	}
}

func names(t *testing.T, s blob.Store) {
	for _, name := range []string{"", "/", "a/", "/a", "a//b", ".", "..", "a/../b", ".hidden", "a/.hidden", "A", "a b", "a\x00", "ä", `a\b`, strings.Repeat("a", 513)} {
		if err := s.Put(t.Context(), name, strings.NewReader("x"), 1); !errors.Is(err, blob.ErrName) {
			t.Errorf("Put %q = %v, want ErrName", name, err)
		}
		if _, _, err := s.Get(t.Context(), name); !errors.Is(err, blob.ErrName) {
			t.Errorf("Get %q = %v, want ErrName", name, err)
		}
		if _, err := s.Stat(t.Context(), name); !errors.Is(err, blob.ErrName) {
			t.Errorf("Stat %q = %v, want ErrName", name, err)
		}
	}
}

// failing is a reader that breaks in the middle.
type failing struct{ n int }

func (f *failing) Read(p []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, errors.New("broken")
	}
	return len(p), nil
}

// whole: what could not be put is not there in part.
func whole(t *testing.T, s blob.Store) {
	if err := s.Put(t.Context(), "broken", &failing{1}, 1<<20); err == nil {
		t.Error("a broken reader was put")
	}
	if err := s.Put(t.Context(), "broken", strings.NewReader("short"), 10); err == nil {
		t.Error("a reader that is too short was put")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, "broken", strings.NewReader("x"), 1); err == nil {
		t.Error("put after the context had ended")
	}
	if _, err := s.Stat(t.Context(), "broken"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Stat = %v, want ErrNotFound", err)
	}
}

func concurrent(t *testing.T, s blob.Store) {
	a, b := bytes.Repeat([]byte("a"), 1<<18), bytes.Repeat([]byte("b"), 1<<17)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			content := a
			if i%2 == 1 {
				content = b
			}
			if err := s.Put(t.Context(), "both", bytes.NewReader(content), int64(len(content))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n, err := s.Stat(t.Context(), "both")
	if err != nil {
		t.Fatal(err)
	}
	if n == int64(len(a)) {
		want(t, s, "both", a)
	} else {
		want(t, s, "both", b)
	}
}

func presigned(t *testing.T, s blob.Store, p blob.Presigner) {
	content := bytes.Repeat([]byte("sealed "), 1000)
	send := func(url string, b []byte) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	url, err := p.PresignPut(t.Context(), "up/loaded", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if code := send(url, content); code/100 != 2 {
		t.Fatalf("a presigned upload: status %d", code)
	}
	want(t, s, "up/loaded", content)
	if code := send(strings.Replace(url, "up/loaded", "up/elsewhere", 1), content); code/100 == 2 {
		t.Error("a URL for one name writes another")
	}
	if _, err := p.PresignPut(t.Context(), "../x", time.Minute); !errors.Is(err, blob.ErrName) {
		t.Errorf("PresignPut ../x = %v", err)
	}
}
