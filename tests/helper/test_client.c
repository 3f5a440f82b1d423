// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* The library's side, against a helper that behaves and against all that do not. */
#include "helper_client.h"
#include "helper_process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Time beyond its own deadline that a slow machine may need to let the client run. */
#define SLACK_MS 1500

/* What a false helper does with each connection. */
typedef void behaviour(int connection);

static pid_t false_helper;
static char path[128];

static int listen_at_path(int type, int backlog)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

/* Serves until killed; as another user where @uid is one. */
static void start_false_helper(behaviour *behave, uid_t uid)
{
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	false_helper = fork();
	if (!false_helper) {
		int listener;

		if (uid && setresuid(uid, uid, uid) < 0)
			_exit(1);
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user clears it */
		listener = listen_at_path(SOCK_SEQPACKET, 16);
		chmod(path, 0777);
		close(ready[0]);
		close(ready[1]);
		for (;;) {
			int connection = accept(listener, NULL, NULL);

			behave(connection);
			close(connection);
		}
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0); /* until it listens */
	close(ready[0]);
}

static int setup(void **state)
{
	int result = helper_setup(state);

	strcpy(path, helper_path("sock"));
	false_helper = 0;
	return result;
}

static int teardown(void **state)
{
	if (false_helper) {
		kill(false_helper, SIGKILL);
		waitpid(false_helper, NULL, 0);
	}
	return helper_teardown(state);
}

static size_t open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	size_t count = 0;

	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* Asks once; the answer, and that it came in time and left nothing behind. */
static int ask(void)
{
	int device = helper_open_device();
	size_t before = open_descriptors();
	double start = milliseconds();
	int error = helper_client_set_rlimit_mode(path, device, 1);

	assert_in_range(milliseconds() - start, 0, HELPER_CLIENT_TIMEOUT_MS + SLACK_MS);
	assert_int_equal(open_descriptors(), before);
	assert_int_equal(fcntl(device, F_GETFD), FD_CLOEXEC);
	close(device);
	return error;
}

static void receive(int connection)
{
	char bytes[64];

	if (recv(connection, bytes, sizeof(bytes), 0) < 0)
		_exit(1);
}

static void reply_with(int connection, const void *bytes, size_t size)
{
	receive(connection);
	if (send(connection, bytes, size, MSG_NOSIGNAL) < 0)
		_exit(1);
}

static struct helper_reply reply_of(int error, uint64_t effective)
{
	return (struct helper_reply){
		.magic = HELPER_REPLY_MAGIC,
		.version = HELPER_PROTOCOL_VERSION,
		.error = (uint16_t)error,
		.effective = effective,
	};
}

static void has_the_real_helper_do_it(void **state)
{
	(void)state;
	helper_listen_with(NULL);
	assert_int_equal(ask(), 0);
	assert_int_equal(mock->mode, 1);
}

static void says_who_asks(void **state)
{
	(void)state;
	prctl(PR_SET_NAME, "a client");
	helper_listen_with(NULL);
	assert_int_equal(ask(), 0);
	helper_wait_for_log("comm=\"a client\"", 1);
}

static void passes_on_the_error_of_the_helper(void **state)
{
	(void)state;
	mock->set_errno = EBUSY;
	helper_listen_with(NULL);
	assert_int_equal(ask(), EBUSY);
}

static void says_that_the_user_is_not_allowed(void **state)
{
	(void)state;
	helper_listen_with((const char *[]){ "--allow-group", "4000000", NULL });
	assert_int_equal(ask(), EACCES);
}

static void never_answers(int connection)
{
	receive(connection);
	pause();
}

static void gives_up_on_a_helper_that_never_answers(void **state)
{
	double start = milliseconds();

	(void)state;
	start_false_helper(never_answers, 0);
	assert_int_equal(ask(), ETIMEDOUT);
	assert_in_range(milliseconds() - start, HELPER_CLIENT_TIMEOUT_MS - 1, PATIENCE_MS);
}

static void never_receives(int connection)
{
	(void)connection;
	pause();
}

static void gives_up_on_a_helper_that_never_receives(void **state)
{
	(void)state;
	start_false_helper(never_receives, 0);
	assert_int_equal(ask(), ETIMEDOUT);
}

/* At the end of its time it may just have tried again. */
static void assert_turned_away(int error)
{
	if (error != ETIMEDOUT)
		assert_int_equal(error, ECONNRESET);
}

static void closes(int connection)
{
	(void)connection;
}

static void closes_after_the_request(int connection)
{
	receive(connection);
}

