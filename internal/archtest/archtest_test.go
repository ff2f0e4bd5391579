package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/goccy/go-yaml"
)

// root is the top folder of the repository, from this package's.
const root = "../.."

// topLevel is everything that may lie in the top folder, beside dot files.
var topLevel = []string{
	"LICENSE", "README.md", "SECURITY.md", "agent", "apid", "backend", "go.mod", "go.sum", "internal", "relayd", "rendezvousd", "tui",
}

// maxLines bounds the code of one package: lines of files that are not tests,
// without blank ones and comments. More than that is two packages.
const maxLines = 2000

// overBudget are the packages that may be larger for now. Each is named under
// "Known debt" in internal/README.md; a limit here only goes down.
var overBudget = map[string]int{"agent/host": 2300}

// pkg is what go list says about a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
	Error      *struct{ Err string }
}

// graphs are the packages of the module and all they reach, for each system
// that a program is built for: files for one system are not seen on another.
var graphs = sync.OnceValues(func() (map[string]map[string]*pkg, error) {
	all := make(map[string]map[string]*pkg)
	for _, goos := range []string{"linux", "darwin", "windows"} {
		g, err := list(goos)
		if err != nil {
			return nil, fmt.Errorf("for %s: %w", goos, err)
		}
		all[goos] = g
	}
	return all, nil
})

func list(goos string) (map[string]*pkg, error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Imports,Deps,Standard,Error", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, stderr.String())
	}
	g := make(map[string]*pkg)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(pkg)
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			return g, nil
		} else if err != nil {
			return nil, err
		}
		g[p.ImportPath] = p
	}
}

// full is the import path that a pattern of the walls means, without "/...".
func full(pattern string) (prefix string, below bool) {
	prefix, below = strings.CutSuffix(pattern, "/...")
	if slices.Contains(topLevel, top(prefix)) {
		prefix = module + "/" + prefix
	}
	return prefix, below
}

func match(importPath string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, below := full(pattern)
		return importPath == prefix || below && strings.HasPrefix(importPath, prefix+"/")
	})
}

func ours(importPath string) bool { return match(importPath, []string{module + "/..."}) }

// reached lists what p reaches under the rule of w, each with one of the
// packages that import it.
func reached(g map[string]*pkg, p *pkg, w wall) map[string]string {
	from := make(map[string]string)
	todo := []*pkg{p}
	for len(todo) > 0 {
		p, todo = todo[0], todo[1:]
		for _, i := range p.Imports {
			if _, seen := from[i]; seen {
				continue
			}
			from[i] = p.ImportPath
			if next := g[i]; next != nil && (ours(i) || !w.ours) && !match(i, w.through) {
				todo = append(todo, next)
			}
		}
	}
	return from
}

// chain writes how p comes to reach what it must not.
func chain(from map[string]string, start, end string) string {
	steps := []string{end}
	for at := end; at != start; {
		at = from[at]
		steps = append(steps, at)
	}
	slices.Reverse(steps)
	for i := range steps {
		steps[i] = strings.TrimPrefix(steps[i], module+"/")
	}
	return strings.Join(steps, " -> ")
}

// breaches lists what w forbids and g has. present says whether anything
// stands inside the wall.
func breaches(g map[string]*pkg, w wall) (found []string, present bool) {
	for _, p := range g {
		if !match(p.ImportPath, w.from) {
			continue
		}
		present = true
		from := reached(g, p, w)
		for to := range from {
			if match(to, w.not) && !match(to, w.from) && !match(to, w.allow) {
				found = append(found, chain(from, p.ImportPath, to))
			}
		}
	}
	slices.Sort(found)
	return found, present
}

func TestWalls(t *testing.T) {
	all, err := graphs()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range walls() {
		t.Run(w.name, func(t *testing.T) {
			if w.why == "" || len(w.from) == 0 || len(w.not) == 0 {
				t.Fatal("a row needs packages on both sides, and a reason")
			}
			for goos, g := range all {
				found, present := breaches(g, w)
				if !present {
					t.Logf("pending on %s: %v does not exist yet", goos, w.from)
				}
				for _, f := range found {
					t.Errorf("on %s: %s\nbecause: %s", goos, f, w.why)
				}
			}
		})
	}
}

