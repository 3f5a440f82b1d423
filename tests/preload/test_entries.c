// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Each entry point, by every name that a compiler gives it; and what is none of our business. */

#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const builds[] = { "OPENER", "OPENER_LARGE", "OPENER_FORTIFIED", "OPENER_BOTH" };
static const char *const entries[] = { "open", "openat", "open64", "openat64" };

/* clang has no __builtin_va_arg_pack(), which glibc fortifies open() with. */
#if defined(__GLIBC__) && !defined(__clang__)
#define FORTIFIED 1
#else
#define FORTIFIED 0
#endif

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void preload_shim(const char *tool)
{
	char preload[1024];

	snprintf(preload, sizeof(preload), "%s:%s", child_tool(tool), child_tool("MOCK"));
	child_setenv("LD_PRELOAD", preload);
}

/* Calls @check for each build and entry; for openat2 with the library that a newer libc gets. */
static void each_entry(void (*check)(const char *build, const char *entry))
{
	for (size_t b = 0; b < LENGTH(builds); b++)
		for (size_t e = 0; e < LENGTH(entries); e++)
			check(builds[b], entries[e]);
	if (child_emulated())
		return; /* qemu-user has no openat2 */
	preload_shim("SHIM_OPENAT2");
	check("OPENER", "openat2");
	preload_shim("SHIM");
}

static void number(char text[16], long value)
{
	snprintf(text, 16, "%ld", value);
}

static void device(const char *build, const char *entry)
{
	struct child opener;

	child_opener(&opener, build, (const char *[]){ entry, "/dev/iommu", NULL });
	assert_has(opener.out, "return=3 errno=4242 cloexec=1 ");
	assert_has(opener.err, "outcome=applied fd=3 source=open ");
	assert_int_equal(child_lines(opener.err), 1);
	assert_int_equal(child_lines(opener.ioctls), 2);
	remove(child_path("ioctls"));
}

static void test_device(void **state)
{
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	each_entry(device);
}

static void refused(const char *build, const char *entry)
{
	struct child opener;

	child_opener(&opener, build, (const char *[]){ entry, "/dev/iommu", NULL });
	assert_has(opener.out,
		   "return=-1 errno=1 cloexec=0 status=0 mode=0 accounting=user open=0\n");
}

static void test_refused(void **state)
{
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("IOMMUFD_RLIMIT_ON_ERROR", "fail");
	child_setenv("MOCK_SET_ERRNO", "1");
	each_entry(refused);
}

static void without_cloexec(const char *build, const char *entry)
{
	struct child opener;
	char flags[16];

	number(flags, O_RDONLY | O_NONBLOCK);
	child_opener(&opener, build, (const char *[]){ entry, "/dev/iommu", flags, NULL });
	assert_has(opener.out, "return=3 errno=4242 cloexec=0 status=04000 ");
	assert_has(opener.err, "outcome=applied ");
}

static void test_flags_pass(void **state)
{
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	each_entry(without_cloexec);
}

static void created(const char *build, const char *entry)
{
	const char *path = child_path("created");
	struct child opener;
	struct stat st;
	char flags[16];

	number(flags, O_RDWR | O_CREAT | O_EXCL);
	child_opener(&opener, build, (const char *[]){ entry, path, flags, "0604", NULL });
	assert_has(opener.out, "return=3 errno=4242 ");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0604);
	assert_int_equal(unlink(path), 0);
}

static void temporary(const char *build, const char *entry)
{
	struct child opener;
	char flags[16];

	/* O_TMPFILE without a mode, or with a lost one, would make it 0 or garbage. */
	number(flags, O_RDWR | O_TMPFILE);
	child_opener(&opener, build,
		     (const char *[]){ entry, child_path(""), flags, "0640", NULL });
	assert_has(opener.out, "return=3 errno=4242 ");
	assert_has(opener.out, " mode=0640 ");
}

static void test_mode_passes(void **state)
{
	mode_t before = umask(0);

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	each_entry(created);
	each_entry(temporary);
	umask(before);
}

static void relative(const char *build, const char *entry)
{
	struct child opener;

	/* The opener's openat calls are relative to /. */
	child_opener(&opener, build, (const char *[]){ entry, "dev/null", NULL });
	assert_has(opener.out,
		   strncmp(entry, "openat", 6) ? "return=-1 errno=2 " : "return=3 errno=4242 ");
}

static void test_directory_passes(void **state)
{
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	each_entry(relative);
}

