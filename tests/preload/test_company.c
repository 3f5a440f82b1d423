// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Other libraries in LD_PRELOAD, before and after this one. */

#include "child.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void preload(const char *first, const char *second, const char *third)
{
	char list[1024];

	snprintf(list, sizeof(list), "%s:%s:%s", first, second, third);
	child_setenv("LD_PRELOAD", list);
}

/* ld.so says what it does not find, and goes on without. */
static int is_missing(const char *library)
{
	struct child opener;

	child_setenv("LD_PRELOAD", library);
	child_opener(&opener, "OPENER", (const char *[]){ "open", "/", "0", NULL });
	return strstr(opener.err, library) != NULL;
}

static void assert_device(const struct child *opener)
{
	assert_int_equal(opener->status, 0);
	assert_has_not(opener->out, "return=-1 ");
	assert_has(opener->out, " errno=4242 cloexec=1 ");
	assert_has(opener->err, "outcome=applied ");
	assert_int_equal(child_lines(opener->err), 1);
	assert_int_equal(child_lines(opener->ioctls), 2);
}

static void opens_device(const char *entry)
{
	struct child opener;

	remove(child_path("ioctls"));
	child_opener(&opener, "OPENER", (const char *[]){ entry, "/dev/iommu", NULL });
	assert_device(&opener);
}

static void opens_others(const char *entry)
{
	struct child opener;

	child_opener(&opener, "OPENER", (const char *[]){ entry, "/etc/passwd", "0", NULL });
	assert_has(opener.out, " mode=0644 ");
	child_opener(&opener, "OPENER", (const char *[]){ entry, "/nowhere/iommu", "0", NULL });
	assert_has(opener.out, "return=-1 errno=2 ");
	assert_string_equal(opener.err, "");
}

static void together(void)
{
	static const char *const entries[] = { "open", "open64", "openat", "openat64" };

	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		opens_device(entries[i]);
		opens_others(entries[i]);
	}
}

static void in_any_order(const char *library)
{
	if (is_missing(library))
		skip();
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	preload(library, child_tool("SHIM"), child_tool("MOCK"));
	together();
	preload(child_tool("SHIM"), library, child_tool("MOCK"));
	together();
}

/* One that calls libc's open() past all that is behind it, so this library has to come first. */
static void behind(const char *library)
{
	if (is_missing(library))
		skip();
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	preload(child_tool("SHIM"), child_tool("MOCK"), library);
	together();
}

static void test_eatmydata(void **state)
{
	in_any_order("libeatmydata.so");
}

static void test_fakechroot(void **state)
{
	in_any_order("libfakechroot.so");
}

/* It is nothing without its daemon, so by its own command, which puts it first. */
static void test_fakeroot(void **state)
{
	static const char command[] = "/usr/bin/fakeroot";
	struct child opener;

	if (access(command, X_OK))
		skip();
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_run(&opener, NULL,
		  (const char *[]){ command, child_tool("OPENER"), "open", "/dev/iommu", NULL });
	assert_device(&opener);
}

static void test_jemalloc(void **state)
{
#if __GLIBC_MINOR__ < 34
	skip(); /* the mock's dlsym() allocates, and jemalloc opens files then */
#endif
	in_any_order("libjemalloc.so.2");
}

static void test_sanitizer(void **state)
{
	child_setenv("ASAN_OPTIONS", "verify_asan_link_order=0");
	in_any_order("libasan.so.8");
}

static void test_socket_wrapper(void **state)
{
	behind("libsocket_wrapper.so");
}

static void test_tcmalloc(void **state)
{
	in_any_order("libtcmalloc_minimal.so.4");
}

static void test_umockdev(void **state)
{
	behind("libumockdev-preload.so.0");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, child_setup, child_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_eatmydata), TEST(test_fakechroot), TEST(test_fakeroot),
		TEST(test_jemalloc),  TEST(test_sanitizer),  TEST(test_socket_wrapper),
		TEST(test_tcmalloc),  TEST(test_umockdev),
	};

	if (SANITIZED)
		return 77; /* the sanitizers are company enough */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
