// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * What the helper does with each kind of client, the well-meaning and the hostile, in both of its
 * ways to run. Every case ends in an answer or a closed connection, and in a line of the log.
 */
#include "helper_process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A connection by the way that this run of the tests is about. */
static bool by_listening;
static const char *const *options;

static int start_and_connect(void)
{
	if (!by_listening)
		return helper_on_connection(options);
	helper_listen_with(options);
	return helper_connect();
}

static int setup(void **state)
{
	options = NULL;
	return helper_setup(state);
}

/* Sends, and sees the error in the answer and the words in the log. */
static void expect(int connection, const void *bytes, size_t size, const int *fds, size_t fd_count,
		   int error, const char *words)
{
	struct helper_reply reply;

	assert_int_equal(helper_send(connection, bytes, size, fds, fd_count), 0);
	assert_int_equal(helper_receive(connection, &reply), error);
	helper_wait_for_log(words, 1);
}

static void refuse_bytes(const void *bytes, size_t size, int error, const char *words)
{
	int connection = start_and_connect();
	int device = helper_open_device();

	expect(connection, bytes, size, &device, 1, error, words);
	assert_int_equal(mock->sets + mock->gets, 0);
	close(device);
	close(connection);
}

static void refuse_descriptors(const int *fds, size_t fd_count, int error, const char *words)
{
	struct helper_request request = helper_good_request();
	int connection = start_and_connect();

	expect(connection, &request, sizeof(request), fds, fd_count, error, words);
	assert_int_equal(mock->sets + mock->gets, 0);
	close(connection);
}

static void sets_the_mode(void **state)
{
	struct helper_reply reply;
	int connection = start_and_connect();
	int device = helper_open_device();
	char who[128];

	(void)state;
	helper_send_good(connection, device);
	assert_int_equal(helper_receive(connection, &reply), 0);
	assert_int_equal(reply.effective, 1);
	assert_int_equal(mock->mode, 1);
	assert_int_equal(mock->sets, 1);
	assert_int_equal(mock->gets, 1);
	snprintf(who, sizeof(who),
		 "iommufd-rlimit-helper: info: outcome=applied requested=process effective=process "
		 "pid=%d uid=%u gid=%u comm=test\n",
		 getpid(), getuid(), getgid());
	helper_wait_for_log(who, 1);
	close(device);
	close(connection);
}

static void sets_the_mode_back(void **state)
{
	struct helper_request request = helper_good_request();
	int connection = start_and_connect();
	int device = helper_open_device();

	(void)state;
	mock->mode = 1;
	request.mode = 0;
	expect(connection, &request, sizeof(request), &device, 1, 0,
	       "outcome=applied requested=user effective=user");
	assert_int_equal(mock->mode, 0);
	close(device);
	close(connection);
}

static void closes_after_one_answer(void **state)
{
	struct helper_reply reply;
	int connection = start_and_connect();
	int device = helper_open_device();

	(void)state;
	helper_send_good(connection, device);
	assert_int_equal(helper_receive(connection, &reply), 0);
	assert_int_equal(helper_receive(connection, &reply), -1);
	close(device);
	close(connection);
}

static void answers_already_where_it_is_in_force(void **state)
{
	struct helper_request request = helper_good_request();
	int connection = start_and_connect();
	int device = helper_open_device();

	(void)state;
	mock->mode = 1;
	mock->set_errno = EBUSY;
	expect(connection, &request, sizeof(request), &device, 1, 0, "info: outcome=already");
	close(device);
	close(connection);
}

static void passes_on_what_the_kernel_says(void **state)
{
	static const struct {
		int set_errno, get_errno, lost_set, error;
		uint64_t effective;
		const char *words;
	} cases[] = {
		{ EPERM, 0, 0, EPERM, 0,
		  "outcome=denied requested=process effective=user errno=EPERM" },
		{ EBUSY, 0, 0, EBUSY, 0,
		  "outcome=failed requested=process effective=user errno=EBUSY" },
		{ EOPNOTSUPP, 0, 0, EOPNOTSUPP, 0, "errno=EOPNOTSUPP" },
		{ ENOTTY, ENOTTY, 0, ENOTTY, HELPER_MODE_UNKNOWN,
		  "effective=unknown errno=ENOTTY" },
		{ 0, EIO, 0, EIO, HELPER_MODE_UNKNOWN, "outcome=failed" },
		{ 0, 0, 1, EIO, 0, "outcome=failed requested=process effective=user errno=EIO" },
	};

	(void)state;
	helper_listen_with(NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct helper_reply reply;
		int connection = helper_connect();
		int device = helper_open_device();

		mock->mode = 0;
		mock->set_errno = cases[i].set_errno;
		mock->get_errno = cases[i].get_errno;
		mock->lost_set = cases[i].lost_set;
		helper_send_good(connection, device);
		assert_int_equal(helper_receive(connection, &reply), cases[i].error);
		assert_true(reply.effective == cases[i].effective);
		helper_wait_for_log(cases[i].words, 1);
		close(device);
		close(connection);
	}
}