// A wall that finds nothing may be one that looks at nothing.
func TestWallsHold(t *testing.T) {
	p := func(path string, imports ...string) *pkg {
		for i, s := range imports {
			imports[i], _ = full(s)
		}
		path, _ = full(path)
		return &pkg{ImportPath: path, Imports: imports}
	}
	tests := []struct {
		wall string
		pkgs []*pkg
		want string // what is found; empty means nothing
	}{
		{"relay-and-rendezvous-are-blind", []*pkg{p("relayd/relay", "internal/a"), p("internal/a", "internal/session"), p("internal/session")},
			"relayd/relay -> internal/a -> internal/session"},
		{"relay-and-rendezvous-are-blind", []*pkg{p("relayd/relay", "internal/key"), p("internal/key")}, ""},
		{"relay-and-rendezvous-are-blind", []*pkg{p("relayd", "internal/sessions")}, ""},
		{"pure", []*pkg{p("internal/token", "example.com/jwt"), p("example.com/jwt", "os")}, ""},
		{"pure", []*pkg{p("internal/token", "internal/b"), p("internal/b", "os")}, "internal/token -> internal/b -> os"},
		{"console-cannot-leak", []*pkg{p("tui/console/pane", "example.com/x"), p("example.com/x", "net")}, "tui/console/pane -> example.com/x -> net"},
		{"console-cannot-leak", []*pkg{p("tui/console", "golang.org/x/sys/windows"), p("golang.org/x/sys/windows", "net")}, ""},
		{"console-cannot-leak", []*pkg{p("tui/console", "golang.org/x/sys/windows", "net"), p("golang.org/x/sys/windows", "net")}, "tui/console -> net"},
		{"console-cannot-leak", []*pkg{p("tui/console", "net/url"), p("net/url", "net/netip")}, ""},
		{"console-knows-the-seam-only", []*pkg{p("tui/console", "backend", "internal/vt", "tui/console/pane")}, ""},
		{"console-knows-the-seam-only", []*pkg{p("tui/console", "internal/key")}, "tui/console -> internal/key"},
		{"service-alone-apid", []*pkg{p("apid/api", "relayd/relay")}, "apid/api -> relayd/relay"},
		{"backend-is-a-public-seam", []*pkg{p("backend", "internal/key")}, "backend -> internal/key"},
		{"backend-is-a-public-seam", []*pkg{p("backend/control", "internal/key")}, ""},
		{"agent-is-small", []*pkg{p("agent", "modernc.org/sqlite/lib")}, "agent -> modernc.org/sqlite/lib"},
	}
	for _, tt := range tests {
		i := slices.IndexFunc(walls(), func(w wall) bool { return w.name == tt.wall })
		if i < 0 {
			t.Errorf("no wall %s", tt.wall)
			continue
		}
		g := make(map[string]*pkg)
		for _, p := range tt.pkgs {
			g[p.ImportPath] = p
		}
		found, _ := breaches(g, walls()[i])
		if got := strings.Join(found, "\n"); got != tt.want {
			t.Errorf("%s found %q, want %q", tt.wall, got, tt.want)
		}
	}
}

func TestOnlyUpImportsTwoServices(t *testing.T) {
	all, err := graphs()
	if err != nil {
		t.Fatal(err)
	}
	for goos, g := range all {
		for _, p := range g {
			n := 0
			for _, i := range p.Imports {
				if match(i, services) {
					n++
				}
			}
			if n > 1 && p.ImportPath != module+"/tui/up" {
				t.Errorf("on %s: %s imports %d services; only tui/up may put them together", goos, p.ImportPath, n)
			}
		}
	}
}

func TestPackagesLoad(t *testing.T) {
	all, err := graphs()
	if err != nil {
		t.Fatal(err)
	}
	for goos, g := range all {
		for _, p := range g {
			// A package whose files are all for other systems is no error.
			if p.Error != nil && ours(p.ImportPath) && !strings.Contains(p.Error.Err, "build constraints exclude all Go files") {
				t.Errorf("on %s: %s: %s", goos, p.ImportPath, p.Error.Err)
			}
		}
	}
}

// file is one file of the repository, with its path below root.
type file struct {
	name string
	text []byte
}

