// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * situations SITUATION [ARGUMENT]: opens the device where a program may find itself. Prints "ok" if
 * all is as it would be without the shim, else says what is not.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REQUIRE(condition)                                                               \
	do {                                                                             \
		if (!(condition)) {                                                      \
			printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno); \
			fflush(stdout);                                                  \
			_exit(1);                                                        \
		}                                                                        \
	} while (0)

static int open_device(void)
{
	return open("/dev/iommu", O_RDWR | O_CLOEXEC);
}

static void open_and_close(void)
{
	int fd;

	errno = 4242;
	fd = open_device();
	REQUIRE(fd >= 0);
	REQUIRE(errno == 4242);
	REQUIRE(close(fd) == 0);
}

static int count_open(void)
{
	int count = 0;

	for (int fd = 0; fd < 4096; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void plain(const char *argument)
{
	(void)argument;
	open_and_close();
}

/* errno of a program that has just started is 0: before main() somebody else ran. */
static int errno_at_start;

static void started(const char *argument)
{
	(void)argument;
	REQUIRE(errno_at_start == 0);
}

/* Descriptor 2 has no reader. The signals are as before, the one that was pending included. */
static void signals(const char *argument)
{
	sigset_t pipe_only, before, after, pending;

	(void)argument;
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigprocmask(SIG_BLOCK, NULL, &before);
	open_and_close();
	sigprocmask(SIG_BLOCK, NULL, &after);
	for (int signal = 1; signal < 32; signal++)
		REQUIRE(sigismember(&before, signal) == sigismember(&after, signal));
	sigpending(&pending);
	REQUIRE(!sigismember(&pending, SIGPIPE));

	sigprocmask(SIG_BLOCK, &pipe_only, NULL);
	open_and_close();
	sigpending(&pending);
	REQUIRE(!sigismember(&pending, SIGPIPE));
	REQUIRE(!raise(SIGPIPE));
	open_and_close();
	sigpending(&pending);
	REQUIRE(sigismember(&pending, SIGPIPE));
}

static void as_descriptor_2(const char *path)
{
	REQUIRE(open(path, O_RDWR | O_CREAT, 0600) == 2);
	open_and_close();
}

static volatile sig_atomic_t ticks;

static void on_tick(int signal)
{
	int saved_errno = errno;

	(void)signal;
	open_and_close();
	ticks++;
	errno = saved_errno;
}

static void count_tick(int signal)
{
	(void)signal;
	ticks++;
}

static void signal_handler(const char *argument)
{
	const struct itimerval every_ms = { { 0, 1000 }, { 0, 1000 } };
	const struct sigaction action = { .sa_handler = on_tick, .sa_flags = SA_RESTART };
	int before = count_open();

	(void)argument;
	REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
	REQUIRE(setitimer(ITIMER_REAL, &every_ms, NULL) == 0);
	while (ticks < 100)
		open_and_close();
	REQUIRE(setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL) == 0);
	REQUIRE(count_open() == before);
}

/* One open under a timer that interrupts all that waits: no SA_RESTART. */
static void interrupted(const char *argument)
{
	const struct itimerval every_10_ms = { { 0, 10000 }, { 0, 10000 } };
	const struct sigaction action = { .sa_handler = count_tick };
	int before = count_open();

	(void)argument;
	REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
	REQUIRE(setitimer(ITIMER_REAL, &every_10_ms, NULL) == 0);
	open_and_close();
	REQUIRE(setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL) == 0);
	REQUIRE(ticks > 10);
	REQUIRE(count_open() == before);
}

static void outlast_deadline(int signal)
{
	const struct timespec longer = { .tv_sec = 2, .tv_nsec = 100 * 1000 * 1000 };

	(void)signal;
	nanosleep(&longer, NULL);
}

/* One open that a signal interrupts until its deadline, of 2 s, has passed. */
static void interrupted_for_long(const char *argument)
{
	const struct itimerval once = { .it_value = { 0, 100000 } };
	const struct sigaction action = { .sa_handler = outlast_deadline };

	(void)argument;
	REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
	REQUIRE(setitimer(ITIMER_REAL, &once, NULL) == 0);
	open_and_close();
}

