// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "helper_client.h"

#include "helper_protocol.h"
#include "process.h"
#include "sys.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define PAUSE_MAX_MS 64
#define OVERFLOW_UID 65534 /* how a user namespace shows any user that it does not map */

_Static_assert(HELPER_COMM_MAX == PROCESS_COMM_MAX, "the name fits");

/* libc's, which the vDSO answers even where a system call filter stands in the way. */
static int64_t now_ms(void)
{
	struct timespec now = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until @fd (none if negative) has something to read: 0; or until @deadline: ETIMEDOUT. */
static int wait_until(int fd, int64_t deadline)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };

	for (;;) {
		const int64_t until = deadline - now_ms();
		const long left = until > 0 ? (long)until : 0; /* what is there already counts */
		const struct {
			long seconds, nanoseconds; /* the kernel's timespec, not libc's */
		} timeout = { left / 1000, left % 1000 * 1000000 };
		const long count = syscall(SYS_ppoll, &readable, 1, &timeout, NULL, 0);

		if (count >= 0)
			return count ? 0 : ETIMEDOUT;
		if (errno != EINTR)
			return errno;
	}
}

/*
 * Whoever receives our iommufd can change what the guest's devices reach. Root can anyway, and so
 * can our own user; nobody else gets it, however he came by the name of the socket.
 */
static bool listener_is_trusted(int connection)
{
	struct ucred listener;
	socklen_t size = sizeof(listener);

	if (syscall(SYS_getsockopt, connection, SOL_SOCKET, SO_PEERCRED, &listener, &size) < 0)
		return false;
	return !listener.uid ||
	       (listener.uid == (uid_t)syscall(SYS_EUID) && listener.uid != OVERFLOW_UID);
}

static int send_request(int connection, int fd, uint64_t mode)
{
	struct helper_request request = {
		.magic = HELPER_REQUEST_MAGIC,
		.version = HELPER_PROTOCOL_VERSION,
		.mode = mode,
	};
	struct iovec bytes = { &request, sizeof(request) };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	const struct msghdr message = {
		.msg_iov = &bytes,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};

	process_comm(request.comm);
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	return syscall(SYS_sendmsg, connection, &message, MSG_NOSIGNAL) < 0 ? errno : 0;
}

static int receive_reply(int connection, uint64_t mode)
{
	struct helper_reply reply;
	char message[sizeof(reply) + 1]; /* one more, to tell a longer one */
	/* No room for descriptors: the kernel closes any that come along. */
	long length = syscall(SYS_recvfrom, connection, message, sizeof(message), 0, NULL, NULL);
	int error;

	if (length < 0)
		return errno;
	if (!length)
		return ECONNRESET;
	error = helper_reply_decode(message, (size_t)length, &reply);
	if (error)
		return error;
	if (!reply.error && reply.effective != mode)
		return EPROTO;
	return reply.error;
}

static int converse(int connection, const struct sockaddr_un *address, int fd, uint64_t mode,
		    int64_t deadline)
{
	int error;

	if (syscall(SYS_connect, connection, address, sizeof(*address)) < 0)
		return errno;
	if (!listener_is_trusted(connection))
		return EACCES;
	error = send_request(connection, fd, mode);
	if (error)
		return error == EPIPE ? ECONNRESET : error;
	error = wait_until(connection, deadline);
	return error ? error : receive_reply(connection, mode);
}

static int try_once(const struct sockaddr_un *address, int fd, uint64_t mode, int64_t deadline)
{
	int connection =
		(int)syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error;

	if (connection < 0)
		return errno;
	error = converse(connection, address, fd, mode, deadline);
	sys_close(connection);
	return error;
}

int helper_client_set_rlimit_mode(const char *socket_path, int fd, uint64_t mode)
{
	const int64_t deadline = now_ms() + HELPER_CLIENT_TIMEOUT_MS;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(socket_path);
	int error;

	if (length >= sizeof(address.sun_path))
		return ENAMETOOLONG;
	memcpy(address.sun_path, socket_path, length);
	for (long pause = 1;; pause = pause < PAUSE_MAX_MS ? 2 * pause : pause) {
		int64_t next;

		error = try_once(&address, fd, mode, deadline);
		/* EAGAIN: its backlog is full. ECONNRESET: it turned us away. */
		if (error != EAGAIN && error != ECONNRESET)
			return error;
		next = now_ms() + pause;
		if (next >= deadline)
			return error;
		wait_until(-1, next);
	}
}
