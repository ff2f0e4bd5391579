package up

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/tucdesk/tucdesk/internal/key"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/wire"
)

// Up is what `tucdesk up` starts: the three servers in this process, on loopback,
// with their keys and their data under Dir. Nobody's key is there: the first team
// is founded from a device.
type Up struct {
	Dir    string
	Logger *slog.Logger // nil: none
}

// Serving is what D/ready.json says while the servers serve. None of it is
// secret.
type Serving struct {
	API        string           `json:"api"`
	Rendezvous string           `json:"rendezvous"`
	Relay      string           `json:"relay"`
	Keys       []wire.ServerKey `json:"keys"`
	Pid        int              `json:"pid"`
}

// Run serves until ctx is done, and calls ready once.
func (u *Up) Run(ctx context.Context, ready func(Serving)) error {
	dir, err := filepath.Abs(u.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("up: %w", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if u.Logger == nil {
		u.Logger = slog.New(slog.DiscardHandler)
	}
	readyFile := filepath.Join(dir, "ready.json")
	if err := os.Remove(readyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("up: %w", err)
	}
	defer os.Remove(readyFile)
	s, err := openServers(ctx, dir, "", u.Logger, nil, nil)
	if err != nil {
		return err
	}
	defer s.close()
	return s.serve(ctx, func(ctx context.Context) error {
		serving := Serving{API: s.apiURL, Rendezvous: s.rendezvousURL, Relay: s.relayAddr, Pid: os.Getpid()}
		k := s.keys()
		for _, p := range []struct {
			purpose roster.Purpose
			keys    []key.Public
		}{{roster.ServerGrant, k.Grant}, {roster.ServerToken, k.Token}, {roster.ServerLog, k.Log}, {roster.ServerRendezvous, k.Rendezvous}} {
			for _, public := range p.keys {
				serving.Keys = append(serving.Keys, wire.ServerKey{Purpose: string(p.purpose), Key: public})
			}
		}
		if err := writeReady(readyFile, serving); err != nil {
			return err
		}
		ready(serving)
		<-ctx.Done()
		return nil
	})
}
