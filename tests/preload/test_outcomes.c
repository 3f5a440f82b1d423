// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* The table of outcomes: each errno of SET × each policy × each mode, as the caller sees it. */

#include "child.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Lines of MOCK_LOG. */
#define SET_USER    "3: size=24 option=0 op=0 reserved=0 object=0 val64=0\n"
#define SET_PROCESS "3: size=24 option=0 op=0 reserved=0 object=0 val64=1\n"
#define GET         "3: size=24 option=0 op=1 reserved=0 object=0 val64=0\n"

enum policy { AUTO, CONTINUE, FAIL, POLICIES };
static const char *const policies[] = { "auto", "continue", "fail" };

struct answer {
	const char *outcome;
	const char *level;
	int hint;
	int fails[POLICIES];
};

static const struct answer applied = { "applied", "info", 0, { 0, 0, 0 } };
static const struct answer already = { "already", "info", 0, { 0, 0, 0 } };
static const struct answer queried = { "queried", "info", 0, { 0, 0, 0 } };
static const struct answer unsupported = { "unsupported", "warning", 1, { 0, 0, 1 } };
static const struct answer denied = { "denied", "warning", 1, { 0, 0, 1 } };
static const struct answer busy = { "busy", "error", 1, { 1, 0, 1 } };
static const struct answer invalid = { "invalid", "error", 1, { 1, 0, 1 } };
static const struct answer failed = { "failed", "error", 1, { 1, 0, 1 } };

static const struct {
	int error;
	const char *name;
	const struct answer *answer;
} errors[] = {
	{ 0, NULL, &applied },
	{ ENOTTY, "ENOTTY", &unsupported },
	{ EOPNOTSUPP, "EOPNOTSUPP", &unsupported },
	{ EPERM, "EPERM", &denied },
	{ EBUSY, "EBUSY", &busy },
	{ EINVAL, "EINVAL", &invalid },
	{ EFAULT, "EFAULT", &failed },
	{ ENOMEM, "ENOMEM", &failed },
	{ EIO, "EIO", &failed },
	{ 4000, "4000", &failed }, /* a number without a name */
};
#define ERRORS (sizeof(errors) / sizeof(errors[0]))

static void set_number(const char *name, int number)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", number);
	child_setenv(name, number ? text : NULL);
}

static void check(const struct answer *answer, int error, const char *error_name,
		  enum policy policy, const char *requested, const char *effective,
		  const char *ioctls)
{
	struct child opener;
	char expected[256];

	remove(child_path("ioctls"));
	child_setenv("IOMMUFD_RLIMIT_ON_ERROR", policies[policy]);
	child_opener(&opener, "OPENER", (const char *[]){ "open", "/dev/iommu", NULL });
	assert_int_equal(opener.status, 0);
	assert_string_equal(opener.ioctls, ioctls);

	/* What the caller sees: descriptor or errno, and nothing left open. */
	if (answer->fails[policy])
		snprintf(expected, sizeof(expected),
			 "return=-1 errno=%d cloexec=0 status=0 mode=0 accounting=user open=0\n",
			 error);
	else
		strcpy(expected, "return=3 errno=4242 cloexec=1 ");
	assert_has(opener.out, expected);
	assert_has(opener.out, answer->fails[policy] ? "open=0\n" : "open=1\n");

	/* One line. */
	assert_int_equal(child_lines(opener.err), 1);
	snprintf(expected, sizeof(expected),
		 "iommufd-rlimit: %s: outcome=%s fd=3 source=open requested=%s effective=%s ",
		 answer->level, answer->outcome, requested, effective);
	assert_ptr_equal(strstr(opener.err, expected), opener.err);
	if (answer == &applied)
		assert_has(opener.err, " via=ioctl pid=");
	else
		assert_has_not(opener.err, " via=");
	snprintf(expected, sizeof(expected), " errno=%s pid=", error_name ? error_name : "");
	if (error_name)
		assert_has(opener.err, expected);
	else
		assert_has_not(opener.err, " errno=");
	snprintf(expected, sizeof(expected), " comm=%s", child_comm());
	assert_has(opener.err, expected);
	if (answer->hint)
		assert_has(opener.err, " hint=\"");
	else
		assert_has_not(opener.err, " hint=");
}

static void each_errno_of_set(const char *mode, const char *other, const char *set)
{
	char ioctls[256];

	snprintf(ioctls, sizeof(ioctls), "%s" GET, set);
	child_setenv("IOMMUFD_RLIMIT_MODE", mode);
	for (size_t i = 0; i < ERRORS; i++)
		for (enum policy policy = AUTO; policy < POLICIES; policy++) {
			child_setenv("MOCK_NEW_MODE", other);
			set_number("MOCK_SET_ERRNO", errors[i].error);
			check(errors[i].answer, errors[i].error, errors[i].name, policy, mode,
			      errors[i].error ? other : mode, ioctls);
		}
}

