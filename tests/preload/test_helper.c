// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * The helper in the flow: when it is asked, and what becomes of its answers. The helper here says
 * and does what each test wants; tests/helper has the real one.
 */

#include "fake_helper.h"
#include "run.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>

/* Opens the device where the kernel refuses; @asked: the helper got a request. */
static void open_with_helper(struct run *opener, int behaviour, bool asked)
{
	pid_t helper = fake_helper_start(behaviour);
	int status;

	run_setenv("IOMMUFD_RLIMIT_HELPER", run_path("helper.sock"));
	run_opener(opener, "OPENER", (const char *[]){ "open", "/dev/iommu", NULL });
	assert_int_equal(run_lines(opener->err), 1);
	if (!asked || behaviour & FAKE_IS_SILENT)
		assert_int_equal(kill(helper, SIGKILL), 0);
	assert_int_equal(waitpid(helper, &status, 0), helper);
	if (asked && !(behaviour & FAKE_IS_SILENT))
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
	open_with_helper(&opener, FAKE_SETS_MODE, true);
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
	open_with_helper(&opener, FAKE_ANSWERS_ERROR, true);
	assert_has(opener.out, "return=3 errno=4242 ");
	assert_has(opener.err, "warning: outcome=denied fd=3 source=open requested=process "
			       "effective=user errno=EPERM helper=EPERM pid=");
	run_setenv("IOMMUFD_RLIMIT_ON_ERROR", "fail");
	open_with_helper(&opener, FAKE_ANSWERS_ERROR, true);
	assert_has(opener.out, "return=-1 errno=1 ");
}

static void test_done_but_not_said(void **state)
{
	struct run opener;

	(void)state;
	kernel_refuses("1");
	run_setenv("IOMMUFD_RLIMIT_ON_ERROR", "fail");
	open_with_helper(&opener, FAKE_SETS_MODE | FAKE_IS_SILENT, true);
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
		open_with_helper(&opener, FAKE_SETS_MODE, false);
	}
	/* In force already, so there is nothing to ask for. */
	fake_helper_set_state("1");
	kernel_refuses("1");
	open_with_helper(&opener, FAKE_SETS_MODE, false);
	assert_has(opener.err, "outcome=already ");
	/* Only looks. */
	remove(run_path("state"));
	run_setenv("IOMMUFD_RLIMIT_MODE", "query");
	open_with_helper(&opener, FAKE_SETS_MODE, false);
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
