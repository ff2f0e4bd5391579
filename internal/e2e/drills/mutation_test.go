package drills

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var mutate = flag.Bool("mutate", false, "build each drill without its check and want it to fail")

// module is the way to the top of the module.
const module = "../../.."

// TestChecks: each drill names a function that exists, and lines in it to take out.
func TestChecks(t *testing.T) {
	for _, d := range drills() {
		if d.check.inherent != "" {
			continue
		}
		src, err := os.ReadFile(filepath.Join(module, d.check.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(src, []byte(d.check.old)); n != 1 {
			t.Errorf("%s: %s holds %d times what the drill takes out:\n%s", d.name, d.check.file, n, d.check.old)
		}
		f, err := parser.ParseFile(token.NewFileSet(), d.check.file, src, 0)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				found = found || funcName(fn) == d.check.in
			}
		}
		if !found {
			t.Errorf("%s: %s has no %s any more: name the check that stops this attack now, and see the drill fail without it (-mutate)", d.name, d.check.file, d.check.in)
		}
	}
}

// funcName writes a function as it stands in the table: need, (T).f, (*T).f.
func funcName(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return fn.Name.Name
	}
	switch r := fn.Recv.List[0].Type.(type) {
	case *ast.Ident:
		return "(" + r.Name + ")." + fn.Name.Name
	case *ast.StarExpr:
		if id, ok := r.X.(*ast.Ident); ok {
			return "(*" + id.Name + ")." + fn.Name.Name
		}
	}
	return ""
}

// TestMutations builds the drills without the check of each, by an overlay that
// touches no file of the tree, and wants that drill to fail.
func TestMutations(t *testing.T) {
	if !*mutate {
		t.Log("nothing is built without its checks: that takes minutes; ask for it with -mutate")
		return
	}
	top, err := filepath.Abs(module)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range drills() {
		if d.check.inherent != "" {
			continue
		}
		t.Run(d.id(), func(t *testing.T) {
			out, err := without(t, top, d)
			if err == nil {
				t.Fatalf("the drill passes without its check: it proves nothing\n%s", out)
			}
			if !bytes.Contains(out, []byte("--- FAIL: TestDrills/")) {
				t.Fatalf("no drill has failed: the build has\n%s", out)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, "MUST NOT HAPPEN") || strings.Contains(line, "NOT SHOWN") || strings.Contains(line, "said: ") {
					t.Log(strings.TrimSpace(line))
				}
			}
		})
	}
}

// without runs one drill in a build without its check.
func without(t *testing.T, top string, d *drill) ([]byte, error) {
	t.Helper()
	file := filepath.Join(top, d.check.file)
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(src), d.check.old); n != 1 {
		t.Fatalf("%s holds %d times what the drill takes out:\n%s", d.check.file, n, d.check.old)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, "changed.go")
	overlay := filepath.Join(dir, "overlay.json")
	b, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{changed: strings.Replace(string(src), d.check.old, d.check.new, 1), overlay: string(b)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-count=1", "-vet=off", "-run", fmt.Sprintf("^TestDrills$/^%s$/^%s$", d.part, strings.ReplaceAll(d.name, " ", "-")), ".")
	return cmd.CombinedOutput()
}
