// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * The helper's client: all that a helper can do to an open. Whatever that is, the open succeeds
 * with the number that it had, no descriptor is left behind, errno stays, and the line names the
 * reason. The helper here does what each test wants; tests/helper has the real one.
 */

#include "../mock_mode.h"
#include "child.h"
#include "fake_helper.h"
#include "helper_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define NOBODYS_UID  65533 /* a user that no system has */
#define ANOTHER_UID  65532
#define OVERFLOW_UID 65534

static const char *const device[] = { "open", "/dev/iommu", NULL };

static int setup(void **state)
{
	if (child_setup(state))
		return -1;
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("MOCK_SET_ERRNO", "1"); /* EPERM */
	return 0;
}

static void open_device(struct child *opener)
{
	child_opener(opener, "OPENER", device);
	assert_int_equal(opener->status, 0);
	assert_has(opener->out, "return=3 errno=4242 cloexec=1 ");
	assert_has(opener->out, " open=1\n");
	assert_int_equal(child_lines(opener->err), 1);
}

/* @expected: the helper's keys of the line. */
static void assert_denied(const struct child *opener, const char *expected)
{
	assert_has(opener->out, " accounting=user ");
	assert_has(opener->err, "warning: outcome=denied fd=3 source=open requested=process "
				"effective=user errno=EPERM helper=");
	assert_has(opener->err, expected);
	assert_has(opener->err, " hint=\"the program goes on with per-user accounting; ");
}

static void denied_by(struct fake_helper helper, const char *expected)
{
	struct child opener;

	fake_helper_start(helper);
	open_device(&opener);
	assert_denied(&opener, expected);
	fake_helper_stop();
}

/* --- The helper gives */

static void assert_applied(const struct child *opener)
{
	assert_has(opener->out, " accounting=process ");
	assert_has(opener->err, "info: outcome=applied fd=3 source=open requested=process "
				"effective=process via=helper pid=");
}

static void test_gives(void **state)
{
	struct child opener;

	fake_helper_start((struct fake_helper){ .serve = fake_helper_gives });
	open_device(&opener);
	assert_applied(&opener);
	fake_helper_stop();
}

static void waits_for_acknowledgement(int connection)
{
	const int iommufd = fake_helper_device(1);
	char bytes[2];

	fake_helper_send(connection, 0, &iommufd, 1);
	_exit(recv(connection, bytes, sizeof(bytes), MSG_WAITALL) == 1 ? 42 : 1);
}

static void test_acknowledges(void **state)
{
	struct child opener;

	fake_helper_start((struct fake_helper){ .serve = waits_for_acknowledgement });
	open_device(&opener);
	assert_applied(&opener);
	assert_int_equal(fake_helper_wait(), 42);
}

/* What QEMU asked of its open() holds for the helper's iommufd. */
static void test_flags(void **state)
{
	static const struct {
		int flags;
		const char *expected;
	} cases[] = {
		{ O_RDWR | O_CLOEXEC | O_NONBLOCK, "cloexec=1 status=04002 " },
		{ O_RDWR | O_CLOEXEC, "cloexec=1 status=02 " },
		{ O_RDWR | O_NONBLOCK, "cloexec=0 status=04002 " },
		{ O_RDWR, "cloexec=0 status=02 " },
	};
	char expected[64], flags[16];
	struct child opener;

	fake_helper_start((struct fake_helper){ .serve = fake_helper_gives });
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(flags, sizeof(flags), "%d", cases[i].flags);
		child_opener(&opener, "OPENER",
			     (const char *[]){ "open", "/dev/iommu", flags, NULL });
		assert_applied(&opener);
		snprintf(expected, sizeof(expected), "cloexec=%d status=%#o ",
			 cases[i].flags & O_CLOEXEC ? 1 : 0,
			 cases[i].flags & (O_ACCMODE | O_NONBLOCK));
		assert_has(opener.out, expected);
		assert_has(opener.out, " open=1\n");
	}
	fake_helper_stop();
}

/* --- Nobody gives */

