// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * The exported names and the constructor, nothing else.
 *
 * meson compiles everything with -D_FILE_OFFSET_BITS=64, which makes <fcntl.h> turn a definition of
 * open() into one of open64(), and _FORTIFY_SOURCE makes open() an inline function. This file
 * defines both names, so it wants neither.
 */
#undef _FILE_OFFSET_BITS
#undef _TIME_BITS
#undef _FORTIFY_SOURCE

#include "config.h"
#include "inherited.h"
#include "iommufd.h"
#include "log.h"
#include "next.h"
#include "rlimit_mode.h"
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* Every open() of the program goes through these, and they have no array to protect. */
#if __has_attribute(no_stack_protector)
#define EXPORT __attribute__((visibility("default"), no_stack_protector))
#else
#define EXPORT __attribute__((visibility("default")))
#endif

static struct config settings; /* parsed by the constructor; immutable from then on */
static atomic_bool active;     /* settings are parsed, and have a mode; inert until then */

/* A descriptor opened as /dev/iommu is an iommufd even where sysfs is not mounted. */
static bool is_iommufd(int fd, const char *path)
{
	return strcmp(path, IOMMUFD_PATH) ? iommufd_is(fd) : !iommufd_is_path_only(fd);
}

/*
 * Sees every descriptor whose name can be the device. Returns what open() is to return, with errno
 * as open() left it, or set where the open is to fail. Not a cancellation point: a thread that is
 * cancelled here would lose the descriptor.
 */
static __attribute__((noinline, cold)) int handle_iommufd(int fd, const char *path)
{
	int saved_errno = errno;
	int cancel_state = PTHREAD_CANCEL_ENABLE; /* glibc < 2.34 without threads leaves it alone */
	int error = 0;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	if (is_iommufd(fd, path))
		error = rlimit_mode_apply(&settings, fd, SOURCE_OPEN);
	if (error)
		close(fd);
	pthread_setcancelstate(cancel_state, NULL);
	errno = error ? error : saved_errno;
	return error ? -1 : fd;
}

/* Looks at the path after the real call: only then is the path known to be readable to its end. */
static inline int after_open(int fd, const char *path)
{
	if (!atomic_load_explicit(&active, memory_order_acquire)) {
		sink_note_open(fd);
		return fd;
	}
	return fd < 0 || !iommufd_name_matches(path) ? fd : handle_iommufd(fd, path);
}

/*
 * __OPEN_NEEDS_MODE of glibc: without these flags there is no third argument to read. O_TMPFILE has
 * more than one bit, O_DIRECTORY among them. The first line is for speed.
 */
static inline bool needs_mode(int flags)
{
	return (flags & (O_CREAT | O_TMPFILE)) &&
	       ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE);
}

/* The third argument of the function that uses this macro; 0 if there is none. */
#define MODE_ARGUMENT(flags)                                \
	({                                                  \
		mode_t mode_ = 0;                           \
		va_list arguments_;                         \
		if (needs_mode(flags)) {                    \
			va_start(arguments_, flags);        \
			mode_ = va_arg(arguments_, mode_t); \
			va_end(arguments_);                 \
		}                                           \
		mode_;                                      \
	})

#define ENTRY_open(name)                                                  \
	EXPORT int name(const char *path, int flags, ...)                 \
	{                                                                 \
		const mode_t mode = MODE_ARGUMENT(flags);                 \
                                                                          \
		return after_open(next()->name(path, flags, mode), path); \
	}

#define ENTRY_openat(name)                                                       \
	EXPORT int name(int dirfd, const char *path, int flags, ...)             \
	{                                                                        \
		const mode_t mode = MODE_ARGUMENT(flags);                        \
                                                                                 \
		return after_open(next()->name(dirfd, path, flags, mode), path); \
	}

#define ENTRY___open_2(name)                                        \
	EXPORT int name(const char *path, int flags)                \
	{                                                           \
		return after_open(next()->name(path, flags), path); \
	}

#define ENTRY___openat_2(name)                                             \
	EXPORT int name(int dirfd, const char *path, int flags)            \
	{                                                                  \
		return after_open(next()->name(dirfd, path, flags), path); \
	}

#define ENTRY_openat2(name)                                                                   \
	EXPORT int name(int dirfd, const char *path, const struct open_how *how, size_t size) \
	{                                                                                     \
		return after_open(next()->name(dirfd, path, how, size), path);                \
	}

#define ENTRY(name, shape, substitute)     \
	EXPORT parameters_of_##shape name; \
	ENTRY_##shape(name)
ENTRIES(ENTRY)

static void apply_to_inherited(int fd)
{
	rlimit_mode_apply(&settings, fd, SOURCE_INHERITED);
}

static __attribute__((constructor)) void start(void)
{
	int saved_errno = errno;

	config_parse(&settings, environ, getauxval(AT_SECURE), DEFAULT_MODE);
	next();
	if (settings.mode != MODE_OFF) {
		sink_start();
		atomic_store_explicit(&active, true, memory_order_release);
		log_load(&settings);
		inherited_for_each(apply_to_inherited);
	}
	errno = saved_errno;
}
