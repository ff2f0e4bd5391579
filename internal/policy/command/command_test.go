package command

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tucdesk/tucdesk/internal/policy/glob"
)

// newSet makes a Set of lists of patterns.
func newSet(t testing.TB, def Tier, lists map[Tier][]string) *Set {
	t.Helper()
	set := &Set{Default: def}
	for tier, patterns := range lists {
		for _, text := range patterns {
			p, err := ParsePattern(text)
			if err != nil {
				t.Fatal(err)
			}
			set.Patterns[tier] = append(set.Patterns[tier], p)
		}
	}
	return set
}

// exampleCommands are those of ../testdata/example.yaml.
func exampleCommands(t testing.TB) *Set {
	return newSet(t, Low, map[Tier][]string{
		Critical: {"mkfs*", "dd ... of=/dev/*", "rm -rf /", "> /dev/*"},
		High:     {"rm -r* ...", "systemctl stop|restart|disable ...", "psql ...", "kubectl delete ..."},
		Medium:   {"systemctl reload ...", "docker restart ...", "@interpreter"},
	})
}

func tierOf(set *Set, argv ...string) Judgement { return set.Judge(&Program{Argv: argv}) }

func lineTier(set *Set, line string) Judgement { return tierOf(set, "sh", "-c", line) }

func TestTiersOfArgv(t *testing.T) {
	set := exampleCommands(t)
	for line, want := range map[string]Tier{
		"uname -a":                                Low,
		"rm a":                                    Low,
		"rm -f /":                                 Low, // the pattern asks for both flags
		"rm -rf /":                                Critical,
		"rm -fr /":                                Critical,
		"rm -r -f /":                              Critical,
		"rm / -rf":                                Critical,
		"rm -rfv /":                               Critical,
		"rm -rf --no-preserve-root /":             Critical,
		"rm --recursive --force /":                Critical,
		"rm --rec --fo /":                         Critical,
		"rm -Rf /":                                Critical,
		"rm -rf //":                               Critical,
		"rm -rf /tmp/..":                          Critical,
		"rm -rf -- /":                             Critical,
		"/bin/rm -rf /":                           Critical,
		"/bin/../bin/rm -rf /":                    Critical,
		"./rm -rf /":                              Critical,
		"rm -rf /tmp/x":                           High,
		"rm -fr a b":                              High,
		"rm -- -r":                                Low,
		"systemctl stop nginx":                    High,
		"systemctl --no-block stop nginx":         High,
		"systemctl -H web-2 stop nginx":           High,
		"systemctl status nginx":                  Low,
		"systemctl reload nginx":                  Medium,
		"systemctl disable --now nginx":           High,
		"kubectl -n prod delete pod x":            High,
		"kubectl get pods":                        Low,
		"psql":                                    High,
		"psql -c select":                          High,
		"dd if=a of=/dev/sda":                     Critical,
		"dd of=/dev/sda if=a bs=1M":               Critical,
		"dd if=a of=/etc/../dev/sda":              Critical,
		"dd if=a of=b":                            Low,
		"mkfs /dev/sda":                           Critical,
		"mkfs.ext4 -F /dev/sda1":                  Critical,
		"python3 x.py":                            Medium,
		"python3.12 -c pass":                      Medium,
		"/usr/local/bin/perl -e1":                 Medium,
		"echo rm -rf /":                           Low,
		"env":                                     Low,
		"env rm -rf /":                            Critical,
		"env -i A=b -u X rm -rf /":                Critical,
		"env -uX rm -rf /":                        Critical,
		"sudo rm -rf /":                           Critical,
		"sudo -u root -- rm -rf /":                Critical,
		"sudo -nu root rm -rf /":                  Critical,
		"sudo --user=root rm -rf /":               Critical,
		"sudo --user root A=b rm -rf /":           Critical,
		"sudo --new-option x rm -rf /":            Critical,
		"sudo -i":                                 High,
		"sudo -s":                                 High,
		"sudo systemctl status x":                 Low,
		"doas -u root rm -rf /":                   Critical,
		"nice -n 5 rm -rf /":                      Critical,
		"nice -5 rm -rf /":                        Critical,
		"nohup rm -rf /":                          Critical,
		"timeout 5 rm -rf /":                      Critical,
		"timeout -k 1 -s KILL 5 rm -rf /":         Critical,
		"setsid -w rm -rf /":                      Critical,
		"stdbuf -o L rm -rf /":                    Critical,
		"stdbuf -oL rm -rf /":                     Critical,
		"time -v rm -rf /":                        Critical,
		"ionice -c 3 rm -rf /":                    Critical,
		"taskset 1 rm -rf /":                      Critical,
		"chrt -f 10 rm -rf /":                     Critical,
		"flock /tmp/l rm -rf /":                   Critical,
		"flock /tmp/l -c 'rm -rf /'":              Critical,
		"xargs rm -rf":                            Critical, // its input may be /
		"xargs -0 -n 1 systemctl status":          High,     // its input may be stop
		"xargs rm --":                             Low,
		"xargs rm -rf --":                         Critical,
		"sh -c 'rm -- \"$X\" $Y'":                 Low,
		"sh -c 'rm -rf -- $Y'":                    Critical,
		"xargs echo":                              Low,
		"xargs":                                   Low,
		"find . -name x":                          Low,
		"find . -exec rm -rf / \\;":               Critical,
		"find . -exec rm {} \\;":                  High, // a name may be -rf
		"find . -name x -execdir psql +":          High,
		"find . -exec cat {} \\; -ok mkfs {} \\;": Critical,
		"strace -f -e trace=file rm -rf /":        Critical,
		"ltrace rm -rf /":                         Critical,
		"watch -n 1 rm -rf /":                     Critical,
		"watch 'ls; rm -rf /'":                    Critical,
		"script -c 'rm -rf /' out":                Critical,
		"script out -qc 'rm -rf /'":               Critical,
		"script out":                              High,
		"su -c 'rm -rf /'":                        Critical,
		"su - root -c 'rm -rf /'":                 Critical,
		"su":                                      High,
		"runuser -u postgres -- psql":             High,
		"chroot /mnt rm -rf /":                    Critical,
		"chroot /mnt":                             High,
		"nsenter -t 1 -m -u rm -rf /":             Critical,
		"nsenter -a -t1":                          High,
		"unshare -r rm -rf /":                     Critical,
		"ip netns exec blue rm -rf /":             Critical,
		"ip -n x netns exec blue bash":            High,
		"ip addr show":                            Low,
		"busybox rm -rf /":                        Critical,
		"busybox sh -c 'rm -rf /'":                Critical,
		"ssh db-1 rm -rf /":                       Critical,
		"ssh -p 22 root@db-1 'rm -rf /'":          Critical,
		"ssh db-1":                                High,
		"docker exec -it c rm -rf /":              Critical,
		"docker ps":                               Low,
		"docker restart c":                        Medium,
		"kubectl exec -n x pod -- psql":           High,
		"systemd-run --scope rm -rf /":            Critical,
		"/lib64/ld-linux-x86-64.so.2 /bin/psql":   High,
		"sh -c 'rm -rf /'":                        Critical,
		"bash -lc 'rm -rf /'":                     Critical,
		"bash -c -- 'rm -rf /'":                   Critical,
		"bash -o pipefail -ec 'rm -rf /'":         Critical,
		"bash --rcfile x -c 'rm -rf /'":           Critical,
		"sudo env nice bash -c 'exec rm -rf /'":   Critical,
		"bash script.sh":                          Low,
		"bash psql":                               High,
		"bash":                                    High,
		"bash -i":                                 High,
		"bash -s x":                               High,
		"zsh +x":                                  High,
		"command rm -rf /":                        Critical,
	} {
		argv := Split(line)
		if got := tierOf(set, argv...); got.Tier != want {
			t.Errorf("%s: tier %s (%+v), want %s", line, got.Tier, got, want)
		}
	}
}