static void test_not_there(void **state)
{
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_HELPER", child_path("no.sock"));
	open_device(&opener);
	assert_denied(&opener, " helper=ENOENT helper_step=connect pid=");
	assert_has(opener.err,
		   "; start the helper on the socket that IOMMUFD_RLIMIT_HELPER names\"\n");

	fclose(fopen(child_path("file"), "we"));
	child_setenv("IOMMUFD_RLIMIT_HELPER", child_path("file"));
	open_device(&opener);
	assert_denied(&opener, " helper=ECONNREFUSED helper_step=connect pid=");

	child_setenv("IOMMUFD_RLIMIT_HELPER", "none");
	open_device(&opener);
	assert_has(opener.err, "outcome=denied ");
	assert_has(opener.err, "; unset IOMMUFD_RLIMIT_HELPER\"\n");
	assert_has_not(opener.err, " helper=");
}

static void test_socket_of_another_type(void **state)
{
	static const int types[] = { SOCK_SEQPACKET, SOCK_DGRAM };

	for (size_t i = 0; i < 2; i++)
		denied_by((struct fake_helper){ .serve = fake_helper_gives, .type = types[i] },
			  " helper=EPROTOTYPE helper_step=connect pid=");
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The deadline covers all that the client waits for; signals do not prolong it. */
static void times_out(const char *situation, struct fake_helper helper, const char *expected)
{
	struct child program;
	int64_t start;

	fake_helper_start(helper);
	start = now_ms();
	child_run(&program, NULL, (const char *[]){ child_tool("SITUATIONS"), situation, NULL });
	assert_true(now_ms() - start >= HELPER_CLIENT_TIMEOUT_MS);
	assert_string_equal(program.out, "ok\n");
	assert_has(program.err, expected);
	fake_helper_stop();
}

/* With a queue of one, which the first connection fills, connect(2) itself waits. */
static void test_nobody_accepts(void **state)
{
	int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct child program;

	fake_helper_start((struct fake_helper){ .serve = NULL });
	strcpy(address.sun_path, child_path("helper.sock"));
	assert_int_equal(connect(first, (struct sockaddr *)&address, sizeof(address)), 0);
	child_run(&program, NULL,
		  (const char *[]){ child_tool("SITUATIONS"), "interrupted", NULL });
	assert_string_equal(program.out, "ok\n");
	assert_has(program.err, " helper=ETIMEDOUT helper_step=connect pid=");
	open_device(&program); /* which no signal interrupts */
	assert_denied(&program, " helper=ETIMEDOUT helper_step=connect pid=");
	close(first);
	fake_helper_stop();
}

static void never_answers(int connection)
{
	pause();
}

static void test_never_answers(void **state)
{
	times_out("interrupted", (struct fake_helper){ .serve = never_answers },
		  " helper=ETIMEDOUT helper_step=receive pid=");
	times_out("interrupted-for-long", (struct fake_helper){ .serve = never_answers },
		  " helper=ETIMEDOUT ");
	denied_by((struct fake_helper){ .serve = never_answers },
		  "; run: journalctl -u iommufd-rlimit-helper\"");
}

static void gives_just_in_time(int connection)
{
	usleep((HELPER_CLIENT_TIMEOUT_MS - 100) * 1000);
	fake_helper_gives(connection);
}

/* The helper's clock starts after the client's, so on a busy machine it may need some tries. */
static void test_just_in_time(void **state)
{
	struct child program = { 0 };

	fake_helper_start((struct fake_helper){ .serve = gives_just_in_time });
	for (int i = 0; i < 10 && !strstr(program.err, "outcome=applied "); i++)
		child_run(&program, NULL,
			  (const char *[]){ child_tool("SITUATIONS"), "interrupted", NULL });
	assert_string_equal(program.out, "ok\n");
	assert_has(program.err, "outcome=applied ");
	fake_helper_stop();
}

/* --- What the helper sends is not what it should be */

static void closes(int connection)
{
}

static void answers_error(int connection)
{
	fake_helper_send(connection, EACCES, NULL, 0);
}

static void answers_error_with_descriptor(int connection)
{
	const int iommufd = fake_helper_device(1);

	fake_helper_send(connection, EACCES, &iommufd, 1);
}

static void gives_nothing(int connection)
{
	fake_helper_send(connection, 0, NULL, 0);
}

static void gives_many(int connection, size_t count)
{
	int iommufds[8];

	for (size_t i = 0; i < count; i++)
		iommufds[i] = fake_helper_device(1);
	fake_helper_send(connection, 0, iommufds, count);
}

static void gives_two(int connection)
{
	gives_many(connection, 2);
}

static void gives_eight(int connection)
{
	gives_many(connection, 8);
}

static void gives_file(int connection, const char *path, int flags)
{
	const int fd = open(path, flags, 0600);

	if (fd < 0)
		_exit(1);
	fake_helper_send(connection, 0, &fd, 1);
}

/* Another device, though what the mock takes for its mode says process. */
static void gives_null(int connection)
{
	const int fd = open("/dev/null", O_RDWR);

	if (fd < 0 || mock_set_mode(fd, 1) < 0)
		_exit(1);
	fake_helper_send(connection, 0, &fd, 1);
}

static void gives_regular_file(int connection)
{
	gives_file(connection, child_path("file"), O_RDWR | O_CREAT);
}

static void gives_path_only(int connection)
{
	gives_file(connection, MOCK_DEVICE, O_PATH);
}

static void gives_user_mode(int connection)
{
	const int iommufd = fake_helper_device(0);

	fake_helper_send(connection, 0, &iommufd, 1);
}

static void test_bad_answers(void **state)
{
	static const struct {
		void (*serve)(int connection);
		const char *expected;
	} cases[] = {
		{ closes, " helper=ECONNRESET helper_step=receive pid=" },
		{ answers_error, " helper=EACCES helper_step=answer pid=" },
		{ answers_error_with_descriptor, " helper=EPROTO helper_step=receive pid=" },
		{ gives_nothing, " helper=EBADMSG helper_step=receive pid=" },
		{ gives_two, " helper=EPROTO helper_step=receive pid=" },
		{ gives_eight, " helper=EPROTO helper_step=receive pid=" },
		{ gives_null, " helper=EPROTO helper_step=check pid=" },
		{ gives_regular_file, " helper=EPROTO helper_step=check pid=" },
		{ gives_path_only, " helper=EPROTO helper_step=check pid=" },
		{ gives_user_mode, " helper=EPROTO helper_step=check pid=" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (child_emulated() &&
		    (cases[i].serve == gives_two || cases[i].serve == gives_eight))
			continue; /* qemu-user keeps what the program has no room for */
		denied_by((struct fake_helper){ .serve = cases[i].serve }, cases[i].expected);
	}
}

/* Room for the iommufd and the connection, and for no more. */
static void limit_descriptors(void)
{
	const struct rlimit five = { 5, 5 };

	if (setrlimit(RLIMIT_NOFILE, &five))
		_exit(126);
}

static void test_too_many_open_files(void **state)
{
	struct child opener;

	if (SANITIZED || child_emulated())
		skip(); /* their runtimes open files */
	child_setenv("MOCK_LOG", NULL);
	fake_helper_start((struct fake_helper){ .serve = fake_helper_gives });
	child_run(&opener, limit_descriptors,
		  (const char *[]){ child_tool("OPENER"), "open", "/dev/iommu", NULL });
	assert_has(opener.out, "return=3 errno=4242 ");
	assert_has(opener.out, " open=1\n");
	assert_denied(&opener, " helper=EBADMSG helper_step=receive pid=");
	fake_helper_stop();
}

/* --- Who listens, seen by a client that is not root. No iommufd is looked at, so none is needed.
 */

static struct helper_result ask_as(uid_t own, uid_t other, bool trust_own_user)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct helper_result result;

	assert_int_equal(chmod(child_path("."), 0777), 0);
	fake_helper_start((struct fake_helper){ .serve = gives_null, .uid = other });
	assert_int_equal(seteuid(own), 0);
	result = helper_client_replace(child_path("helper.sock"), trust_own_user, fd);
	assert_int_equal(seteuid(0), 0);
	close(fd);
	fake_helper_stop();
	return result;
}

static void assert_trusted(struct helper_result result)
{
	assert_int_equal(result.step, HELPER_CHECK); /* /dev/null has no mode */
	assert_int_equal(result.error, EPROTO);
}

static void assert_not_trusted(struct helper_result result)
{
	assert_int_equal(result.step, HELPER_LISTENER);
	assert_int_equal(result.error, EPERM);
}

static void test_listener(void **state)
{
	if (getuid())
		skip();
	assert_trusted(ask_as(NOBODYS_UID, 0, false));
	assert_trusted(ask_as(NOBODYS_UID, NOBODYS_UID, true));
	assert_not_trusted(ask_as(NOBODYS_UID, NOBODYS_UID, false));
	assert_not_trusted(ask_as(NOBODYS_UID, ANOTHER_UID, true));
	/* Two users that a user namespace does not map have the same number there. */
	assert_not_trusted(ask_as(OVERFLOW_UID, OVERFLOW_UID, true));
}

static void test_not_allowed_to_connect(void **state)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct helper_result result;

	if (getuid())
		skip();
	assert_int_equal(chmod(child_path("."), 0777), 0);
	fake_helper_start((struct fake_helper){ .serve = fake_helper_gives, .mode = 0600 });
	assert_int_equal(seteuid(NOBODYS_UID), 0);
	result = helper_client_replace(child_path("helper.sock"), true, fd);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(result.step, HELPER_CONNECT);
	assert_int_equal(result.error, EACCES);
	close(fd);
	fake_helper_stop();
}

