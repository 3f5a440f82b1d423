// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* The definitions that the program would call without this library: libc's or a preload's. */
#pragma once

#include "entries.h"

#include <stdatomic.h>

#define MEMBER(name, shape, substitute) parameters_of_##shape *name;
struct next {
	ENTRIES(MEMBER)
};
#undef MEMBER

extern const struct next *_Atomic next_resolved;

/**
 * next_resolve - look up the next definitions, by dlsym(3)
 *
 * dlsym() may allocate, and an allocator may open files. A call during the look-up gets functions
 * that issue the plain system call (always with O_LARGEFILE, never a cancellation point), so no
 * thread waits and nothing recurses. Leaves errno as it was.
 */
const struct next *next_resolve(void);

/** next - the next definitions, looked up by the first call. */
static inline const struct next *next(void)
{
	const struct next *found = atomic_load_explicit(&next_resolved, memory_order_acquire);

	return __builtin_expect(!!found, 1) ? found : next_resolve();
}
