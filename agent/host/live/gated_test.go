package live

import (
	"reflect"
	"testing"
)

// Two starts are the same only if every word of them is: a change of any field, and a
// word moved from one field to the next, gives another key.
func TestKeyOfAStart(t *testing.T) {
	whole := Start{
		Requested: "r", Argv: []string{"a", "b"}, Loads: []string{"l"}, Cwd: "c", Env: [][2]string{{"n", "v"}},
		Files: []StartFile{{Path: "p", Names: []string{"x"}, Owner: 1, Links: 2, Writable: true, New: true}},
	}
	keys := map[string]string{whole.key(): "whole"}
	add := func(name string, change func(*Start)) {
		s := whole
		s.Files = append([]StartFile{}, whole.Files...)
		change(&s)
		if other, known := keys[s.key()]; known {
			t.Errorf("%s has the key of %s", name, other)
		}
		keys[s.key()] = name
	}
	add("requested", func(s *Start) { s.Requested = "" })
	add("argv", func(s *Start) { s.Argv = []string{"a b"} })
	add("argv joined", func(s *Start) { s.Argv = []string{"a 1:b"} })
	add("loads", func(s *Start) { s.Loads = nil })
	add("a word moved", func(s *Start) { s.Argv, s.Loads = []string{"a"}, []string{"b", "l"} })
	add("cwd", func(s *Start) { s.Cwd = "/" })
	add("no env", func(s *Start) { s.Env = nil })
	add("env", func(s *Start) { s.Env = [][2]string{{"nv", ""}} })
	add("path", func(s *Start) { s.Files[0].Path = "" })
	add("names", func(s *Start) { s.Files[0].Names = nil })
	add("owner", func(s *Start) { s.Files[0].Owner = 0 })
	add("links", func(s *Start) { s.Files[0].Links = 1 })
	add("writable", func(s *Start) { s.Files[0].Writable = false })
	add("new", func(s *Start) { s.Files[0].New = false })
	add("no files", func(s *Start) { s.Files = nil })
	// Whoever adds a field adds it to key, and here.
	if n, m := reflect.TypeFor[Start]().NumField(), reflect.TypeFor[StartFile]().NumField(); n != 6 || m != 6 {
		t.Errorf("Start has %d fields, StartFile %d", n, m)
	}
}