// files are the files whose names end in ext. Folders that begin with a dot
// are looked into, but for .git; testdata is not.
func files(t *testing.T, ext string) []file {
	t.Helper()
	var found []file
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ext) {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		found = append(found, file{filepath.ToSlash(rel), text})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// byPackage groups the Go files that are not tests by folder.
func byPackage(t *testing.T) map[string][]file {
	t.Helper()
	packages := make(map[string][]file)
	for _, f := range files(t, ".go") {
		if !strings.HasSuffix(f.name, "_test.go") {
			dir := path.Dir(f.name)
			packages[dir] = append(packages[dir], f)
		}
	}
	if len(packages) == 0 {
		t.Fatal("no package found")
	}
	return packages
}

func TestPackageDocs(t *testing.T) {
	for dir, list := range byPackage(t) {
		documented := 0
		name := ""
		for _, f := range list {
			syntax, err := parser.ParseFile(token.NewFileSet(), f.name, f.text, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Error(err)
				continue
			}
			name = syntax.Name.Name
			if syntax.Doc == nil {
				continue
			}
			documented++
			doc := syntax.Doc.Text()
			if name != "main" && !strings.HasPrefix(doc, "Package "+name+" ") {
				t.Errorf("%s: its doc comment does not begin with %q", f.name, "Package "+name)
			}
			if len(strings.Fields(doc)) < 8 {
				t.Errorf("%s: its doc comment says too little", f.name)
			}
		}
		if documented != 1 {
			t.Errorf("%s has %d package comments; say once what it is for, what always holds, what it must not import", dir, documented)
		}
	}
}

func TestPackageNames(t *testing.T) {
	for dir := range byPackage(t) {
		switch path.Base(dir) {
		case "util", "utils", "common", "types", "helper", "helpers", "misc", "shared", "lib":
			t.Errorf("%s: a name that fits everything says nothing; name what it holds", dir)
		}
	}
}

func TestPackageSizes(t *testing.T) {
	debt, err := os.ReadFile(filepath.Join(root, "internal/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(debt), "\n## Known debt\n")
	packages := byPackage(t)
	for dir, list := range packages {
		limit := maxLines
		if more, ok := overBudget[dir]; ok {
			limit = more
		}
		lines := 0
		for _, f := range list {
			for line := range strings.Lines(string(f.text)) {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
					lines++
				}
			}
		}
		if lines > limit {
			t.Errorf("%s has %d lines of code, over its budget of %d: it is two packages", dir, lines, limit)
		}
		if lines <= maxLines && limit > maxLines {
			t.Errorf("%s is within the common budget again; take it out of overBudget", dir)
		}
	}
	for dir := range overBudget {
		if packages[dir] == nil || !strings.Contains(section, "`"+dir+"`") {
			t.Errorf("%s is over budget and not named under Known debt in internal/README.md, or does not exist", dir)
		}
	}
}

// Code that tests use has no business in a program, but for the suites that
// several packages run.
func TestNoTestingInPrograms(t *testing.T) {
	all, err := graphs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all["linux"] {
		if ours(p.ImportPath) && slices.Contains(p.Imports, "testing") && !strings.HasSuffix(p.ImportPath, "test") {
			t.Errorf("%s imports testing and is not a test suite", p.ImportPath)
		}
	}
}

func TestNothingLeftBehind(t *testing.T) {
	mark := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)
	for _, f := range files(t, ".go") {
		if !mark.Match(f.text) {
			continue
		}
		for i, line := range strings.Split(string(f.text), "\n") {
			if mark.MatchString(line) {
				t.Errorf("%s:%d: %s\nfinish it, or say in internal/README.md that it is not there", f.name, i+1, strings.TrimSpace(line))
			}
		}
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "dist" || e.Name() == "bin" {
			continue // what a release has built; git ignores it
		}
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s: the top folder is fixed; see internal/README.md for where things go", e.Name())
		}
	}
}

