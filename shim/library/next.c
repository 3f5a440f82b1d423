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

static int raw___openat_2(int dirfd, const char *path, int flags)
{
	return raw_openat(dirfd, path, flags, 0);
}

static int raw___open_2(const char *path, int flags)
{
	return raw_openat(AT_FDCWD, path, flags, 0);
}

#ifdef HAVE_OPENAT2
static int raw_openat2(int dirfd, const char *path, const struct open_how *how, size_t size)
{
	return (int)syscall(__NR_openat2, dirfd, path, how, size);
}
#endif

#define RAW(name, shape, substitute) .name = raw_##shape,
static const struct next raw = { ENTRIES(RAW) };

static void *definition(const char *name, const char *substitute, void *otherwise)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (found)
		return found;
	dlerror(); /* else the program's next dlerror() would report this failure */
	return substitute ? definition(substitute, NULL, otherwise) : otherwise;
}

#define LOOK_UP(name, shape, substitute) table.name = definition(#name, substitute, raw_##shape);

const struct next *next_resolve(void)
{
	static struct next table;
	static atomic_flag begun = ATOMIC_FLAG_INIT;
	const struct next *found = atomic_load_explicit(&next_resolved, memory_order_acquire);
	int saved_errno = errno;

	if (atomic_flag_test_and_set(&begun))
		return found ? found : &raw;
	ENTRIES(LOOK_UP)
	atomic_store_explicit(&next_resolved, &table, memory_order_release);
	errno = saved_errno;
	return &table;
}
