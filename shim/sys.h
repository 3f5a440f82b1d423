// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * The library's own business with the kernel goes through syscall(2), not through libc's functions
 * and so not through other preloads or back into our open(); it contains no cancellation point;
 * and each function imported costs every start of every program a symbol look-up of some 700
 * instructions. What is done on the program's behalf (open, ioctl, close) does go through libc.
 */
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* On 32-bit machines these have 16 bits, and a newer call has 32. */
#ifdef SYS_getuid32
#define SYS_UID  SYS_getuid32
#define SYS_EUID SYS_geteuid32
#else
#define SYS_UID  SYS_getuid
#define SYS_EUID SYS_geteuid
#endif

/** sys_open - open(2) with O_CLOEXEC; returns a descriptor of the caller's, or -1 and errno. */
static inline int sys_open(const char *path, int flags, mode_t mode)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_LARGEFILE, mode);
}

/** sys_close - close(2) of a descriptor that sys_open() or socket(2) by syscall(2) returned. */
static inline void sys_close(int fd)
{
	syscall(SYS_close, fd);
}
