package claim

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A task is the sleeping caller, held by its folder in /proc: that folder never
// becomes another task's.
type task struct {
	tid  int
	proc int // /proc/TID
	// root is the caller's, once place was asked; same is what seesTheSame has found:
	// who sleeps does not move to other mounts.
	root ID
	same *bool
}

func openTask(tid int) (*task, error) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(tid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, refusal(unix.ESRCH, "its caller is gone")
	}
	return &task{tid: tid, proc: fd}, nil
}

func (t *task) close() { unix.Close(t.proc) }

// place tells the caller's folder and root.
func (t *task) place() (dir, root ID, path string, err error) {
	if dir, err = t.id("cwd"); err != nil {
		return dir, root, "", err
	}
	if root, err = t.id("root"); err != nil {
		return dir, root, "", err
	}
	t.root = root
	path, err = readlinkat(t.proc, "cwd")
	if err != nil {
		err = unreadable("its caller's folder", err)
	}
	return dir, root, path, err
}

func (t *task) id(name string) (ID, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(t.proc, name, &st, 0); err != nil {
		return ID{}, unreadable("its caller's "+name, err)
	}
	return ID{st.Dev, st.Ino}, nil
}

// own is what this process sees as its root and its mounts.
var own = sync.OnceValues(func() (s struct {
	root   ID
	mounts string
}, err error) {
	var st unix.Stat_t
	if err = unix.Stat("/", &st); err == nil {
		s.root = ID{st.Dev, st.Ino}
		s.mounts, err = os.Readlink("/proc/self/ns/mnt")
	}
	return s, err
})

// seesTheSame reports whether names mean the same to the caller and to this process.
func (t *task) seesTheSame() (bool, error) {
	if t.same != nil {
		return *t.same, nil
	}
	mine, err := own()
	if err != nil {
		return false, unreadable("this process' own root", err)
	}
	mounts, err := readlinkat(t.proc, "ns/mnt")
	if err != nil {
		return false, unreadable("its caller's mounts", err)
	}
	same := t.root == mine.root && mounts == mine.mounts
	t.same = &same
	return same, nil
}

// where is a file as a call names it.
type where struct {
	path  string
	dirfd int // AT_FDCWD, or one of the caller's descriptors
	flags int // AT_*
}

// open finds a file for the caller and reads its begin.
func (t *task) open(w where) (f File, head [headSize]byte, err error) {
	same, err := t.seesTheSame()
	if err != nil {
		return f, head, err
	}
	fd := -1
	if same {
		fd, err = t.resolve(w)
	} else {
		fd, err = t.resolveElsewhere(w)
	}
	if err != nil {
		return f, head, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return f, head, unreadable("the file", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFLNK:
		return f, head, refusal(unix.ELOOP, "it is a symbolic link")
	default:
		return f, head, refusal(unix.EACCES, "it is not a regular file")
	}
	path := "/proc/self/fd/" + strconv.Itoa(fd)
	f = File{
		ID: ID{st.Dev, st.Ino}, Changed: st.Ctim.Nano(), Size: st.Size, Mode: st.Mode, UID: st.Uid, Links: uint64(st.Nlink),
	}
	if f.Path, err = readlinkat(unix.AT_FDCWD, path); err != nil {
		return f, head, unreadable("the file's name", err)
	}
	// It is a regular file: opening it again, to read, waits for nobody.
	r, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return f, head, unreadable("the file", err)
	}
	defer unix.Close(r)
	for n := 0; n < len(head); {
		more, err := unix.Pread(r, head[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return f, head, unreadable("the file", err)
		}
		if more == 0 {
			break
		}
		n += more
	}
	return f, head, nil
}

// base opens what a relative name starts from; for an empty name the file itself.
func (t *task) base(w where) (int, error) {
	name := "cwd"
	if w.dirfd != unix.AT_FDCWD {
		name = "fd/" + strconv.Itoa(w.dirfd)
	}
	fd, err := unix.Openat(t.proc, name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT && w.dirfd != unix.AT_FDCWD {
		return -1, refusal(unix.EBADF, "it starts from a descriptor that is not open")
	}
	if err != nil {
		return -1, unreadable("its caller's "+name, err)
	}
	return fd, nil
}

// resolve finds a file on a thread that has the caller's root and mounts. The
// descriptor is good for fstat and nothing else.
func (t *task) resolve(w where) (int, error) {
	if w.path == "" {
		if w.flags&unix.AT_EMPTY_PATH == 0 || w.dirfd == unix.AT_FDCWD {
			return -1, refusal(unix.ENOENT, "it has no name")
		}
		return t.base(w)
	}
	base := unix.AT_FDCWD
	if !strings.HasPrefix(w.path, "/") {
		fd, err := t.base(w)
		if err != nil {
			return -1, err
		}
		defer unix.Close(fd)
		base = fd
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if w.flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		how.Flags |= unix.O_NOFOLLOW
	}
	for {
		fd, err := unix.Openat2(base, w.path, &how)
		switch err {
		case nil:
			return fd, nil
		case unix.EINTR, unix.EAGAIN:
		case unix.ELOOP:
			// Through links of /proc, maybe, which mean other things to the caller.
			return t.walk(base, w)
		default:
			return -1, notFound(err)
		}
	}
}

// notFound is what the kernel will say too.
func notFound(err error) error {
	errno, ok := err.(unix.Errno)
	if !ok {
		errno = unix.EACCES
	}
	return refusal(errno, "%v", err)
}

// resolveElsewhere finds a file for a caller that sees other mounts, or has another
// root: on a thread that takes its place, and dies.
func (t *task) resolveElsewhere(w where) (fd int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with this function
		if err = t.enter(); err == nil {
			fd, err = t.resolve(w)
		}
	}()
	<-done
	return fd, err
}

// enter gives this thread the caller's mounts and root.
func (t *task) enter() error {
	root, err := unix.Openat(t.proc, "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return unreadable("its caller's root", err)
	}
	defer unix.Close(root)
	mounts, err := unix.Openat(t.proc, "ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return unreadable("its caller's mounts", err)
	}
	defer unix.Close(mounts)
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"unshare", func() error { return unix.Unshare(unix.CLONE_FS) }},
		{"setns", func() error { return unix.Setns(mounts, unix.CLONE_NEWNS) }},
		{"fchdir", func() error { return unix.Fchdir(root) }},
		{"chroot", func() error { return unix.Chroot(".") }},
	} {
		if err := step.do(); err != nil {
			return unreadable("its caller's view of files", fmt.Errorf("%s: %w", step.what, err))
		}
	}
	return nil
}

