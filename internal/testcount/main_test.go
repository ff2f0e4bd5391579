package main

import (
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	const pkg = `"Package":"m/a"`
	tests := []struct {
		name, in string
		want     counts
		ok, all  bool   // ok, and ok where everything is required
		says     string // part of what is printed
		silent   string // what is not printed
	}{
		{name: "pass",
			in:   `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"noise\n"}` + "\n" + `{"Action":"pass",` + pkg + `,"Test":"TestA"}` + "\n" + `{"Action":"pass",` + pkg + `,"Elapsed":1.25}`,
			want: counts{passed: 1}, ok: true, all: true, says: "pass  m/a 1.2s", silent: "noise"},
		{name: "fail",
			in:   `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"why\n"}` + "\n" + `{"Action":"fail",` + pkg + `,"Test":"TestA"}` + "\n" + `{"Action":"fail",` + pkg + `}`,
			want: counts{failed: 1}, says: "why"},
		{name: "skip",
			in:   `{"Action":"pass",` + pkg + `,"Test":"TestB"}` + "\n" + `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"no tmux\n"}` + "\n" + `{"Action":"skip",` + pkg + `,"Test":"TestA"}`,
			want: counts{passed: 1, skipped: 1}, ok: true, says: "no tmux"},
		{name: "no test files",
			in:   `{"Action":"skip",` + pkg + `}` + "\n" + `{"Action":"pass","Package":"m/b","Test":"T"}`,
			want: counts{passed: 1}, ok: true, all: true},
		{name: "does not build",
			in:   `{"Action":"build-output","ImportPath":"m/a","Output":"syntax error\n"}` + "\n" + `{"Action":"fail",` + pkg + `}` + "\n" + `{"Action":"pass","Package":"m/b","Test":"T"}`,
			want: counts{passed: 1, broken: 1}, says: "syntax error"},
		{name: "cut off", in: `{"Action":"output",` + pkg + `,"Test":"TestA","Output":"panic\n"}` + "\n" + `{"Action":"pass","Package":"m/b","Test":"T"}`,
			want: counts{passed: 1, failed: 1}, says: "did not end"},
		{name: "plain text", in: "go: no such module", says: "no such module"},
		{name: "nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			got, err := count(strings.NewReader(tt.in), &out)
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
			if got.ok(false) != tt.ok || got.ok(true) != tt.all {
				t.Errorf("ok %v, with everything required %v", got.ok(false), got.ok(true))
			}
			if !strings.Contains(out.String(), tt.says) || tt.silent != "" && strings.Contains(out.String(), tt.silent) {
				t.Errorf("printed %q", out.String())
			}
		})
	}
}
