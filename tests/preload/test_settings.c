// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Settings that are not understood, log sinks and levels, and AT_SECURE. */

#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const char *const device[] = { "open", "/dev/iommu", NULL };

static void read_log(const char *path, char text[1024])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t length = fd < 0 ? 0 : read(fd, text, 1023);

	text[length > 0 ? length : 0] = '\0';
	close(fd);
}

static void open_after(struct child *opener, void (*before_exec)(void))
{
	child_run(opener, before_exec,
		  (const char *[]){ child_tool("OPENER"), "open", "/dev/iommu", NULL });
}

/* The mode does not matter to a log; the open goes on, one way or the other. */
static void opens(struct child *opener)
{
	child_opener(opener, "OPENER", device);
	assert_int_equal(opener->status, 0);
	assert_has(opener->out, "return=3 errno=4242 ");
	assert_has(opener->out, " open=1\n");
}

static void bad_value(const char *variable, const char *value, const char *expected)
{
	struct child opener;

	child_setenv(variable, value);
	opens(&opener);
	assert_int_equal(child_lines(opener.err), 2);
	assert_ptr_equal(strstr(opener.err, expected), opener.err);
	assert_has(opener.err, " hint=\"correct it ");
	assert_has(opener.err, "\niommufd-rlimit: info: outcome=applied ");
	child_setenv(variable, NULL);
}

static void test_bad_values_with_a_default(void **state)
{
	static char longer[1 << 20];

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	bad_value("IOMMUFD_RLIMIT_LOG", "logs/here",
		  "iommufd-rlimit: error: setting=IOMMUFD_RLIMIT_LOG value=logs/here used=stderr "
		  "accepted=\"stderr, syslog, none or an absolute path\" pid=");
	bad_value("IOMMUFD_RLIMIT_LOG_LEVEL", "loud\n\"\\\x1b[31m\xff=",
		  "iommufd-rlimit: error: setting=IOMMUFD_RLIMIT_LOG_LEVEL "
		  "value=\"loud\\x0a\\\"\\\\\\x1b[31m\\xff=\" used=info "
		  "accepted=\"error, warning, info or debug\" pid=");
	bad_value("IOMMUFD_RLIMIT_HELPER", "helper.sock",
		  "iommufd-rlimit: error: setting=IOMMUFD_RLIMIT_HELPER value=helper.sock "
		  "used=/run/iommufd-rlimit/helper.sock "
		  "accepted=\"none or the absolute path of a socket\" pid=");
	/* As much as execve(2) takes of one variable, MAX_ARG_STRLEN. */
	memset(longer, 'x', (128 << 10) - strlen("IOMMUFD_RLIMIT_HELPER=") - 1);
	longer[0] = '/';
	bad_value("IOMMUFD_RLIMIT_HELPER", longer,
		  "iommufd-rlimit: error: setting=IOMMUFD_RLIMIT_HELPER "
		  "value=/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx... "
		  "used=/run/iommufd-rlimit/helper.sock "
		  "accepted=\"a path of at most 107 bytes\" pid=");
	bad_value("IOMMUFD_RLIMIT_LOG", longer,
		  "iommufd-rlimit: error: setting=IOMMUFD_RLIMIT_LOG "
		  "value=/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx... used=stderr "
		  "accepted=\"a path of at most 1023 bytes\" pid=");
}

static void invalid(const char *variable, const char *value, const char *named,
		    const char *requested)
{
	struct child opener;

	remove(child_path("ioctls"));
	child_setenv(variable, value);
	child_opener(&opener, "OPENER", device);
	assert_has(opener.out,
		   "return=-1 errno=22 cloexec=0 status=0 mode=0 accounting=user open=0\n");
	assert_int_equal(child_lines(opener.err), 2);
	assert_ptr_equal(strstr(opener.err, named), opener.err);
	assert_has(opener.err, "\niommufd-rlimit: error: outcome=invalid fd=3 source=open ");
	assert_has(opener.err, requested);
	assert_has(opener.err, " effective=user errno=EINVAL pid=");
	assert_has(opener.err, " hint=\"this open fails; correct the setting named above\"\n");
	assert_int_equal(child_lines(opener.ioctls), 1); /* GET: nothing is changed */
}

static void test_bad_values_that_stop_the_open(void **state)
{
	struct child opener;

	invalid("IOMMUFD_RLIMIT_MODE", "Process",
		"iommufd-rlimit: error: setting=IOMMUFD_RLIMIT_MODE value=Process "
		"accepted=\"process, user, query or off\" pid=",
		" requested=Process ");
	child_setenv("IOMMUFD_RLIMIT_ON_ERROR", "continue"); /* overrules */
	opens(&opener);
	assert_has(opener.err, "outcome=invalid ");
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	invalid("IOMMUFD_RLIMIT_ON_ERROR", "ignore",
		"iommufd-rlimit: error: setting=IOMMUFD_RLIMIT_ON_ERROR value=ignore used=auto "
		"accepted=\"auto, continue or fail\" pid=",
		" requested=process ");
}

