package claim

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Differs compares a claim with what the kernel has loaded: tid is stopped before the
// first instruction of its new program. It is "" when all is as claimed, else what is
// not. strict also wants that the files have not been written to, linked or renamed
// since. risky names the variables that must be as claimed; others may differ, as they
// do where one thread sets them while another one starts a program.
func (c *Claim) Differs(tid int, strict bool, risky func(name string) bool) string {
	t, err := openTask(tid)
	if err != nil {
		return err.Error()
	}
	defer t.close()
	var st unix.Stat_t
	if err := unix.Fstatat(t.proc, "exe", &st, 0); err != nil {
		return fmt.Sprintf("the loaded file can't be seen: %v", err)
	}
	want := c.Program()
	if want.ID != (ID{st.Dev, st.Ino}) {
		return "the kernel loaded another file"
	}
	if strict && (want.Changed != st.Ctim.Nano() || want.Size != st.Size) {
		return "the file was changed since it was judged"
	}
	argv, err := t.readFile("cmdline", maxArguments)
	if err != nil {
		return fmt.Sprintf("the loaded arguments can't be seen: %v", err)
	}
	if string(argv) != strings.Join(c.Loads, "\x00")+"\x00" {
		return "the kernel loaded other arguments"
	}
	if dir, err := t.id("cwd"); err != nil || dir != c.dir {
		return "the folder was changed since it was judged"
	}
	if root, err := t.id("root"); err != nil || root != c.root {
		return "the root was changed since it was judged"
	}
	env, err := t.readFile("environ", maxArguments)
	if err != nil {
		return fmt.Sprintf("the loaded variables can't be seen: %v", err)
	}
	if len(c.Env) > 0 && string(env) == strings.Join(c.Env, "\x00")+"\x00" {
		return ""
	}
	if pick(strings.Split(string(env), "\x00"), risky) != pick(c.Env, risky) {
		return "the kernel loaded other variables"
	}
	return ""
}

// pick joins the variables whose names are risky, in their order.
func pick(env []string, risky func(string) bool) string {
	var b strings.Builder
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		if risky(name) {
			b.WriteString(kv)
			b.WriteByte(0)
		}
	}
	return b.String()
}
