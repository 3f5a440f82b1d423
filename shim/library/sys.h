// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * The library's own requests go to the kernel through syscall(2), because other preloads interpose
 * on the functions of libc:
 * - openat, statx, readlinkat, getdents64: fakechroot and umockdev show other files
 * - socket and all that takes one: socket_wrapper, torsocks, proxychains show other peers
 * - write, close, fcntl, dup3, ppoll: socket_wrapper locks, which a signal handler cannot wait for
 * - getuid, geteuid, getpid, prctl: fakeroot and DMTCP show other identities
 * - rt_sig*, prlimit64: ThreadSanitizer defers signals
 * - capget: libc has no function for it
 * The program's own requests (open, ioctl, close of an iommufd) go through libc. So does
 * clock_gettime(), which the vDSO answers even under a system call filter.
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