/* --- What else goes on in the process */

static void test_spawn_from_thread(void **state)
{
	struct child program;

	if (SANITIZED || child_emulated())
		skip(); /* the child would need the runtime's options, or the emulator */
	child_setenv("MOCK_LOG", NULL);
	child_setenv("IOMMUFD_RLIMIT_LOG", child_path("log"));
	fake_helper_start((struct fake_helper){ .serve = fake_helper_gives });
	child_run(&program, NULL,
		  (const char *[]){ child_tool("SITUATIONS"), "spawn-from-thread", NULL });
	assert_string_equal(program.out, "ok\n");
	fake_helper_stop();
}

/* --- The helper is not asked */

static void is_asked(int connection)
{
	_exit(1);
}

static void test_not_asked(void **state)
{
	static const char *const errors[] = { NULL, "16", "22", "25", "95", "5" };
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_ON_ERROR", "continue");
	fake_helper_start((struct fake_helper){ .serve = is_asked });
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		child_setenv("MOCK_SET_ERRNO", errors[i]);
		open_device(&opener);
	}
	child_setenv("MOCK_SET_ERRNO", "1");
	/* It gives mode process alone. */
	child_setenv("IOMMUFD_RLIMIT_MODE", "user");
	child_setenv("MOCK_NEW_MODE", "process");
	open_device(&opener);
	assert_has(opener.err, "outcome=denied ");
	assert_has(opener.err, " hint=\"the program goes on with per-process accounting; give the "
			       "program CAP_SYS_RESOURCE\"\n");
	/* In force already. */
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	open_device(&opener);
	assert_has(opener.err, "outcome=already ");
	child_setenv("MOCK_NEW_MODE", NULL);
	/* It gives O_RDWR alone. */
	child_opener(&opener, "OPENER", (const char *[]){ "open", "/dev/iommu", "0", NULL });
	assert_has(opener.out, "return=3 errno=4242 cloexec=0 status=0 ");
	assert_denied(&opener, " helper=EBADF helper_step=open pid=");
	child_setenv("IOMMUFD_RLIMIT_MODE", "query");
	open_device(&opener);
	fake_helper_stop();
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, child_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_gives),
		TEST(test_acknowledges),
		TEST(test_flags),
		TEST(test_not_there),
		TEST(test_socket_of_another_type),
		TEST(test_nobody_accepts),
		TEST(test_never_answers),
		TEST(test_just_in_time),
		TEST(test_bad_answers),
		TEST(test_too_many_open_files),
		TEST(test_listener),
		TEST(test_not_allowed_to_connect),
		TEST(test_spawn_from_thread),
		TEST(test_not_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
