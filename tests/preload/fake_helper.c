// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "fake_helper.h"
#include "helper_protocol.h"
#include "run.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void fake_helper_set_state(const char *mode)
{
	FILE *file = fopen(run_path("state"), "we");

	assert_non_null(file);
	fputs(mode, file);
	fclose(file);
}

/* One connection; the child's exit status is 0 if it came, with what it should bring. */
static void serve(int listener, int behaviour)
{
	struct helper_request request;
	struct helper_reply reply = {
		.magic = HELPER_REPLY_MAGIC,
		.version = HELPER_PROTOCOL_VERSION,
		.error = behaviour & FAKE_ANSWERS_ERROR ? EPERM : 0,
		.effective = 1,
	};
	char control[256];
	struct iovec bytes = { &request, sizeof(request) };
	struct msghdr message = { .msg_iov = &bytes,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	int connection = accept(listener, NULL, NULL);

	if (recvmsg(connection, &message, 0) != sizeof(request) || request.mode != 1 ||
	    strcmp(request.comm, run_comm()) || message.msg_controllen < CMSG_LEN(sizeof(int)))
		_exit(1);
	if (behaviour & FAKE_SETS_MODE)
		fake_helper_set_state("1");
	if (behaviour & FAKE_IS_SILENT)
		poll(NULL, 0, 10000);
	if (send(connection, &reply, sizeof(reply), 0) != sizeof(reply))
		_exit(1);
	_exit(0);
}

pid_t fake_helper_start(int behaviour)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	pid_t child;

	strcpy(address.sun_path, run_path("helper.sock"));
	remove(address.sun_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 8), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		serve(listener, behaviour);
	close(listener);
	return child;
}
