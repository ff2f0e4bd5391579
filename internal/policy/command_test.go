package policy

import (
	"fmt"
	"strings"
	"testing"
)

// exampleCommands is the `commands` block of testdata/example.yaml, which is
// the one of the design.
func exampleCommands(t testing.TB) *commandSet {
	t.Helper()
	return &parseExample(t).commands
}

func tierOf(set *commandSet, argv ...string) judged { return set.judgeAll(readArgv(argv)) }

func lineTier(set *commandSet, line string) judged { return tierOf(set, "sh", "-c", line) }

func TestTiersOfArgv(t *testing.T) {
	set := exampleCommands(t)
	for line, want := range map[string]tier{
		"uname -a":                                low,
		"rm a":                                    low,
		"rm -f /":                                 low, // the pattern asks for both flags
		"rm -rf /":                                critical,
		"rm -fr /":                                critical,
		"rm -r -f /":                              critical,
		"rm / -rf":                                critical,
		"rm -rfv /":                               critical,
		"rm -rf --no-preserve-root /":             critical,
		"rm --recursive --force /":                critical,
		"rm --rec --fo /":                         critical,
		"rm -Rf /":                                critical,
		"rm -rf //":                               critical,
		"rm -rf /tmp/..":                          critical,
		"rm -rf -- /":                             critical,
		"/bin/rm -rf /":                           critical,
		"/bin/../bin/rm -rf /":                    critical,
		"./rm -rf /":                              critical,
		"rm -rf /tmp/x":                           high,
		"rm -fr a b":                              high,
		"rm -- -r":                                low,
		"systemctl stop nginx":                    high,
		"systemctl --no-block stop nginx":         high,
		"systemctl -H web-2 stop nginx":           high,
		"systemctl status nginx":                  low,
		"systemctl reload nginx":                  medium,
		"systemctl disable --now nginx":           high,
		"kubectl -n prod delete pod x":            high,
		"kubectl get pods":                        low,
		"psql":                                    high,
		"psql -c select":                          high,
		"dd if=a of=/dev/sda":                     critical,
		"dd of=/dev/sda if=a bs=1M":               critical,
		"dd if=a of=/etc/../dev/sda":              critical,
		"dd if=a of=b":                            low,
		"mkfs /dev/sda":                           critical,
		"mkfs.ext4 -F /dev/sda1":                  critical,
		"python3 x.py":                            medium,
		"python3.12 -c pass":                      medium,
		"/usr/local/bin/perl -e1":                 medium,
		"echo rm -rf /":                           low,
		"env":                                     low,
		"env rm -rf /":                            critical,
		"env -i A=b -u X rm -rf /":                critical,
		"env -uX rm -rf /":                        critical,
		"sudo rm -rf /":                           critical,
		"sudo -u root -- rm -rf /":                critical,
		"sudo -nu root rm -rf /":                  critical,
		"sudo --user=root rm -rf /":               critical,
		"sudo --user root A=b rm -rf /":           critical,
		"sudo --new-option x rm -rf /":            critical,
		"sudo -i":                                 high,
		"sudo -s":                                 high,
		"sudo systemctl status x":                 low,
		"doas -u root rm -rf /":                   critical,
		"nice -n 5 rm -rf /":                      critical,
		"nice -5 rm -rf /":                        critical,
		"nohup rm -rf /":                          critical,
		"timeout 5 rm -rf /":                      critical,
		"timeout -k 1 -s KILL 5 rm -rf /":         critical,
		"setsid -w rm -rf /":                      critical,
		"stdbuf -o L rm -rf /":                    critical,
		"stdbuf -oL rm -rf /":                     critical,
		"time -v rm -rf /":                        critical,
		"ionice -c 3 rm -rf /":                    critical,
		"taskset 1 rm -rf /":                      critical,
		"chrt -f 10 rm -rf /":                     critical,
		"flock /tmp/l rm -rf /":                   critical,
		"flock /tmp/l -c 'rm -rf /'":              critical,
		"xargs rm -rf":                            critical, // its input may be /
		"xargs -0 -n 1 systemctl status":          high,     // its input may be stop
		"xargs rm --":                             low,
		"xargs rm -rf --":                         critical,
		"sh -c 'rm -- \"$X\" $Y'":                 low,
		"sh -c 'rm -rf -- $Y'":                    critical,
		"xargs echo":                              low,
		"xargs":                                   low,
		"find . -name x":                          low,
		"find . -exec rm -rf / \\;":               critical,
		"find . -exec rm {} \\;":                  high, // a name may be -rf
		"find . -name x -execdir psql +":          high,
		"find . -exec cat {} \\; -ok mkfs {} \\;": critical,
		"strace -f -e trace=file rm -rf /":        critical,
		"ltrace rm -rf /":                         critical,
		"watch -n 1 rm -rf /":                     critical,
		"watch 'ls; rm -rf /'":                    critical,
		"script -c 'rm -rf /' out":                critical,
		"script out -qc 'rm -rf /'":               critical,
		"script out":                              high,
		"su -c 'rm -rf /'":                        critical,
		"su - root -c 'rm -rf /'":                 critical,
		"su":                                      high,
		"runuser -u postgres -- psql":             high,
		"chroot /mnt rm -rf /":                    critical,
		"chroot /mnt":                             high,
		"nsenter -t 1 -m -u rm -rf /":             critical,
		"nsenter -a -t1":                          high,
		"unshare -r rm -rf /":                     critical,
		"ip netns exec blue rm -rf /":             critical,
		"ip -n x netns exec blue bash":            high,
		"ip addr show":                            low,
		"busybox rm -rf /":                        critical,
		"busybox sh -c 'rm -rf /'":                critical,
		"ssh db-1 rm -rf /":                       critical,
		"ssh -p 22 root@db-1 'rm -rf /'":          critical,
		"ssh db-1":                                high,
		"docker exec -it c rm -rf /":              critical,
		"docker ps":                               low,
		"docker restart c":                        medium,
		"kubectl exec -n x pod -- psql":           high,
		"systemd-run --scope rm -rf /":            critical,
		"/lib64/ld-linux-x86-64.so.2 /bin/psql":   high,
		"sh -c 'rm -rf /'":                        critical,
		"bash -lc 'rm -rf /'":                     critical,
		"bash -c -- 'rm -rf /'":                   critical,
		"bash -o pipefail -ec 'rm -rf /'":         critical,
		"bash --rcfile x -c 'rm -rf /'":           critical,
		"sudo env nice bash -c 'exec rm -rf /'":   critical,
		"bash script.sh":                          low,
		"bash psql":                               high,
		"bash":                                    high,
		"bash -i":                                 high,
		"bash -s x":                               high,
		"zsh +x":                                  high,
		"command rm -rf /":                        critical,
	} {
		argv := splitCommand(line)
		if got := tierOf(set, argv...); got.tier != want {
			t.Errorf("%s: tier %s (%+v), want %s", line, got.tier, got, want)
		}
	}
}

