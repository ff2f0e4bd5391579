package wire

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/key"
)

func FuzzCutUpload(f *testing.F) {
	f.Add(AppendUpload(nil, []byte("manifest"), []byte("segment")))
	f.Add([]byte{0, 0})
	f.Add([]byte{0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, s, err := CutUpload(b)
		if err == nil && !bytes.Equal(AppendUpload(nil, m, s), b) {
			t.Fatal("framed again it is another")
		}
	})
}

// An upload goes where apid says, if that may be, and carries nothing of the
// agent's but the bytes.
func TestUploadURL(t *testing.T) {
	id, err := key.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewSigned(SignedOptions{URL: "http://127.0.0.1:1", Identity: id})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	status := 200
	var got *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(status)
	}))
	defer srv.Close()
	if err := c.Upload(t.Context(), srv.URL+"/bucket/x?X-Amz-Signature=canary", []byte("sealed")); err != nil {
		t.Fatal(err)
	}
	if got.Method != "PUT" || got.ContentLength != 6 || got.Header.Get(HeaderRequest) != "" || got.Header.Get("Authorization") != "" {
		t.Errorf("%s %d %v", got.Method, got.ContentLength, got.Header)
	}
	for _, status = range []int{307, 403, 500} {
		if err := c.Upload(t.Context(), srv.URL+"/x?X-Amz-Signature=canary", []byte("sealed")); !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "canary") {
			t.Errorf("status %d: %v", status, err)
		}
	}
	for _, u := range []string{"http://example.com/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "//x", "", ":", "https://user@example.com\x00/"} {
		if err := c.Upload(t.Context(), u, []byte("sealed")); err == nil {
			t.Errorf("%q was taken", u)
		}
	}
	srv.Close()
	if err := c.Upload(t.Context(), srv.URL+"/x?X-Amz-Signature=canary", nil); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("no answer: %v", err)
	}
}