static void test_levels(void **state)
{
	static const struct {
		const char *level;
		const char *errno_of_set;
		size_t lines;
	} cases[] = {
		{ "error", NULL, 0 }, { "warning", NULL, 0 }, { "info", NULL, 1 },
		{ "debug", NULL, 2 }, { "error", "1", 0 },    { "warning", "1", 1 },
		{ "error", "16", 1 }, /* EBUSY */
	};
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("IOMMUFD_RLIMIT_ON_ERROR", "continue");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		child_setenv("IOMMUFD_RLIMIT_LOG_LEVEL", cases[i].level);
		child_setenv("MOCK_SET_ERRNO", cases[i].errno_of_set);
		opens(&opener);
		assert_int_equal(child_lines(opener.err), cases[i].lines);
	}
}

/* The soft one, which is what counts. */
static void limit_memlock(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_MEMLOCK, &limit))
		_exit(126);
	limit.rlim_cur = 65536;
	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		_exit(126);
}

static int has_capability(unsigned number)
{
	FILE *file = fopen("/proc/self/status", "re");
	unsigned long long effective = 0;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		sscanf(line, "CapEff: %llx", &effective);
	fclose(file);
	return effective >> number & 1;
}

static void test_debug_line_at_load(void **state)
{
	char expected[256];
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "query");
	child_setenv("IOMMUFD_RLIMIT_ON_ERROR", "fail");
	child_setenv("IOMMUFD_RLIMIT_LOG_LEVEL", "debug");
	child_run(&opener, limit_memlock,
		  (const char *[]){ child_tool("OPENER"), "open", "/", "0", NULL });
	assert_int_equal(child_lines(opener.err), 1);
	assert_has(opener.err, "iommufd-rlimit: debug: version=");
	snprintf(expected, sizeof(expected),
		 " mode=query on_error=fail log=stderr helper=none uid=%u memlock=65536 "
		 "cap_sys_resource=%s cap_ipc_lock=%s pid=",
		 getuid(), has_capability(24) ? "yes" : "no", has_capability(14) ? "yes" : "no");
	assert_has(opener.err, expected);
}

static void test_none(void **state)
{
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("IOMMUFD_RLIMIT_LOG", "none");
	opens(&opener);
	assert_string_equal(opener.err, "");
	assert_int_equal(child_lines(opener.ioctls), 2);
}

static void test_file(void **state)
{
	struct child opener;
	char text[1024];

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("IOMMUFD_RLIMIT_LOG", child_path("log"));
	opens(&opener);
	opens(&opener); /* appends */
	assert_string_equal(opener.err, "");
	read_log(child_path("log"), text);
	assert_int_equal(child_lines(text), 2);
	assert_has(text, "iommufd-rlimit: info: outcome=applied fd=3 ");
}

static void mask_nothing(void)
{
	umask(0);
}

