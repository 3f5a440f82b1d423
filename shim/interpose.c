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

EXPORT int open64(const char *path, int flags, ...);
EXPORT int openat64(int dirfd, const char *path, int flags, ...);
EXPORT int __open_2(const char *path, int flags);
EXPORT int __open64_2(const char *path, int flags);
EXPORT int __openat_2(int dirfd, const char *path, int flags);
EXPORT int __openat64_2(int dirfd, const char *path, int flags);

/* IOMMUFD_RLIMIT_MODE of the two libraries where it is unset: default_mode.c. */
extern const enum config_mode default_mode;

static struct config settings;
static atomic_bool settings_parsed; /* by the constructor; immutable from then on */
static atomic_bool inert;           /* likewise */

/* In .preinit_array libc has no environment yet, and who knows what it says. */
static void parse(struct config *config)
{
	config_parse(config, environ, getauxval(AT_SECURE), environ ? default_mode : MODE_OFF);
	if (config->mode != MODE_OFF)
		sink_start();
}

/*
 * Before the constructor (other libraries' are earlier) each call has settings of its own. What is
 * opened then and kept is seen twice: here, and as inherited.
 */
static const struct config *current_settings(struct config *early)
{
	if (atomic_load_explicit(&settings_parsed, memory_order_acquire))
		return &settings;
	parse(early);
	return early;
}

/* The program's first call, or the constructor: descriptor 2 is still what it was at the start. */
static __attribute__((noinline, cold)) const struct next *first_call(void)
{
	int saved_errno = errno;
	struct config early;
	const struct next *found;

	current_settings(&early);
	found = next_resolve();
	errno = saved_errno;
	return found;
}

static inline const struct next *next(void)
{
	const struct next *found = next_found();

	return __builtin_expect(!!found, 1) ? found : first_call();
}

/* /dev/iommu is taken at its word, so that it works where sysfs is not mounted. */
static bool is_iommufd(int fd, const char *path)
{
	return strcmp(path, IOMMUFD_PATH) ? iommufd_is(fd) : !iommufd_is_path_only(fd);
}

/*
 * Sees every descriptor whose name can be the device. Returns what open() is to return, with errno
 * as open() left it, or set where the open is to fail. Not a cancellation point: a thread that is
 * cancelled here would lose the descriptor.
 */
static __attribute__((noinline, cold)) int opened(int fd, const char *path)
{
	int saved_errno = errno;
	int cancel_state = PTHREAD_CANCEL_ENABLE; /* not told by glibc < 2.34 without threads */
	int error = 0;
	struct config early;
	const struct config *config;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	config = current_settings(&early);
	if (config->mode != MODE_OFF && is_iommufd(fd, path))
		error = rlimit_mode_apply(config, fd, SOURCE_OPEN);
	if (error)
		close(fd);
	pthread_setcancelstate(cancel_state, NULL);
	errno = error ? error : saved_errno;
	return error ? -1 : fd;
}

/* The path is looked at after the real call: only then is it known to be readable to its end. */
static inline int after_open(int fd, const char *path)
{
	if (atomic_load_explicit(&inert, memory_order_relaxed) || fd < 0 ||
	    !iommufd_name_matches(path))
		return fd;
	return opened(fd, path);
}

/*
 * __OPEN_NEEDS_MODE of glibc: without these there is no third argument to read. O_TMPFILE has more
 * than one bit, O_DIRECTORY among them; the first line is for speed.
 */
static inline bool needs_mode(int flags)
{
	return (flags & (O_CREAT | O_TMPFILE)) &&
	       ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE);
}

EXPORT int open(const char *path, int flags, ...)
{
	mode_t mode = 0;

	if (needs_mode(flags)) {
		va_list arguments;

		va_start(arguments, flags);
		mode = va_arg(arguments, mode_t);
		va_end(arguments);
	}
	return after_open(next()->open(path, flags, mode), path);
}

EXPORT int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;

	if (needs_mode(flags)) {
		va_list arguments;

		va_start(arguments, flags);
		mode = va_arg(arguments, mode_t);
		va_end(arguments);
	}
	return after_open(next()->open64(path, flags, mode), path);
}

EXPORT int openat(int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;

	if (needs_mode(flags)) {
		va_list arguments;

		va_start(arguments, flags);
		mode = va_arg(arguments, mode_t);
		va_end(arguments);
	}
	return after_open(next()->openat(dirfd, path, flags, mode), path);
}

EXPORT int openat64(int dirfd, const char *path, int flags, ...)
{
	mode_t mode = 0;

	if (needs_mode(flags)) {
		va_list arguments;

		va_start(arguments, flags);
		mode = va_arg(arguments, mode_t);
		va_end(arguments);
	}
	return after_open(next()->openat64(dirfd, path, flags, mode), path);
}

EXPORT int __open_2(const char *path, int flags)
{
	return after_open(next()->open_2(path, flags), path);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return after_open(next()->open64_2(path, flags), path);
}

EXPORT int __openat_2(int dirfd, const char *path, int flags)
{
	return after_open(next()->openat_2(dirfd, path, flags), path);
}

EXPORT int __openat64_2(int dirfd, const char *path, int flags)
{
	return after_open(next()->openat64_2(dirfd, path, flags), path);
}

#ifdef HAVE_OPENAT2
EXPORT int openat2(int dirfd, const char *path, const struct open_how *how, size_t size)
{
	return after_open(next()->openat2(dirfd, path, how, size), path);
}
#endif

static void apply_to_inherited(int fd)
{
	rlimit_mode_apply(&settings, fd, SOURCE_INHERITED);
}

static __attribute__((constructor)) void start(void)
{
	int saved_errno = errno;

	parse(&settings);
	inert = settings.mode == MODE_OFF;
	atomic_store_explicit(&settings_parsed, true, memory_order_release);
	next();
	if (!inert) {
		log_load(&settings);
		inherited_for_each(apply_to_inherited);
	}
	errno = saved_errno;
}