static void refuses_half_a_message(void **state)
{
	struct helper_request request = helper_good_request();

	(void)state;
	refuse_bytes(&request, sizeof(request) / 2, EPROTO, "errno=EPROTO");
}

static void refuses_an_empty_message(void **state)
{
	(void)state;
	refuse_bytes("", 0, EPROTO, "errno=EPROTO");
}

static void refuses_too_long_a_message(void **state)
{
	char bytes[8192] = { 0 };
	struct helper_request request = helper_good_request();

	(void)state;
	memcpy(bytes, &request, sizeof(request));
	refuse_bytes(bytes, sizeof(request) + 1, EPROTO, "errno=EPROTO");
}

static void refuses_much_too_long_a_message(void **state)
{
	static char bytes[100000];
	struct helper_request request = helper_good_request();

	(void)state;
	memcpy(bytes, &request, sizeof(request));
	refuse_bytes(bytes, sizeof(bytes), EPROTO, "errno=EPROTO");
}

static void refuses_garbage(void **state)
{
	char bytes[sizeof(struct helper_request)];

	(void)state;
	memset(bytes, 0xff, sizeof(bytes));
	refuse_bytes(bytes, sizeof(bytes), EPROTO, "reason=\"the message is no request\"");
}

static void refuses_another_version(void **state)
{
	struct helper_request request = helper_good_request();

	(void)state;
	request.version = 2;
	refuse_bytes(&request, sizeof(request), EPROTONOSUPPORT,
		     "reason=\"another version of the protocol\"");
}

static void refuses_an_unknown_mode(void **state)
{
	struct helper_request request = helper_good_request();

	(void)state;
	request.mode = 2;
	refuse_bytes(&request, sizeof(request), EINVAL, "reason=\"no such mode\"");
}

static void escapes_what_a_client_calls_itself(void **state)
{
	struct helper_request request = helper_good_request();
	int connection = start_and_connect();
	int device = helper_open_device();

	(void)state;
	strcpy(request.comm, "\n\x1b[31m\" uid=0\xff");
	expect(connection, &request, sizeof(request), &device, 1, 0,
	       "comm=\"\\x0a\\x1b[31m\\\" uid=0\\xff\"\n");
	close(device);
	close(connection);
}

static void refuses_no_descriptor(void **state)
{
	(void)state;
	refuse_descriptors(NULL, 0, EBADF, "reason=\"not exactly one descriptor\"");
}

static void refuses_two_descriptors(void **state)
{
	int device = helper_open_device();

	(void)state;
	refuse_descriptors((int[]){ device, device }, 2, EBADF, "not exactly one descriptor");
	close(device);
}

static void refuses_as_many_descriptors_as_can_be(void **state)
{
	int fds[253];

	(void)state;
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		fds[i] = STDERR_FILENO;
	refuse_descriptors(fds, sizeof(fds) / sizeof(fds[0]), EBADF, "not exactly one descriptor");
}

static void refuse_opened(int fd)
{
	assert_true(fd >= 0);
	refuse_descriptors(&fd, 1, ENOTTY, "reason=\"the descriptor is no iommufd\"");
	close(fd);
}

static void refuses_dev_null(void **state)
{
	(void)state;
	refuse_opened(open("/dev/null", O_RDWR | O_CLOEXEC));
}