static void tries_again_where_the_connection_is_closed(void **state)
{
	double start = milliseconds();

	(void)state;
	start_false_helper(closes, 0);
	assert_turned_away(ask());
	assert_in_range(milliseconds() - start, HELPER_CLIENT_TIMEOUT_MS / 2, PATIENCE_MS);
}

static void tries_again_where_the_request_is_not_answered(void **state)
{
	(void)state;
	start_false_helper(closes_after_the_request, 0);
	assert_turned_away(ask());
}

static void is_overloaded_at_first(int connection)
{
	static int turn;
	const struct helper_reply busy = reply_of(EAGAIN, HELPER_MODE_UNKNOWN);
	const struct helper_reply good = reply_of(0, 1);

	switch (turn++) {
	case 0:
		break;
	case 1:
		receive(connection);
		break;
	case 2:
		reply_with(connection, &busy, sizeof(busy));
		break;
	default:
		reply_with(connection, &good, sizeof(good));
	}
}

static void gets_through_to_an_overloaded_helper(void **state)
{
	(void)state;
	start_false_helper(is_overloaded_at_first, 0);
	assert_int_equal(ask(), 0);
}

static void sends_garbage(int connection)
{
	reply_with(connection, "garbage garbage!", sizeof(struct helper_reply));
}

static void sends_half(int connection)
{
	const struct helper_reply good = reply_of(0, 1);

	reply_with(connection, &good, sizeof(good) / 2);
}

static void sends_one_byte_more(int connection)
{
	const struct helper_reply good = reply_of(0, 1);
	char bytes[sizeof(good) + 1] = { 0 };

	memcpy(bytes, &good, sizeof(good));
	reply_with(connection, bytes, sizeof(bytes));
}

static void sends_much_more(int connection)
{
	const struct helper_reply good = reply_of(0, 1);
	char bytes[10000] = { 0 };

	memcpy(bytes, &good, sizeof(good));
	reply_with(connection, bytes, sizeof(bytes));
}

static void sends_another_mode(int connection)
{
	const struct helper_reply lie = reply_of(0, 0);

	reply_with(connection, &lie, sizeof(lie));
}

static void sends_another_version(int connection)
{
	struct helper_reply newer = reply_of(0, 1);

	newer.version++;
	reply_with(connection, &newer, sizeof(newer));
}

static void takes_no_answer_that_is_none(void **state)
{
	static behaviour *const all[] = {
		sends_garbage, sends_half, sends_one_byte_more, sends_much_more, sends_another_mode,
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (i) {
			teardown(state);
			setup(state);
		}
		start_false_helper(all[i], 0);
		assert_int_equal(ask(), EPROTO);
	}
}

static void tells_another_version(void **state)
{
	(void)state;
	start_false_helper(sends_another_version, 0);
	assert_int_equal(ask(), EPROTONOSUPPORT);
}

static void sends_descriptors(int connection)
{
	const struct helper_reply good = reply_of(0, 1);
	const int fds[] = { 0, 1, 2 };

	receive(connection);
	helper_send(connection, &good, sizeof(good), fds, 3);
}

/* ask() counts. */
static void keeps_no_descriptor_that_a_helper_sends(void **state)
{
	(void)state;
	start_false_helper(sends_descriptors, 0);
	assert_int_equal(ask(), 0);
}

static void says_that_nobody_listens(void **state)
{
	(void)state;
	assert_int_equal(ask(), ENOENT);
	close(listen_at_path(SOCK_SEQPACKET, 1));
	assert_int_equal(ask(), ECONNREFUSED);
}

static void says_that_it_is_no_socket(void **state)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(ask(), ECONNREFUSED);
}

static void says_that_it_is_a_socket_of_another_type(void **state)
{
	int listener = listen_at_path(SOCK_STREAM, 1);

	(void)state;
	assert_int_equal(ask(), EPROTOTYPE);
	close(listener);
}

static void gives_up_on_a_socket_that_is_full(void **state)
{
	int listener = listen_at_path(SOCK_SEQPACKET, 0);
	double start = milliseconds();
	int first = helper_connect();

	(void)state;
	assert_int_equal(ask(), EAGAIN);
	assert_in_range(milliseconds() - start, HELPER_CLIENT_TIMEOUT_MS / 2, PATIENCE_MS);
	close(first);
	close(listener);
}

static void says_that_the_path_is_too_long(void **state)
{
	char too_long[200];

	(void)state;
	memset(too_long, 'x', sizeof(too_long) - 1);
	too_long[0] = '/';
	too_long[sizeof(too_long) - 1] = '\0';
	assert_int_equal(helper_client_set_rlimit_mode(too_long, 0, 1), ENAMETOOLONG);
}

