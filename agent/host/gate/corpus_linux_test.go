package gate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// corpus is ways to start rm on a file, $C. $D is a folder and $T the tricks.
var corpus = []struct {
	name, script string
	only         string // for one user
	needs        string // a program and its package
	untrusted    bool   // known by its class, not by a name
}{
	{name: "plain", script: `rm -f $C`},
	{name: "path", script: `/bin/rm -f $C`},
	{name: "long path", script: `/bin/../bin/./rm -f $C`},
	{name: "backslash", script: `\rm -f $C`},
	{name: "quotes", script: `r""m -f $C`},
	{name: "ANSI quotes", script: `$'\x72m' -f $C`},
	{name: "substitution", script: `$(echo rm) -f $C`},
	{name: "variable", script: `X=m; r$X -f $C`},
	{name: "glob", script: `/bin/r[m] -f $C`},
	{name: "brace", script: `{r,}m -f $C; {rm,-f,$C}`},
	{name: "alias", script: "shopt -s expand_aliases\nalias ls=rm\nls -f $C"},
	{name: "function", script: `ls() { rm -f $C; }; ls`},
	{name: "eval", script: `eval "rm -f $C"`},
	{name: "command", script: `command rm -f $C`},
	{name: "exec", script: `exec rm -f $C`},
	{name: "exec -a", script: `(exec -a ls rm -f $C)`},
	{name: "subshell", script: `(rm -f $C)`},
	{name: "pipeline", script: `true | rm -f $C | true`},
	{name: "background", script: `rm -f $C & wait`},
	{name: "trap", script: `trap 'rm -f $C' EXIT`},
	{name: "bash -c", script: `bash -c "bash -c 'rm -f $C'"`},
	{name: "sh from a pipe", script: `echo "rm -f $C" | sh`},
	{name: "decoded", script: `echo "rm -f $C" | base64 | base64 -d | bash`},
	{name: "sourced", script: `echo "rm -f $C" >$D/s; . $D/s`},
	{name: "script", script: `echo "rm -f $C" >$D/s; bash $D/s`},
	{name: "script with #!", script: `printf '#!/bin/sh\nrm -f %s\n' $C >$D/s; chmod +x $D/s; $D/s`},
	{name: "script without #!", script: `echo "rm -f $C" >$D/s; chmod +x $D/s; $D/s`},
	{name: "interpreter is rm", script: `printf '#!/bin/rm\n' >$C; $C`},
	{name: "interpreter of a script is rm", script: `printf '#!/bin/rm -f\n' >$D/i; printf '#!%s\n' $D/i >$C; chmod +x $D/i; $C`},
	{name: "env in #!", script: `printf '#!/usr/bin/env -S rm -f %s\n' $C >$D/s; chmod +x $D/s; $D/s`},
	{name: "symbolic link", script: `ln -s /bin/rm $D/ls; $D/ls -f $C`},
	{name: "xargs", script: `echo $C | xargs rm -f`},
	{name: "find -exec", script: `find $C -exec rm -f {} \;`},
	{name: "find -execdir", script: `find $C -execdir rm -f {} +`},
	{name: "env", script: `env -i X=y rm -f $C`},
	{name: "nice", script: `nice -n 5 rm -f $C`},
	{name: "nohup", script: `nohup rm -f $C`},
	{name: "timeout", script: `timeout 60 rm -f $C`},
	{name: "stdbuf", script: `stdbuf -oL rm -f $C`},
	{name: "awk", script: `awk "BEGIN { system(\"rm -f $C\") }"`},
	{name: "sed", script: `echo | sed "1e rm -f $C"`},
	{name: "tar", script: `touch $D/x; tar cf /dev/null --checkpoint=1 --checkpoint-action="exec=rm -f $C" -C $D x`},
	{name: "make", script: `printf 'all:\n\t@rm -f %s\n' $C | make -f -`, needs: "make make"},
	{name: "git", script: `git -c alias.x="!rm -f $C" x`, needs: "git git"},
	{name: "vim", script: `vim -u NONE -es -c "!rm -f $C" -c 'qa!' </dev/null`, needs: "vim vim"},
	{name: "perl system", script: `perl -e 'system("rm", "-f", $ARGV[0])' $C`, needs: "perl perl"},
	{name: "perl exec", script: `perl -e 'exec {"/bin/rm"} "ls", "-f", $ARGV[0]' $C`, needs: "perl perl"},
	{name: "python system", script: `python3 -c "import os; os.system('rm -f $C')"`, needs: "python3 python3"},
	{name: "python subprocess", script: `python3 -c "import subprocess; subprocess.run(['rm', '-f', '$C'])"`, needs: "python3 python3"},
	{name: "python vfork", script: `python3 -c "import os; os.waitpid(os.posix_spawn('/bin/rm', ['x', '-f', '$C'], {}), 0)"`, needs: "python3 python3"},
	{name: "tmux", script: `T="tmux -S $D/socket -f /dev/null"; $T new-session -d "rm -f $C; echo >$D/done; exec sleep 60"; while [ ! -e $D/done ]; do sleep 0.02; done; $T kill-server`, needs: "tmux tmux"},
	{name: "setsid and two forks", script: `setsid sh -c '(rm -f $C; echo >$D/done) & exit' & while [ ! -e $D/done ]; do sleep 0.02; done`},
	{name: "user namespace", script: `unshare -Ur rm -f $C`},
	{name: "all namespaces", script: `unshare -Urpmuif --mount-proc rm -f $C`},
	{name: "bind mount", script: `mkdir $D/b; unshare -Urm sh -c 'mount --bind /bin $D/b && $D/b/rm -f $C'`},
	{name: "chroot", script: `chroot / rm -f $C`, only: "root"},
	{name: "another root", script: `mkdir $D/r; mount --bind / $D/r; chroot $D/r /bin/rm -f $C; umount $D/r`, only: "root"},
	{name: "su", script: `su -s /bin/sh nobody -c "/bin/rm -f $C"`, only: "root"},
	{name: "int 0x80", script: `$T int80 /bin/rm -f $C`, needs: "cc gcc"},
	{name: "thread", script: `$T thread /bin/rm -f $C`, needs: "cc gcc"},
	{name: "posix_spawn", script: `$T spawn /bin/rm -f $C`, needs: "cc gcc"},
	{name: "execveat by descriptor", script: `$T descriptor /bin/rm -f $C`, needs: "cc gcc"},
	{name: "execveat in a folder", script: `$T folder /bin/rm -f $C`, needs: "cc gcc"},
	{name: "/proc/self/fd", script: `$T proc /bin/rm -f $C`, needs: "cc gcc"},
	{name: "ld.so", script: `set -- /lib64/ld-linux-*.so.? /lib/ld-linux-*.so.?; [ -e "$1" ] || shift; $1 /bin/rm -f $C`},
	{name: "busybox", script: `busybox rm -f $C`, needs: "busybox busybox-static"},
	{name: "copied", script: `cp /bin/rm $D/ls; $D/ls -f $C`, untrusted: true},
	{name: "hard link", script: `cp /bin/rm $D/a; ln $D/a $D/ls; rm $D/a; $D/ls -f $C`, untrusted: true},
	{name: "memfd", script: `$T memory /bin/rm -f $C`, needs: "cc gcc", untrusted: true},
}

