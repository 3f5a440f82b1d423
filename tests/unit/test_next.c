// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* The look-up of the next definitions, with a dlsym() that opens files and does not find them all.
 */

#include "next.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned lookups;
static bool error_pending;

static int libc_open(const char *path, int flags, ...)
{
	(void)path;
	(void)flags;
	return 1001;
}

static int libc_openat(int dirfd, const char *path, int flags, ...)
{
	(void)dirfd;
	(void)path;
	(void)flags;
	return 1002;
}

static void opens(int fd)
{
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0);
}

/* In place of libc's: as musl's, that knows only open and openat. Whoever opens meanwhile gets on.
 */
void *dlsym(void *restrict handle, const char *restrict name)
{
	assert_ptr_equal(handle, RTLD_NEXT);
	assert_true(++lookups < 100);
	opens(next_resolve()->open("/dev/null", O_RDONLY, 0));
	opens(next_resolve()->open64("/dev/null", O_RDONLY, 0));
	if (!strcmp(name, "open"))
		return (void *)libc_open;
	if (!strcmp(name, "openat"))
		return (void *)libc_openat;
	error_pending = true;
	errno = ENOENT;
	return NULL;
}

char *dlerror(void)
{
	error_pending = false;
	return NULL;
}

static void test_found_and_substituted(void **state)
{
	errno = 4242;
	next_resolve();
	assert_int_equal(errno, 4242); /* whoever calls first does not see the look-up */
	assert_int_equal(next_resolve()->open("/dev/null", O_RDONLY, 0), 1001);
	assert_int_equal(next_resolve()->open64("/dev/null", O_RDONLY, 0), 1001);
	assert_int_equal(next_resolve()->openat(AT_FDCWD, "/dev/null", O_RDONLY, 0), 1002);
	assert_int_equal(next_resolve()->openat64(AT_FDCWD, "/dev/null", O_RDONLY, 0), 1002);
}

/* dlerror() of the program is not to tell of what we did not find. */
static void test_leaves_no_error(void **state)
{
	next_resolve();
	assert_true(lookups > 0);
	assert_false(error_pending);
}

static void test_looked_up_once(void **state)
{
	unsigned before = lookups;

	next_resolve();
	assert_int_equal(lookups, before);
}

#define MISSING_open(name)
#define MISSING_openat(name)
#define MISSING___open_2(name)           opens(next_resolve()->name("/dev/null", O_RDONLY));
#define MISSING___openat_2(name)         opens(next_resolve()->name(root, "dev/null", O_RDONLY));
#define MISSING(name, shape, substitute) MISSING_##shape(name)

/* What no libc but glibc has still opens. */
static void test_missing(void **state)
{
	int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ENTRIES(MISSING)
	errno = 0;
	assert_int_equal(next_resolve()->__open_2("/nowhere/file", O_RDONLY), -1);
	assert_int_equal(errno, ENOENT);
	close(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found_and_substituted),
		cmocka_unit_test(test_leaves_no_error),
		cmocka_unit_test(test_looked_up_once),
		cmocka_unit_test(test_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
