// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "fake_helper.h"
#include "../mock_mode.h"
#include "child.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SENT_MAX 8

static pid_t child;

int fake_helper_device(int mode)
{
	int fd = open(MOCK_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0 || mock_set_mode(fd, mode) < 0)
		_exit(1);
	return fd;
}

void fake_helper_send(int connection, unsigned char byte, const int *fds, size_t count)
{
	struct iovec bytes = { &byte, sizeof(byte) };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(SENT_MAX * sizeof(int))];
	} control = { 0 };
	struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1 };

	if (count) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = (socklen_t)CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = (socklen_t)CMSG_SPACE(count * sizeof(int));
	}
	sendmsg(connection, &message, MSG_NOSIGNAL);
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
}

void fake_helper_gives(int connection)
{
	const int iommufd = fake_helper_device(1);
	char acknowledgement;

	fake_helper_send(connection, 0, &iommufd, 1);
	recv(connection, &acknowledgement, sizeof(acknowledgement), 0);
}

static _Noreturn void run_helper(const struct fake_helper *helper, int ready)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener =
		socket(AF_UNIX, (helper->type ? helper->type : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, child_path("helper.sock"));
	if (helper->uid && setresuid(helper->uid, helper->uid, helper->uid) < 0)
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user clears it */
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    (helper->type != SOCK_DGRAM && listen(listener, helper->serve ? 16 : 0) < 0) ||
	    chmod(address.sun_path, helper->mode ? helper->mode : 0777) < 0)
		_exit(1);
	close(ready);
	for (;;) {
		int connection;

		if (!helper->serve)
			pause();
		connection = accept(listener, NULL, NULL);
		helper->serve(connection);
		close(connection);
	}
}

void fake_helper_start(struct fake_helper helper)
{
	int ready[2];
	char byte;

	remove(child_path("helper.sock"));
	assert_int_equal(pipe(ready), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		close(ready[0]);
		run_helper(&helper, ready[1]);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 0); /* until it listens */
	close(ready[0]);
	child_setenv("IOMMUFD_RLIMIT_HELPER", child_path("helper.sock"));
}

void fake_helper_stop(void)
{
	int status;

	assert_int_equal(waitpid(child, &status, WNOHANG), 0);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
}

int fake_helper_wait(void)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
