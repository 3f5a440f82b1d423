// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* The socket file of a helper that runs by itself. */
#pragma once

#include <sys/types.h>
#include <sys/un.h>

/* Bytes of a path that a socket can have. */
#define HELPER_SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

/**
 * helper_socket_listen - create a SOCK_SEQPACKET socket and listen on it
 * @path: at most HELPER_SOCKET_PATH_MAX bytes; a socket there on which nobody listens is replaced,
 * anything else stays
 * @mode: permissions of the file, from its first moment
 * @group: group of the file, or (gid_t)-1 for that of the process
 *
 * Returns a non-blocking close-on-exec descriptor of the caller's, or -1 after it has told
 * descriptor 2 what is wrong and what to do.
 */
int helper_socket_listen(const char *path, mode_t mode, gid_t group);
