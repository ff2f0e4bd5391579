// Package up runs several of TucDesk's programs together: `tucdesk up`, the three
// servers, and `tucdesk demo`, the servers with agents and a team. They run in one
// process, or each in one of its own, which [Part] makes of this same program and
// a small supervisor starts again when it ends. It is the only package that may
// import more than one service.
//
// The servers that it runs hold no member's and no admin's key.
package up

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tucdesk/tucdesk/apid/api"
	"github.com/tucdesk/tucdesk/apid/api/keys"
	"github.com/tucdesk/tucdesk/apid/api/marks"
	"github.com/tucdesk/tucdesk/internal/daemon"
	"github.com/tucdesk/tucdesk/internal/keyfile"
	"github.com/tucdesk/tucdesk/internal/path/cred"
	folder "github.com/tucdesk/tucdesk/internal/recording/blob/fs"
	"github.com/tucdesk/tucdesk/internal/roster"
	"github.com/tucdesk/tucdesk/internal/store/engine"
	"github.com/tucdesk/tucdesk/internal/wire"
	"github.com/tucdesk/tucdesk/relayd/relay"
	"github.com/tucdesk/tucdesk/rendezvousd/rendezvous"
)

// servers are the three of them on loopback, with their keys and their data in
// one folder.
type servers struct {
	dir    string
	logger *slog.Logger

	grant, token, log, meet keys.Ring
	relaySecret             cred.Secret
	database                string // a file, or a server's address
	store                   engine.Store
	recordings              *folder.Store
	marks                   *marks.Book

	apiURL, rendezvousURL, relayAddr string
	group                            daemon.Group
}

// marksFile is where apid remembers what it has signed.
const marksFile = "log.marks"

// ports are what a folder's servers listen on: chosen once, so that what points
// at them stays true over a restart.
type ports struct {
	API        int `json:"api"`
	Rendezvous int `json:"rendezvous"`
	Relay      int `json:"relay"`
}

// openServers loads or makes the keys, opens the store and builds the services.
// database may name a database server instead of a file in dir. tap, if set, sees
// what passes the rendezvous and the relay. apart, if set, runs them as processes,
// and this one opens nothing of theirs.
func openServers(ctx context.Context, dir, database string, logger *slog.Logger, tap func([]byte), apart *processes) (_ *servers, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("up: %w", err)
	}
	s := &servers{dir: dir, database: database, logger: logger}
	if database == "" {
		s.database = filepath.Join(dir, "tucdesk.db")
	}
	if err := keys.Init(dir); err != nil {
		return nil, err
	}
	for purpose, ring := range map[string]*keys.Ring{keys.Grant: &s.grant, keys.Token: &s.token, keys.Log: &s.log, keys.Rendezvous: &s.meet} {
		if *ring, err = keys.Load(dir, purpose); err != nil {
			return nil, err
		}
	}
	if s.relaySecret, err = keyfile.LoadRelaySecret(filepath.Join(dir, keys.RelayFile)); err != nil {
		return nil, err
	}
	p, err := choosePorts(filepath.Join(dir, "ports.json"))
	if err != nil {
		return nil, err
	}
	s.apiURL, s.rendezvousURL, s.relayAddr = "http://"+loopback(p.API), "http://"+loopback(p.Rendezvous), loopback(p.Relay)
	if apart != nil {
		s.group, err = apart.servers(s)
		return s, err
	}
	if s.store, err = engine.Open(ctx, s.database); err != nil {
		return nil, err
	}
	if s.recordings, err = folder.Open(filepath.Join(dir, "recordings")); err != nil {
		s.close()
		return nil, err
	}
	if s.marks, err = marks.Open(filepath.Join(dir, marksFile)); err != nil {
		s.close()
		return nil, err
	}
	if err := s.build(tap); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *servers) build(tap func([]byte)) error {
	apid, err := api.New(api.Config{
		URL: s.apiURL, Listen: hostPort(s.apiURL),
		Keys:        keys.Set{Grant: s.grant, Token: s.token, Log: s.log, Rendezvous: s.meet.Publics()},
		RelaySecret: s.relaySecret, RelayAddrs: []string{s.relayAddr}, RendezvousURL: s.rendezvousURL,
		Store: s.store, Recordings: s.recordings, Marks: s.marks, Founding: api.FoundingFirst, Logger: s.logger.With("part", "apid"),
	})
	if err != nil {
		return err
	}
	rosters, err := wire.NewSigned(wire.SignedOptions{URL: s.apiURL, Identity: s.meet[0]})
	if err != nil {
		return err
	}
	meet, err := rendezvous.New(rendezvous.Config{
		Listen: hostPort(s.rendezvousURL), URL: s.rendezvousURL, APIURL: s.apiURL,
		RelaySecret: s.relaySecret, Rosters: rendezvous.NewCached(rosters, time.Now), Logger: s.logger.With("part", "rendezvousd"), Tap: tap,
	})
	if err != nil {
		return err
	}
	cfg := relay.Config{Listen: s.relayAddr, Secret: s.relaySecret, Logger: s.logger.With("part", "relayd")}
	cfg.Registry = prometheus.NewRegistry()
	if err := cfg.TellAPI(s.apiURL); err != nil {
		return err
	}
	if tap != nil {
		cfg.ListenPacket = func(network, address string) (net.PacketConn, error) {
			c, err := net.ListenPacket(network, address)
			if err != nil {
				return nil, err
			}
			return &tapped{c, tap}, nil
		}
	}
	relayd, err := relay.New(cfg)
	if err != nil {
		return err
	}
	s.group = daemon.Group{{Name: "relayd", Service: relayd}, {Name: "apid", Service: apid}, {Name: "rendezvousd", Service: meet}}
	return nil
}

