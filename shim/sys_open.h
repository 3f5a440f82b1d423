// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* The library's own opens: by syscall(2), so that they do not come back through its open(). */
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

/** sys_open - open(2) with O_CLOEXEC; returns a descriptor of the caller's, or -1 and errno. */
static inline int sys_open(const char *path, int flags, mode_t mode)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_LARGEFILE, mode);
}
