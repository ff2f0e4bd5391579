package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tucdesk/tucdesk/backend"
	"github.com/tucdesk/tucdesk/backend/control"
	"github.com/tucdesk/tucdesk/internal/canary"
	"github.com/tucdesk/tucdesk/internal/profile"
	"github.com/tucdesk/tucdesk/internal/skiptest"
)

// asClient names the home with which this test's program is an operator's client, and
// nothing else.
const asClient = "TUCDESK_TEST_CLIENT"

// client holds one session, tells its keys to who reads its output, and closes the
// session when it is told to. What it tells is changed bit by bit, so that there is
// no other copy of a key here than the session's own.
func client(home string) error {
	h, err := profile.Open(home)
	if err != nil {
		return err
	}
	b, err := control.New(h, nil)
	if err != nil {
		return err
	}
	term, err := b.Open(context.Background(), backend.OpenRequest{Target: "web-1", Kind: backend.KindExec, Argv: []string{"cat"}})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(term, "said\n"); err != nil {
		return err
	}
	if _, err := io.ReadFull(term, make([]byte, 5)); err != nil {
		return err
	}
	told := bufio.NewReader(os.Stdin)
	say := func(what string) {
		fmt.Println(what)
		told.ReadString('\n')
	}
	keys := established(reflect.ValueOf(term), map[uintptr]bool{})
	if !keys.IsValid() {
		return fmt.Errorf("the terminal of a session holds no keys")
	}
	for name, at := range map[string][]string{"exporter": {"exporter"}, "sealing": {"records", "seal", "cur", "secret"}, "opening": {"records", "open", "cur", "secret"}} {
		v := keys
		for _, field := range at {
			v = reflect.Indirect(v).FieldByName(field)
		}
		v = v.Elem()
		fmt.Print(name, " ")
		for i := range v.Len() {
			fmt.Printf("%02x", v.Index(i).Uint()^0xa5)
		}
		fmt.Println()
	}
	say("open")
	term.Close()
	say("closed")
	return nil
}

// established finds the keys of a session in what a client holds.
func established(v reflect.Value, seen map[uintptr]bool) reflect.Value {
	switch v.Kind() {
	case reflect.Interface:
		return established(v.Elem(), seen)
	case reflect.Pointer:
		if v.IsNil() || seen[v.Pointer()] {
			return reflect.Value{}
		}
		seen[v.Pointer()] = true
		return established(v.Elem(), seen)
	case reflect.Struct:
		if !strings.HasPrefix(v.Type().PkgPath(), "github.com/tucdesk/") {
			return reflect.Value{}
		}
		if v.Type().Name() == "Established" {
			return v
		}
		for i := range v.NumField() {
			if found := established(v.Field(i), seen); found.IsValid() {
				return found
			}
		}
	}
	return reflect.Value{}
}

// raced reports whether this program, which is the client too, has the race detector.
func raced() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// keysAreNowhereElse looks for the keys of a session in the memory of all processes and
// in all files: while it stands its client and its session half have them, and nobody
// else, and once it is closed nobody.
func keysAreNowhereElse(t *testing.T, d *demo) {
	if os.Geteuid() != 0 {
		skiptest.Missing(t, "only root reads other processes' memory; run this as root")
	}
	// Where the system interrupts a thread it saves registers, with whatever they
	// hold: what is found now and then is not what the code leaves.
	var left map[string]int
	for range 4 {
		if left = keysLeftByClient(t, d); len(left) == 0 || raced() { // the race detector keeps copies of its own
			return
		}
	}
	t.Errorf("the client of a closed session has its keys still: %v", left)
}

// keysLeftByClient is one try: it gives what the client has after it was closed.
func keysLeftByClient(t *testing.T, d *demo) (left map[string]int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), asClient+"="+d.Homes["alice"])
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	keys := canary.Needles{}
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "open" {
		name, text, _ := strings.Cut(lines.Text(), " ")
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != 32 {
			t.Fatalf("the client says %q", lines.Text())
		}
		for i := range b {
			b[i] ^= 0xa5
		}
		keys[name] = b
		if name != "exporter" { // internal/session/SPEC.md, section 5.1
			if keys[name+" key"], err = hkdf.Expand(sha256.New, b, "tucdesk-session-v1\x00key", 32); err != nil {
				t.Fatal(err)
			}
		}
	}
	if lines.Text() != "open" || len(keys) != 5 {
		in.Close()
		t.Fatalf("the client has ended: %v\n%s", cmd.Wait(), errs.String())
	}
	look := func(pid int) map[string]int {
		t.Helper()
		found, err := canary.Memory(pid, keys)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	halves := d.sessionHalves(t, "agent web-1")
	if len(halves) != 1 {
		t.Fatalf("%d session halves for one session", len(halves))
	}
	for who, pid := range map[string]int{"the client": cmd.Process.Pid, "the session half": halves[0]} {
		if found := look(pid); len(found) != len(keys) {
			t.Errorf("%s of an open session has %v: this test looks in the wrong place", who, found)
		}
	}
	others := maps.Clone(d.Pids)
	others["the demo"], others["the network half"] = d.pid, d.networkHalf(t, "agent web-1")
	for who, pid := range others {
		if found := look(pid); len(found) > 0 {
			t.Errorf("%s has a session's keys in its memory: %v", who, found)
		}
	}
	io.WriteString(in, "\n")
	if !lines.Scan() || lines.Text() != "closed" {
		in.Close()
		t.Fatalf("the client does not close: %v\n%s", cmd.Wait(), errs.String())
	}
	left = look(cmd.Process.Pid)
	await(t, "the session half's end", func() bool { return syscall.Kill(halves[0], 0) != nil })
	found, files, err := canary.Files(d.dir, keys.Encoded())
	if err != nil || files < 20 || len(found) > 0 {
		t.Errorf("in %d files: %v, %v", files, found, err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("the client: %v\n%s", err, errs.String())
	}
	for form, b := range keys.Encoded() {
		if bytes.Contains(errs.Bytes(), b) {
			t.Errorf("the client has written %s", form)
		}
	}
	return left
}
