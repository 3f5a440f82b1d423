// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Asks iommufd-rlimit-helper for an iommufd that this process has no capability to make. */
#pragma once

#include "config.h"

#define HELPER_CLIENT_TIMEOUT_MS 2000 /* for the whole exchange; QEMU waits no longer */

/* The steps of a request, in their order. */
enum helper_step {
	HELPER_NOT_ASKED,
	HELPER_OPEN,     /* the program's own open: O_RDWR */
	HELPER_CONNECT,  /* a socket, and connect(2) */
	HELPER_LISTENER, /* the user that listens */
	HELPER_RECEIVE,  /* what the helper sends, up to the deadline */
	HELPER_ANSWER,   /* the helper's own errno value */
	HELPER_CHECK,    /* the descriptor is an iommufd in mode process */
	HELPER_REPLACE,  /* dup3(2) and the status flags */
};

struct helper_result {
	enum helper_step step; /* the one that failed, or the last */
	int error;             /* errno value of that step; 0: the descriptor is replaced */
};

/** helper_step_name - "connect" and so on. */
const char *helper_step_name(enum helper_step step);

/**
 * helper_client_replace - put the helper's iommufd in mode process in the place of an iommufd
 * @path: the helper's socket, an absolute path; CONFIG_HELPER_MAX bytes are read
 * @trust_own_user: trust a listener of this process's user as well, not root's alone
 * @fd: an iommufd without objects, opened with O_RDWR. On success the number is that of the
 * helper's iommufd, with the same status flags and close-on-exec; else it is left as it was.
 *
 * The errno value of the result, by step:
 *   HELPER_OPEN      EBADF: @fd is not open for reading and writing
 *   HELPER_CONNECT   those of socket(2) and connect(2); ETIMEDOUT
 *   HELPER_LISTENER  EPERM: not a trusted user
 *   HELPER_RECEIVE   ECONNRESET: closed without a byte; ETIMEDOUT; EBADMSG: the byte came without
 *                    its descriptor, which a security module or a full descriptor table refused;
 *                    EPROTO: a descriptor too many
 *   HELPER_ANSWER    what the helper's open(2) or ioctl(2) gave
 *   HELPER_CHECK     EPROTO: not an iommufd, or not in mode process
 *   HELPER_REPLACE   those of dup3(2); EBADF: @fd is beyond the limit of open files
 *
 * Blocks no longer than HELPER_CLIENT_TIMEOUT_MS, and as long as the close of the descriptors takes
 * that a hostile listener of a trusted user sent. Allocates nothing, raises no signal, and leaves
 * no descriptor behind. Overwrites errno.
 */
struct helper_result helper_client_replace(const char *path, bool trust_own_user, int fd);
