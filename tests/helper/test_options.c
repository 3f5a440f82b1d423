// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* The command line, and the socket file: right use works, wrong use is named together with a
 * remedy. */
#include "helper_process.h"

#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs to its end; the exit status. What it says on descriptor 1 is in helper_log() as well. */
static int run(const char *const *arguments)
{
	int status;

	helper_start(arguments);
	status = helper_status();
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void assert_said(const char *part)
{
	if (!strstr(helper_log(), part))
		fail_msg("it did not say '%s' but:\n%s", part, helper_log());
}

static void explains_itself(void **state)
{
	(void)state;
	assert_int_equal(run((const char *[]){ "--help", NULL }), 0);
	assert_said("usage: iommufd-rlimit-helper");
	assert_said("--listen PATH");
	assert_said("--allow-group NAME");
}

static void knows_its_version(void **state)
{
	(void)state;
	assert_int_equal(run((const char *[]){ "--version", NULL }), 0);
	assert_string_equal(helper_log(), "iommufd-rlimit-helper " VERSION "\n");
}

static void names_wrong_use(void **state)
{
	static char long_path[200];
	const struct {
		const char *arguments[6];
		const char *said;
	} cases[] = {
		{ { "--lisen", "/x" }, "lisen" },
		{ { "--listen" }, "requires an argument" },
		{ { "--listen", "relative" }, "\"relative\" is no absolute path" },
		{ { "--listen", long_path }, "is no absolute path of at most 107 bytes" },
		{ { "surplus" }, "\"surplus\" is no option; see --help" },
		{ { "--mode", "0660" }, "--mode only goes with --listen" },
		{ { "--group", "0" }, "--group only goes with --listen" },
		{ { "--listen", "/x", "--mode", "0999" }, "--mode: \"0999\" is no file mode" },
		{ { "--listen", "/x", "--mode", "01777" }, "--mode: \"01777\" is no file mode" },
		{ { "--listen", "/x", "--mode", "" }, "--mode: \"\" is no file mode" },
		{ { "--listen", "/x", "--mode", "-1" }, "such as 0660" },
		{ { "--listen", "/x", "--group", "no such group" },
		  "--group: there is no group \"no such group\"" },
		{ { "--allow-user", "no such user" }, "--allow-user: there is no user" },
		{ { "--allow-user", "4294967295" }, "--allow-user: there is no user" },
		{ { "--allow-group", "-1" }, "--allow-group: there is no group \"-1\"" },
	};

	(void)state;
	memset(long_path, 'x', 108);
	long_path[0] = '/';
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unlink(helper_path("log"));
		assert_int_equal(run(cases[i].arguments), 2);
		assert_said(cases[i].said);
	}
	assert_int_equal(run((const char *[]){ "--listen", "/no/such/directory/sock", NULL }), 1);
	assert_said("/no/such/directory/sock.lock: No such file or directory; "
		    "its directory must exist");
}

static void wants_a_connection_or_listen(void **state)
{
	int input = open("/dev/null", O_RDWR | O_CLOEXEC);
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un any = { .sun_family = AF_UNIX };
	int stream[2];
	int *const inputs[] = { &input, &listener, &stream[0] };

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&any, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream), 0);
	for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]); i++) {
		unlink(helper_path("log"));
		helper_start_on(*inputs[i], NULL);
		assert_int_equal(WEXITSTATUS(helper_status()), 2);
		assert_said("start it from a systemd socket unit with Accept=yes, or with --listen "
			    "PATH");
	}
	close(input);
	close(listener);
	close(stream[0]);
	close(stream[1]);
}