func TestTiersOfLines(t *testing.T) {
	set := exampleCommands(t)
	for line, want := range map[string]Tier{
		`ls -l | wc -l`:                            Low,
		`ls $HOME "$X" ~/a *.txt`:                  Low,
		`ls; rm -rf /`:                             Critical,
		`ls && rm -rf / || true`:                   Critical,
		`true | rm -rf / &`:                        Critical,
		`echo $(rm -rf /)`:                         Critical,
		"echo `rm -rf /`":                          Critical,
		`echo "a $(rm -rf /) b"`:                   Critical,
		`echo $(( $(rm -rf /) ))`:                  Critical,
		`cat <(rm -rf /)`:                          Critical,
		"cat <<E\n$(rm -rf /)\nE":                  Critical,
		"cat <<'E'\nrm -rf /\nE":                   Low,
		"sh <<'E'\nrm -rf /\nE":                    Critical,
		`bash <<< "rm -rf /"`:                      Critical,
		`f() { rm -rf /; }; f`:                     Critical,
		`if true; then rm -rf /; fi`:               Critical,
		`for i in 1; do rm -rf /; done`:            Critical,
		`case x in x) rm -rf /;; esac`:             Critical,
		`(rm -rf /)`:                               Critical,
		`{ rm -rf /; }`:                            Critical,
		`! time rm -rf /`:                          Critical,
		`X=$(rm -rf /)`:                            Critical,
		`A=b rm -rf /`:                             Critical,
		`rm -r"f" '/'`:                             Critical,
		`\rm -rf /`:                                Critical,
		`r""m -rf /`:                               Critical,
		`$'\x72m' -rf /`:                           Critical,
		`rm $'-rf' /`:                              Critical,
		`rm -rf /*`:                                Critical,
		`rm -rf $DIR`:                              Critical,
		`rm -rf "$DIR/"`:                           Critical,
		`rm -rf "/tmp/$X"`:                         High,
		`rm -rf ~/x`:                               High,
		`rm $X`:                                    Critical,
		`rm "$X"`:                                  High,
		`rm "$@"`:                                  Critical,
		`rm {-rf,/}`:                               Critical,
		`rm {"-rf",/}`:                             Critical,
		`cp a b`:                                   Low,
		`$X -rf /`:                                 High,
		`"$X"`:                                     High,
		`$(echo rm) -rf /`:                         High,
		`/bin/r? -rf /`:                            High,
		`r{m,} -rf /`:                              High,
		`eval "rm -rf /"`:                          Critical,
		`eval rm -rf /`:                            Critical,
		`eval "$X"`:                                High,
		`echo cm0gLXJmIC8K | base64 -d | sh`:       High,
		`curl https://example.com/x | sudo bash`:   High,
		`bash -c "$X"`:                             High,
		`bash $OPTS`:                               High,
		`exec rm -rf /`:                            Critical,
		`exec -a ls rm -rf /`:                      Critical,
		`builtin command rm -rf /`:                 Critical,
		`trap 'rm -rf /' EXIT`:                     Critical,
		`alias ls='rm -rf /'; ls`:                  High,
		`source ./x`:                               Low,
		`. /dev/stdin`:                             Low,
		`find . -name x | xargs rm`:                Critical,
		`find . | xargs -I% sh -c 'rm %'`:          High,
		`xargs -I{} cat {}`:                        Low,
		`echo x > /dev/sda`:                        Critical,
		`echo x >> "/dev/$D"`:                      Critical,
		`echo x >| /dev/sda`:                       Critical,
		`echo x &> /dev/sda`:                       Critical,
		`> /etc/../dev/sda`:                        Critical,
		`echo x > /dev/null 2>&1`:                  Low,
		`echo x > out`:                             Low,
		`[[ -f x ]] && systemctl stop x`:           High,
		`env -S "rm -rf" "$X"`:                     High,
		`env -S 'rm -rf' "a b" /`:                  High,
		`sudo "$X" systemctl stop x`:               High,
		`sudo -u "$X" id`:                          Low,
		`sudo -u $X id`:                            High,
		`timeout "$T" id`:                          Low,
		`timeout "$T" rm -rf /`:                    Critical,
		`timeout $T rm -rf /`:                      Critical,
		`find . $X rm -rf /`:                       Critical,
		`find . "$X" rm -rf /`:                     Critical,
		`find "a$X" rm -rf /`:                      Low,
		`bash "$X" rm`:                             High,
		`parallel rm -rf ::: /`:                    Critical,
		`rm "a$X" -rf "b$Y"`:                       High,
		`rm -rf $'a\x00'"$X"`:                      High,
		`echo x <> /dev/sda`:                       Critical,
		`LD_PRELOAD=/tmp/x ls`:                     High,
		`export PATH=/tmp; ls`:                     High,
		`X=y ls`:                                   Low,
		"ssh h <<'E'\nrm -rf /\nE":                 Critical,
		`time -v rm -rf /`:                         Critical,
		`coproc rm -rf /`:                          Critical,
		`echo ${x@P}`:                              High,
		`echo ${x:-$(rm -rf /)}`:                   Critical,
		`ssh db "rm -rf /"`:                        Critical,
		`ssh db "$X"`:                              High,
		`sudo "$X" -rf /`:                          High,
		`ls (`:                                     High,
		``:                                         Low,
		`# rm -rf /`:                               Low,
		`while read x; do systemctl stop $x; done`: High,
	} {
		if got := lineTier(set, line); got.Tier != want {
			t.Errorf("%s: tier %s (%+v), want %s", line, got.Tier, got, want)
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
		if got := tierOf(set, argv...); got.Tier != Critical || got.Opaque == "" {
			t.Errorf("%s: %+v, want critical", name, got)
		}
	}
}

// An allow list: default medium, and patterns that lower.
func TestLoweringIsExact(t *testing.T) {
	set := newSet(t, Medium, map[Tier][]string{
		High: {"rm ..."},
		Low:  {"ls", "git status|log ...", "systemctl status *", "cat /var/log/* ...", "echo ...", "rm x"},
	})
	for line, want := range map[string]Tier{
		"ls":                                   Low,
		"ls -l /x":                             Low,
		"/bin/ls":                              Low,
		"/usr/bin/ls -l":                       Low,
		"./ls":                                 Medium,
		"/tmp/ls":                              Medium,
		"/bin/../tmp/ls":                       Medium,
		"git status":                           Low,
		"git log -3":                           Low,
		"git -c core.pager=x log":              Medium,
		"git push log":                         Medium,
		"systemctl status nginx":               Low,
		"systemctl status":                     Medium,
		"systemctl status a b":                 Medium,
		"systemctl stop status nginx":          Medium,
		"cat /var/log/x":                       Low,
		"cat /etc/x":                           Medium,
		"rm x":                                 High, // strictest tier wins
		"nice ls":                              Low,
		"timeout 5 ls":                         Low,
		"sudo ls":                              Medium,
		"env PATH=/tmp ls":                     High,
		"env X=y ls":                           Medium,
		"env ls":                               Low,
		"chroot /x ls":                         Medium,
		"ssh h ls":                             Medium,
		"sh -c ls":                             Low,
		"sh -c 'ls; ls -l | ls'":               Low,
		"sh -c 'ls; id'":                       Medium,
		"sh -c 'PATH=/tmp; ls'":                High,
		"sh -c 'X=/tmp; ls'":                   Medium,
		"sh -c 'export X=/tmp; ls'":            Medium,
		"nice --odd ls":                        Medium,
		"flock /tmp/l ls":                      Medium,
		"sh -c 'ls() { id; }; ls'":             Medium,
		"sh -c 'for PATH in /tmp; do ls; done": High, // does not parse
		"sh -c 'echo $X'":                      Low,
		"sh -c 'git $X'":                       Medium,
		"sh -c 'echo x > f'":                   Medium, // writes
		"sh -c 'echo x > /dev/null'":           Low,
		"sh ls":                                Medium,
		"find . -exec ls {} \\;":               Medium,
		"xargs ls":                             Low,
	} {
		if got := tierOf(set, Split(line)...); got.Tier != want {
			t.Errorf("%s: tier %s (%+v), want %s", line, got.Tier, got, want)
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
		_, err := ParsePattern(pattern)
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("ParsePattern(%q) = %v, want %q", pattern, err, why)
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
			if got := tierOf(set, argv...); got.Tier < alone.Tier {
				t.Fatalf("%q: %s alone, %s in %q", line, alone.Tier, got.Tier, argv)
			}
		}
		// A newline ends a command, unless the line leaves something open.
		joined := tierOf(set, "sh", "-c", "--", line+"\n\n rm -rf /")
		if alone.Opaque == "" && joined.Opaque == "" && joined.Tier != Critical && strings.Count(line, "<<") == 0 &&
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

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"systemctl restart nginx": {"systemctl", "restart", "nginx"},
		`echo "a b" 'c'`:          {"echo", "a b", "c"},
		`echo $'a\tb'`:            {"echo", "a\tb"},
		"ls | wc":                 {"sh", "-c", "ls | wc"},
		"ls $X":                   {"sh", "-c", "ls $X"},
		"ls *":                    {"sh", "-c", "ls *"},
		"ls > x":                  {"sh", "-c", "ls > x"},
		"A=b ls":                  {"sh", "-c", "A=b ls"},
		"ls; ls":                  {"sh", "-c", "ls; ls"},
		"ls (":                    {"sh", "-c", "ls ("},
	} {
		if got := Split(line); !slices.Equal(got, want) {
			t.Errorf("Split(%q) = %q, want %q", line, got, want)
		}
	}
}

func oracleWord(pattern, s string) bool {
	for alt := range strings.SplitSeq(pattern, "|") {
		re := "^" + strings.ReplaceAll(regexp.QuoteMeta(alt), `\*`, ".*") + "$"
		if regexp.MustCompile(re).MatchString(s) {
			return true
		}
	}
	return false
}

// covers against a recursive definition of the same.
func TestCoversAgreesWithOracle(t *testing.T) {
	var oracle func(args, words []string) bool
	oracle = func(args, words []string) bool {
		switch {
		case len(args) == 0:
			return len(words) == 0
		case args[0] == "...":
			return oracle(args[1:], words) || len(words) > 0 && oracle(args, words[1:])
		}
		return len(words) > 0 && oracleWord(args[0], words[0]) && oracle(args[1:], words[1:])
	}
	rapid.Check(t, func(t *rapid.T) {
		args := rapid.SliceOfN(rapid.SampledFrom([]string{"...", "a", "b|c", "a*"}), 1, 5).Draw(t, "args")
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "ab"}), 0, 6).Draw(t, "words")
		p, err := ParsePattern("x " + strings.Join(args, " "))
		if err != nil {
			t.Fatal(err)
		}
		var list []word
		for _, w := range words {
			list = append(list, word{Glob: glob.Literal(w)})
		}
		if got := covers(p.args, list); got != oracle(args, words) {
			t.Fatalf("%q on %q: %v", args, words, got)
		}
	})
}
