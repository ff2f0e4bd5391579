package filecopy

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// example is SPEC.md's.
const example = "54444331" + "02" + "01a4" + "0000" + "0000000000000002" + "6869" +
	"8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4" + "03" + "00000001" + "0000000000000002"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func folder(t *testing.T, files map[string]string) (string, *os.Root) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(p), 0o755)
		if strings.HasSuffix(name, "/") {
			os.MkdirAll(p, 0o755)
			continue
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, root
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// left gives what a folder holds that a copy has not finished.
func left(t *testing.T, dir string) (temps int) {
	filepath.WalkDir(dir, func(p string, _ fs.DirEntry, _ error) error {
		if strings.HasPrefix(filepath.Base(p), ".tucdesk-") {
			temps++
		}
		return nil
	})
	return temps
}

func TestExample(t *testing.T) {
	dir, root := folder(t, map[string]string{"a": "hi"})
	var b bytes.Buffer
	if err := Send(&b, root, "a", false, nil); err != nil || hex.EncodeToString(b.Bytes()) != example {
		t.Fatalf("%x, %v", b.Bytes(), err)
	}
	if err := Receive(NewReader(&b, Limits{}), root, "b", false); err != nil || read(t, dir, "b") != "hi" {
		t.Fatal(err)
	}
}

func TestRoundTrip(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 20_000)
	files := map[string]string{"src/a/b/c": "c", "src/a.txt": "", "src/big": big, "src/empty/": "", "src/a/\x1b[31mred\nname": "x", "src/ü": "u"}
	from, in := folder(t, files)
	os.Chmod(filepath.Join(from, "src/big"), 0o751)
	os.Chmod(filepath.Join(from, "src/a/b"), 0o500)
	os.Symlink("/etc/passwd", filepath.Join(from, "src/link"))
	to, out := folder(t, map[string]string{"dst/a.txt": "old", "dst/kept": "kept", "target": "untouched"})
	os.Symlink("../target", filepath.Join(to, "dst/big"))
	var notes []string
	var b bytes.Buffer
	if err := Send(&b, in, "src", true, func(s string) { notes = append(notes, s) }); err != nil {
		t.Fatal(err)
	}
	tally := NewTally(true, Limits{})
	if _, err := tally.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	rep, err := tally.Report()
	if err != nil || !rep.Whole || rep.Entries != 9 || len(rep.Files) != 5 {
		t.Fatalf("%+v, %v", rep, err)
	}
	if raw, err := rep.Marshal(); err != nil || len(raw) > MaxReport {
		t.Fatal(err)
	} else if again, err := ParseReport(raw); err != nil || again.Digest != rep.Digest || len(again.Files) != 5 {
		t.Fatal(again, err)
	}
	if err := Receive(NewReader(&b, Limits{}), out, "dst", true); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if p := filepath.Join(to, "dst", strings.TrimPrefix(name, "src/")); !strings.HasSuffix(name, "/") && read(t, p) != content {
			t.Errorf("%q differs", name)
		}
	}
	if read(t, to, "dst/kept") != "kept" || read(t, to, "target") != "untouched" {
		t.Error("what was not copied has changed")
	}
	for name, mode := range map[string]fs.FileMode{"dst/big": 0o751, "dst/a/b": 0o500 | fs.ModeDir} {
		if st, err := os.Lstat(filepath.Join(to, name)); err != nil || st.Mode() != mode && runtime.GOOS != "windows" {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "link") || left(t, to) != 0 {
		t.Errorf("notes %q, %d left", notes, left(t, to))
	}
}

