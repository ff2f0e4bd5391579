package command

import (
	"strings"
	"testing"
)

func systemFile(path string, names ...string) *File {
	return &File{Path: path, Names: names, Links: 1, Regular: true}
}

// What an execve shows: a rule hits if one of the program's names hits.
func TestPrograms(t *testing.T) {
	set := newSet(t, Low, map[Tier][]string{
		Critical: {"rm -rf /", "> /dev/*"},
		High:     {"rm -r* ...", "@untrusted", "mount ..."},
		Medium:   {"@new", "@interpreter", "@editor-with-shell", "@escape"},
	})
	words := strings.Fields
	for name, tt := range map[string]struct {
		p    Program
		want Tier
	}{
		"as it is":                  {Program{Argv: words("rm -rf /"), Requested: "/bin/rm", File: systemFile("/usr/bin/rm")}, Critical},
		"exec -a":                   {Program{Argv: words("ls -rf /"), Requested: "/bin/rm", File: systemFile("/usr/bin/rm")}, Critical},
		"a link of another name":    {Program{Argv: words("/tmp/ls -rf /"), Requested: "/tmp/ls", File: systemFile("/usr/bin/rm")}, Critical},
		"a hard link elsewhere":     {Program{Argv: words("x -rf /"), Requested: "x", File: &File{Path: "/home/x", Names: []string{"rm"}, Links: 2, Regular: true, Writable: true}}, Critical},
		"busybox by link":           {Program{Argv: words("rm -rf /"), Requested: "/bin/rm", File: systemFile("/bin/busybox")}, Critical},
		"busybox by word":           {Program{Argv: words("busybox rm -rf /"), Requested: "/bin/busybox", File: systemFile("/bin/busybox")}, Critical},
		"busybox in disguise":       {Program{Argv: words("true rm -rf /"), Requested: "/bin/true", File: systemFile("/bin/busybox")}, Critical},
		"awk is mawk":               {Program{Argv: words("pager x"), Requested: "/usr/bin/pager", File: systemFile("/usr/bin/less")}, Medium},
		"a shell in disguise":       {Program{Argv: []string{"x", "-c", "rm -rf /"}, Requested: "/tmp/x", File: systemFile("/bin/dash")}, Critical},
		"a login shell":             {Program{Argv: []string{"-bash", "-c", "rm -rf /"}, Requested: "/bin/bash", File: systemFile("/bin/bash")}, Critical},
		"a copy":                    {Program{Argv: words("/tmp/x -rf /"), File: &File{Path: "/tmp/x", Links: 1, Regular: true, Owner: 1000, Writable: true}}, High},
		"a copy in a free place":    {Program{Argv: words("x"), File: &File{Path: "/tmp/x", Links: 1, Regular: true, Writable: true}}, High},
		"no name":                   {Program{Argv: words("x"), Requested: "/proc/self/fd/3", File: &File{Regular: true}}, High},
		"not a file":                {Program{Argv: words("x"), File: &File{Path: "/dev/x", Links: 1}}, High},
		"deleted":                   {Program{Argv: words("x"), File: &File{Path: "/usr/bin/x", Regular: true}}, High},
		"new":                       {Program{Argv: words("x"), File: &File{Path: "/usr/bin/x", Links: 1, Regular: true, New: true}}, Medium},
		"no facts, by path":         {Program{Argv: words("/tmp/x")}, High},
		"no facts, relative":        {Program{Argv: words("./x")}, High},
		"no facts, bare":            {Program{Argv: words("x")}, Low},
		"no facts, of the system":   {Program{Argv: words("/usr/bin/x")}, Low},
		"in a directory":            {Program{Argv: words("rm -rf ."), Cwd: "/"}, Critical},
		"in another":                {Program{Argv: words("rm -rf ."), Cwd: "/tmp"}, High},
		"up from one":               {Program{Argv: words("rm -rf ../.."), Cwd: "/usr/lib"}, Critical},
		"a script":                  {Program{Argv: words("./x"), File: systemFile("/usr/bin/x"), Loaded: &Program{Argv: words("/usr/bin/python3 ./x"), File: systemFile("/usr/bin/python3.12")}}, Medium},
		"a script of somebody":      {Program{Argv: words("./x"), File: &File{Path: "/home/x", Owner: 1, Links: 1, Regular: true}, Loaded: &Program{Argv: words("/bin/sh ./x"), File: systemFile("/bin/sh")}}, High},
		"code from the environment": {Program{Argv: words("ls"), File: systemFile("/bin/ls"), Environ: []string{"LD_PRELOAD=/tmp/x"}, Watched: true}, High},
		"another pager, watched":    {Program{Argv: words("ls"), File: systemFile("/bin/ls"), Environ: []string{"PAGER=x"}, Watched: true}, Low},
		"another pager":             {Program{Argv: words("ls"), File: systemFile("/bin/ls"), Environ: []string{"PAGER=x"}}, High},
		"reads its input":           {Program{Argv: words("bash")}, High},
		"watched":                   {Program{Argv: words("bash"), Watched: true}, Low},
		"watched line":              {Program{Argv: []string{"sh", "-c", "$X; eval $Y"}, Watched: true}, Low},
		"watched, and read":         {Program{Argv: []string{"sh", "-c", "eval 'rm -rf /'"}, Watched: true}, Critical},
		"watched, in part":          {Program{Argv: []string{"sh", "-c", "rm -rf $X"}, Watched: true}, Critical},
		"watched, but leaves":       {Program{Argv: []string{"ssh", "db", "$X"}, Watched: true}, High},
		"watched, leaves later":     {Program{Argv: []string{"sudo", "docker", "run", "x", "sh", "-c", "$X"}, Watched: true}, High},
		"watched, at":               {Program{Argv: words("at now"), Watched: true}, High},
	} {
		if got := set.Judge(&tt.p); got.Tier != tt.want {
			t.Errorf("%s: %+v, want %s", name, got, tt.want)
		}
	}
	loop := &Program{Argv: words("./x")}
	loop.Loaded = loop
	if got := set.Judge(loop); got.Tier != Critical {
		t.Errorf("a script that is its own interpreter: %+v", got)
	}
}

