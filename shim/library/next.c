// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "next.h"

#include "sys.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>

const struct next *_Atomic next_resolved;

static int raw_openat(int dirfd, const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = va_arg(arguments, mode_t); /* interpose.c always passes one */
	va_end(arguments);
	return (int)syscall(SYS_openat, dirfd, path, flags | O_LARGEFILE, mode);
}

static int raw_open(const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = va_arg(arguments, mode_t);
	va_end(arguments);
	return raw_openat(AT_FDCWD, path, flags, mode);
}

static int raw_openat_2(int dirfd, const char *path, int flags)
{
	return raw_openat(dirfd, path, flags, 0);
}

static int raw_open_2(const char *path, int flags)
{
	return raw_openat(AT_FDCWD, path, flags, 0);
}

#ifdef HAVE_OPENAT2
static int raw_openat2(int dirfd, const char *path, const struct open_how *how, size_t size)
{
	return (int)syscall(SYS_openat2, dirfd, path, how, size);
}
#endif

static const struct next raw = {
	.open = raw_open,
	.open64 = raw_open,
	.openat = raw_openat,
	.openat64 = raw_openat,
	.open_2 = raw_open_2,
	.open64_2 = raw_open_2,
	.openat_2 = raw_openat_2,
	.openat64_2 = raw_openat_2,
#ifdef HAVE_OPENAT2
	.openat2 = raw_openat2,
#endif
};

/* musl >= 1.2.5 has no open64, and no libc but glibc has __open_2. */
static void *definition(const char *name, const char *substitute, void *otherwise)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (found)
		return found;
	dlerror(); /* the program's next one is not to tell of our failure */
	return substitute ? definition(substitute, NULL, otherwise) : otherwise;
}

const struct next *next_resolve(void)
{
	static struct next table;
	static atomic_flag begun = ATOMIC_FLAG_INIT;
	const struct next *found = atomic_load_explicit(&next_resolved, memory_order_acquire);
	int saved_errno = errno;

	if (atomic_flag_test_and_set(&begun))
		return found ? found : &raw;
	table.open = definition("open", NULL, raw.open);
	table.open64 = definition("open64", "open", raw.open64);
	table.openat = definition("openat", NULL, raw.openat);
	table.openat64 = definition("openat64", "openat", raw.openat64);
	table.open_2 = definition("__open_2", NULL, raw.open_2);
	table.open64_2 = definition("__open64_2", NULL, raw.open64_2);
	table.openat_2 = definition("__openat_2", NULL, raw.openat_2);
	table.openat64_2 = definition("__openat64_2", NULL, raw.openat64_2);
#ifdef HAVE_OPENAT2
	table.openat2 = definition("openat2", NULL, raw.openat2);
#endif
	atomic_store_explicit(&next_resolved, &table, memory_order_release);
	errno = saved_errno;
	return &table;
}