static void refuses_a_regular_file(void **state)
{
	(void)state;
	refuse_opened(open(helper_path("file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
}

static void refuses_a_directory(void **state)
{
	(void)state;
	refuse_opened(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static void refuses_a_socket(void **state)
{
	(void)state;
	refuse_opened(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static void refuses_a_pipe(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	refuse_opened(ends[0]);
	close(ends[1]);
}

static void refuses_the_device_opened_for_its_path_alone(void **state)
{
	(void)state;
	refuse_opened(open(MOCK_DEVICE_PATH, O_PATH | O_CLOEXEC));
}

static void closes_on_a_client_that_says_nothing(void **state)
{
	struct helper_reply reply;
	double start = milliseconds();
	int connection = start_and_connect();
	int error = helper_receive(connection, &reply);

	(void)state;
	if (by_listening) {
		assert_in_range(milliseconds() - start, 1500, PATIENCE_MS);
		assert_int_equal(error, -1);
		helper_wait_for_log("errno=ECONNRESET", 1);
	} else {
		assert_in_range(milliseconds() - start, 90, PATIENCE_MS);
		assert_int_equal(error, EAGAIN);
		helper_wait_for_log("reason=\"no request came in time\"", 1);
	}
	close(connection);
}

static void survives_a_client_that_leaves(void **state)
{
	(void)state;
	close(start_and_connect());
	if (by_listening)
		close(helper_connect());
	else
		helper_wait_for_log("outcome=refused", 1);
}

static void survives_a_client_that_leaves_after_its_request(void **state)
{
	int connection = start_and_connect();
	int device = helper_open_device();

	(void)state;
	helper_send_good(connection, device);
	close(connection);
	helper_wait_for_log("outcome=applied", 1);
	close(device);
}

static void needs_nobody_to_read_the_answer(void **state)
{
	int connection = start_and_connect();
	int device = helper_open_device();
	int unread = 1;

	(void)state;
	setsockopt(connection, SOL_SOCKET, SO_RCVBUF, &unread, sizeof(unread));
	helper_send_good(connection, device);
	helper_wait_for_log("outcome=applied", 1);
	close(device);
	close(connection);
}

static void takes_only_the_first_of_many_requests(void **state)
{
	struct helper_request request = helper_good_request();
	int connection = start_and_connect();
	int device = helper_open_device();

	(void)state;
	while (!helper_send(connection, &request, sizeof(request), &device, 1) && mock->sets == 0)
		;
	helper_wait_for_log("outcome=applied", 1);
	poll(NULL, 0, 50);
	assert_int_equal(mock->sets, 1);
	close(device);
	close(connection);
}

/* Whatever whoever starts the helper does with SIGALRM. */
static int start_without_sigalrm_and_connect(void)
{
	sigset_t alarm_only;
	int connection;

	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	sigprocmask(SIG_BLOCK, &alarm_only, NULL);
	signal(SIGALRM, SIG_IGN);
	connection = start_and_connect();
	signal(SIGALRM, SIG_DFL);
	sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
	return connection;
}

static void kills_a_request_that_hangs(void **state)
{
	struct helper_request request = helper_good_request();
	struct helper_reply reply;
	int connection = start_without_sigalrm_and_connect();
	int device = helper_open_device();

	(void)state;
	mock->hang = 1;
	request.mode = 0;
	assert_int_equal(helper_send(connection, &request, sizeof(request), &device, 1), 0);
	assert_int_equal(helper_receive(connection, &reply), -1);
	if (by_listening) {
		helper_wait_for_log("outcome=failed signal=14", 1);
	} else {
		int status = helper_status();

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGALRM);
	}
	close(device);
	close(connection);
}

static void expect_access(const char *option, unsigned id, int error)
{
	char number[16];
	const char *const allow[] = { option, number, NULL };
	struct helper_request request = helper_good_request();
	int connection, device = helper_open_device();

	snprintf(number, sizeof(number), "%u", id);
	options = allow;
	connection = start_and_connect();
	expect(connection, &request, sizeof(request), &device, 1, error,
	       error ? "reason=\"this user is not allowed\"" : "outcome=applied");
	assert_int_equal(mock->sets, !error);
	close(device);
	close(connection);
}

static void serves_an_allowed_user(void **state)
{
	(void)state;
	expect_access("--allow-user", getuid(), 0);
}

static void refuses_another_user(void **state)
{
	(void)state;
	expect_access("--allow-user", getuid() + 1, EACCES);
}

static void serves_a_member_of_an_allowed_group(void **state)
{
	(void)state;
	expect_access("--allow-group", getgid(), 0);
}

static void serves_a_member_by_a_supplementary_group(void **state)
{
	const gid_t other = 4711;
	gid_t groups[256];
	int count = getgroups(256, groups);

	(void)state;
	if (geteuid() || count < 0)
		skip();
	assert_int_equal(setgroups(1, &other), 0);
	expect_access("--allow-group", other, 0);
	assert_int_equal(setgroups((size_t)count, groups), 0);
}

static void refuses_who_is_in_no_allowed_group(void **state)
{
	(void)state;
	expect_access("--allow-group", 4000000, EACCES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, helper_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sets_the_mode),
		TEST(sets_the_mode_back),
		TEST(closes_after_one_answer),
		TEST(answers_already_where_it_is_in_force),
		TEST(refuses_half_a_message),
		TEST(refuses_an_empty_message),
		TEST(refuses_too_long_a_message),
		TEST(refuses_much_too_long_a_message),
		TEST(refuses_garbage),
		TEST(refuses_another_version),
		TEST(refuses_an_unknown_mode),
		TEST(escapes_what_a_client_calls_itself),
		TEST(refuses_no_descriptor),
		TEST(refuses_two_descriptors),
		TEST(refuses_as_many_descriptors_as_can_be),
		TEST(refuses_dev_null),
		TEST(refuses_a_regular_file),
		TEST(refuses_a_directory),
		TEST(refuses_a_socket),
		TEST(refuses_a_pipe),
		TEST(refuses_the_device_opened_for_its_path_alone),
		TEST(closes_on_a_client_that_says_nothing),
		TEST(survives_a_client_that_leaves),
		TEST(survives_a_client_that_leaves_after_its_request),
		TEST(needs_nobody_to_read_the_answer),
		TEST(takes_only_the_first_of_many_requests),
		TEST(kills_a_request_that_hangs),
		TEST(serves_an_allowed_user),
		TEST(refuses_another_user),
		TEST(serves_a_member_of_an_allowed_group),
		TEST(serves_a_member_by_a_supplementary_group),
		TEST(refuses_who_is_in_no_allowed_group),
	};
	const struct CMUnitTest listening_tests[] = { TEST(passes_on_what_the_kernel_says) };
	int failures = cmocka_run_group_tests_name("a connection from systemd", tests, NULL, NULL);

	by_listening = true;
	failures += cmocka_run_group_tests_name("a socket of its own", tests, NULL, NULL);
	return failures +
	       cmocka_run_group_tests_name("the kernel's answers", listening_tests, NULL, NULL);
}
