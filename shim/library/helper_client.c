// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "helper_client.h"

#include "helper_protocol.h"
#include "iommufd.h"
#include "sys.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define OVERFLOW_UID 65534 /* a user namespace shows each unmapped user as this one */

const char *helper_step_name(enum helper_step step)
{
	static const char names[][9] = {
		[HELPER_OPEN] = "open",         [HELPER_CONNECT] = "connect",
		[HELPER_LISTENER] = "listener", [HELPER_RECEIVE] = "receive",
		[HELPER_ANSWER] = "answer",     [HELPER_CHECK] = "check",
		[HELPER_REPLACE] = "replace",
	};

	return names[step];
}

static int64_t now_us(void)
{
	struct timespec now = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* SO_SNDTIMEO or SO_RCVTIMEO of socket(7): a call that waits longer fails with EAGAIN. */
static int set_timeout(int connection, int option, int64_t deadline)
{
	const int64_t left = deadline - now_us();
	const struct timeval timeout = { (long)(left / 1000000), (long)(left % 1000000) };

	if (left <= 0)
		return ETIMEDOUT;
	if (syscall(SYS_setsockopt, connection, SOL_SOCKET, option, &timeout, sizeof(timeout)) < 0)
		return errno;
	return 0;
}

static int connect_until(int connection, const char *path, int64_t deadline)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	bool failed;
	int error;

	memcpy(address.sun_path, path, CONFIG_HELPER_MAX);
	do {
		error = set_timeout(connection, SO_SNDTIMEO, deadline);
		if (error)
			return error;
		failed = syscall(SYS_connect, connection, &address, sizeof(address)) < 0;
	} while (failed && errno == EINTR);
	return !failed ? 0 : errno == EAGAIN ? ETIMEDOUT : errno;
}

/*
 * A process that keeps a copy of the iommufd can change what the guest's devices reach. Root can do
 * that anyway. The program's own user is trusted only with a socket that the settings name.
 */
static bool listener_is_trusted(int connection, bool trust_own_user)
{
	struct ucred listener;
	socklen_t size = sizeof(listener);

	if (syscall(SYS_getsockopt, connection, SOL_SOCKET, SO_PEERCRED, &listener, &size) < 0)
		return false;
	return !listener.uid || (trust_own_user && listener.uid == (uid_t)syscall(SYS_EUID) &&
				 listener.uid != OVERFLOW_UID);
}

/* On each return, @iommufd is the descriptor that came with @byte, if one came. */
static int receive_until(int connection, int64_t deadline, unsigned char *byte, int *iommufd)
{
	struct iovec bytes = { byte, sizeof(*byte) };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control };
	long length;
	int error;

	do {
		error = set_timeout(connection, SO_RCVTIMEO, deadline);
		if (error)
			return error;
		message.msg_controllen = CMSG_LEN(sizeof(int)); /* CMSG_SPACE has room for two */
		length = syscall(SYS_recvmsg, connection, &message, MSG_CMSG_CLOEXEC);
	} while (length < 0 && errno == EINTR);
	if (length < 0)
		return errno == EAGAIN ? ETIMEDOUT : errno;
	if (message.msg_controllen >= CMSG_LEN(sizeof(int)))
		memcpy(iommufd, CMSG_DATA(&control.header), sizeof(*iommufd));
	if (!length)
		return ECONNRESET;
	if (*iommufd < 0)
		return *byte == HELPER_GIVEN ? EBADMSG : 0;
	return *byte != HELPER_GIVEN || message.msg_flags & MSG_CTRUNC ? EPROTO : 0;
}

/* dup3(2) takes neither the status flags nor close-on-exec from the descriptor that it replaces. */
static int replace(int fd, long status_flags, int iommufd)
{
	const long descriptor_flags = syscall(SYS_fcntl, fd, F_GETFD);

	if (descriptor_flags < 0 || syscall(SYS_fcntl, iommufd, F_SETFL, status_flags) < 0 ||
	    syscall(SYS_dup3, iommufd, fd, descriptor_flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)
		return errno;
	return 0;
}

/* On each return, @step is the last one begun, and @iommufd a descriptor that came, if any. */
static int exchange(int connection, const char *path, bool trust_own_user, int fd,
		    enum helper_step *step, int *iommufd)
{
	const int64_t deadline = now_us() + HELPER_CLIENT_TIMEOUT_MS * INT64_C(1000);
	const long status_flags = syscall(SYS_fcntl, fd, F_GETFL);
	unsigned char byte;
	int error;

	*step = HELPER_OPEN;
	if (status_flags < 0 || (status_flags & O_ACCMODE) != O_RDWR)
		return EBADF;
	*step = HELPER_CONNECT;
	error = connect_until(connection, path, deadline);
	if (error)
		return error;
	*step = HELPER_LISTENER;
	if (!listener_is_trusted(connection, trust_own_user))
		return EPERM;
	*step = HELPER_RECEIVE;
	error = receive_until(connection, deadline, &byte, iommufd);
	if (error)
		return error;
	*step = HELPER_ANSWER;
	if (byte != HELPER_GIVEN)
		return byte;
	byte = HELPER_ACKNOWLEDGEMENT;
	syscall(SYS_sendto, connection, &byte, sizeof(byte), MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
	*step = HELPER_CHECK;
	if (!iommufd_is_same_device(*iommufd, fd) ||
	    !iommufd_has_rlimit_mode(*iommufd, RLIMIT_MODE_PROCESS))
		return EPROTO;
	*step = HELPER_REPLACE;
	return replace(fd, status_flags, *iommufd);
}

struct helper_result helper_client_replace(const char *path, bool trust_own_user, int fd)
{
	struct helper_result result = { HELPER_CONNECT, 0 };
	int iommufd = -1;
	int connection = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connection < 0) {
		result.error = errno;
		return result;
	}
	result.error = exchange(connection, path, trust_own_user, fd, &result.step, &iommufd);
	if (iommufd >= 0)
		sys_close(iommufd);
	sys_close(connection);
	return result;
}