static void needs_root(void)
{
	if (getuid())
		skip();
}

static void would_help(int connection)
{
	const struct helper_reply good = reply_of(0, 1);

	reply_with(connection, &good, sizeof(good));
}

/* Asks as @own a helper of user @other. */
static int ask_as(uid_t own, uid_t other)
{
	int error;

	needs_root();
	chmod(helper_path("."), 0777);
	start_false_helper(would_help, other);
	assert_int_equal(seteuid(own), 0);
	error = ask();
	assert_int_equal(seteuid(0), 0);
	return error;
}

static void gives_nothing_to_a_stranger(void **state)
{
	(void)state;
	assert_int_equal(ask_as(65533, 65532), EACCES);
}

static void trusts_root(void **state)
{
	(void)state;
	assert_int_equal(ask_as(65533, 0), 0);
}

static void trusts_its_own_user(void **state)
{
	(void)state;
	assert_int_equal(ask_as(65533, 65533), 0);
}

/* Two users that a user namespace does not map have the same number there. */
static void does_not_trust_the_number_of_nobody(void **state)
{
	(void)state;
	assert_int_equal(ask_as(65534, 65534), EACCES);
}

static void is_refused_by_the_permissions_of_the_socket(void **state)
{
	(void)state;
	needs_root();
	helper_listen_with((const char *[]){ "--mode", "0600", NULL });
	assert_int_equal(seteuid(65533), 0);
	assert_int_equal(ask(), EACCES);
	assert_int_equal(seteuid(0), 0);
}

static volatile sig_atomic_t signals;

static void count_signal(int number)
{
	(void)number;
	signals++;
}

/* A timer that fires all the time, as QEMU's does, neither breaks nor prolongs the exchange. */
static void is_not_disturbed_by_signals(void **state)
{
	struct sigaction action = { .sa_handler = count_signal };
	struct itimerspec often = { { 0, 500000 }, { 0, 500000 } };
	timer_t timer;

	(void)state;
	sigaction(SIGALRM, &action, NULL);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0);
	start_false_helper(never_answers, 0);
	assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
	assert_int_equal(ask(), ETIMEDOUT);
	timer_delete(timer);
	assert_true(signals > 10);
	signal(SIGALRM, SIG_DFL);
}

static void raises_no_signal(void **state)
{
	struct sigaction action = { .sa_handler = count_signal };

	(void)state;
	signals = 0;
	sigaction(SIGPIPE, &action, NULL);
	start_false_helper(closes, 0);
	assert_turned_away(ask());
	assert_int_equal(signals, 0);
	signal(SIGPIPE, SIG_DFL);
}

static void *ask_in_thread(void *result)
{
	*(int *)result = helper_client_set_rlimit_mode(path, STDERR_FILENO, 1);
	return NULL;
}

static void needs_little_stack(void **state)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int result = -1;

	(void)state;
	start_false_helper(would_help, 0);
	pthread_attr_init(&attributes);
	if (pthread_attr_setstacksize(&attributes, 16384))
		skip(); /* sanitizers and some machines want more for themselves */
	assert_int_equal(pthread_create(&thread, &attributes, ask_in_thread, &result), 0);
	pthread_join(thread, NULL);
	assert_int_equal(result, 0);
	pthread_attr_destroy(&attributes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(has_the_real_helper_do_it),
		TEST(says_who_asks),
		TEST(passes_on_the_error_of_the_helper),
		TEST(says_that_the_user_is_not_allowed),
		TEST(gives_up_on_a_helper_that_never_answers),
		TEST(gives_up_on_a_helper_that_never_receives),
		TEST(tries_again_where_the_connection_is_closed),
		TEST(tries_again_where_the_request_is_not_answered),
		TEST(gets_through_to_an_overloaded_helper),
		TEST(takes_no_answer_that_is_none),
		TEST(tells_another_version),
		TEST(keeps_no_descriptor_that_a_helper_sends),
		TEST(says_that_nobody_listens),
		TEST(says_that_it_is_no_socket),
		TEST(says_that_it_is_a_socket_of_another_type),
		TEST(gives_up_on_a_socket_that_is_full),
		TEST(says_that_the_path_is_too_long),
		TEST(gives_nothing_to_a_stranger),
		TEST(trusts_root),
		TEST(trusts_its_own_user),
		TEST(does_not_trust_the_number_of_nobody),
		TEST(is_refused_by_the_permissions_of_the_socket),
		TEST(is_not_disturbed_by_signals),
		TEST(raises_no_signal),
		TEST(needs_little_stack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
