package gate

import (
	"path/filepath"
	"strconv"
	"testing"
)

// Between the question and the load, what is asked for changes, thousands of times.
// The forbidden program never runs: it is refused, or killed before its first
// instruction. TUCDESK_TEST_STEPS sets how often each race is tried by an ordinary user;
// root, whose way is the same, tries a twentieth as often.
func TestRaces(t *testing.T) {
	g := newGate(t)
	for _, race := range []string{"race-thread", "race-shared", "race-symlink"} {
		t.Run(race, func(t *testing.T) { tryRace(t, g, race, "user", steps(150)) })
		t.Run(race+" by root", func(t *testing.T) { tryRace(t, g, race, "root", steps(200)/20) })
	}
}

func tryRace(t *testing.T, g *Gate, race, user string, n int) {
	const good, bad = "/bin/true", "/usr/bin/touch"
	dir := openDir(t)
	canary := filepath.Join(dir, "canary")
	j := &judge{judge: forbid("touch")}
	cmd := command(users[user], dir, "exec "+theTricks(t, dir)+" "+race+" "+strconv.Itoa(n)+" "+good+" "+bad+" "+canary)
	output, exit := run(t, g, j, cmd)
	t.Logf("%d tries: %d started, %d refused, %d killed, %d failed; %d other", n,
		j.count(Started), j.count(Refused), j.count(Killed), j.count(Failed), j.count(Canceled))
	if exists(canary) || exit != 0 {
		t.Errorf("the forbidden program ran: %v; exit %d: %s", exists(canary), exit, output)
	}
	if j.count(Started) < n/10 {
		t.Errorf("only %d of %d ran what they may", j.count(Started), n)
	}
}

// Without the gate's look the races are lost: the test sees what it is about.
func TestRacesAreRaces(t *testing.T) {
	for _, race := range []string{"race-thread", "race-shared", "race-symlink"} {
		dir := openDir(t)
		canary := filepath.Join(dir, "canary")
		tricks := theTricks(t, dir)
		for tries := 0; !exists(canary) && tries < 200; tries++ { // a race may be lost for a while
			run(t, nil, nil, command(nil, dir, tricks+" "+race+" 50 /bin/true /usr/bin/touch "+canary))
		}
		if !exists(canary) {
			t.Errorf("%s: the program that is to be forbidden does not run where it may", race)
		}
	}
}