static void test_file_mode(void **state)
{
	struct child opener;
	struct stat st;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("IOMMUFD_RLIMIT_LOG", child_path("log"));
	open_after(&opener, mask_nothing);
	assert_int_equal(stat(child_path("log"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void test_process(void **state)
{
	char expected[64];
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	opens(&opener);
	snprintf(expected, sizeof(expected), " pid=%d comm=%.15s\n", opener.pid, child_comm());
	assert_has(opener.err, expected);
}

/* @setting's sink fails with @error: stderr gets the line and the reason. */
static void falls_back(const char *setting, const char *error)
{
	struct child opener;
	char expected[512];

	child_setenv("IOMMUFD_RLIMIT_LOG", setting);
	opens(&opener);
	assert_int_equal(child_lines(opener.err), 2);
	assert_has(opener.err, "iommufd-rlimit: info: outcome=applied ");
	snprintf(expected, sizeof(expected),
		 "iommufd-rlimit: error: setting=IOMMUFD_RLIMIT_LOG value=%s used=stderr errno=%s ",
		 setting, error);
	assert_has(opener.err, expected);
	assert_has(opener.err, " hint=");
}

static void test_sinks_that_fail(void **state)
{
	char target[128];

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	falls_back("/nowhere/log", "ENOENT");
	falls_back("/", "EISDIR");
	assert_int_equal(mkfifo(child_path("fifo"), 0600), 0);
	falls_back(child_path("fifo"), "ENXIO");
	strcpy(target, child_path("target"));
	assert_int_equal(symlink(target, child_path("link")), 0);
	falls_back(child_path("link"), "ELOOP");
	assert_int_equal(access(target, F_OK), -1);
	falls_back("/dev/full", "ENOSPC");
	child_setenv("MOCK_SYSLOG", child_path("no-socket"));
	falls_back("syslog", "ENOENT");
}

static int fifo;

static void test_fifo_full(void **state)
{
	char filler[4096] = { 0 };

	assert_int_equal(mkfifo(child_path("fifo"), 0600), 0);
	fifo = open(child_path("fifo"), O_RDWR | O_NONBLOCK | O_CLOEXEC);
	while (write(fifo, filler, sizeof(filler)) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	falls_back(child_path("fifo"), "EAGAIN");
	close(fifo);
}

static void limit_file_size(void)
{
	const struct rlimit none = { 0, 0 };

	signal(SIGXFSZ, SIG_DFL);
	if (setrlimit(RLIMIT_FSIZE, &none))
		_exit(126);
}

static void test_file_size_limit(void **state)
{
	struct child opener;

	if (SANITIZED)
		skip(); /* their runtimes meet the limit, too */
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("MOCK_LOG", NULL);
	child_setenv("MOCK_SET_ERRNO", "1"); /* so that the mock writes no file either */
	child_setenv("IOMMUFD_RLIMIT_LOG", child_path("log"));
	open_after(&opener, limit_file_size);
	assert_int_equal(opener.status, 0); /* no SIGXFSZ */
	assert_has(opener.err, " used=stderr errno=EFBIG ");
}

#define SHORT_WRITE 20 /* bytes */

static void limit_file_size_to_short_write(void)
{
	const struct rlimit limit = { SHORT_WRITE, SHORT_WRITE };

	if (setrlimit(RLIMIT_FSIZE, &limit))
		_exit(126);
}

/* A line of which a part was written is not in the log: stderr gets it whole. */
static void test_short_write(void **state)
{
	struct child opener;
	struct stat st;

	if (SANITIZED)
		skip(); /* their runtimes meet the limit, too */
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("MOCK_LOG", NULL);
	child_setenv("IOMMUFD_RLIMIT_LOG", child_path("log"));
	open_after(&opener, limit_file_size_to_short_write);
	assert_int_equal(opener.status, 0);
	assert_int_equal(stat(child_path("log"), &st), 0);
	assert_int_equal(st.st_size, SHORT_WRITE);
	assert_int_equal(child_lines(opener.err), 2);
	assert_has(opener.err, "iommufd-rlimit: info: outcome=applied ");
	assert_has(opener.err, " used=stderr errno=ENOSPC ");
}

static char terminal[64];

/* A process in the background of a terminal that stops such processes when they write to it. */
static void write_from_background(void)
{
	struct termios attributes;
	int fd, status;
	pid_t child;

	setsid();
	fd = open(terminal, O_RDWR);
	if (fd < 0 || tcgetattr(fd, &attributes) < 0)
		_exit(126);
	attributes.c_lflag |= TOSTOP;
	if (tcsetattr(fd, TCSANOW, &attributes) < 0)
		_exit(126);
	child = fork();
	if (child) {
		waitpid(child, &status, WUNTRACED);
		if (WIFSTOPPED(status))
			kill(child, SIGKILL);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 125);
	}
	setpgid(0, 0);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static void test_background(void **state)
{
	int controller = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char text[1024] = "";
	struct child opener;

	assert_true(controller >= 0 && !grantpt(controller) && !unlockpt(controller));
	strcpy(terminal, ptsname(controller));
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	open_after(&opener, write_from_background);
	assert_int_equal(opener.status, 0);
	assert_true(read(controller, text, sizeof(text) - 1) > 0);
	assert_has(text, "iommufd-rlimit: info: outcome=applied ");
	close(controller);
}

static int listen_to(const char *variable)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int daemon = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, child_path(variable));
	assert_int_equal(bind(daemon, (struct sockaddr *)&address, sizeof(address)), 0);
	child_setenv(variable, address.sun_path);
	return daemon;
}

/* Datagrams until the queue of @daemon is full. */
static void fill(int daemon)
{
	struct sockaddr_un address = { 0 };
	socklen_t size = sizeof(address);
	int sender = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(getsockname(daemon, (struct sockaddr *)&address, &size), 0);
	while (sendto(sender, "x", 1, 0, (struct sockaddr *)&address, size) == 1)
		;
	assert_int_equal(errno, EAGAIN);
	close(sender);
}

static void assert_receives(int daemon, const char *start)
{
	char text[1024] = "";

	assert_true(recv(daemon, text, sizeof(text) - 1, 0) > 0);
	assert_ptr_equal(strstr(text, start), text);
	assert_int_equal(child_lines(text), 0);
}

static void test_syslog(void **state)
{
	static const char *const errors[] = { "1", "5" };
	static const char *const lines[] = { "<28>iommufd-rlimit: warning: outcome=denied ",
					     "<27>iommufd-rlimit: error: outcome=failed " };
	int daemon = listen_to("MOCK_SYSLOG");
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("IOMMUFD_RLIMIT_LOG", "syslog");
	opens(&opener);
	assert_string_equal(opener.err, "");
	assert_receives(daemon, "<30>iommufd-rlimit: info: outcome=applied fd=3 ");
	for (size_t i = 0; i < 2; i++) {
		child_setenv("MOCK_SET_ERRNO", errors[i]);
		child_setenv("IOMMUFD_RLIMIT_ON_ERROR", "continue");
		opens(&opener);
		assert_receives(daemon, lines[i]);
	}
	close(daemon);
}

/* A private /dev has no log, as that of QEMU under libvirt. A log that is there and full has. */
static void test_syslog_without_dev_log(void **state)
{
	int journal = listen_to("MOCK_JOURNAL");
	struct child opener;
	char text[64];
	int log;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("IOMMUFD_RLIMIT_LOG", "syslog");
	opens(&opener);
	assert_string_equal(opener.err, "");
	assert_receives(journal, "<30>iommufd-rlimit: info: outcome=applied fd=3 ");
	log = listen_to("MOCK_SYSLOG");
	fill(log);
	opens(&opener);
	assert_has(opener.err, " used=stderr errno=EAGAIN ");
	assert_int_equal(recv(journal, text, sizeof(text), 0), -1);
	close(log);
	close(journal);
}

static void close_stderr(void)
{
	close(STDERR_FILENO);
}

/* The first file opened is then descriptor 2, and the line must not end up in it. */
static void test_stderr_closed(void **state)
{
	const char *path = child_path("disk-image");
	char text[1024];
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_run(&opener, close_stderr,
		  (const char *[]){ child_tool("SITUATIONS"), "open-as-descriptor-2", path, NULL });
	assert_int_equal(opener.status, 0);
	assert_has(opener.out, "ok\n");
	assert_int_equal(child_lines(opener.ioctls), 2);
	read_log(path, text);
	assert_string_equal(text, "");
}

static void fill_stderr(void)
{
	char filler[4096] = { 0 };
	int ends[2];

	if (pipe(ends) || fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0)
		_exit(126);
	while (write(ends[1], filler, sizeof(filler)) > 0)
		;
	fcntl(ends[1], F_SETFL, 0); /* blocking, as QEMU's is; and the reader stays, but asleep */
	dup2(ends[1], STDERR_FILENO);
	dup2(ends[0], 9);
	close(ends[0]);
	close(ends[1]);
}

static void test_stderr_full(void **state)
{
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	open_after(&opener, fill_stderr);
	assert_int_equal(opener.status, 0);
	assert_has(opener.out, "return=3 errno=4242 ");
}

static void test_secure(void **state)
{
	struct child opener;

	child_setenv("MOCK_SECURE", "1");
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("IOMMUFD_RLIMIT_LOG_LEVEL", "info");
	child_setenv("IOMMUFD_RLIMIT_LOG", child_path("log"));
	child_setenv("IOMMUFD_RLIMIT_HELPER", child_path("helper.sock"));
	opens(&opener);
	assert_int_equal(child_lines(opener.err), 3);
	assert_has(opener.err, "setting=IOMMUFD_RLIMIT_LOG value=/tmp/");
	assert_has(opener.err, "setting=IOMMUFD_RLIMIT_HELPER value=/tmp/");
	assert_has(opener.err, " used=/run/iommufd-rlimit/helper.sock accepted=\"no path in ");
	assert_has(opener.err, "outcome=applied ");
	assert_int_equal(access(child_path("log"), F_OK), -1);
	/* The enumerations are honoured. */
	child_setenv("IOMMUFD_RLIMIT_LOG", "none");
	child_setenv("IOMMUFD_RLIMIT_HELPER", "none");
	child_setenv("IOMMUFD_RLIMIT_MODE", "off");
	opens(&opener);
	assert_string_equal(opener.err, "");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, child_setup, child_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_bad_values_with_a_default),
		TEST(test_bad_values_that_stop_the_open),
		TEST(test_levels),
		TEST(test_debug_line_at_load),
		TEST(test_none),
		TEST(test_file),
		TEST(test_file_mode),
		TEST(test_process),
		TEST(test_sinks_that_fail),
		TEST(test_fifo_full),
		TEST(test_file_size_limit),
		TEST(test_short_write),
		TEST(test_background),
		TEST(test_syslog),
		TEST(test_syslog_without_dev_log),
		TEST(test_stderr_closed),
		TEST(test_stderr_full),
		TEST(test_secure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
