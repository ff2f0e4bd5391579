package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

const root = "../../.."

func TestSBOM(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "tucdesk-relayd")
	cmd := exec.Command("go", "build", "-trimpath", "-o", bin, "./relayd")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	doc, err := sbom(bin)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := sbom(bin); err != nil || !bytes.Equal(doc, again) {
		t.Errorf("two lists of one program differ: %v", err)
	}
	var b bom
	if err := json.Unmarshal(doc, &b); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(program)
	if m := b.Metadata.Component; m.Name != "tucdesk-relayd" || m.Hashes[0].Content != hex.EncodeToString(sum[:]) ||
		!strings.HasSuffix(m.Ref, "#relayd") {
		t.Errorf("the program is %+v", m)
	}
	seen := map[string]bool{}
	for _, c := range b.Components {
		if seen[c.Ref] || c.Version == "" || c.Name != "std" && len(c.Hashes) != 1 {
			t.Errorf("component %+v", c)
		}
		seen[c.Ref] = true
		seen[c.Name] = true
	}
	for _, want := range []string{"std", "github.com/pion/turn/v5"} {
		if !seen[want] {
			t.Errorf("no %s", want)
		}
	}
	// What go version -m lists is what we list.
	out, err := exec.Command("go", "version", "-m", bin).Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(out, []byte("\tdep\t")); n == 0 || n+1 != len(b.Components) {
		t.Errorf("%d components for %d modules", len(b.Components), n)
	}
}

func TestLibrary(t *testing.T) {
	sum := "h1:" + strings.Repeat("A", 43) + "="
	c, err := library(&debug.Module{Path: "example.com/a", Version: "v1.0.0",
		Replace: &debug.Module{Path: "example.com/b", Version: "v2.0.0+incompatible", Sum: sum}})
	if err != nil || c.PURL != "pkg:golang/example.com/b@v2.0.0%2Bincompatible" || c.Hashes[0].Content != strings.Repeat("0", 64) {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"", "h2:" + sum, "h1:AAAA", "h1:?"} {
		if _, err := library(&debug.Module{Path: "example.com/a", Version: "v1.0.0", Sum: bad}); err == nil {
			t.Errorf("took checksum %q", bad)
		}
	}
}

func TestLicenses(t *testing.T) {
	t.Chdir(root)
	text, err := licenses([]string{"linux"}, []string{"./relayd"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"github.com/pion/turn/v5 v5.", "The Go standard library", "Redistribution and use in source and binary forms"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q", want)
		}
	}
	if strings.Contains(text, "github.com/tucdesk") {
		t.Error("lists ourselves")
	}
}

func TestLicenseFiles(t *testing.T) {
	for name, want := range map[string]bool{
		"LICENSE": true, "LICENCE.md": true, "license-MIT": true, "COPYING": true, "NOTICE": true, "PATENTS": true, "LICENSE.docs": true,
		"licenses.go": false, "README": false, "main.go": false, "NOTICEABLE": false,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		err := licensesOf(dir, func([]byte) { n++ })
		if (err == nil) != want || (n == 1) != want {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

func TestFormula(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "tucdesk-1.2.3.tar.gz")
	if err := os.WriteFile(archive, []byte("source"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := formula(archive, "1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("source"))
	for _, want := range []string{
		`url "https://github.com/tucdesk/tucdesk/releases/download/v1.2.3/tucdesk-1.2.3.tar.gz"`,
		`sha256 "` + hex.EncodeToString(sum[:]) + `"`,
		`license "Apache-2.0"`, `depends_on "go" => :build`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %s", want)
		}
	}
	if strings.Contains(text, "{{") || strings.Contains(text, "<no value>") {
		t.Error("not filled in")
	}
	// What it builds and installs exists here.
	for _, m := range regexp.MustCompile(`"(\./[a-z]+|internal/[a-z/.]+)"`).FindAllStringSubmatch(text, -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "v1.2.3", "1.2", `1.2.3"; evil`, "1.2.3\n"} {
		if _, err := formula(archive, bad); err == nil {
			t.Errorf("took version %q", bad)
		}
	}
}
