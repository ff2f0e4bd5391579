package netlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/internal/memnet"
)

// ErrUnable means that this machine or this user can't have a lab.
var ErrUnable = errors.New("netlab: needs root, /dev/net/tun and ip (apt-get install iproute2)")

// router is the address that the router's own messages come from.
var router = netip.MustParseAddr("10.77.0.1")

// device is what a host's one interface is called.
const device = "lab0"

// Able says whether this process can make a lab: nil, or an error that wraps
// ErrUnable.
func Able() error {
	if os.Geteuid() != 0 {
		return ErrUnable
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("%w: %w", ErrUnable, err)
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("%w: %w", ErrUnable, err)
	}
	return nil
}

// numbers tells labs of one process apart.
var numbers atomic.Int64

// A Lab is a router and the hosts around it. It is safe for concurrent use.
type Lab struct {
	name string

	mu     sync.Mutex
	hosts  []*Host
	routes atomic.Pointer[map[netip.Addr]*Host] // by the address that others see
}

// New makes a lab without hosts.
func New() (*Lab, error) {
	if err := Able(); err != nil {
		return nil, err
	}
	l := &Lab{name: fmt.Sprintf("tucdesk-%d-%d", os.Getpid(), numbers.Add(1))}
	l.routes.Store(&map[netip.Addr]*Host{})
	return l, nil
}

// A Host is a network namespace whose one way out is the router.
type Host struct {
	// Addr is the host's own address.
	Addr netip.Addr

	lab      *Lab
	space    string // name of the namespace
	hidden   string // folder that programs see empty; empty: none
	tun      *os.File
	up, down *memnet.Link
	reading  chan struct{} // closed when nothing is read any more

	mtu    atomic.Int64
	noUDP  atomic.Bool
	public atomic.Pointer[netip.Addr] // what others see instead of Addr; nil: Addr
	moves  int
}

// Host adds a host. The weather is that of its access, in each direction; it is
// perfect until [Host.Weather].
func (l *Lab) Host(name string) (*Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	number := len(l.hosts) + 1
	h := &Host{
		lab: l, space: l.name + "-" + name,
		Addr:    netip.AddrFrom4([4]byte{10, 77, byte(number), 2}),
		reading: make(chan struct{}),
	}
	h.mtu.Store(1500)
	if err := run("ip", "netns", "add", h.space); err != nil {
		return nil, err
	}
	var err error
	if h.tun, err = openTun(h.space); err != nil {
		_ = run("ip", "netns", "delete", h.space)
		return nil, err
	}
	h.up = memnet.NewLink(memnet.Options{Seed: uint64(number)}, 1, func(b []byte) { l.route(h, b) })
	h.down = memnet.NewLink(memnet.Options{Seed: uint64(number)}, 2, func(b []byte) { h.tun.Write(b) })
	go h.read()
	l.hosts = append(l.hosts, h)
	for _, args := range [][]string{
		{"address", "add", h.Addr.String() + "/32", "dev", device},
		{"link", "set", "lo", "up"},
		{"link", "set", device, "up", "mtu", "1500", "txqueuelen", "4000"},
		{"route", "add", "default", "dev", device, "src", h.Addr.String()},
	} {
		if err := run("ip", append([]string{"-netns", h.space}, args...)...); err != nil {
			h.close()
			return nil, err
		}
	}
	h.announce()
	return h, nil
}

// announce tells the router of h's address, and of no earlier one.
func (h *Host) announce() {
	old := *h.lab.routes.Load()
	now := make(map[netip.Addr]*Host, len(old)+1)
	for a, o := range old {
		if o != h {
			now[a] = o
		}
	}
	now[h.seen()] = h
	h.lab.routes.Store(&now)
}

// seen is the address at which others see h.
func (h *Host) seen() netip.Addr {
	if p := h.public.Load(); p != nil {
		return *p
	}
	return h.Addr
}

// Weather sets what the host's access does to packets, in each direction. An MTU
// is not part of it: see [Host.MTU].
func (h *Host) Weather(o memnet.Options) {
	o.MTU = 0
	h.up.Set(o)
	h.down.Set(o)
}

// MTU sets the longest packet of the host's access, in bytes. The router cuts what
// is longer, or refuses it if it must not be cut.
func (h *Host) MTU(n int) error {
	if err := run("ip", "-netns", h.space, "link", "set", device, "mtu", strconv.Itoa(n)); err != nil {
		return err
	}
	h.mtu.Store(int64(n))
	return nil
}