// Every end of the stream that is too early, and every byte that is another, is refused,
// or is another file with a name and mode that may be; the content never differs.
func TestTampering(t *testing.T) {
	good := unhex(t, example)
	for i := range good {
		for _, damaged := range [][]byte{good[:i], append(append(bytes.Clone(good[:i]), good[i]^0x11), good[i+1:]...), append(bytes.Clone(good), 0)} {
			dir, root := folder(t, map[string]string{"a": "old"})
			err := Receive(NewReader(bytes.NewReader(damaged), Limits{}), root, "a", false)
			got := read(t, dir, "a")
			switch {
			case got != "old" && got != "hi", left(t, dir) > 0:
				t.Fatalf("byte %d: %q, %d left, %v", i, got, left(t, dir), err)
			case err == nil && (len(damaged) != len(good) || i != 5 && i != 6):
				t.Fatalf("byte %d of %d was taken: %x", i, len(damaged), damaged)
			case err != nil && got == "hi" && i < len(good)-13 && len(damaged) <= len(good):
				t.Fatalf("byte %d: a file was put in place before it was whole", i)
			}
		}
	}
}

func TestHostileStreams(t *testing.T) {
	file := func(name string) string {
		return "02" + "01a4" + hex.EncodeToString([]byte{byte(len(name) >> 8), byte(len(name))}) + hex.EncodeToString([]byte(name)) + "0000000000000000" +
			"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	}
	dir := func(name string) string {
		return "01" + "01ed" + hex.EncodeToString([]byte{byte(len(name) >> 8), byte(len(name))}) + hex.EncodeToString([]byte(name))
	}
	head := "54444331"
	for what, s := range map[string]string{
		"up":                  dir("") + file("../x"),
		"up within":           dir("") + dir("a") + file("a/../../x"),
		"absolute":            dir("") + file("/x"),
		"no directory for it": dir("") + file("a/x"),
		"in a file":           dir("") + file("a") + file("a/x"),
		"twice":               dir("") + file("a") + file("a"),
		"not in order":        dir("") + file("b") + file("a"),
		"back into":           dir("") + dir("a") + file("b") + file("a/x"),
		"empty part":          dir("") + dir("a") + file("a//x"),
		"dot":                 dir("") + file("."),
		"NUL":                 dir("") + file("a\x00"),
		"not UTF-8":           dir("") + file("\xff"),
		"long part":           dir("") + file(strings.Repeat("x", 256)),
		"named first":         file("x"),
		"two roots":           file("") + file(""),
		"nothing":             "03" + "00000000" + "0000000000000000",
		"wrong end":           dir("") + "03" + "00000002" + "0000000000000000",
		"set-user-ID":         "02" + "0fff" + "0000",
		"type":                "04",
		"huge":                "02" + "01a4" + "0000" + "7fffffffffffffff",
		"beyond the limit":    "02" + "01a4" + "0000" + "0000000000001000",
	} {
		outside := t.TempDir()
		in := filepath.Join(outside, "in")
		os.Mkdir(in, 0o755)
		root, err := os.OpenRoot(in)
		if err != nil {
			t.Fatal(err)
		}
		err = Receive(NewReader(bytes.NewReader(unhex(t, head+s)), Limits{Bytes: 100}), root, "t", true)
		root.Close()
		if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooMuch) {
			t.Errorf("%s: %v", what, err)
		}
		if left, _ := os.ReadDir(outside); len(left) != 1 {
			t.Errorf("%s: %v outside", what, left)
		}
	}
	if err := Receive(NewReader(bytes.NewReader(unhex(t, head+dir(""))), Limits{}), nil, "t", false); !errors.Is(err, ErrTree) {
		t.Errorf("a directory without -r: %v", err)
	}
	_, root := folder(t, nil)
	if err := Receive(NewReader(bytes.NewReader(unhex(t, head+dir("")+file("a")+file("b"))), Limits{Entries: 2}), root, "t", true); !errors.Is(err, ErrTooMuch) {
		t.Errorf("too many: %v", err)
	}
}

