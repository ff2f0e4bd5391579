package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/tucdesk/tucdesk/internal/wire"
)

const (
	// lookEvery is how often handshakes make the files be looked at.
	lookEvery = time.Second
	// maxPEM bounds each file, in bytes: a chain has a few kilobytes.
	maxPEM = 256 << 10
	// soon is how long before its end a certificate is warned about.
	soon = 7 * 24 * time.Hour
)

// files is a certificate and its key, in two files that somebody else renews.
type files struct {
	cert, key string
	logger    *slog.Logger
	every     time.Duration

	mu     sync.Mutex
	pair   *tls.Certificate
	seen   [2]stamp // of the last attempt
	looked time.Time
}

// A stamp tells one content of a file from another.
type stamp struct {
	changed time.Time
	size    int64
}

// get is the tls.Config's GetCertificate. New files count for the next handshake
// after they were seen; until both fit, the old ones go on.
func (f *files) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.looked) >= f.every {
		f.looked = now
		if seen, err := f.stamps(); err == nil && seen != f.seen {
			if err := f.read(seen); err != nil {
				f.logger.Error("the new certificate can't be used; the old one goes on", "error", err)
			}
		}
	}
	return f.pair, nil
}

// load reads the files for the first time.
func (f *files) load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, err := f.stamps()
	if err != nil {
		return err
	}
	return f.read(seen)
}

func (f *files) stamps() (seen [2]stamp, err error) {
	for i, setting := range []struct{ key, path string }{{"tls_cert", f.cert}, {"tls_key", f.key}} {
		st, err := os.Stat(setting.path)
		if err != nil {
			return seen, refuse(setting.key, err)
		}
		seen[i] = stamp{st.ModTime(), st.Size()}
	}
	return seen, nil
}

// read makes the files' content the pair, if it is one.
func (f *files) read(seen [2]stamp) error {
	f.seen = seen // also of a failure: it is told once
	cert, _, err := readPEM(f.cert)
	if err != nil {
		return refuse("tls_cert", err)
	}
	key, mode, err := readPEM(f.key)
	if err != nil {
		return refuse("tls_key", err)
	}
	if runtime.GOOS != "windows" && mode.Perm()&0o027 != 0 {
		return refuse("tls_key", fmt.Errorf("%s has mode %04o: others may read it; make it private with chmod 600, or 640 for a group", f.key, mode.Perm()))
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return refuse("tls_cert", fmt.Errorf("%s with %s: %w", f.cert, f.key, err))
	}
	f.pair = &pair
	log := f.logger.Info
	if time.Until(pair.Leaf.NotAfter) < soon {
		log = f.logger.Warn
	}
	log("certificate", "file", f.cert, "ends", pair.Leaf.NotAfter.Format(time.RFC3339), "pin", wire.Pin(pair.Leaf).String())
	return nil
}

func readPEM(path string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = errors.New(path + " is too long for a certificate or key")
	}
	return b, st.Mode(), err
}