static void vfork_child(const char *argument)
{
	int status;
	pid_t child;

	(void)argument;
	child = vfork();
	if (!child) {
		int fd = open_device();

		_exit(fd < 0);
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	REQUIRE(status == 0);
	open_and_close();
}

static atomic_bool stop;

static void *open_until_stopped(void *argument)
{
	(void)argument;
	while (!stop)
		open_and_close();
	return NULL;
}

static void fork_from_threads(const char *argument)
{
	pthread_t threads[4];

	(void)argument;
	for (size_t i = 0; i < 4; i++)
		REQUIRE(!pthread_create(&threads[i], NULL, open_until_stopped, NULL));
	for (int i = 0; i < 50; i++) {
		int status;
		pid_t child = fork();

		if (!child) {
			open_and_close();
			_exit(0);
		}
		REQUIRE(waitpid(child, &status, 0) == child);
		REQUIRE(status == 0);
	}
	stop = true;
	for (size_t i = 0; i < 4; i++)
		REQUIRE(!pthread_join(threads[i], NULL));
}

static atomic_int spawned;

/* What a child gets that another thread starts in the middle of an open: descriptors 0, 1 and 2. */
static void *spawn_until_stopped(void *argument)
{
	char *const arguments[] = { (char[]){ "situations" }, (char[]){ "spawned" }, NULL };
	char *const none[] = { NULL };
	posix_spawn_file_actions_t quiet;
	pid_t child;
	int status;

	(void)argument;
	REQUIRE(!posix_spawn_file_actions_init(&quiet));
	REQUIRE(!posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0));
	while (!stop) {
		REQUIRE(!posix_spawn(&child, "/proc/self/exe", &quiet, NULL, arguments, none));
		REQUIRE(waitpid(child, &status, 0) == child);
		REQUIRE(status == 0);
		spawned++;
	}
	return NULL;
}

static void is_spawned(const char *argument)
{
	(void)argument;
	REQUIRE(count_open() == 3);
}

static void spawn_from_thread(const char *argument)
{
	pthread_t thread;

	(void)argument;
	REQUIRE(!pthread_create(&thread, NULL, spawn_until_stopped, NULL));
	while (spawned < 200)
		open_and_close();
	stop = true;
	REQUIRE(!pthread_join(thread, NULL));
}

static void *open_many(void *argument)
{
	(void)argument;
	for (int i = 0; i < 1000; i++)
		open_and_close();
	return NULL;
}

static void threads(const char *argument)
{
	pthread_t threads[64];
	int before = count_open();

	(void)argument;
	for (size_t i = 0; i < 64; i++)
		REQUIRE(!pthread_create(&threads[i], NULL, open_many, NULL));
	for (size_t i = 0; i < 64; i++)
		REQUIRE(!pthread_join(threads[i], NULL));
	REQUIRE(count_open() == before);
}

static void *open_once(void *argument)
{
	(void)argument;
	open_and_close();
	return NULL;
}

static void small_stack(const char *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;

	(void)argument;
	REQUIRE(!pthread_attr_init(&attributes));
	if (pthread_attr_setstacksize(&attributes, 16384)) /* too small on aarch64 and ppc64le */
		REQUIRE(!pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN));
	REQUIRE(!pthread_create(&thread, &attributes, open_once, NULL));
	REQUIRE(!pthread_join(thread, NULL));
}