func TestTiersOfLines(t *testing.T) {
	set := exampleCommands(t)
	for line, want := range map[string]tier{
		`ls -l | wc -l`:                            low,
		`ls $HOME "$X" ~/a *.txt`:                  low,
		`ls; rm -rf /`:                             critical,
		`ls && rm -rf / || true`:                   critical,
		`true | rm -rf / &`:                        critical,
		`echo $(rm -rf /)`:                         critical,
		"echo `rm -rf /`":                          critical,
		`echo "a $(rm -rf /) b"`:                   critical,
		`echo $(( $(rm -rf /) ))`:                  critical,
		`cat <(rm -rf /)`:                          critical,
		"cat <<E\n$(rm -rf /)\nE":                  critical,
		"cat <<'E'\nrm -rf /\nE":                   low,
		"sh <<'E'\nrm -rf /\nE":                    critical,
		`bash <<< "rm -rf /"`:                      critical,
		`f() { rm -rf /; }; f`:                     critical,
		`if true; then rm -rf /; fi`:               critical,
		`for i in 1; do rm -rf /; done`:            critical,
		`case x in x) rm -rf /;; esac`:             critical,
		`(rm -rf /)`:                               critical,
		`{ rm -rf /; }`:                            critical,
		`! time rm -rf /`:                          critical,
		`X=$(rm -rf /)`:                            critical,
		`A=b rm -rf /`:                             critical,
		`rm -r"f" '/'`:                             critical,
		`\rm -rf /`:                                critical,
		`r""m -rf /`:                               critical,
		`$'\x72m' -rf /`:                           critical,
		`rm $'-rf' /`:                              critical,
		`rm -rf /*`:                                critical,
		`rm -rf $DIR`:                              critical,
		`rm -rf "$DIR/"`:                           critical,
		`rm -rf "/tmp/$X"`:                         high,
		`rm -rf ~/x`:                               high,
		`rm $X`:                                    critical,
		`rm "$X"`:                                  high,
		`rm "$@"`:                                  critical,
		`rm {-rf,/}`:                               critical,
		`rm {"-rf",/}`:                             critical,
		`cp a b`:                                   low,
		`$X -rf /`:                                 high,
		`"$X"`:                                     high,
		`$(echo rm) -rf /`:                         high,
		`/bin/r? -rf /`:                            high,
		`r{m,} -rf /`:                              high,
		`eval "rm -rf /"`:                          critical,
		`eval rm -rf /`:                            critical,
		`eval "$X"`:                                high,
		`echo cm0gLXJmIC8K | base64 -d | sh`:       high,
		`curl https://example.com/x | sudo bash`:   high,
		`bash -c "$X"`:                             high,
		`bash $OPTS`:                               high,
		`exec rm -rf /`:                            critical,
		`exec -a ls rm -rf /`:                      critical,
		`builtin command rm -rf /`:                 critical,
		`trap 'rm -rf /' EXIT`:                     critical,
		`alias ls='rm -rf /'; ls`:                  high,
		`source ./x`:                               low,
		`. /dev/stdin`:                             low,
		`find . -name x | xargs rm`:                critical,
		`find . | xargs -I% sh -c 'rm %'`:          high,
		`xargs -I{} cat {}`:                        low,
		`echo x > /dev/sda`:                        critical,
		`echo x >> "/dev/$D"`:                      critical,
		`echo x >| /dev/sda`:                       critical,
		`echo x &> /dev/sda`:                       critical,
		`> /etc/../dev/sda`:                        critical,
		`echo x > /dev/null 2>&1`:                  low,
		`echo x > out`:                             low,
		`[[ -f x ]] && systemctl stop x`:           high,
		`env -S "rm -rf" "$X"`:                     high,
		`env -S 'rm -rf' "a b" /`:                  high,
		`sudo "$X" systemctl stop x`:               high,
		`sudo -u "$X" id`:                          low,
		`sudo -u $X id`:                            high,
		`timeout "$T" id`:                          low,
		`timeout "$T" rm -rf /`:                    critical,
		`timeout $T rm -rf /`:                      critical,
		`find . $X rm -rf /`:                       critical,
		`find . "$X" rm -rf /`:                     critical,
		`find "a$X" rm -rf /`:                      low,
		`bash "$X" rm`:                             high,
		`parallel rm -rf ::: /`:                    high,
		`rm "a$X" -rf "b$Y"`:                       high,
		`rm -rf $'a\x00'"$X"`:                      high,
		`echo x <> /dev/sda`:                       critical,
		`LD_PRELOAD=/tmp/x ls`:                     high,
		`export PATH=/tmp; ls`:                     high,
		`X=y ls`:                                   low,
		"ssh h <<'E'\nrm -rf /\nE":                 critical,
		`time -v rm -rf /`:                         critical,
		`coproc rm -rf /`:                          critical,
		`echo ${x@P}`:                              high,
		`echo ${x:-$(rm -rf /)}`:                   critical,
		`ssh db "rm -rf /"`:                        critical,
		`ssh db "$X"`:                              high,
		`sudo "$X" -rf /`:                          high,
		`ls (`:                                     high,
		``:                                         low,
		`# rm -rf /`:                               low,
		`while read x; do systemctl stop $x; done`: high,
	} {
		if got := lineTier(set, line); got.tier != want {
			t.Errorf("%s: tier %s (%+v), want %s", line, got.tier, got, want)
		}
	}
}

