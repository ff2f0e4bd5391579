package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tucdesk/tucdesk/internal/store"
	"github.com/tucdesk/tucdesk/internal/store/sqlite"
)

// crashEnv names the database for the child process of TestKill.
const crashEnv = "TUCDESK_TEST_CRASH_DB"

func TestMain(m *testing.M) {
	if file := os.Getenv(crashEnv); file != "" {
		appendForever(file)
	}
	os.Exit(m.Run())
}

// appendForever is the child: it prints the number of each entry once the
// store has acknowledged it.
func appendForever(file string) {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for {
		var n int64
		err := s.Tx(ctx, "acme", func(tx store.Tx) (err error) {
			if n, err = tx.Audit.Size(); err != nil {
				return err
			}
			entry := fmt.Appendf(nil, "entry %d", n)
			hashes, err := tlog.StoredHashes(n, entry, tx.Audit)
			if err != nil {
				return err
			}
			return tx.Audit.Append(n, entry, hashes)
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(n)
	}
}

// TestKill kills a process that writes, without warning, and opens its database
// again: every acknowledged entry is there, and nothing is there by halves.
func TestKill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "t.db")
	for round := range 5 {
		child := exec.Command(exe)
		child.Env = append(os.Environ(), crashEnv+"="+file)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		acked := int64(-1)
		lines := bufio.NewScanner(out)
		for i := 0; lines.Scan(); i++ {
			if acked, err = strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 64); err != nil {
				t.Fatal(err)
			}
			if i == 7+3*round {
				child.Process.Kill() // and read what it had said before
			}
		}
		child.Wait() // it was killed
		s := open(t, file)
		if err := s.View(t.Context(), "acme", func(tx store.Tx) error {
			n, err := tx.Audit.Size()
			if err != nil {
				return err
			}
			if n <= acked {
				t.Errorf("round %d: entry %d was acknowledged, and there are %d", round, acked, n)
			}
			entries, err := tx.Audit.Entries(0, int(n))
			if err != nil {
				return err
			}
			for i, e := range entries {
				if string(e) != fmt.Sprintf("entry %d", i) {
					t.Errorf("round %d: entry %d is %q", round, i, e)
				}
				leaf, err := tx.Audit.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(i))})
				if err != nil || leaf[0] != tlog.RecordHash(e) {
					t.Errorf("round %d: the hash of entry %d: %v", round, i, err)
				}
			}
			_, err = tlog.TreeHash(n, tx.Audit)
			return err
		}); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