static void test_process(void **state)
{
	each_errno_of_set("process", "user", SET_PROCESS);
}

static void test_user(void **state)
{
	each_errno_of_set("user", "process", SET_USER);
}

static void test_in_force_already(void **state)
{
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("MOCK_NEW_MODE", "process");
	for (size_t i = 1; i < ERRORS; i++)
		for (enum policy policy = AUTO; policy < POLICIES; policy++) {
			set_number("MOCK_SET_ERRNO", errors[i].error);
			check(&already, 0, NULL, policy, "process", "process", SET_PROCESS GET);
		}
}

static void test_query_changes_nothing(void **state)
{
	child_setenv("IOMMUFD_RLIMIT_MODE", "query");
	for (enum policy policy = AUTO; policy < POLICIES; policy++) {
		child_setenv("MOCK_NEW_MODE", "user");
		check(&queried, 0, NULL, policy, "query", "user", GET);
		child_setenv("MOCK_NEW_MODE", "process");
		check(&queried, 0, NULL, policy, "query", "process", GET);
	}
}

static void test_query_errors(void **state)
{
	child_setenv("IOMMUFD_RLIMIT_MODE", "query");
	for (size_t i = 1; i < ERRORS; i++)
		for (enum policy policy = AUTO; policy < POLICIES; policy++) {
			set_number("MOCK_GET_ERRNO", errors[i].error);
			check(errors[i].answer, errors[i].error, errors[i].name, policy, "query",
			      "unknown", GET);
		}
}

static void test_set_without_effect(void **state)
{
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("MOCK_LOST_SET", "1");
	for (enum policy policy = AUTO; policy < POLICIES; policy++)
		check(&failed, EIO, "EIO", policy, "process", "user", SET_PROCESS GET);
}

static void test_set_not_readable_back(void **state)
{
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	set_number("MOCK_GET_ERRNO", EFAULT);
	for (enum policy policy = AUTO; policy < POLICIES; policy++)
		check(&failed, EFAULT, "EFAULT", policy, "process", "unknown", SET_PROCESS GET);
	child_setenv("IOMMUFD_RLIMIT_MODE", "user"); /* 0, and nothing read is 0 as well */
	for (enum policy policy = AUTO; policy < POLICIES; policy++)
		check(&failed, EFAULT, "EFAULT", policy, "user", "unknown", SET_USER GET);
}

static void inert(const char *shim, const char *mode)
{
	char preload[1024];
	struct child opener;

	snprintf(preload, sizeof(preload), "%s:%s", child_tool(shim), child_tool("MOCK"));
	child_setenv("LD_PRELOAD", preload);
	child_setenv("IOMMUFD_RLIMIT_MODE", mode);
	/* whatever else is set */
	child_setenv("IOMMUFD_RLIMIT_ON_ERROR", "nonsense");
	child_setenv("IOMMUFD_RLIMIT_LOG", "nonsense");
	child_setenv("IOMMUFD_RLIMIT_LOG_LEVEL", "debug");
	child_opener(&opener, "OPENER", (const char *[]){ "open", "/dev/iommu", NULL });
	assert_has(opener.out, "return=3 errno=4242 ");
	assert_string_equal(opener.err, "");
	assert_string_equal(opener.ioctls, "");
}

static void test_inert(void **state)
{
	inert("SHIM", NULL);
	inert("SHIM", "");
	inert("SHIM", "off");
	inert("SHIM_PROCESS", "off");
}

static void test_default_process(void **state)
{
	static const char *const unset[] = { NULL, "" };
	char preload[1024];
	struct child opener;

	snprintf(preload, sizeof(preload), "%s:%s", child_tool("SHIM_PROCESS"), child_tool("MOCK"));
	child_setenv("LD_PRELOAD", preload);
	for (size_t i = 0; i < 2; i++) {
		child_setenv("IOMMUFD_RLIMIT_MODE", unset[i]);
		child_opener(&opener, "OPENER", (const char *[]){ "open", "/dev/iommu", NULL });
		assert_has(opener.err, "outcome=applied fd=3 source=open requested=process ");
	}
	child_setenv("IOMMUFD_RLIMIT_MODE", "user");
	child_opener(&opener, "OPENER", (const char *[]){ "open", "/dev/iommu", NULL });
	assert_has(opener.err, "outcome=applied fd=3 source=open requested=user ");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, child_setup, child_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_process),
		TEST(test_user),
		TEST(test_in_force_already),
		TEST(test_query_changes_nothing),
		TEST(test_query_errors),
		TEST(test_set_without_effect),
		TEST(test_set_not_readable_back),
		TEST(test_inert),
		TEST(test_default_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