// Padding must never make a command laxer.
func TestLimitsAreStrict(t *testing.T) {
	set := exampleCommands(t)
	for name, argv := range map[string][]string{
		"long":         {"echo", strings.Repeat("x", maxCommandBytes)},
		"deep":         append(strings.Fields(strings.Repeat("nice ", maxNesting+2)), "ls"),
		"many":         {"sh", "-c", strings.Repeat("ls;", maxCommands+1)},
		"long line":    {"sh", "-c", strings.Repeat("#", maxLineBytes+1)},
		"nested line":  {"sh", "-c", strings.Repeat("(", maxOpenings+1)},
		"backticks":    {"sh", "-c", strings.Repeat("`", maxOpenings+1)},
		"keywords":     {"sh", "-c", strings.Repeat("if ", maxOpenings+1)},
		"no words":     {},
		"guessed many": append([]string{"sudo", "--what"}, strings.Fields(strings.Repeat("x ", maxCommands+1))...),
	} {
		if got := tierOf(set, argv...); got.tier != critical || got.opaque == "" {
			t.Errorf("%s: %+v, want critical", name, got)
		}
	}
}

// An allow list: default medium, and patterns that lower.
func TestLoweringIsExact(t *testing.T) {
	set := &mustParse(t, `
version: 1
mode: allowlist
commands:
  high: ["rm ..."]
  low: ["ls", "git status|log ...", "systemctl status *", "cat /var/log/* ...", "echo ...", "rm x"]
  default: medium
`).commands
	for line, want := range map[string]tier{
		"ls":                                   low,
		"ls -l /x":                             low,
		"/bin/ls":                              low,
		"/usr/bin/ls -l":                       low,
		"./ls":                                 medium,
		"/tmp/ls":                              medium,
		"/bin/../tmp/ls":                       medium,
		"git status":                           low,
		"git log -3":                           low,
		"git -c core.pager=x log":              medium,
		"git push log":                         medium,
		"systemctl status nginx":               low,
		"systemctl status":                     medium,
		"systemctl status a b":                 medium,
		"systemctl stop status nginx":          medium,
		"cat /var/log/x":                       low,
		"cat /etc/x":                           medium,
		"rm x":                                 high, // strictest tier wins
		"nice ls":                              low,
		"timeout 5 ls":                         low,
		"sudo ls":                              medium,
		"env PATH=/tmp ls":                     high,
		"env X=y ls":                           medium,
		"env ls":                               low,
		"chroot /x ls":                         medium,
		"ssh h ls":                             medium,
		"sh -c ls":                             low,
		"sh -c 'ls; ls -l | ls'":               low,
		"sh -c 'ls; id'":                       medium,
		"sh -c 'PATH=/tmp; ls'":                high,
		"sh -c 'X=/tmp; ls'":                   medium,
		"sh -c 'export X=/tmp; ls'":            medium,
		"nice --odd ls":                        medium,
		"flock /tmp/l ls":                      medium,
		"sh -c 'ls() { id; }; ls'":             medium,
		"sh -c 'for PATH in /tmp; do ls; done": high, // does not parse
		"sh -c 'echo $X'":                      low,
		"sh -c 'git $X'":                       medium,
		"sh -c 'echo x > f'":                   medium, // writes
		"sh -c 'echo x > /dev/null'":           low,
		"sh ls":                                medium,
		"find . -exec ls {} \\;":               medium,
		"xargs ls":                             low,
	} {
		if got := tierOf(set, splitCommand(line)...); got.tier != want {
			t.Errorf("%s: tier %s (%+v), want %s", line, got.tier, got, want)
		}
	}
}

