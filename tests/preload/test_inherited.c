// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Descriptors that are open at load, as with QEMU's -object iommufd,fd=N. */

#include "child.h"
#include "fake_helper.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* /dev/full is what the mock says is the device. */
static void inherit(void)
{
	if (dup2(open("/dev/full", O_RDWR), 7) != 7 || dup2(7, 900) != 900)
		_exit(126);
	close(3);
}

static void inherit_path_only(void)
{
	if (dup2(open("/dev/full", O_PATH), 7) != 7)
		_exit(126);
	close(3);
}

/* More than one getdents64(2) brings. */
static void inherit_after_many(void)
{
	int null = open("/dev/null", O_RDWR);

	for (int fd = 10; fd < 500; fd++)
		if (dup2(null, fd) != fd)
			_exit(126);
	close(null);
	if (dup2(open("/dev/full", O_RDWR), 600) != 600)
		_exit(126);
	close(3);
}

static void start(struct child *opener, void (*before_exec)(void))
{
	remove(child_path("ioctls"));
	child_run(opener, before_exec,
		  (const char *[]){ child_tool("OPENER"), "open", "/dev/null", "0", NULL });
	assert_int_equal(opener->status, 0);
	assert_has(opener->out, "return=3 errno=4242 ");
}

static void test_each_is_set(void **state)
{
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	start(&opener, inherit);
	assert_int_equal(child_lines(opener.err), 2);
	assert_has(opener.err, "outcome=applied fd=7 source=inherited requested=process ");
	assert_has(opener.err, "outcome=applied fd=900 source=inherited requested=process ");
	assert_int_equal(child_lines(opener.ioctls), 4);
	assert_has(opener.out, " open=3\n");
}

static void test_after_many(void **state)
{
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	start(&opener, inherit_after_many);
	assert_int_equal(child_lines(opener.err), 1);
	assert_has(opener.err, "outcome=applied fd=600 source=inherited ");
}

static void test_never_closed(void **state)
{
	static const char *const errors[] = { "1", "16", "22", "5" };
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("IOMMUFD_RLIMIT_ON_ERROR", "fail");
	for (size_t i = 0; i < 4; i++) {
		child_setenv("MOCK_SET_ERRNO", errors[i]);
		start(&opener, inherit);
		assert_int_equal(child_lines(opener.err), 2);
		assert_has(opener.err, " source=inherited ");
		assert_has(opener.out, " open=3\n");
	}
	assert_has(opener.err, "outcome=failed fd=900 ");
	assert_has(opener.err, " hint=\"the program goes on with ");
}

static void is_asked(int connection)
{
	_exit(1);
}

/* An inherited iommufd may hold mappings, so that of the helper cannot take its place. */
static void test_helper_not_asked(void **state)
{
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("MOCK_SET_ERRNO", "1");
	fake_helper_start((struct fake_helper){ .serve = is_asked });
	start(&opener, inherit);
	fake_helper_stop();
	assert_int_equal(child_lines(opener.err), 2);
	assert_has(opener.err, "warning: outcome=denied fd=7 source=inherited requested=process "
			       "effective=user errno=EPERM pid=");
	assert_has(opener.err, " hint=\"the program goes on with per-user accounting; preload the "
			       "library into the program that opened this descriptor\"\n");
}

static void test_none(void **state)
{
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	start(&opener, NULL);
	assert_string_equal(opener.err, "");
	start(&opener, inherit_path_only);
	assert_string_equal(opener.err, "");
	assert_string_equal(opener.ioctls, "");
}

static void test_inert(void **state)
{
	struct child opener;

	start(&opener, inherit);
	assert_string_equal(opener.err, "");
	assert_string_equal(opener.ioctls, "");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, child_setup, child_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_each_is_set),      TEST(test_after_many), TEST(test_never_closed),
		TEST(test_helper_not_asked), TEST(test_none),       TEST(test_inert),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
