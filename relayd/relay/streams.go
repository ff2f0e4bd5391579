package relay

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/path/carrier"
)

const (
	// greeting is how long a connection may be without an allocation.
	greeting = 30 * time.Second
	// stuck is how long a client may take nothing at all.
	stuck = 15 * time.Second
	// spare connections may be there beside those of allocations.
	spare = 256
	// readBuffer is for what comes on one connection, in bytes.
	readBuffer = 8 << 10
)

// streams are the connections of clients over TCP and TLS. One lives as long as its
// allocation, and for greeting before it. Safe for concurrent use.
type streams struct {
	max     int
	metrics *metrics

	mu   sync.Mutex
	open map[string]*stream // by the client's address
	over bool
}

func newStreams(allocations int, m *metrics) *streams {
	return &streams{max: allocations + spare, metrics: m, open: map[string]*stream{}}
}

// accepting is a listener whose connections are counted and bounded.
type accepting struct {
	net.Listener
	streams *streams
}

// Accept implements [net.Listener]. It fails only when the listener is closed:
// pion/turn accepts nothing any more after an error.
func (a accepting) Accept() (net.Conn, error) {
	for {
		c, err := a.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case err != nil: // no descriptors left, or a client that was gone at once
			time.Sleep(50 * time.Millisecond)
			continue
		}
		carrier.Tune(c)
		if s := a.streams.take(c); s != nil {
			return s, nil
		}
		c.Close()
	}
}

// take counts a connection, and gives nil if it is one too many.
func (s *streams) take(c net.Conn) *stream {
	st := &stream{Conn: c, in: bufio.NewReaderSize(c, readBuffer), streams: s}
	c.SetReadDeadline(time.Now().Add(greeting))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || len(s.open) >= s.max {
		s.metrics.refused.WithLabelValues("connections").Inc()
		return nil
	}
	s.open[c.RemoteAddr().String()] = st
	s.metrics.connections.Inc()
	return st
}

func (s *streams) of(client net.Addr) *stream {
	if client.Network() != "tcp" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[client.String()]
}

// admit lets the connection of an allocation live.
func (s *streams) admit(client net.Addr) {
	if st := s.of(client); st != nil {
		st.SetReadDeadline(time.Time{})
	}
}

// end closes the connection of an allocation that has ended.
func (s *streams) end(client net.Addr) {
	if st := s.of(client); st != nil {
		st.Close()
	}
}

func (s *streams) forget(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := st.RemoteAddr().String(); s.open[at] == st {
		delete(s.open, at)
		s.metrics.connections.Dec()
	}
}

// close ends all connections and lets no other come.
func (s *streams) close() {
	s.mu.Lock()
	s.over = true
	all := make([]*stream, 0, len(s.open))
	for _, st := range s.open {
		all = append(all, st)
	}
	s.mu.Unlock()
	for _, st := range all {
		st.Close()
	}
}

// stream is one client's connection.
type stream struct {
	net.Conn
	in      *bufio.Reader
	streams *streams
	once    sync.Once
}

func (st *stream) Read(p []byte) (int, error) { return st.in.Read(p) }

// Write implements [net.Conn]. A client that takes nothing for too long loses its
// connection: half a message may have gone.
func (st *stream) Write(p []byte) (int, error) {
	st.SetWriteDeadline(time.Now().Add(stuck))
	n, err := st.Conn.Write(p)
	if err != nil {
		st.Close()
	}
	return n, err
}

func (st *stream) Close() error {
	err := net.ErrClosed
	st.once.Do(func() {
		err = st.Conn.Close()
		st.streams.forget(st)
	})
	return err
}

// tlsListener puts TLS on what it accepts. The handshake is made by the first read,
// in the time for a greeting.
type tlsListener struct {
	net.Listener
	config *tls.Config
}

func (l tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	carrier.Tune(c)
	return tls.Server(c, l.config), nil
}