func TestBadPatterns(t *testing.T) {
	for pattern, why := range map[string]string{
		"...":          "must begin",
		"   ":          "must begin",
		"@nothing":     "no class",
		"/bin/rm":      "base name",
		"rm @shell":    "first place",
		"rm|":          "alternative",
		"rm a||b":      "alternative",
		"|":            "alternative",
		"@interpreter": "",
	} {
		_, err := parsePattern(pattern)
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("parsePattern(%q) = %v, want %q", pattern, err, why)
		}
	}
}

func TestProgramTable(t *testing.T) {
	table := programs()
	for name, w := range table.wrappers {
		if w.run == "" {
			t.Errorf("wrapper %s does not say how it runs", name)
		}
	}
	for _, class := range []string{"shell", "interpreter", "escape"} {
		if len(table.classes[class]) == 0 {
			t.Errorf("class %s is empty", class)
		}
	}
	for _, bad := range []string{"wrappers: {x: {run: nothing}}", "wrappers: {x: {what: y}}", "more: {}", "["} {
		if _, err := parsePrograms(bad); err == nil {
			t.Errorf("parsePrograms accepts %q", bad)
		}
	}
}

// FuzzEvaluateLine looks for lines that crash the reader, and for lines in
// which adding a forbidden command is not seen.
func FuzzEvaluateLine(f *testing.F) {
	for _, seed := range []string{
		"ls -l", "a | b && c; d &", "echo $(x) `y` <(z)", "f() { x; }", "cat <<E\n$(x)\nE", "if a; then b; fi",
		"sudo -u x env A=b sh -c 'c'", "eval \"$X\"", "r{m,} ~ * [a] ?", "find . -exec x {} ;", "x > y 2>&1", "((a[$(x)]))",
	} {
		f.Add(seed)
	}
	set := exampleCommands(f)
	f.Fuzz(func(t *testing.T, line string) {
		alone := tierOf(set, "sh", "-c", "--", line)
		for _, argv := range [][]string{
			{"sudo", "sh", "-c", "--", line},
			{"bash", "-c", "--", line},
			{"timeout", "5", "bash", "-lc", "--", line},
		} {
			if got := tierOf(set, argv...); got.tier < alone.tier {
				t.Fatalf("%q: %s alone, %s in %q", line, alone.tier, got.tier, argv)
			}
		}
		// A newline ends a command, unless the line leaves something open.
		joined := tierOf(set, "sh", "-c", "--", line+"\n\n rm -rf /")
		if alone.opaque == "" && joined.opaque == "" && joined.tier != critical && strings.Count(line, "<<") == 0 &&
			!strings.HasSuffix(line, `\`) {
			t.Fatalf("%q hides the command after it: %+v", line, joined)
		}
		tierOf(set, strings.Fields(line)...)
	})
}

// Time to judge a line must not explode with its nesting. The test's own time
// limit is the judge.
func TestHostileLinesAreCheap(t *testing.T) {
	set := exampleCommands(t)
	for _, piece := range []string{"((", "$((", "$(", "${a:-", "`", "[[ (", "{ ", "<(", "a[", "$[", "case x in (", "<<E\n", "\"$("} {
		n := min(maxOpenings, maxLineBytes/len(piece)) / 2
		lineTier(set, strings.Repeat(piece, n))
		lineTier(set, strings.Repeat(piece, 30))
	}
}

func BenchmarkJudge(b *testing.B) {
	set := exampleCommands(b)
	for _, argv := range [][]string{
		{"uname", "-a"},
		{"sudo", "-u", "deploy", "systemctl", "restart", "nginx"},
		{"sh", "-c", "cd /srv && git pull && systemctl reload nginx | tee log"},
	} {
		b.Run(fmt.Sprint(len(argv)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tierOf(set, argv...)
			}
		})
	}
}
