// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "sink.h"

#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

/* The types of the kernel, which are not sigset_t and timespec of libc. */
struct kernel_sigset {
	unsigned long words[64 / (CHAR_BIT * sizeof(long))];
};
static const struct {
	long seconds, nanoseconds;
} at_once;

atomic_bool sink_stderr_closed;

void sink_start(void)
{
	if (syscall(SYS_fcntl, STDERR_FILENO, F_GETFD) < 0)
		sink_stderr_closed = true;
}

/*
 * write(2) without the signals that would end or stop the program: SIGPIPE where the reader has
 * gone, SIGXFSZ at RLIMIT_FSIZE, SIGTTOU in the background of a terminal (which, blocked, lets the
 * write through). A signal that was pending before stays pending.
 */
static int write_line(int fd, const struct logfmt *line)
{
	const unsigned long fatal = 1UL << (SIGPIPE - 1) | 1UL << (SIGXFSZ - 1);
	const struct kernel_sigset blocked = { { fatal | 1UL << (SIGTTOU - 1) } };
	struct kernel_sigset before, raised, pending = { 0 };
	long written;
	int error;

	if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, &blocked, &before, sizeof(before)) < 0)
		return errno;
	syscall(SYS_rt_sigpending, &pending, sizeof(pending));
	written = syscall(SYS_write, fd, line->text, line->length);
	error = written < 0 ? errno : (size_t)written < line->length ? ENOSPC : 0;
	raised = (struct kernel_sigset){ { fatal & ~pending.words[0] } };
	if (error == EPIPE || error == EFBIG)
		syscall(SYS_rt_sigtimedwait, &raised, NULL, &at_once, sizeof(raised));
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
	return error;
}

/*
 * The library cannot set O_NONBLOCK here: other processes share the open file description. So the
 * write can still block, if another writer fills the pipe after the poll.
 */
static int write_stderr(const struct logfmt *line)
{
	struct pollfd stderr_poll = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (sink_stderr_closed)
		return EBADF;
	if (syscall(SYS_ppoll, &stderr_poll, 1, &at_once, NULL, 0) < 0)
		return errno;
	if (!(stderr_poll.revents & POLLOUT))
		return stderr_poll.revents & POLLNVAL ? EBADF : EAGAIN;
	return write_line(STDERR_FILENO, line);
}

static int write_path(const char *path, const struct logfmt *line)
{
	int fd = sys_open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY,
			  S_IRUSR | S_IWUSR | S_IRGRP);
	int error;

	if (fd < 0)
		return errno;
	error = write_line(fd, line);
	sys_close(fd);
	return error;
}

/* Not syslog(3), which locks, allocates, and reads /etc/localtime. */
static int write_syslog(const struct logfmt *line)
{
	static const char priorities[][5] = {
		/* facility daemon (3) */
		[LOG_LEVEL_ERROR] = "<27>",
		[LOG_LEVEL_WARNING] = "<28>",
		[LOG_LEVEL_INFO] = "<30>",
		[LOG_LEVEL_DEBUG] = "<31>",
	};
	/* /dev of a QEMU under libvirt is private, /run is not. */
	static const char paths[][sizeof("/run/systemd/journal/dev-log")] = {
		_PATH_LOG,
		"/run/systemd/journal/dev-log",
	};
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct iovec parts[] = {
		{ (void *)priorities[line->level], 4 },
		{ (void *)line->text, line->length - 1 }, /* no newline in a datagram */
	};
	const struct msghdr message = {
		.msg_name = &address,
		.msg_namelen = sizeof(address),
		.msg_iov = parts,
		.msg_iovlen = 2,
	};
	int fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0;

	if (fd < 0)
		return errno;
	for (size_t i = 0; i < 2; i++) {
		memcpy(address.sun_path, paths[i], sizeof(paths[i]));
		error = syscall(SYS_sendmsg, fd, &message, MSG_NOSIGNAL) < 0 ? errno : 0;
		if (error != ENOENT)
			break;
	}
	sys_close(fd);
	return error;
}

int sink_write(enum config_log sink, const char *path, const struct logfmt *line)
{
	switch (sink) {
	case LOG_TO_STDERR:
		return write_stderr(line);
	case LOG_TO_SYSLOG:
		return write_syslog(line);
	case LOG_TO_PATH:
		return write_path(path, line);
	case LOG_TO_NONE:
		break;
	}
	return 0;
}