// BlockUDP drops all UDP of the host, or lets it pass again.
func (h *Host) BlockUDP(on bool) { h.noUDP.Store(on) }

// Move puts the host behind a new public address: what is addressed to an earlier
// one is lost from now on, as when a NAT forgets, or a laptop changes networks. The
// host itself notices nothing.
func (h *Host) Move() netip.Addr {
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	h.moves++
	a := h.Addr.As4()
	p := netip.AddrFrom4([4]byte{10, 88, a[2], byte(h.moves)})
	h.public.Store(&p)
	h.announce()
	return p
}

// Command prepares a program that runs on the host.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	run := []string{"netns", "exec", h.space} // with mounts of its own
	if h.hidden != "" {
		run = append(run, "/bin/sh", "-c", `mount -t tmpfs -o mode=0700 none "$0" && exec "$@"`, h.hidden)
	}
	return exec.CommandContext(ctx, "ip", append(append(run, name), args...)...)
}

// Hide has programs that are started on the host from now on see a folder empty.
func (h *Host) Hide(folder string) { h.hidden = folder }

// Sysctl sets a kernel's setting under /proc/sys/net of the host, such as
// "ipv4/tcp_congestion_control".
func (h *Host) Sysctl(name, value string) error {
	return inside(h.space, func() error {
		return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o644)
	})
}

// read takes what the host sends until its device is closed.
func (h *Host) read() {
	defer close(h.reading)
	buf := make([]byte, 1<<16)
	for {
		n, err := h.tun.Read(buf)
		if err != nil {
			if errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, unix.EBADFD) {
				return
			}
			continue
		}
		if _, ok := parse(buf[:n]); ok {
			h.up.Send(buf[:n])
		}
	}
}

// route passes on a packet that has come up from h.
func (l *Lab) route(h *Host, b []byte) {
	p, ok := parse(b)
	if !ok || h.noUDP.Load() && p.protocol() == protoUDP {
		return
	}
	p = bytes.Clone(p) // it may come up twice
	if h.public.Load() != nil {
		p.setSource(h.seen())
	}
	to := (*l.routes.Load())[p.to()]
	if to == nil || to.noUDP.Load() && p.protocol() == protoUDP {
		return
	}
	send := func(p packet) {
		if to.public.Load() != nil {
			p.setTo(to.Addr)
		}
		to.down.Send(p)
	}
	mtu := int(to.mtu.Load())
	switch {
	case len(p) <= mtu:
		send(p)
	case p.flags()&dontFragment != 0:
		m := p.tooBig(router, mtu)
		if h.public.Load() != nil { // for the host, it was its own
			m.setTo(h.Addr)
			copy(m[minHeader+8+12:], m[16:20])
			m[minHeader+2], m[minHeader+3] = 0, 0
			sum := checksum(m[minHeader:], 0)
			m[minHeader+2], m[minHeader+3] = byte(sum>>8), byte(sum)
		}
		h.down.Send(m)
	default:
		for _, f := range p.fragments(mtu) {
			send(f)
		}
	}
}

func (h *Host) close() {
	h.tun.Close()
	<-h.reading
	h.up.Close()
	h.down.Close()
	_ = run("ip", "netns", "delete", h.space)
}

// Close takes the lab down. Programs that still run there lose their network.
func (l *Lab) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.hosts {
		h.close()
	}
	l.hosts = nil
}

// openTun makes the device of a namespace.
func openTun(space string) (*os.File, error) {
	var f *os.File
	err := inside(space, func() error {
		for _, file := range []string{"all", "default"} {
			// Neighbours are asked for under IPv6 only, where there are none.
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+file+"/disable_ipv6", []byte("1"), 0o644)
		}
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		r, err := unix.NewIfreq(device)
		if err == nil {
			r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
		}
		if err != nil {
			unix.Close(fd)
			return err
		}
		f = os.NewFile(uintptr(fd), device)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("netlab: device: %w", err)
	}
	return f, nil
}

// inside runs do on a thread that is in the namespace for so long. A thread that
// can't be brought back ends, and serves nobody else.
func inside(space string, do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- err
			return
		}
		defer home.Close()
		if err = enter(filepath.Join("/run/netns", space)); err == nil {
			err = do()
		}
		// Threads that stay are also what programs started with Pdeathsig need.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// enter moves this thread into a namespace.
func enter(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}

// run runs a command and gives what it said if it failed.
func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("netlab: %s %v: %w: %s", name, args, err, out)
	}
	return nil
}
