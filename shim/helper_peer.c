// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "helper_peer.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GROUPS_MAX 65536 /* NGROUPS_MAX of the kernel */

int helper_peer_get(int connection, struct helper_peer *peer)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	if (syscall(SYS_getsockopt, connection, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return errno;
	*peer = (struct helper_peer){ credentials.pid, credentials.uid, credentials.gid };
	return 0;
}

void helper_peer_log(const struct helper_peer *peer, struct logfmt *line)
{
	logfmt_number(line, "pid", peer->pid);
	logfmt_number(line, "uid", peer->uid);
	logfmt_number(line, "gid", peer->gid);
}

static bool is_group_allowed(gid_t group, const struct helper_access *access)
{
	for (size_t i = 0; i < access->group_count; i++)
		if (access->groups[i] == group)
			return true;
	return false;
}

static bool is_supplementary_group_allowed(int connection, const struct helper_access *access)
{
	static gid_t groups[GROUPS_MAX];
	socklen_t size = sizeof(groups);

	if (syscall(SYS_getsockopt, connection, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++)
		if (is_group_allowed(groups[i], access))
			return true;
	return false;
}

bool helper_peer_is_allowed(int connection, const struct helper_peer *peer,
			    const struct helper_access *access)
{
	if (!access->user_count && !access->group_count)
		return true;
	for (size_t i = 0; i < access->user_count; i++)
		if (access->users[i] == peer->uid)
			return true;
	return access->group_count && (is_group_allowed(peer->gid, access) ||
				       is_supplementary_group_allowed(connection, access));
}
