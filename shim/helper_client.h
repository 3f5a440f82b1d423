// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Asks iommufd-rlimit-helper to do what this process has no capability for. */
#pragma once

#include <stdint.h>

#define HELPER_CLIENT_TIMEOUT_MS 2000 /* for the whole exchange; QEMU waits no longer */

/**
 * helper_client_set_rlimit_mode - have the helper set IOMMU_OPTION_RLIMIT_MODE on a descriptor
 * @socket_path: the helper's socket, an absolute path
 * @fd: an iommufd of ours; the helper receives a duplicate, ours stays open and is not changed
 * @mode: an enum rlimit_mode
 *
 * Where the helper is overloaded, it refuses or closes a connection without an answer; that is
 * tried again until the time is over.
 *
 * Returns 0 when the helper says that the mode is in force, else an errno value: that of connect(2)
 * where it cannot be reached, EACCES also where neither root nor our own user listens there,
 * ECONNRESET where every connection was closed without an answer, ETIMEDOUT, EPROTO for an answer
 * that is none, EPROTONOSUPPORT for one of another version, or what the helper answered: EACCES, or
 * the errno value of its own ioctl. Never blocks longer than HELPER_CLIENT_TIMEOUT_MS, allocates
 * nothing, raises no signal, leaves no descriptor behind. Overwrites errno.
 */
int helper_client_set_rlimit_mode(const char *socket_path, int fd, uint64_t mode);
