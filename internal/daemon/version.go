package daemon

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the release build: -ldflags "-X .../internal/daemon.version=v1.2.3".
var version string

// Build says which build is running.
type Build struct {
	Version string `json:"version"` // "v1.2.3", or "dev" outside a release
	Commit  string `json:"commit"`  // revision, "+dirty" appended where it was edited; may be empty
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Version returns the build of the running program.
func Version() Build {
	b := Build{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if b.Commit != "" {
		b.Commit += dirty
	}
	if b.Version == "" {
		b.Version = info.Main.Version // set by go install module@version
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "dev"
	}
	return b
}

// String is the line that `version` prints after the program's name.
func (b Build) String() string {
	s := b.Version
	if b.Commit != "" {
		s += " (" + b.Commit + ")"
	}
	return fmt.Sprintf("%s %s %s/%s", s, b.Go, b.OS, b.Arch)
}
