package gate

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tucdesk/tucdesk/internal/sshdtest"
)

// honest are things that people do all day. Each ends with 0, with and without gate.
var honest = []struct{ name, script, needs string }{
	{"pipeline", `seq 2000 | xargs -n 50 -P 4 echo | sort | uniq | wc -l | grep -q 40`, ""},
	{"failing programs", `set +e; for i in 1 2 3 4 5 6 7 8 9 10; do /nosuch 2>/dev/null; /etc/passwd 2>/dev/null; nosuch 2>/dev/null; done; true`, ""},
	{"job control", `set -m; sleep 60 & sleep 60 & kill -STOP %1; kill -CONT %1; kill %1 %2; wait; (sleep 0.01; true) & fg >/dev/null`, ""},
	{"scripts", `printf '#!/bin/sh\necho "$0:$1"\n' >s; chmod +x s; [ "$(./s a)" = ./s:a ]; printf '#!/usr/bin/env sh\necho "$1"\n' >e; chmod +x e; [ "$(./e b)" = b ]; printf '#! /bin/sh   -e  \nfalse\n:\n' >f; chmod +x f; ! ./f`, ""},
	{"many arguments", `/bin/true $(seq 20000); /bin/echo "$(head -c 100000 /dev/zero | tr '\0' x)" | wc -c | grep -q 100001`, ""},
	{"empty arguments", `[ "$(/usr/bin/printf '[%s]' '' a '')" = '[][a][]' ]`, ""},
	{"many variables", `for i in $(seq 500); do export V$i=$i; done; [ "$(env | grep -c ^V)" = 500 ]; env -i /bin/true; env -i A= /usr/bin/env | grep -q '^A=$'`, ""},
	{"deep folders", `d=$(printf 'd/%.0s' $(seq 200)); mkdir -p $d; cd $d; cp /bin/true here; ./here; ../../d/d/here`, ""},
	{"timers", `perl -e 'use Time::HiRes; $SIG{ALRM} = sub {}; Time::HiRes::setitimer(ITIMER_REAL, 0.001, 0.001); for (1..100) { system("/bin/true") == 0 or die $? } Time::HiRes::setitimer(ITIMER_REAL, 0)'`, "perl perl"},
	{"a parent with a handler", `trap 'x=1' USR1 CHLD; for i in $(seq 50); do /bin/true & kill -USR1 $$; done; wait; wait; true`, ""},
	{"make -j4", `{ echo 'all:' $(seq -f t%g 60); for i in $(seq 60); do printf 't%d:\n\t@echo %d >f%d; cat f%d >/dev/null; expr %d + 1 >/dev/null\n' $i $i $i $i $i; done; } >Makefile; make -sj4`, "make make"},
	{"git rebase", `export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@x GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@x; git init -q -b main r; cd r; for i in 1 2 3; do echo $i >f$i; git add .; git commit -qm $i; done; git checkout -qb side HEAD~2; echo x >g; git add .; git commit -qm x; git rebase -q main; GIT_SEQUENCE_EDITOR=: git rebase -q -i --root; [ "$(git log --oneline | wc -l)" = 4 ]`, "git git"},
	{"python tests", `printf 'import subprocess, unittest, os, multiprocessing\nclass T(unittest.TestCase):\n def test_a(self):\n  for i in range(20): self.assertEqual(subprocess.check_output(["echo", str(i)]), b"%%d\\n" %% i)\n def test_b(self):\n  self.assertEqual(os.system("true"), 0)\n def test_c(self):\n  with multiprocessing.get_context("spawn").Pool(2) as p: self.assertEqual(p.map(abs, [-1, 2]), [1, 2])\n' >test_x.py; /usr/bin/python3 -m unittest -q test_x`, "python3 python3"},
	{"vim", `echo a >f; vim -u NONE -es -c '%s/a/b/' -c 'r!echo c' -c wq f </dev/null; [ "$(cat f)" = "$(printf 'b\nc')" ]`, "vim vim"},
	{"tmux", `T="tmux -S $PWD/s -f /dev/null"; $T new-session -d 'echo hi >f; exec sleep 60'; $T split-window 'exec sleep 60'; until [ -s f ]; do sleep 0.02; done; [ $($T list-panes | wc -l) = 2 ]; $T kill-server`, "tmux tmux"},
	{"compiler", `printf 'int main(void) { return 0; }\n' >x.c; cc -o x x.c; ./x`, "cc gcc"},
	{"namespaces", `unshare -Urpf --mount-proc sh -c 'ls /proc >/dev/null; /proc/self/exe -c true; true'`, ""},
	{"what it is itself", `cp /bin/dash d; ln -s /proc/self/exe self; ./d -c '/proc/self/exe -V >/dev/null 2>&1; [ $? -lt 126 ] && ./self -c :; [ $? -lt 126 ]'`, ""},
}

