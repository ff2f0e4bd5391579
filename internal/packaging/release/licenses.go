package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// What packages are made for, and of.
var (
	systems  = []string{"linux", "darwin"}
	programs = []string{"./tui", "./agent", "./apid", "./rendezvousd", "./relayd"}
)

// licenseFile is the name of a file that must go with a module's code.
var licenseFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// module is what go list says about one.
type module struct {
	Path, Version, Dir string
	Main               bool
}

// licenses collects the licences of all modules that packages are linked with,
// on any of the systems. A text that several modules share stands once. A module
// without a licence is an error: it must not be given away.
func licenses(systems, packages []string) (string, error) {
	modules := map[string]module{}
	for _, system := range systems {
		list, err := linked(system, packages)
		if err != nil {
			return "", err
		}
		for _, m := range list {
			modules[m.Path+" "+m.Version] = m
		}
	}
	type group struct {
		names []string
		text  []byte
	}
	texts := map[[sha256.Size]byte]*group{}
	var order []*group
	add := func(name string, text []byte) {
		text = bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")))
		sum := sha256.Sum256(text)
		if texts[sum] == nil {
			texts[sum] = &group{text: text}
			order = append(order, texts[sum])
		}
		texts[sum].names = append(texts[sum].names, name)
	}
	std, err := os.ReadFile(filepath.Join(goRoot(), "LICENSE"))
	if err != nil {
		return "", err
	}
	add("The Go standard library, "+runtime.Version(), std)
	names := make([]string, 0, len(modules))
	for name := range modules {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := licensesOf(modules[name].Dir, func(text []byte) { add(name, text) }); err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
	}
	var out strings.Builder
	out.WriteString("TucDesk's programs are linked with the following. Each list of names is followed\nby the licence of what it names.\n")
	for _, g := range order {
		fmt.Fprintf(&out, "\n%s\n\n", strings.Repeat("=", 80))
		for _, name := range slices.Compact(g.names) {
			fmt.Fprintln(&out, name)
		}
		fmt.Fprintf(&out, "\n%s\n", g.text)
	}
	return out.String(), nil
}

func licensesOf(dir string, add func([]byte)) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	found := false
	for _, e := range entries {
		if !e.Type().IsRegular() || !licenseFile.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		add(text)
		found = true
	}
	if !found {
		return errors.New("no licence in its top folder")
	}
	return nil
}

// linked lists the modules of others that packages reach on a system.
func linked(system string, packages []string) ([]module, error) {
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=Module"}, packages...)...)
	cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, stderr.String())
	}
	var list []module
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ Module *module }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list, nil
		} else if err != nil {
			return nil, err
		}
		if p.Module != nil && !p.Module.Main {
			list = append(list, *p.Module)
		}
	}
}

func goRoot() string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