// The linter shows a breach while one types, the walls prove that there is
// none. Both must know the same rows.
func TestLinterKnowsTheWalls(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct {
					Rules map[string]struct {
						Files []string `yaml:"files"`
						Deny  []struct {
							Pkg  string `yaml:"pkg"`
							Desc string `yaml:"desc"`
						} `yaml:"deny"`
					} `yaml:"rules"`
				} `yaml:"depguard"`
			} `yaml:"settings"`
		} `yaml:"linters"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	rules := config.Linters.Settings.Depguard.Rules
	rows := walls()
	for _, w := range rows {
		if len(w.allow) > 0 || w.name == "frame-knows-no-service" || w.name == "credentials-are-a-leaf" {
			continue // a rule by exception, which depguard's list mode can't say
		}
		rule, ok := rules[w.name]
		if !ok {
			t.Errorf("no depguard rule %s", w.name)
			continue
		}
		for _, not := range w.not {
			prefix, _ := full(not)
			if !slices.ContainsFunc(rule.Deny, func(d struct {
				Pkg  string `yaml:"pkg"`
				Desc string `yaml:"desc"`
			}) bool {
				return strings.TrimSuffix(d.Pkg, "$") == prefix && d.Desc != ""
			}) {
				t.Errorf("depguard rule %s does not deny %s, or gives no reason", w.name, prefix)
			}
		}
		for _, from := range w.from {
			dir := strings.TrimSuffix(from, "/...")
			if !slices.ContainsFunc(rule.Files, func(f string) bool { return strings.HasPrefix(f, "**/"+dir+"/") }) {
				t.Errorf("depguard rule %s does not look at %s", w.name, dir)
			}
		}
	}
	for name := range rules {
		if !slices.ContainsFunc(rows, func(w wall) bool { return w.name == name }) {
			t.Errorf("depguard has a rule %s that no wall backs", name)
		}
	}
}

// link is an inline link or image of Markdown: [text](target) or
// [text](target "title").
var link = regexp.MustCompile(`\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)`)

// reference is a link definition: [name]: target.
var reference = regexp.MustCompile(`(?m)^\s{0,3}\[[^\]]+\]:\s*(\S+)`)

var code = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")

func TestLinks(t *testing.T) {
	for _, f := range files(t, ".md") {
		text := code.ReplaceAllString(string(f.text), "")
		for _, m := range slices.Concat(link.FindAllStringSubmatch(text, -1), reference.FindAllStringSubmatch(text, -1)) {
			if err := follow(f, m[1]); err != nil {
				t.Errorf("%s: %s: %v", f.name, m[1], err)
			}
		}
	}
}

// follow checks one link of f. Links to other sites are not followed: a test
// that needs the network fails for reasons of its own.
func follow(f file, target string) error {
	for _, scheme := range []string{"https://", "mailto:"} {
		if strings.HasPrefix(target, scheme) {
			return nil
		}
	}
	if strings.Contains(target, "://") || strings.HasPrefix(target, "/") {
		return errors.New("want a relative path or https")
	}
	name, anchor, _ := strings.Cut(target, "#")
	to := f.name
	text := f.text
	if name != "" {
		to = path.Join(path.Dir(f.name), name)
		if strings.HasPrefix(to, "..") {
			return errors.New("leads out of the repository")
		}
		st, err := os.Stat(filepath.Join(root, to))
		if err != nil {
			return errors.New("leads nowhere")
		}
		if anchor == "" || st.IsDir() {
			return nil
		}
		if text, err = os.ReadFile(filepath.Join(root, to)); err != nil {
			return err
		}
	}
	if !strings.HasSuffix(to, ".md") {
		return nil // a line of code, such as #L10
	}
	if !slices.Contains(anchors(text), anchor) {
		return fmt.Errorf("%s has no heading #%s", to, anchor)
	}
	return nil
}

var heading = regexp.MustCompile(`(?m)^#{1,6}\s+(.+?)\s*#*$`)

// anchors are the names that headings get on the web: lower case, punctuation
// dropped, spaces as hyphens, a number where one comes again.
func anchors(text []byte) []string {
	seen := make(map[string]int)
	var names []string
	plain := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(string(text), "")
	for _, m := range heading.FindAllStringSubmatch(plain, -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])
		seen[name]++
		if n := seen[name] - 1; n > 0 {
			name = fmt.Sprintf("%s-%d", name, n)
		}
		names = append(names, name)
	}
	return names
}

func TestFollow(t *testing.T) {
	f := file{"internal/archtest/x.md", []byte("# One Thing: `a/b`\n## Again\n## Again\n```\n# not a heading\n```\n")}
	for target, ok := range map[string]bool{
		"#one-thing-ab": true, "#again": true, "#again-1": true, "#again-2": false, "#not-a-heading": false, "#One": false,
		"doc.go": true, "doc.go#L3": true, "../daemon": true, "../nothing.md": false, "../../../x": false, "/etc/passwd": false,
		"https://example.com/x": true, "http://example.com": false, "mailto:a@example.com": true,
	} {
		if err := follow(f, target); (err == nil) != ok {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestDecisions(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(root, "internal/decisions"))
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^(\d{4})-[a-z0-9-]+\.md$`)
	by := make(map[string]string)
	for _, e := range entries {
		m := name.FindStringSubmatch(e.Name())
		if m == nil {
			t.Errorf("%s: want NNNN-title.md", e.Name())
			continue
		}
		if other, ok := by[m[1]]; ok {
			t.Errorf("%s and %s have one number", other, e.Name())
		}
		by[m[1]] = e.Name()
		text, err := os.ReadFile(filepath.Join(root, "internal/decisions", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if first, _, _ := strings.Cut(string(text), "\n"); !strings.HasPrefix(first, "# "+m[1]+": ") {
			t.Errorf("%s begins with %q, want # %s: Title", e.Name(), first, m[1])
		}
		if n := bytes.Count(text, []byte("\n")); n > 60 {
			t.Errorf("%s has %d lines: a decision is one page", e.Name(), n)
		}
	}
}