// maxLinks is how many symbolic links the kernel follows (MAXSYMLINKS).
const maxLinks = 40

// walk finds a file step by step: links of /proc, such as /proc/self/exe, are the
// caller's and not this thread's.
func (t *task) walk(base int, w where) (int, error) {
	cur, err := unix.Openat(base, ".", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, notFound(err)
	}
	move := func(fd int) { unix.Close(cur); cur = fd }
	toRoot := func() error {
		fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err == nil {
			move(fd)
		}
		return err
	}
	todo := w.path
	for links := 0; todo != ""; {
		if todo[0] == '/' {
			if err := toRoot(); err != nil {
				unix.Close(cur)
				return -1, notFound(err)
			}
			todo = strings.TrimLeft(todo, "/")
			continue
		}
		name, rest, more := strings.Cut(todo, "/")
		rest = strings.TrimLeft(rest, "/")
		// ".." of the root is the root: the kernel sees to that.
		fd, err := unix.Openat(cur, name, unix.O_PATH|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err != nil {
			unix.Close(cur)
			return -1, notFound(err)
		}
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		last := rest == "" && !more
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK && !(last && w.flags&unix.AT_SYMLINK_NOFOLLOW != 0) {
			if links++; links > maxLinks {
				err = unix.ELOOP
			} else if target, magic, lerr := t.follow(cur, fd, name); lerr != nil {
				err = lerr
			} else if magic >= 0 {
				unix.Close(fd)
				fd = magic
			} else {
				unix.Close(fd)
				todo = target
				if more {
					todo += "/" + rest
				}
				continue
			}
		}
		if err != nil {
			unix.Close(fd)
			unix.Close(cur)
			return -1, notFound(err)
		}
		move(fd)
		todo = rest
	}
	return cur, nil
}

// follow reads the link at fd, which is name in the folder cur: the text that takes
// its place, or where a link of /proc leads, which no text tells.
func (t *task) follow(cur, fd int, name string) (target string, magic int, err error) {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return "", -1, err
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		target, err = readlinkat(fd, "")
		return target, -1, err
	}
	switch name {
	case "self", "thread-self":
		process, thread, err := t.numbers()
		if err != nil {
			return "", -1, err
		}
		if name == "self" {
			return process, -1, nil
		}
		return process + "/task/" + thread, -1, nil
	}
	magic, err = unix.Openat(cur, name, unix.O_PATH|unix.O_CLOEXEC, 0)
	return "", magic, err
}

// numbers tells what the caller and its process are called in the innermost
// namespace, whose /proc it most likely sees.
func (t *task) numbers() (process, thread string, err error) {
	b, err := t.readFile("status", 16<<10)
	if err != nil {
		return "", "", err
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "NStgid:":
			process = f[len(f)-1]
		case "NSpid:":
			thread = f[len(f)-1]
		}
	}
	if process == "" || thread == "" {
		return "", "", unix.EACCES
	}
	return process, thread, nil
}

// readFile reads one of the caller's files in /proc, which is larger than max bytes
// only by mistake.
func (t *task) readFile(name string, max int) ([]byte, error) {
	fd, err := unix.Openat(t.proc, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 4<<10)
	for n := 0; ; {
		more, err := unix.Read(fd, buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || more == 0 {
			return buf[:n], err
		}
		if n += more; n > max {
			return nil, unix.EFBIG
		}
		if n == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

func readlinkat(dirfd int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dirfd, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}
