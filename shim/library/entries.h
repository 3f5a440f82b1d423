// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* The functions that open a file by its name: the one list for library, mock and tests. */
#pragma once

#include <fcntl.h>
#include <stddef.h>

/* musl's headers define these as macros. */
#undef open64
#undef openat64

struct open_how; /* openat2(2) */

#ifdef HAVE_OPENAT2
#define ENTRY_OPENAT2(X) X(openat2, openat2, NULL)
#else
#define ENTRY_OPENAT2(X)
#endif

/*
 * Each with the function whose parameters it has, and the one that takes its place in a libc
 * without it: musl >= 1.2.5 has no open64. musl has no __open_2 (_FORTIFY_SOURCE).
 */
#define ENTRIES(X)                        \
	X(open, open, NULL)               \
	X(open64, open, "open")           \
	X(openat, openat, NULL)           \
	X(openat64, openat, "openat")     \
	X(__open_2, __open_2, NULL)       \
	X(__open64_2, __open_2, NULL)     \
	X(__openat_2, __openat_2, NULL)   \
	X(__openat64_2, __openat_2, NULL) \
	ENTRY_OPENAT2(X)

typedef int parameters_of_open(const char *path, int flags, ...);
typedef int parameters_of_openat(int dirfd, const char *path, int flags, ...);
typedef int parameters_of___open_2(const char *path, int flags);
typedef int parameters_of___openat_2(int dirfd, const char *path, int flags);
typedef int parameters_of_openat2(int dirfd, const char *path, const struct open_how *how,
				  size_t size);