// A pattern that lowers wants the system's own program, by its file where that
// is known.
func TestLoweringWantsTheFile(t *testing.T) {
	set := newSet(t, Medium, map[Tier][]string{Low: {"ls", "awk ..."}})
	for name, tt := range map[string]struct {
		p    Program
		want Tier
	}{
		"by name":         {Program{Argv: []string{"ls", "-l"}}, Low},
		"by file":         {Program{Argv: []string{"ls", "-l"}, Requested: "/bin/ls", File: systemFile("/usr/bin/ls")}, Low},
		"another program": {Program{Argv: []string{"ls"}, Requested: "/bin/ls", File: systemFile("/usr/bin/rm")}, Medium},
		"another place":   {Program{Argv: []string{"ls"}, Requested: "/opt/ls", File: systemFile("/opt/ls")}, Medium},
		"another owner":   {Program{Argv: []string{"ls"}, File: &File{Path: "/bin/ls", Owner: 1, Links: 1, Regular: true}}, Medium},
		"its own name":    {Program{Argv: []string{"awk"}, Requested: "/usr/bin/awk", File: systemFile("/usr/bin/mawk")}, Medium},
		"environment":     {Program{Argv: []string{"ls"}, File: systemFile("/bin/ls"), Environ: []string{"PYTHONPATH=x"}, Watched: true}, High},
	} {
		if got := set.Judge(&tt.p); got.Tier != tt.want {
			t.Errorf("%s: %+v, want %s", name, got, tt.want)
		}
	}
}

func TestDirectories(t *testing.T) {
	set := exampleCommands(t)
	for line, want := range map[string]Tier{
		"cd / && rm -rf .":                                    Critical,
		"cd /; cd etc; rm -rf ..":                             Critical,
		"pushd / ; rm -rf ./":                                 Critical,
		`cd "$X"; rm -rf .`:                                   Critical,
		"cd -; rm -rf .":                                      Critical,
		"cd /tmp && rm -rf .":                                 High,
		"cd /dev && dd of=sda":                                Critical,
		"cd /dev && echo x > /dev/sda":                        Critical,
		"for i in 1 2; do rm -rf .; cd /; done":               Critical,
		strings.Repeat("cd x/..;", 40) + "rm -rf .":           High,
		"cd /tmp;" + strings.Repeat("cd x;", 40) + "rm -rf .": Critical,
	} {
		if got := lineTier(set, line); got.Tier != want {
			t.Errorf("%s: %+v, want %s", line, got, want)
		}
	}
}

// Options are read as the program reads them, but a wrong guess about them must
// never hide a flag.
func TestOptions(t *testing.T) {
	set := newSet(t, Low, map[Tier][]string{
		High:   {"git push --force ...", "curl -o /etc/* ...", "tail /x", "find ... -delete ...", "systemctl stop nginx"},
		Medium: {"kill -9 1"},
	})
	for line, want := range map[string]Tier{
		"git push --force":                   High,
		"git push --forc origin":             High,
		"git push -f origin":                 High,
		"git push --follow-tags":             Low,
		"git -c a=b push --force":            High,
		"curl -o/etc/passwd http://x":        High,
		"curl -so/etc/passwd http://x":       High,
		"curl --output=/etc/passwd http://x": High,
		"curl --output /etc/passwd http://x": High,
		"curl --outp /etc/passwd http://x":   High,
		"curl -o /tmp/x http://x/etc/":       Low,
		"find / -delete":                     High,
		"find / -depth -name l":              Low,
		"systemctl -H db stop nginx":         High,
		"systemctl --host=db stop nginx":     High,
		"systemctl stop other":               Low,
		"kill -9 1":                          Medium,
		"kill -KILL 1":                       Medium,
	} {
		if got := tierOf(set, Split(line)...); got.Tier != want {
			t.Errorf("%s: %+v, want %s", line, got, want)
		}
	}
}

// Names of files and home directories are read for what they can be.
func TestFileNames(t *testing.T) {
	set := newSet(t, Low, map[Tier][]string{Critical: {"rm -r /|/etc ...", "> /dev/*"}, High: {"rm -r ..."}})
	for line, want := range map[string]Tier{
		"rm -r /*":                Critical,
		"rm -r /e*":               Critical,
		"rm -r /s*":               High,
		"rm -r *":                 High,
		"rm -r x*":                High,
		"cd / && rm -r *":         Critical,
		"cd /srv && rm -r e*":     High,
		`cd "$X" && rm -r *`:      Critical,
		`rm -r "$X"*`:             Critical,
		"rm -r ~":                 Critical,
		"rm -r ~/":                Critical,
		"rm -r ~/x":               High,
		"echo x > ~/x":            Low,
		"echo x > ~/../dev/x":     Low,  // what lies beside home directories is not known
		"rm *":                    High, // a file may be called -r
		"rm -- *":                 Low,
		"parallel rm -r ::: /":    Critical,
		"parallel rm -r {} ::: x": Critical,
		"start-stop-daemon --exec /bin/rm -- -r /": Critical,
	} {
		if got := lineTier(set, line); got.Tier != want {
			t.Errorf("%s: %+v, want %s", line, got, want)
		}
	}
}
