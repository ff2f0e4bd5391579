package uplink

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tucdesk/tucdesk/internal/token"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// recordings are what the fakes have of them, on both sides.
type recordings struct {
	waiting  []Segment
	moreRec  chan struct{}
	refused  []uint64
	bucket   bool     // apid has an object store
	objects  int      // uploads into it
	puts     int      // uploads to apid
	stored   []uint64 // numbers that apid has recorded
	recErr   error    // what apid answers instead
	lossy    bool     // the object store loses what it takes
	uploaded map[uint64]bool
}

func (f *fakes) Recorded() (Segment, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.waiting {
		if !slices.Contains(f.refused, s.N) {
			return s, true
		}
	}
	return Segment{}, false
}

func (f *fakes) MoreRecorded() <-chan struct{} { return f.moreRec }

func (f *fakes) Uploaded(s Segment) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = slices.DeleteFunc(f.waiting, func(x Segment) bool { return x.N == s.N })
	return nil
}

func (f *fakes) Refused(s Segment, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, s.N)
}

func (f api) PostManifest(_ context.Context, _ string, _ token.ID, manifest []byte) (wire.SegmentAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := uint64(manifest[0])
	switch {
	case f.recErr != nil:
		return wire.SegmentAnswer{}, f.recErr
	case f.uploaded[n]:
		f.stored = append(f.stored, n)
		return wire.SegmentAnswer{Stored: true}, nil
	case f.bucket:
		return wire.SegmentAnswer{Upload: "https://s3.example.com/x"}, nil
	}
	return wire.SegmentAnswer{}, nil
}

func (f api) PutSegment(_ context.Context, _ string, _ token.ID, manifest, _ []byte) (wire.SegmentAnswer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.puts++
	f.stored = append(f.stored, uint64(manifest[0]))
	return wire.SegmentAnswer{Stored: true}, nil
}

func (f api) Upload(_ context.Context, _ string, segment []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.objects++
	f.uploaded[uint64(segment[0])] = !f.lossy
	return nil
}

func (f *fakes) record(n byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, Segment{N: uint64(n), Manifest: []byte{n}, Bytes: []byte{n}})
	select {
	case f.moreRec <- struct{}{}:
	default:
	}
}

func TestUpload(t *testing.T) {
	for _, bucket := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakes()
			f.bucket, f.recErr = bucket, wire.ErrUnavailable
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			u := f.uplink(nil)
			u.Stores = []string{"s3.example.com"}
			go func() { u.keepUploading(ctx); close(done) }()
			f.record(1)
			f.record(2)
			time.Sleep(time.Hour) // apid is down: nothing is lost
			synctest.Wait()
			if len(f.waiting) != 2 || len(f.refused) != 0 {
				t.Fatalf("%d wait, refused %v", len(f.waiting), f.refused)
			}
			f.mu.Lock()
			f.recErr = nil
			f.mu.Unlock()
			time.Sleep(2 * redialMost)
			f.record(3)
			synctest.Wait()
			if !slices.Equal(f.stored, []uint64{1, 2, 3}) || len(f.waiting) != 0 {
				t.Errorf("stored %v, %d wait", f.stored, len(f.waiting))
			}
			if bucket && (f.objects != 3 || f.puts != 0) || !bucket && (f.objects != 0 || f.puts != 3) {
				t.Errorf("%d uploads to the object store, %d to apid", f.objects, f.puts)
			}
			// One that apid will never take does not stop the others.
			f.mu.Lock()
			f.recErr = wire.ErrConflict
			f.mu.Unlock()
			f.record(4)
			synctest.Wait()
			f.mu.Lock()
			f.recErr = nil
			f.mu.Unlock()
			f.record(5)
			synctest.Wait()
			if !slices.Equal(f.refused, []uint64{4}) || !slices.Contains(f.stored, 5) {
				t.Errorf("refused %v, stored %v", f.refused, f.stored)
			}
			cancel()
			<-done
		})
	}
}

// A server does not send this machine's requests anywhere: what it may name as an
// object store stands in the agent's settings, and a recording for another place stays.
func TestUploadElsewhere(t *testing.T) {
	for _, stores := range [][]string{nil, {"s3.example.com:8443"}, {"example.com"}, {""}} {
		f := newFakes()
		f.bucket = true
		u := f.uplink(nil)
		u.Stores = stores
		err := u.upload(t.Context(), Segment{N: 1, Manifest: []byte{1}, Bytes: []byte{1}})
		if no := (*StoreError)(nil); !errors.As(err, &no) || no.Host != "s3.example.com" || wire.Refused(err) {
			t.Errorf("with %q: %v", stores, err)
		}
		if f.objects != 0 {
			t.Errorf("with %q something was uploaded", stores)
		}
	}
	for _, to := range []string{"https://s3.example.com@evil.example/x", "https://evil.example/s3.example.com", "%zz", "", "https:///x"} {
		if err := named([]string{"s3.example.com"}, to); err == nil {
			t.Errorf("%q is allowed", to)
		}
	}
}

// What an object store takes and does not have stays with the agent.
func TestUploadThatIsLost(t *testing.T) {
	f := newFakes()
	f.bucket, f.lossy = true, true
	f.record(1)
	s, _ := f.Recorded()
	u := f.uplink(nil)
	u.Stores = []string{"s3.example.com"}
	if err := u.upload(t.Context(), s); !errors.Is(err, errNotThere) || wire.Refused(err) || len(f.waiting) != 1 {
		t.Errorf("%v, %d wait", err, len(f.waiting))
	}
}