// tapped shows every datagram to a test.
type tapped struct {
	net.PacketConn
	tap func([]byte)
}

func (t *tapped) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := t.PacketConn.ReadFrom(p)
	t.tap(p[:n])
	return n, from, err
}

func (t *tapped) WriteTo(p []byte, to net.Addr) (int, error) {
	t.tap(p)
	return t.PacketConn.WriteTo(p, to)
}

// keys gives the statement that names these servers.
func (s *servers) keys() roster.ServerKeys {
	return roster.ServerKeys{
		Grant: s.grant.Publics(), Token: s.token.Publics(), Log: s.log.Publics(), Rendezvous: s.meet.Publics(), Relays: []string{s.relayAddr},
	}
}

// serve runs the servers, and then within them. It returns when then has
// returned or a server has failed, with everything stopped.
func (s *servers) serve(ctx context.Context, then func(context.Context) error) error {
	outer, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	up := make(chan struct{})
	served := make(chan error, 1)
	go func() {
		served <- s.group.Run(outer, func() { close(up) })
		cancel()
	}()
	select {
	case <-up:
	case err := <-served:
		return err
	case <-ctx.Done():
		stop()
		return <-served
	}
	err := then(inner)
	stop()
	return errors.Join(err, <-served)
}

func (s *servers) close() {
	if s.store != nil {
		s.store.Close()
	}
	if s.recordings != nil {
		s.recordings.Close()
	}
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func hostPort(url string) string { return url[len("http://"):] }

// relayPort gives want if it is free over UDP and TCP, and another that is if not.
func relayPort(want int) (int, error) {
	for try := 0; ; try++ {
		c, err := net.ListenPacket("udp", loopback(want))
		if err == nil {
			var l net.Listener
			at := c.LocalAddr().(*net.UDPAddr).Port
			l, err = net.Listen("tcp", loopback(at))
			c.Close()
			if err == nil {
				l.Close()
				return at, nil
			}
		}
		if try == 20 {
			return 0, err
		}
		want = 0
	}
}

// choosePorts gives the ports of the last start if they are free, and others
// that are free if not.
func choosePorts(path string) (ports, error) {
	var p ports
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p, fmt.Errorf("up: %s: %w", path, err)
	}
	old := p
	for _, port := range []*int{&p.API, &p.Rendezvous} {
		l, err := net.Listen("tcp", loopback(*port))
		if err != nil {
			if l, err = net.Listen("tcp", loopback(0)); err != nil {
				return p, fmt.Errorf("up: no free port on loopback: %w", err)
			}
		}
		*port = l.Addr().(*net.TCPAddr).Port
		defer l.Close()
	}
	if p.Relay, err = relayPort(p.Relay); err != nil {
		return p, fmt.Errorf("up: no free port on loopback: %w", err)
	}
	if p == old {
		return p, nil
	}
	b, err = json.Marshal(p)
	if err != nil {
		return p, err
	}
	return p, writeFile(path, append(b, '\n'))
}