// Each way works without the gate, and with it none does: the program was seen under a
// name, or by its class, and refused; the session went on.
func TestCorpus(t *testing.T) {
	g := newGate(t)
	for user, as := range users {
		for _, row := range corpus {
			if row.only != "" && row.only != user {
				continue
			}
			t.Run(user+"/"+row.name, func(t *testing.T) {
				if program, pkg, ok := strings.Cut(row.needs, " "); ok {
					tool(t, program, pkg)
				}
				try := func(g *Gate, j Judge) (removed bool, output string) {
					dir := openDir(t)
					canary := filepath.Join(dir, "canary")
					if err := os.WriteFile(canary, nil, 0o777); err != nil {
						t.Fatal(err)
					}
					if err := os.Chmod(canary, 0o777); err != nil {
						t.Fatal(err)
					}
					cmd := command(as, dir, row.script)
					cmd.Env = append(cmd.Env, "C="+canary, "D="+dir, "T="+theTricks(t, openDir(t)), "TMPDIR="+dir)
					output, _ = run(t, g, j, cmd)
					return !exists(canary), output
				}
				if removed, output := try(nil, nil); !removed {
					t.Fatalf("without the gate it does not work: %s", output)
				}
				forbidden := forbid("rm")
				if row.untrusted {
					forbidden = func(p *Program) Answer {
						if (p.Program().IsWritable() || p.Program().Links == 0) && filepath.Base(p.Path) != "tricks" {
							return Refuse
						}
						return Start
					}
				}
				j := &judge{judge: forbidden}
				removed, output := try(g, j)
				if removed || j.count(Refused) == 0 || j.count(Killed) > 0 {
					t.Errorf("removed %v, refused %d, killed %d: %s", removed, j.count(Refused), j.count(Killed), output)
					j.log(t)
				}
			})
		}
	}
}