// No honest start is refused or killed.
func TestHonest(t *testing.T) {
	g := newGate(t)
	for user, as := range users {
		for _, row := range honest {
			t.Run(user+"/"+row.name, func(t *testing.T) {
				if program, pkg, ok := strings.Cut(row.needs, " "); ok {
					tool(t, program, pkg)
				}
				if out, exit := run(t, nil, nil, command(as, openDir(t), "set -e; "+row.script)); exit != 0 {
					t.Fatalf("without the gate: exit %d: %s", exit, out)
				}
				runHonest(t, g, row.script, users[user] == nil)
			})
		}
	}
}

// runHonest runs a script that must not notice the gate.
func runHonest(t *testing.T, g *Gate, script string, root bool, env ...string) {
	t.Helper()
	as := users["user"]
	if root {
		as = nil
	}
	j := &judge{judge: func(*Program) Answer { return Start }}
	cmd := command(as, openDir(t), "set -e; "+script)
	cmd.Env = append(cmd.Env, env...)
	out, exit := run(t, g, j, cmd)
	if exit != 0 || j.count(Killed) > 0 {
		t.Errorf("exit %d, killed %d, started %d: %s", exit, j.count(Killed), j.count(Started), out)
		j.log(t)
	}
	for _, e := range j.ends {
		if e.outcome == Refused && e.Claim != nil {
			t.Errorf("refused %q: %s", e.Path, e.why)
		}
	}
}

// A Go build: a hundred starts by a program with many threads.
func TestGoBuild(t *testing.T) {
	g := newGate(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module x\n\ngo 1.26\n",
		"main.go": "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(1) }\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	runHonest(t, g, `cd `+dir+`; go build -o x . && [ $(./x) = 1 ]; go vet .`, true,
		"PATH="+os.Getenv("PATH"), "GOFLAGS=", "GOCACHE="+goCache(), "GOTOOLCHAIN=local", "HOME="+os.Getenv("HOME"))
}

// A package: apt-get, dpkg, its scripts, as they run on a real machine.
func TestPackage(t *testing.T) {
	g := newGate(t)
	tool(t, "apt-get", "apt")
	if os.Getenv("TUCDESK_TEST_REQUIRE") != "all" {
		t.Skip("it installs a package on this machine, for a moment: set TUCDESK_TEST_REQUIRE=all")
	}
	const script = `export DEBIAN_FRONTEND=noninteractive; mkdir -p p/DEBIAN p/usr/share/tucdesk-gate-test; echo x >p/usr/share/tucdesk-gate-test/x
printf 'Package: tucdesk-gate-test\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: a test\n' >p/DEBIAN/control
printf '#!/bin/sh\nset -e\n/bin/true\nrm -f /nosuch\n' >p/DEBIAN/postinst; cp p/DEBIAN/postinst p/DEBIAN/prerm; chmod 755 p/DEBIAN/postinst p/DEBIAN/prerm
dpkg-deb -b p tucdesk-gate-test.deb >/dev/null
A="apt-get -o DPkg::Lock::Timeout=300 -y -qq"; $A install ./tucdesk-gate-test.deb </dev/null; [ -e /usr/share/tucdesk-gate-test/x ]; $A purge tucdesk-gate-test </dev/null; [ ! -e /usr/share/tucdesk-gate-test/x ]`
	runHonest(t, g, script, true)
}

// ssh out of a gated session, to a server that is not in it.
func TestSSH(t *testing.T) {
	g := newGate(t)
	tool(t, "ssh", "openssh-client")
	sshd := tool(t, "sshd", "openssh-server")
	dir := t.TempDir()
	sshdtest.Keys(t, dir, "host", "key")
	server := sshd + " -i -f /dev/null -h " + dir + "/host -o AuthorizedKeysFile=" + dir + "/key.pub -o StrictModes=no -o PermitRootLogin=yes"
	port := sshdtest.Listen(t, func() *exec.Cmd { return exec.Command("/bin/sh", "-c", "exec "+server) })
	runHonest(t, g, `[ "$(ssh -F /dev/null -p `+port+` -i `+dir+`/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@127.0.0.1 'echo out; true')" = out ]`, true)
}

// goCache is that of who runs the tests: the standard library is in it.
func goCache() string {
	if dir := os.Getenv("GOCACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "off"
	}
	return filepath.Join(dir, "go-build")
}
