package claim

import (
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tucdesk/tucdesk/agent/host/gate/filter"
)

// atExecveCheck is AT_EXECVE_CHECK, which golang.org/x/sys does not have.
const atExecveCheck = 0x10000

// Read reads the claim of the sleeping thread tid: a call with its arguments, as the
// listener has it. The caller asks the listener afterwards whether tid still waits:
// only then the claim is of this call. An error is a *RefusalError.
func Read(tid int, call filter.Call, args [6]uint64) (*Claim, error) {
	t, err := openTask(tid)
	if err != nil {
		return nil, err
	}
	defer t.close()
	c := &Claim{}
	m := &memory{tid: tid, word: call.ABI.Word, left: maxArguments}
	at := where{dirfd: unix.AT_FDCWD}
	if call.At {
		at.dirfd, at.flags = int(int32(args[0])), int(int32(args[4]))
		args[0], args[1], args[2] = args[1], args[2], args[3]
	}
	if call.ABI.Word == 4 {
		args[0], args[1], args[2] = args[0]&0xffff_ffff, args[1]&0xffff_ffff, args[2]&0xffff_ffff
	}
	if c.Path, err = m.text(args[0]); err != nil {
		return nil, err
	}
	if len(c.Path) >= unix.PathMax {
		return nil, refusal(unix.ENAMETOOLONG, "its name is too long")
	}
	if c.Argv, err = m.list(args[1]); err != nil {
		return nil, err
	}
	if len(c.Argv) == 0 {
		return nil, refusal(unix.EINVAL, "it has no argument, not even a name")
	}
	if c.Env, err = m.list(args[2]); err != nil {
		return nil, err
	}
	c.checked = at.flags&atExecveCheck != 0
	if c.dir, c.root, c.Dir, err = t.place(); err != nil {
		return nil, err
	}
	at.path = c.Path
	return c, c.find(t, at)
}

// find follows the chain of files that the kernel will open.
func (c *Claim) find(t *task, at where) error {
	c.Loads = slices.Clone(c.Argv)
	name := at.scriptName()
	for range maxScripts + 1 {
		f, head, err := t.open(at)
		if err != nil {
			return err
		}
		c.Files = append(c.Files, f)
		loads := interpreter(&head)
		if loads == nil {
			if !isNative(runtime.GOARCH, &head) {
				return refusal(unix.ENOEXEC, "it is not a program of this machine")
			}
			return nil
		}
		c.Loads = slices.Concat(loads, []string{name}, c.Loads[1:])
		if name = loads[0]; name == "" {
			return refusal(unix.EACCES, "its #! line names no interpreter")
		}
		at = where{path: name, dirfd: unix.AT_FDCWD}
	}
	return refusal(unix.ELOOP, "its #! lines lead to one another")
}

// scriptName is the name of the file that an interpreter is told to read.
func (w where) scriptName() string {
	switch {
	case w.dirfd == unix.AT_FDCWD || strings.HasPrefix(w.path, "/"):
		return w.path
	case w.path == "":
		return "/dev/fd/" + strconv.Itoa(w.dirfd)
	}
	return "/dev/fd/" + strconv.Itoa(w.dirfd) + "/" + w.path
}
