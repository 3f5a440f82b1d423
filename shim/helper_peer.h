// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Who is at the other end of a connection, and whether he may ask. */
#pragma once

#include "logfmt.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* As they were when the peer connected; pid is 0 where its PID namespace is none of ours. */
struct helper_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

/* On top of the permissions of the socket file; everybody who may connect where both are empty. */
struct helper_access {
	uid_t *users;
	size_t user_count;
	gid_t *groups;
	size_t group_count;
};

/**
 * helper_peer_get - SO_PEERCRED of unix(7)
 * @connection: a connected AF_UNIX socket
 * @peer: receives who connected; untouched on error
 *
 * Returns 0 or an errno value.
 */
int helper_peer_get(int connection, struct helper_peer *peer);

/** helper_peer_log - add pid, uid and gid to a line begun. */
void helper_peer_log(const struct helper_peer *peer, struct logfmt *line);

/**
 * helper_peer_is_allowed - does one of the users or groups of @access match?
 * @connection: as above
 * @peer: as helper_peer_get() filled it in
 * @access: whom the operator named
 *
 * Of the groups any counts that the peer was in when it connected, supplementary ones included
 * (SO_PEERGROUPS, Linux 4.13). Root is nobody special.
 */
bool helper_peer_is_allowed(int connection, const struct helper_peer *peer,
			    const struct helper_access *access);