// No link is followed: as what is named, on the way there, or where a directory is to be.
func TestLinks(t *testing.T) {
	dir, root := folder(t, map[string]string{"secret/s": "secret", "tree/a": "a", "file": "f"})
	os.Symlink("secret/s", filepath.Join(dir, "named"))
	os.Symlink("secret", filepath.Join(dir, "way"))
	var link *LinkError
	if err := Send(io.Discard, root, "named", false, nil); !errors.As(err, &link) || link.To != "secret/s" {
		t.Errorf("named: %v", err)
	}
	if _, err := Enter(root, "way"); !errors.As(err, &link) {
		t.Errorf("on the way: %v", err)
	}
	if _, err := Enter(root, "file"); err == nil {
		t.Error("a file was entered")
	}
	var b bytes.Buffer
	if err := Send(&b, root, "tree", true, nil); err != nil {
		t.Fatal(err)
	}
	if err := Receive(NewReader(&b, Limits{}), root, "way", true); !errors.As(err, &link) {
		t.Errorf("into a link: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "secret/a")); err == nil {
		t.Error("it was written behind a link")
	}
}

// A directory that turns into a link, and back, while it is copied leads nowhere.
func TestLinkRace(t *testing.T) {
	dir, root := folder(t, map[string]string{"secret/s": "SECRET", "tree/d/s": "fine"})
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		d, away := filepath.Join(dir, "tree/d"), filepath.Join(dir, "away")
		for {
			select {
			case <-stop:
				return
			default:
				os.Rename(d, away)
				os.Symlink("../secret", d)
				os.Remove(d)
				os.Rename(away, d)
			}
		}
	}()
	defer func() { close(stop); <-done }()
	for range 300 {
		var b bytes.Buffer
		Send(&b, root, "tree", true, func(string) {})
		if bytes.Contains(b.Bytes(), []byte("SECRET")) {
			t.Fatal("a link was followed")
		}
	}
}

// A file that is being copied to is the old one or the new one, and one that became
// shorter while it was read is no copy.
func TestCutOff(t *testing.T) {
	dir, root := folder(t, map[string]string{"a": strings.Repeat("new", 50_000)})
	var b bytes.Buffer
	if err := Send(&b, root, "a", false, nil); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(dir, "b"), []byte("old"), 0o600)
	if err := Receive(NewReader(bytes.NewReader(b.Bytes()[:b.Len()/2]), Limits{}), root, "b", false); !errors.Is(err, ErrCut) || read(t, dir, "b") != "old" || left(t, dir) != 0 {
		t.Fatalf("%v, %d left", err, left(t, dir))
	}
	w, err := NewWriter(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.File("", 0o644, 3, strings.NewReader("ab")); err == nil {
		t.Error("a file of another size was sent")
	}
}

// Whatever a stream is, what is written is below where it is meant to be, and a tally
// and a receiver think the same of it.
func FuzzReceive(f *testing.F) {
	f.Add(unhex(f, example))
	f.Add(unhex(f, "54444331"+"01"+"01ed"+"0000"+"02"+"01a4"+"0001"+"61"+"0000000000000000"+"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"+"03"+"00000002"+"0000000000000000"))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		outside, err := os.MkdirTemp("", "copy")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(outside)
		in := filepath.Join(outside, "in")
		if err := os.Mkdir(in, 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(in)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		err = Receive(NewReader(bytes.NewReader(b), Limits{Entries: 50, Bytes: 1 << 16}), root, "t", true)
		if got, _ := os.ReadDir(outside); len(got) != 1 {
			t.Fatalf("%v", got)
		}
		if got, _ := os.ReadDir(in); len(got) > 1 || len(got) == 1 && got[0].Name() != "t" {
			t.Fatalf("%v", got)
		}
		tally := NewTally(true, Limits{Entries: 50, Bytes: 1 << 16})
		tally.Write(b)
		if rep, terr := tally.Report(); err == nil && (terr != nil || !rep.Whole) {
			t.Fatalf("received, and the tally says %v", terr)
		}
	})
}
