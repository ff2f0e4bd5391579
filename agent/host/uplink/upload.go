package uplink

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/tucdesk/tucdesk/internal/wire"
)

// A StoreError says that apid wants a recording uploaded to a place that nobody who
// looks after this machine has named. The recording is kept.
type StoreError struct{ Host string }

// Error implements error.
func (e *StoreError) Error() string {
	return fmt.Sprintf("uplink: apid wants recordings uploaded to %q, which this agent's settings do not name: add it to upload_hosts if it is your object store", e.Host)
}

// named says whether url is at one of the object stores that the settings name. A
// server that could name any would make every machine send requests anywhere.
func named(stores []string, to string) error {
	u, err := url.Parse(to)
	if err != nil {
		return &StoreError{"an address that is none"}
	}
	if slices.Contains(stores, u.Host) {
		return nil
	}
	return &StoreError{u.Host}
}

// errNotThere: an object store took a segment, and apid does not find it there.
var errNotThere = errors.New("uplink: the segment was uploaded, and apid does not find it")

// keepUploading brings recordings to apid, one segment after the other.
func (u *Uplink) keepUploading(ctx context.Context) {
	wait := redialFirst
	for {
		s, ok := u.Inside.Recorded()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-u.Inside.MoreRecorded():
			}
			continue
		}
		err := u.upload(ctx, s)
		switch {
		case err == nil:
			wait = redialFirst
			continue
		case ctx.Err() != nil:
			return
		case wire.Refused(err):
			u.Inside.Refused(s, err)
			continue
		}
		u.Logger.Warn("a recording could not be uploaded; it is kept", "error", err)
		if !pause(ctx, wait) {
			return
		}
		wait = longer(wait)
	}
}

// upload brings one segment to where apid wants it, and has it recorded. Doing it
// again is harmless.
func (u *Uplink) upload(ctx context.Context, s Segment) error {
	a, err := u.API.PostManifest(ctx, u.Team, s.Session, s.Manifest)
	switch {
	case err != nil || a.Stored:
	case a.Upload == "":
		a, err = u.API.PutSegment(ctx, u.Team, s.Session, s.Manifest, s.Bytes)
	default:
		if err = named(u.Stores, a.Upload); err != nil {
			return err
		}
		if err = u.API.Upload(ctx, a.Upload, s.Bytes); err == nil {
			a, err = u.API.PostManifest(ctx, u.Team, s.Session, s.Manifest)
		}
	}
	if err == nil && !a.Stored {
		err = errNotThere
	}
	if err != nil {
		return err
	}
	return u.Inside.Uploaded(s)
}
