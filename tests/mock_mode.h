// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * The accounting mode of the mock's iommufd belongs to the open file description, as the kernel's
 * does: fork(), dup() and SCM_RIGHTS carry it along, and a new open starts anew. It is kept as the
 * signal of F_SETSIG, fcntl(2), which nobody uses for this file.
 */
#pragma once

#include <fcntl.h>
#include <signal.h>

#define MOCK_DEVICE  "/dev/full" /* plays /dev/iommu */
#define MOCK_PROCESS SIGUSR1

/** mock_set_mode - 0: user, 1: process. Returns 0, or -1 and errno. */
static inline int mock_set_mode(int fd, int mode)
{
	return fcntl(fd, F_SETSIG, mode ? MOCK_PROCESS : 0);
}

/** mock_mode - 0: user, 1: process; -1 and errno where the descriptor has none. */
static inline int mock_mode(int fd)
{
	int signal = fcntl(fd, F_GETSIG);

	return signal < 0 ? -1 : signal == MOCK_PROCESS;
}
