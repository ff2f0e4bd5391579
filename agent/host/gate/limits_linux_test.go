package gate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What must not work in a session, as the one who tries sees it.
func TestClosedDoors(t *testing.T) {
	g := newGate(t)
	outside := exec.Command("/bin/sleep", "600")
	if err := outside.Start(); err != nil {
		t.Fatal(err)
	}
	defer outside.Wait()
	defer outside.Process.Kill()
	for user, as := range users {
		for way, argument := range map[string]string{
			"listener": "-", "x32": "/bin/true", "traced": "/bin/true", "outsider": strconv.Itoa(outside.Process.Pid),
		} {
			t.Run(user+"/"+way, func(t *testing.T) {
				dir := openDir(t)
				j := &judge{judge: func(*Program) Answer { return Start }}
				cmd := command(as, dir, "exec "+theTricks(t, dir)+" "+way+" "+argument)
				s, err := g.Start(cmd, j)
				if err != nil {
					t.Fatal(err)
				}
				await(t, cmd)
				s.Close()
				if way == "outsider" && !s.Features().Landlock && as == nil {
					t.Skip("this kernel's Landlock has no scopes: root may look into processes outside (Linux 6.12 has them)")
				}
				if exit := cmd.ProcessState.ExitCode(); exit != 0 {
					t.Errorf("exit %d", exit)
					j.log(t)
				}
			})
		}
	}
	// A debugger may come when the program runs.
	if _, err := os.Stat("/usr/bin/strace"); err == nil {
		runHonest(t, g, `sleep 60 & strace -qq -e trace=none -p $! & sleep 0.1; kill %1; wait`, true)
	}
}

// What the gate does not see, as README.md says: who reads there that it stops these is
// told wrong.
func TestNotSeen(t *testing.T) {
	g := newGate(t)
	for name, script := range map[string]string{
		"a redirection":              `: >canary`,
		"a built-in":                 `exec 3>canary; echo x >&3`,
		"an interpreter's own calls": `perl -e 'open my $f, ">", "canary"'`,
	} {
		dir := openDir(t)
		j := &judge{judge: func(p *Program) Answer {
			if filepath.Base(p.Path) == "perl" {
				return Start
			}
			return Refuse
		}}
		if _, exit := run(t, g, j, command(users["user"], dir, script)); exit != 0 || !exists(filepath.Join(dir, "canary")) {
			t.Errorf("%s: exit %d", name, exit)
		}
	}
}

// Variables that make a program another one are part of what is judged and shown.
func TestRiskyVariables(t *testing.T) {
	g := newGate(t)
	cmd := command(nil, openDir(t), "LD_PRELOAD=/tmp/x.so BASH_ENV=b HARMLESS=1 /bin/true 2>/dev/null")
	begin := cmd.Env
	var shown []string
	j := &judge{judge: func(p *Program) Answer {
		shown = p.LoadingEnv(begin)
		return Start
	}}
	run(t, g, j, cmd)
	slices.Sort(shown)
	if fmt.Sprint(shown) != "[BASH_ENV=b LD_PRELOAD=/tmp/x.so]" {
		t.Errorf("shown: %q", shown)
	}
}

// #! lines mean what the kernel makes of them: whatever the line, the same comes out as
// without the gate, and nothing is killed.
func TestScriptsAsTheKernelReadsThem(t *testing.T) {
	g := newGate(t)
	dir := openDir(t)
	lines := []string{
		"#!/bin/echo", "#!/bin/echo ", "#! /bin/echo a", "#!\t/bin/echo\ta  b\t ", "#!/bin/echo a\x00b", "#!", "#! ", "#!\x00", "#!\n/bin/echo",
		"#!/bin/echo " + strings.Repeat("x", 300), "#!" + strings.Repeat(" ", 239) + "/bin/echo", "#!" + strings.Repeat(" ", 300) + "/bin/echo",
		"#!" + strings.Repeat("/", 240) + "bin/echo", "#!" + strings.Repeat("/", 246) + "bin/echo", "#!" + strings.Repeat("/", 247) + "bin/echo",
		"#!./echo", "#!nothing", "#!/bin", "#!/bin/echo\r", "#!x.sh", "# !/bin/echo", "", "\x7fELF",
	}
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{"/bin/echo", " ", "\t", "a", "\n", "\x00", "-n", strings.Repeat("y", 120)}
	for range steps(40) {
		line := "#!"
		for range random.IntN(8) {
			line += parts[random.IntN(len(parts))]
		}
		lines = append(lines, line)
	}
	for i, line := range lines {
		name := fmt.Sprintf("s%d.sh", i)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(line), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// perl does not try sh where the kernel refuses.
	if err := os.WriteFile(filepath.Join(dir, "all.pl"), []byte("$| = 1;\nsub run { my $p = fork; if (!$p) { exec { $_[0] } 'zero', 'one', '', 'two'; print 0 + $!, \"\\n\"; exit 99 } waitpid($p, 0); print \"$_[0]: $?\\n\" }\n"+
		"run(\"./s$_.sh\") for 0.."+strconv.Itoa(len(lines)-1)+";\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	bare, _ := run(t, nil, nil, command(nil, dir, "perl all.pl"))
	j := &judge{judge: func(*Program) Answer { return Start }}
	gated, _ := run(t, g, j, command(nil, dir, "perl all.pl"))
	if bare != gated || j.count(Killed) > 0 {
		t.Errorf("killed %d\nwithout:\n%s\nwith:\n%s", j.count(Killed), bare, gated)
		j.log(t)
	}
}