/* What comes after the shim is called by the name that the program called the shim by. */
static void test_same_name_next(void **state)
{
	static const struct {
		const char *build, *entry, *next;
	} calls[] = {
		{ "OPENER", "open", "open\n" },
		{ "OPENER", "openat", "openat\n" },
		{ "OPENER", "open64", "open64\n" },
		{ "OPENER", "openat64", "openat64\n" },
		{ "OPENER", "openat2", "openat2\n" },
#if FORTIFIED
		{ "OPENER_FORTIFIED", "open", "__open_2\n" },
		{ "OPENER_FORTIFIED", "openat", "__openat_2\n" },
		{ "OPENER_BOTH", "open", "__open64_2\n" },
		{ "OPENER_BOTH", "openat", "__openat64_2\n" },
#endif
	};

	child_setenv("MOCK_ENTRIES", child_path("entries"));
	for (size_t i = 0; i < LENGTH(calls); i++) {
		char entries_called[64];
		struct child opener;
		FILE *file;

		if (child_emulated() && !strcmp(calls[i].entry, "openat2"))
			continue;
		preload_shim(strcmp(calls[i].entry, "openat2") ? "SHIM" : "SHIM_OPENAT2");
		child_opener(&opener, calls[i].build,
			     (const char *[]){ calls[i].entry, "/dev/iommu", NULL });
		file = fopen(child_path("entries"), "re");
		assert_non_null(file);
		assert_non_null(fgets(entries_called, sizeof(entries_called), file));
		fclose(file);
		assert_string_equal(entries_called, calls[i].next);
		remove(child_path("entries"));
	}
}

static void bad_pointer(const char *build, const char *entry)
{
	static const char *const names[] = { "@null", "@bad", "@unterminated" };
	struct child opener;

	for (size_t i = 0; i < LENGTH(names); i++) {
		child_opener(&opener, build, (const char *[]){ entry, names[i], NULL });
		assert_int_equal(opener.status, 0);
		assert_has(opener.out, "return=-1 errno=14 ");
		assert_string_equal(opener.err, "");
	}
}

static void test_bad_pointers(void **state)
{
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	each_entry(bad_pointer);
}

static void nothing_of_ours(const char *path, const char *flags)
{
	struct child opener;

	child_opener(&opener, "OPENER", (const char *[]){ "open", path, flags, NULL });
	assert_has(opener.out, "return=3 errno=4242 ");
	assert_string_equal(opener.err, "");
	assert_string_equal(opener.ioctls, "");
}

static void test_other_files(void **state)
{
	char path_only[16];

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	nothing_of_ours("/dev/null", "0");
	nothing_of_ours("/dev/full", "0"); /* the device indeed, but not by a name of its */
	nothing_of_ours("/", "0");
	assert_int_equal(symlink("/dev/null", child_path("null-iommu")), 0);
	nothing_of_ours(child_path("null-iommu"), "0"); /* a character device */
	assert_int_equal(symlink("/etc/passwd", child_path("file-iommu")), 0);
	nothing_of_ours(child_path("file-iommu"), "0"); /* a file */
	assert_int_equal(symlink("/", child_path("directory-iommu")), 0);
	nothing_of_ours(child_path("directory-iommu"), "0");
	number(path_only, O_PATH); /* no descriptor of the device, only of its name */
	nothing_of_ours("/dev/iommu", path_only);
}

static void the_device(const char *path)
{
	struct child opener;

	child_opener(&opener, "OPENER", (const char *[]){ "openat", path, NULL });
	assert_has(opener.out, "return=3 errno=4242 ");
	assert_has(opener.err, "outcome=applied ");
}

static void test_other_names(void **state)
{
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	the_device("dev/iommu"); /* relative */
	the_device("//dev/iommu");
	the_device("/newroot/dev/iommu");
	assert_int_equal(symlink("/dev/full", child_path("my-iommu")), 0);
	the_device(child_path("my-iommu"));
}

static void test_literal_name_needs_no_sysfs(void **state)
{
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("MOCK_NO_SYSFS", "1");
	nothing_of_ours("/newroot/dev/iommu", "0");
	the_device("/dev/iommu");
	/* What /dev/iommu opens is asked, whatever it is: here no iommufd at all. */
	child_setenv("MOCK_SET_ERRNO", "25");
	child_setenv("MOCK_GET_ERRNO", "25");
	child_opener(&opener, "OPENER", (const char *[]){ "open", "/dev/iommu", NULL });
	assert_has(opener.out, "return=3 errno=4242 ");
	assert_has(opener.err, "outcome=unsupported ");
	assert_has(opener.err, " effective=unknown errno=ENOTTY ");
}

static void test_failed_open(void **state)
{
	struct child opener;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_opener(&opener, "OPENER", (const char *[]){ "open", "/nowhere/x-iommu", NULL });
	assert_has(opener.out, "return=-1 errno=2 ");
	assert_string_equal(opener.err, "");
}

static void test_fortify_still_aborts(void **state)
{
	struct child opener;
	char flags[16];

	child_setenv("LD_PRELOAD", child_tool("SHIM"));
	number(flags, O_RDWR | O_CREAT); /* and no mode: glibc ends the program */
	child_opener(&opener, "OPENER_FORTIFIED",
		     (const char *[]){ "open", "/nowhere/x", flags, NULL });
	if (FORTIFIED) {
		assert_true(WIFSIGNALED(opener.status));
		assert_has(opener.err, "invalid open call");
	} else {
		assert_has(opener.out, "return=-1 errno=2 ");
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, child_setup, child_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_device),           TEST(test_refused),
		TEST(test_flags_pass),       TEST(test_mode_passes),
		TEST(test_directory_passes), TEST(test_same_name_next),
		TEST(test_bad_pointers),     TEST(test_other_files),
		TEST(test_other_names),      TEST(test_literal_name_needs_no_sysfs),
		TEST(test_failed_open),      TEST(test_fortify_still_aborts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
