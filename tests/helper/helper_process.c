// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "helper_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OPTIONS_MAX 16

struct mock_device *mock;

static char directory[64];
static pid_t helper;
static bool listens;
static int log_to;

const char *helper_path(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

int helper_setup(void **state)
{
	int fd;

	(void)state;
	strcpy(directory, "/tmp/iommufd-rlimit-helper-test-XXXXXX");
	if (!mkdtemp(directory) || chmod(directory, 0755) < 0)
		return -1;
	fd = open(helper_path("mock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*mock)) < 0)
		return -1;
	mock = mmap(NULL, sizeof(*mock), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	helper = 0;
	log_to = -1;
	return mock == MAP_FAILED ? -1 : 0;
}

int helper_status(void)
{
	int status = -1;

	for (double end = milliseconds() + PATIENCE_MS; milliseconds() < end; poll(NULL, 0, 2))
		if (waitpid(helper, &status, WNOHANG) == helper) {
			helper = 0;
			return status;
		}
	kill(helper, SIGKILL);
	waitpid(helper, &status, 0);
	helper = 0;
	fail_msg("the helper does not end; it said:\n%s", helper_log());
	return -1;
}

int helper_teardown(void **state)
{
	static const char *const names[] = {
		"mock", "log", "sock", "sock.lock", "file", "file.lock"
	};

	(void)state;
	if (helper) {
		int status;

		/* One that serves a connection is about to end by itself. */
		if (listens)
			kill(helper, SIGTERM);
		status = helper_status();
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			fail_msg("the helper ended with status %#x; it said:\n%s", status,
				 helper_log());
	}
	assert_int_equal(mock->wrong, 0);
	munmap(mock, sizeof(*mock));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(helper_path(names[i]));
	return rmdir(directory);
}

static void assert_environment(void)
{
	if (!getenv("HELPER") || !getenv("MOCK"))
		fail_msg("HELPER and MOCK are not set: run this test by meson");
}

static _Noreturn void exec_helper(const char *const *arguments)
{
	const char *all[OPTIONS_MAX] = { getenv("HELPER") };

	for (size_t i = 0; arguments && arguments[i]; i++)
		all[i + 1] = arguments[i];
	setenv("LD_PRELOAD", getenv("MOCK"), 1);
	setenv("MOCK_DEVICE", helper_path("mock"), 1);
	/* The mock comes before the runtime; and that traces at exit, which the helper has given
	 * up. */
	setenv("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0", 1);
	execv(all[0], (char *const *)all);
	_exit(127);
}

void helper_log_to(int fd)
{
	log_to = fd;
}

static int open_log(void)
{
	if (log_to >= 0)
		return log_to;
	return open(helper_path("log"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

void helper_start_on(int input, const char *const *arguments)
{
	assert_environment();
	listens = false;
	helper = fork();
	if (!helper) {
		int log = open_log();

		dup2(input, STDIN_FILENO);
		dup2(log, STDOUT_FILENO);
		dup2(log, STDERR_FILENO);
		exec_helper(arguments);
	}
}

void helper_start(const char *const *arguments)
{
	int input = open("/dev/null", O_RDWR | O_CLOEXEC);

	helper_start_on(input, arguments);
	listens = true;
	close(input);
}

void helper_start_closed(const char *const *arguments)
{
	assert_environment();
	listens = true;
	helper = fork();
	if (!helper) {
		for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
			close(fd);
		exec_helper(arguments);
	}
}

void helper_listen_with(const char *const *options)
{
	char path[128];
	const char *arguments[OPTIONS_MAX] = { "--listen", path };

	strcpy(path, helper_path("sock"));
	for (size_t i = 0; options && options[i]; i++)
		arguments[i + 2] = options[i];
	helper_start(arguments);
	helper_wait_for_log("listening=", 1);
}

int helper_on_connection(const char *const *options)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	helper_start_on(pair[0], options);
	close(pair[0]);
	return pair[1];
}

pid_t helper_pid(void)
{
	return helper;
}

pid_t helper_release(void)
{
	pid_t pid = helper;

	helper = 0;
	return pid;
}

void helper_adopt(pid_t pid)
{
	helper = pid;
}

const char *helper_log(void)
{
	static char text[1 << 20];
	int fd = open(helper_path("log"), O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[length < 0 ? 0 : length] = '\0';
	return text;
}

static size_t occurrences(const char *text, const char *part)
{
	size_t count = 0;

	while ((text = strstr(text, part))) {
		text += strlen(part);
		count++;
	}
	return count;
}

void helper_wait_for_log(const char *part, size_t count)
{
	for (double end = milliseconds() + PATIENCE_MS; milliseconds() < end; poll(NULL, 0, 2))
		if (occurrences(helper_log(), part) >= count)
			return;
	fail_msg("the helper did not say \"%s\" %zu times, but:\n%s", part, count, helper_log());
}

int helper_try_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/sock", directory);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

int helper_connect(void)
{
	int fd = helper_try_connect();

	if (fd < 0)
		fail_msg("cannot connect: %s; the helper said:\n%s", strerror(errno), helper_log());
	return fd;
}

struct helper_request helper_good_request(void)
{
	return (struct helper_request){
		.magic = HELPER_REQUEST_MAGIC,
		.version = HELPER_PROTOCOL_VERSION,
		.mode = 1,
		.comm = "test",
	};
}

int helper_send(int connection, const void *bytes, size_t size, const int *fds, size_t fd_count)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(253 * sizeof(int))];
	} control = { 0 };
	struct iovec data = { (void *)bytes, size };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };

	if (fd_count) {
		message.msg_control = &control;
		message.msg_controllen = (socklen_t)CMSG_SPACE(fd_count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = (socklen_t)CMSG_LEN(fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
	}
	/* musl's own sendmsg() before 1.2.4 takes no more than 1 KiB of control. */
	return syscall(SYS_sendmsg, connection, &message, MSG_NOSIGNAL) < 0 ? errno : 0;
}

void helper_send_good(int connection, int fd)
{
	struct helper_request request = helper_good_request();

	assert_int_equal(helper_send(connection, &request, sizeof(request), &fd, 1), 0);
}

int helper_receive(int connection, struct helper_reply *reply)
{
	struct pollfd readable = { .fd = connection, .events = POLLIN };
	char bytes[sizeof(*reply) + 1];
	ssize_t length;

	if (poll(&readable, 1, PATIENCE_MS) <= 0)
		fail_msg("neither answer nor end; the helper said:\n%s", helper_log());
	length = recv(connection, bytes, sizeof(bytes), 0);
	if (length <= 0)
		return -1;
	assert_int_equal(helper_reply_decode(bytes, (size_t)length, reply), 0);
	return reply->error;
}

int helper_open_device(void)
{
	int fd = open(MOCK_DEVICE_PATH, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}