/* All but the plain call, and what it takes to say so, meets with @action. */
static void filter(unsigned action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_faccessat, 1, 0), /* the mock's */
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	REQUIRE(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	REQUIRE(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

/* The child's status says it: under the filter nothing can be printed. */
static void seccomp(unsigned action, const char *path)
{
	int status;
	pid_t child = fork();

	if (!child) {
		int fd;

		filter(action);
		fd = open(path, O_RDWR | O_CLOEXEC);
		_exit(fd < 0 || close(fd));
	}
	REQUIRE(waitpid(child, &status, 0) == child);
	REQUIRE(status == 0);
}

static void seccomp_kill(const char *path)
{
	seccomp(SECCOMP_RET_KILL_PROCESS, path);
}

static void seccomp_errno(const char *path)
{
	seccomp(SECCOMP_RET_ERRNO | EPERM, path);
}

static void exec_with_iommufd(const char *argument)
{
	(void)argument;
	REQUIRE(open("/dev/iommu", O_RDWR) == 3);
	execl("/proc/self/exe", "situations", "plain", NULL);
	REQUIRE(false);
}

static bool exiting;

static void at_exit(const char *argument)
{
	(void)argument;
	exiting = true;
	REQUIRE(!atexit(open_and_close));
}

static __attribute__((destructor)) void destructor(void)
{
	if (exiting)
		open_and_close();
}

static void loads(const char *library)
{
	REQUIRE(dlopen(library, RTLD_NOW));
	open_and_close();
}

static void *open_fifo(void *path)
{
	open(path, O_RDONLY);
	return NULL;
}

/* open(2) stays a cancellation point. */
static void cancel(const char *fifo)
{
	pthread_t thread;
	void *result;

	REQUIRE(!pthread_create(&thread, NULL, open_fifo, (void *)(size_t)fifo));
	usleep(50000);
	REQUIRE(!pthread_cancel(thread));
	REQUIRE(!pthread_join(thread, &result));
	REQUIRE(result == PTHREAD_CANCELED);
}

static void *open_then_be_cancelled(void *fd)
{
	int state;

	open_and_close();
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	REQUIRE(state == PTHREAD_CANCEL_ENABLE);
	pthread_cancel(pthread_self());
	*(int *)fd = open_device();
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
	REQUIRE(state == PTHREAD_CANCEL_DISABLE);
	pthread_testcancel();
	return NULL;
}

/* The shim's own business neither ends a thread nor changes whether it can be ended. */
static void cancel_state(const char *argument)
{
	pthread_t thread;
	void *result;
	int fd = -1;

	(void)argument;
	REQUIRE(!pthread_create(&thread, NULL, open_then_be_cancelled, &fd));
	REQUIRE(!pthread_join(thread, &result));
	REQUIRE(result == PTHREAD_CANCELED);
	REQUIRE(fd >= 0);
}

#ifdef __GLIBC__
/* Runs before any constructor, libc's own among them: environ is not there yet. */
static int preinit_fd = -1;

static void preinit(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "preinit"))
		preinit_fd = open_device();
}
static __attribute__((used, section(".preinit_array"))) void (*preinit_pointer)(int,
										char **) = preinit;

static void after_preinit(const char *argument)
{
	(void)argument;
	REQUIRE(preinit_fd >= 0);
	REQUIRE(close(preinit_fd) == 0);
}
#endif

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const char *argument);
	} situations[] = {
		{ "plain", plain },
		{ "started", started },
		{ "signals", signals },
		{ "open-as-descriptor-2", as_descriptor_2 },
		{ "signal-handler", signal_handler },
		{ "interrupted", interrupted },
		{ "interrupted-for-long", interrupted_for_long },
		{ "vfork", vfork_child },
		{ "fork-from-threads", fork_from_threads },
		{ "spawn-from-thread", spawn_from_thread },
		{ "spawned", is_spawned },
		{ "threads", threads },
		{ "small-stack", small_stack },
		{ "seccomp-kill", seccomp_kill },
		{ "seccomp-errno", seccomp_errno },
		{ "exec", exec_with_iommufd },
		{ "at-exit", at_exit },
		{ "dlopen", loads },
		{ "cancel", cancel },
		{ "cancel-state", cancel_state },
#ifdef __GLIBC__
		{ "preinit", after_preinit },
#endif
	};

	errno_at_start = errno;
	for (size_t i = 0; argc > 1 && i < sizeof(situations) / sizeof(situations[0]); i++)
		if (!strcmp(situations[i].name, argv[1])) {
			situations[i].run(argv[2]);
			puts("ok");
			return 0;
		}
	fprintf(stderr, "situations: no such situation\n");
	return 2;
}
