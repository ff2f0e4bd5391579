/*
 * Ways to start a program that a person or an attacker may find, for the tests of
 * the exec gate. Usage: tricks WAY PROGRAM ARGUMENT..., or tricks race-WAY TRIES
 * ALLOWED FORBIDDEN ARGUMENT.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void fail(const char *what)
{
	fprintf(stderr, "tricks: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ways to one program */

static void *in_thread(void *argv)
{
	execve(((char **)argv)[0], argv, environ);
	fail("execve from a thread");
	return NULL;
}

static void from_thread(char **argv)
{
	pthread_t t;
	pthread_create(&t, NULL, in_thread, argv);
	pause();
}

static void by_spawn(char **argv)
{
	pid_t pid;
	int status;
	if ((errno = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ)))
		fail("posix_spawn");
	waitpid(pid, &status, 0);
}

/* The program's bytes, from a file without a name. */
static void from_memory(char **argv)
{
	char buf[65536];
	ssize_t n;
	int in = open(argv[0], O_RDONLY), fd = memfd_create("x", MFD_CLOEXEC);
	while ((n = read(in, buf, sizeof buf)) > 0)
		if (write(fd, buf, n) != n)
			fail("write");
	fexecve(fd, argv, environ);
	fail("fexecve");
}

/* The file itself, by a descriptor. */
static void by_descriptor(char **argv)
{
	int fd = open(argv[0], O_PATH | O_CLOEXEC);
	syscall(SYS_execveat, fd, "", argv, environ, AT_EMPTY_PATH);
	fail("execveat");
}

static void by_folder(char **argv)
{
	char *slash = strrchr(argv[0], '/');
	*slash = 0;
	int fd = open(argv[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
	argv[0] = slash + 1;
	syscall(SYS_execveat, fd, argv[0], argv, environ, 0);
	fail("execveat");
}

static void by_proc(char **argv)
{
	char path[64];
	int fd = open(argv[0], O_PATH);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	execv(path, argv);
	fail("execve");
}

/* The 32-bit ABI, from a program of 64 bits: all it points to is below 4 GiB. */
static void by_int80(char **argv)
{
#ifdef __x86_64__
	char *low = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	unsigned *vector = (unsigned *)low;
	char *text = low + 4096;
	int i;
	long out;
	for (i = 0; argv[i]; i++) {
		vector[i] = (unsigned)(unsigned long)text;
		text = stpcpy(text, argv[i]) + 1;
	}
	vector[i] = 0;
	__asm__ volatile("int $0x80" : "=a"(out)
		: "a"(11), "b"((unsigned long)vector[0]), "c"((unsigned long)low), "d"(0L)
		: "memory", "r8", "r9", "r10", "r11");
	errno = -out;
	fail("int 0x80");
#else
	errno = ENOSYS;
	fail("int 0x80");
#endif
}

/* What must not work at all, in the words of the kernel. */

static void x32(char **argv)
{
	if (syscall(0x40000000 + 520, argv[0], argv, NULL) == -1 && errno == ENOSYS)
		exit(0);
	fail("x32");
}

static void own_listener(char **argv)
{
	struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog prog = { 1, code };
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		fail("a filter of its own");
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog) == -1 && errno == EBUSY)
		exit(0);
	fail("a listener of its own");
}

/* Its tracer could change it after the look. */
static void traced(char **argv)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execve(argv[0], argv, environ);
		_exit(errno == EACCES ? 7 : 8);
	}
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, pid, 0, 0);
	exit(WIFEXITED(status) && WEXITSTATUS(status) == 7 ? 0 : 1);
}

/* Somebody outside of the session, as root may want to use. */
static void outsider(char **argv)
{
	pid_t pid = atoi(argv[0]);
	char path[64];
	int fd, bad = 0;
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0)
		bad |= 1;
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	if ((fd = open(path, O_RDWR)) >= 0)
		bad |= 2;
	if ((fd = syscall(SYS_pidfd_open, pid, 0)) >= 0 && syscall(SYS_pidfd_getfd, fd, 0, 0) >= 0)
		bad |= 4;
	exit(bad);
}

/* races: what is asked for changes while it is asked */

static volatile char *name;      /* what is to be started */
static const char *good, *bad;

static void *flip(void *unused)
{
	for (unsigned i = 0;; i++) {
		strcpy((char *)name, i & 1 ? bad : good);
		for (volatile unsigned j = 0; j < (i * 7919) % 4096; j++)
			;
	}
	return unused;
}

static void start(char *argument)
{
	char *argv[] = { "x", argument, NULL };
	for (int i = 0; i < 100; i++)
		execve((char *)name, argv, environ);
	_exit(1);
}

static void race_thread(char *argument)
{
	static char own[4096];
	pthread_t t;
	name = own;
	strcpy(own, good);
	pthread_create(&t, NULL, flip, NULL);
	start(argument);
}

/* Arguments and name are in memory that another process writes to. */
static void race_shared(int tries, char *argument)
{
	name = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	strcpy((char *)name, good);
	pid_t flipper = fork();
	if (flipper == 0)
		flip(NULL);
	for (int i = 0; i < tries; i++) {
		if (fork() == 0)
			start(argument);
		wait(NULL);
	}
	kill(flipper, SIGKILL);
}

static void race_symlink(int tries, char *argument)
{
	static char link[4096];
	char next[4096];
	snprintf(link, sizeof link, "%s.link", argument);
	snprintf(next, sizeof next, "%s.next", argument);
	unlink(link); /* of a try before, whose flipper was killed at any moment */
	unlink(next);
	if (symlink(good, link))
		fail("symlink");
	pid_t flipper = fork();
	for (unsigned i = 0; flipper == 0; i++) {
		if (symlink(i & 1 ? bad : good, next) || rename(next, link))
			_exit(1);
	}
	name = link;
	for (int i = 0; i < tries; i++) {
		if (fork() == 0)
			start(argument);
		wait(NULL);
	}
	kill(flipper, SIGKILL);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*way)(char **);
	} ways[] = {
		{ "thread", from_thread }, { "spawn", by_spawn }, { "memory", from_memory }, { "descriptor", by_descriptor },
		{ "folder", by_folder }, { "proc", by_proc }, { "int80", by_int80 },
		{ "x32", x32 }, { "listener", own_listener }, { "traced", traced }, { "outsider", outsider },
	};
	if (argc < 3)
		return 2;
	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
		if (!strcmp(argv[1], ways[i].name)) {
			ways[i].way(argv + 2);
			return 0;
		}
	if (argc != 6)
		return 2;
	int tries = atoi(argv[2]);
	good = argv[3];
	bad = argv[4];
	if (!strcmp(argv[1], "race-shared"))
		race_shared(tries, argv[5]);
	else if (!strcmp(argv[1], "race-symlink"))
		race_symlink(tries, argv[5]);
	else
		for (int i = 0; i < tries; i++) {
			if (fork() == 0)
				race_thread(argv[5]);
			wait(NULL);
		}
	return 0;
}