static void assert_socket(mode_t mode, gid_t group)
{
	struct stat st;

	assert_int_equal(lstat(helper_path("sock"), &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, mode);
	assert_int_equal(st.st_gid, group);
}

static void gives_the_socket_its_mode_and_group(void **state)
{
	mode_t mask = umask(0077);

	(void)state;
	helper_listen_with((const char *[]){ "--mode", "0621", NULL });
	assert_socket(0621, getgid());
	umask(mask);
}

static void gives_the_socket_to_the_group_alone_by_default(void **state)
{
	mode_t mask = umask(0);

	(void)state;
	helper_listen_with(NULL);
	assert_socket(0660, getgid());
	umask(mask);
}

static void gives_the_socket_to_a_group_by_number_or_name(void **state)
{
	(void)state;
	if (getuid())
		skip();
	helper_listen_with((const char *[]){ "--group", "4711", NULL });
	assert_socket(0660, 4711);
}

static void says_that_it_may_not_give_the_socket_away(void **state)
{
	const char *path = strdupa(helper_path("sock"));

	(void)state;
	if (!getuid())
		skip();
	assert_int_equal(run((const char *[]){ "--listen", path, "--group", "0", NULL }), 1);
	assert_said("run as root, or name a group you are in");
}

static void replaces_a_stale_socket(void **state)
{
	struct helper_reply reply;
	int device = helper_open_device();
	int connection;

	(void)state;
	helper_listen_with(NULL);
	kill(helper_pid(), SIGKILL);
	helper_status();
	assert_int_equal(access(helper_path("sock"), F_OK), 0);
	unlink(helper_path("log"));
	helper_listen_with(NULL);
	connection = helper_connect();
	helper_send_good(connection, device);
	assert_int_equal(helper_receive(connection, &reply), 0);
	close(connection);
	close(device);
}

static void leaves_a_live_socket_alone(void **state)
{
	pid_t first;
	const char *path = strdupa(helper_path("sock"));

	(void)state;
	helper_listen_with(NULL);
	first = helper_release();
	assert_int_equal(run((const char *[]){ "--listen", path, NULL }), 1);
	assert_said("another process listens there; stop it, or give another path");
	helper_adopt(first);
	close(helper_connect());
}

/* Else both could find the other's socket stale. */
static void lets_no_two_start_at_once(void **state)
{
	const char *path = strdupa(helper_path("sock"));
	int lock = open(helper_path("sock.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_int_equal(flock(lock, LOCK_EX), 0);
	assert_int_equal(run((const char *[]){ "--listen", path, NULL }), 1);
	assert_said("another process starts to listen there");
	close(lock);
	unlink(helper_path("log"));
	helper_listen_with(NULL);
	lock = open(helper_path("sock.lock"), O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(lock, LOCK_EX | LOCK_NB), 0); /* it has started */
	close(lock);
}

/* A listener that accepts nothing any more is alive, and one of another type. */
static void leaves_a_busy_socket_and_one_of_another_type_alone(void **state)
{
	static const int types[] = { SOCK_SEQPACKET, SOCK_STREAM };
	const char *path = strdupa(helper_path("sock"));

	(void)state;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		struct sockaddr_un address = { .sun_family = AF_UNIX };
		int listener = socket(AF_UNIX, types[i] | SOCK_CLOEXEC, 0);
		int client = socket(AF_UNIX, types[i] | SOCK_CLOEXEC, 0);

		strcpy(address.sun_path, path);
		assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
		assert_int_equal(listen(listener, 0), 0);
		assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
		unlink(helper_path("log"));
		assert_int_equal(run((const char *[]){ "--listen", path, NULL }), 1);
		assert_said("another process listens there");
		close(client);
		close(listener);
		unlink(path);
	}
}

static void never_removes_what_is_no_socket(void **state)
{
	const char *path = strdupa(helper_path("file"));
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(run((const char *[]){ "--listen", path, NULL }), 1);
	assert_said("exists and is no socket; move it away, or give another path");
	assert_int_equal(access(path, F_OK), 0);
}

static int connect_as_soon_as_it_listens(void)
{
	int connection = -1;

	for (double end = milliseconds() + PATIENCE_MS; connection < 0 && milliseconds() < end;)
		connection = helper_try_connect();
	return connection;
}

/* Descriptors 0 to 2 are where words are written to: nothing else may end up there. */
static void survives_closed_standard_descriptors(void **state)
{
	struct helper_reply reply;
	int device = helper_open_device();
	int connection;
	const char *path = strdupa(helper_path("sock"));

	(void)state;
	helper_start_closed((const char *[]){ "--listen", path, NULL });
	connection = connect_as_soon_as_it_listens();
	helper_send_good(connection, device);
	assert_int_equal(helper_receive(connection, &reply), 0);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		char link[32], target[32] = "";

		snprintf(link, sizeof(link), "/proc/%d/fd/%d", helper_pid(), fd);
		assert_int_equal(readlink(link, target, sizeof(target)), strlen("/dev/null"));
		assert_memory_equal(target, "/dev/null", strlen("/dev/null"));
	}
	close(connection);
	close(device);
}

/* Once as it starts, once for each request, and twice in a process that is to go on. */
static void serves_though_nobody_reads_its_log(int log)
{
	const char *path = strdupa(helper_path("sock"));
	int device = helper_open_device();

	helper_log_to(log);
	helper_start((const char *[]){ "--listen", path, NULL });
	for (int i = 0; i < 2; i++) {
		struct helper_reply reply;
		int connection = connect_as_soon_as_it_listens();

		helper_send_good(connection, device);
		assert_int_equal(helper_receive(connection, &reply), 0);
		close(connection);
	}
	close(device);
}

static void serves_though_its_log_is_full(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	while (write(ends[1], "x", 1) == 1)
		;
	fcntl(ends[1], F_SETFL, 0);
	serves_though_nobody_reads_its_log(ends[1]);
	close(ends[0]);
	close(ends[1]);
}

static void serves_though_its_log_is_broken(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	serves_though_nobody_reads_its_log(ends[1]);
	close(ends[1]);
}

static void ends_at_sigterm_and_sigint(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT };

	(void)state;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		unlink(helper_path("log"));
		helper_listen_with(NULL);
		kill(helper_pid(), signals[i]);
		assert_int_equal(helper_status(), 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, helper_setup, helper_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(explains_itself),
		TEST(knows_its_version),
		TEST(names_wrong_use),
		TEST(wants_a_connection_or_listen),
		TEST(gives_the_socket_its_mode_and_group),
		TEST(gives_the_socket_to_the_group_alone_by_default),
		TEST(gives_the_socket_to_a_group_by_number_or_name),
		TEST(says_that_it_may_not_give_the_socket_away),
		TEST(replaces_a_stale_socket),
		TEST(leaves_a_live_socket_alone),
		TEST(lets_no_two_start_at_once),
		TEST(leaves_a_busy_socket_and_one_of_another_type_alone),
		TEST(never_removes_what_is_no_socket),
		TEST(survives_closed_standard_descriptors),
		TEST(serves_though_its_log_is_full),
		TEST(serves_though_its_log_is_broken),
		TEST(ends_at_sigterm_and_sigint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
