// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * The helper in the flow: when it is asked, and what becomes of its answers. The helper here is a
 * child of the test that says and does what each test wants; tests/helper has the real one.
 */

#include "helper_protocol.h"
#include "run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODE_SET     1 /* the helper sets the mode */
#define SILENT       2 /* and does not answer */
#define ANSWER_ERROR 4 /* or answers EPERM */

static void set_state(const char *mode)
{
	FILE *file = fopen(run_path("state"), "we");

	assert_non_null(file);
	fputs(mode, file);
	fclose(file);
}

/* One connection; the child's exit status is 0 if it came, with what it should bring. */
static void serve(int listener, int behaviour)
{
	struct helper_request request;
	struct helper_reply reply = {
		.magic = HELPER_REPLY_MAGIC,
		.version = HELPER_PROTOCOL_VERSION,
		.error = behaviour & ANSWER_ERROR ? EPERM : 0,
		.effective = 1,
	};
	char control[256];
	struct iovec bytes = { &request, sizeof(request) };
	struct msghdr message = { .msg_iov = &bytes,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	int connection = accept(listener, NULL, NULL);

	if (recvmsg(connection, &message, 0) != sizeof(request) || request.mode != 1 ||
	    strcmp(request.comm, run_comm()) || message.msg_controllen < CMSG_LEN(sizeof(int)))
		_exit(1);
	if (behaviour & MODE_SET)
		set_state("1");
	if (behaviour & SILENT)
		poll(NULL, 0, 10000);
	if (send(connection, &reply, sizeof(reply), 0) != sizeof(reply))
		_exit(1);
	_exit(0);
}

static pid_t start_helper(int behaviour)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	pid_t child;

	strcpy(address.sun_path, run_path("helper.sock"));
	remove(address.sun_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 8), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		serve(listener, behaviour);
	close(listener);
	return child;
}

/* Opens the device where the kernel refuses; @asked: the helper got a request. */
static void open_with_helper(struct run *opener, int behaviour, bool asked)
{
	pid_t helper = start_helper(behaviour);
	int status;

	run_setenv("IOMMUFD_RLIMIT_HELPER", run_path("helper.sock"));
	run_opener(opener, "OPENER", (const char *[]){ "open", "/dev/iommu", NULL });
	assert_int_equal(run_lines(opener->err), 1);
	if (!asked || behaviour & SILENT)
		assert_int_equal(kill(helper, SIGKILL), 0);
	assert_int_equal(waitpid(helper, &status, 0), helper);
	if (asked && !(behaviour & SILENT))
		assert_int_equal(status, 0);
	else
		assert_true(WIFSIGNALED(status)); /* still waiting, for a request or to answer */
}

static void kernel_refuses(const char *error)
{
	run_setenv("IOMMUFD_RLIMIT_MODE", "process");
	run_setenv("MOCK_SET_ERRNO", error);
}

static void test_applied(void **state)
{
	struct run opener;

	(void)state;
	kernel_refuses("1");
	open_with_helper(&opener, MODE_SET, true);
	assert_has(opener.out, "return=3 errno=4242 ");
	assert_has(opener.out, " open=1\n");
	assert_has(opener.err, "info: outcome=applied fd=3 source=open requested=process "
			       "effective=process via=helper pid=");
	assert_int_equal(run_lines(opener.ioctls), 3); /* SET, GET, and GET again */
}

static void test_word_is_not_enough(void **state)
{
	struct run opener;

	(void)state;
	kernel_refuses("1");
	open_with_helper(&opener, 0, true);
	assert_has(opener.out, "return=-1 errno=5 ");
	assert_has(opener.err, "error: outcome=failed fd=3 source=open requested=process "
			       "effective=user errno=EIO pid=");
}

static void test_refused(void **state)
{
	struct run opener;

	(void)state;
	kernel_refuses("1");
	open_with_helper(&opener, ANSWER_ERROR, true);
	assert_has(opener.out, "return=3 errno=4242 ");
	assert_has(opener.err, "warning: outcome=denied fd=3 source=open requested=process "
			       "effective=user errno=EPERM helper=EPERM pid=");
	run_setenv("IOMMUFD_RLIMIT_ON_ERROR", "fail");
	open_with_helper(&opener, ANSWER_ERROR, true);
	assert_has(opener.out, "return=-1 errno=1 ");
}

static void test_done_but_not_said(void **state)
{
	struct run opener;

	(void)state;
	kernel_refuses("1");
	run_setenv("IOMMUFD_RLIMIT_ON_ERROR", "fail");
	open_with_helper(&opener, MODE_SET | SILENT, true);
	assert_has(opener.out, "return=3 errno=4242 ");
	assert_has(opener.err, "info: outcome=already fd=3 source=open requested=process "
			       "effective=process helper=ETIMEDOUT pid=");
}

static void test_not_there(void **state)
{
	struct run opener;

	(void)state;
	kernel_refuses("1");
	run_setenv("IOMMUFD_RLIMIT_HELPER", run_path("no.sock"));
	run_opener(&opener, "OPENER", (const char *[]){ "open", "/dev/iommu", NULL });
	assert_has(opener.err, " errno=EPERM helper=ENOENT pid=");
	assert_has(opener.err, " hint=\"needs CAP_SYS_RESOURCE or iommufd-rlimit-helper; "
			       "see iommufd-rlimit(7)\"\n");
	run_setenv("IOMMUFD_RLIMIT_HELPER", "none");
	run_opener(&opener, "OPENER", (const char *[]){ "open", "/dev/iommu", NULL });
	assert_has(opener.err, "outcome=denied ");
	assert_has_not(opener.err, " helper=");
}

static void test_not_asked(void **state)
{
	static const char *const errors[] = { NULL, "16", "22", "25", "95", "5" };
	struct run opener;

	(void)state;
	run_setenv("IOMMUFD_RLIMIT_ON_ERROR", "continue");
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		remove(run_path("state"));
		kernel_refuses(errors[i]);
		open_with_helper(&opener, MODE_SET, false);
	}
	/* In force already, so there is nothing to ask for. */
	set_state("1");
	kernel_refuses("1");
	open_with_helper(&opener, MODE_SET, false);
	assert_has(opener.err, "outcome=already ");
	/* Only looks. */
	remove(run_path("state"));
	run_setenv("IOMMUFD_RLIMIT_MODE", "query");
	open_with_helper(&opener, MODE_SET, false);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, run_setup, run_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_applied),           TEST(test_word_is_not_enough), TEST(test_refused),
		TEST(test_done_but_not_said), TEST(test_not_there),          TEST(test_not_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
