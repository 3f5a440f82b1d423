// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * floor: accepts on descriptor 0, passes a descriptor and closes, for ever. There is no cheaper
 * helper: it opens nothing, looks at nothing and says nothing. The client is in open.c.
 */

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	static const int passed = STDIN_FILENO;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
				  .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS } };
	char byte = 0;
	struct iovec bytes = { &byte, sizeof(byte) };
	const struct msghdr message = {
		.msg_iov = &bytes,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	memcpy(CMSG_DATA(&control.header), &passed, sizeof(passed));
	for (;;) {
		const int connection = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC);

		if (connection < 0 || sendmsg(connection, &message, MSG_NOSIGNAL) < 0)
			return 1;
		close(connection);
	}
}
