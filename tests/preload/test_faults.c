// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * Each system call that the library makes fails once with each errno. Whatever that does to the
 * outcome: the program goes on, in time, with a descriptor or a proper error, none is lost, and
 * nothing is called applied that is not.
 */

#include "child.h"
#include "fake_helper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const int errors[] = { EPERM,  EINTR,  EBADF,  EAGAIN, ENOMEM,    EACCES,
			      EFAULT, EINVAL, EMFILE, ENOSYS, ETIMEDOUT, ECONNREFUSED };

static void read_text(const char *name, char text[4096])
{
	FILE *file = fopen(child_path(name), "re");

	memset(text, 0, 4096);
	if (!file)
		return;
	assert_true(fread(text, 1, 4095, file) < 4095);
	fclose(file);
}

static void set_number(const char *name, long number)
{
	char text[16];

	snprintf(text, sizeof(text), "%ld", number);
	child_setenv(name, text);
}

static void open_device(struct child *opener)
{
	remove(child_path("log"));
	child_opener(opener, "OPENER", (const char *[]){ "open", "/dev/iommu", NULL });
	assert_int_equal(opener->status, 0);
}

static void check(const struct child *opener)
{
	int result, error, opened;
	char accounting[16], log[4096];

	assert_int_equal(
		sscanf(opener->out,
		       "return=%d errno=%d cloexec=%*d status=%*i mode=%*i accounting=%15s open=%d",
		       &result, &error, accounting, &opened),
		4);
	assert_int_equal(opened, result >= 0);
	assert_true(result >= 0 ? error == 4242 : error > 0 && error != 4242);
	read_text("log", log);
	if (strstr(opener->err, "outcome=applied") || strstr(log, "outcome=applied"))
		assert_string_equal(accounting, "process");
}

static void each_call_fails(const char *sink)
{
	/* An errno is the same to each machine, and a program starts slowly in the emulator. */
	const size_t count = child_emulated() ? 1 : sizeof(errors) / sizeof(errors[0]);
	char calls[4096];
	struct child opener;
	time_t start;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("IOMMUFD_RLIMIT_LOG_LEVEL", "debug");
	child_setenv("IOMMUFD_RLIMIT_LOG", sink);
	child_setenv("MOCK_CALLS", child_path("calls"));
	open_device(&opener);
	read_text("calls", calls);
	child_setenv("MOCK_CALLS", NULL);
	assert_true(child_lines(calls) > 10);
	for (size_t call = 1; call <= child_lines(calls); call++)
		for (size_t i = 0; i < count; i++) {
			set_number("MOCK_FAIL_CALL", (long)call);
			set_number("MOCK_FAIL_ERRNO", errors[i]);
			start = time(NULL);
			open_device(&opener);
			assert_true(time(NULL) - start < 10);
			check(&opener);
		}
}

static void test_stderr(void **state)
{
	each_call_fails("stderr");
}

static void test_file(void **state)
{
	each_call_fails(child_path("log"));
}

static void test_syslog(void **state)
{
	child_setenv("MOCK_SYSLOG", child_path("no-socket"));
	each_call_fails("syslog");
}

static void test_helper_missing(void **state)
{
	child_setenv("MOCK_SET_ERRNO", "1");
	child_setenv("IOMMUFD_RLIMIT_HELPER", child_path("no-socket"));
	each_call_fails("stderr");
}

static void test_helper(void **state)
{
	child_setenv("MOCK_SET_ERRNO", "1");
	fake_helper_start((struct fake_helper){ .serve = fake_helper_gives });
	each_call_fails("stderr");
	fake_helper_stop();
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, child_setup, child_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stderr),         TEST(test_file),   TEST(test_syslog),
		TEST(test_helper_missing), TEST(test_helper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
