// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "sink.h"

#include "sys_open.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

static atomic_bool stderr_closed;

void sink_start(void)
{
	if (fcntl(STDERR_FILENO, F_GETFD) < 0)
		stderr_closed = true;
}

/* write(2), but a reader gone gives EPIPE without the signal that would end the program. */
static int write_line(int fd, const struct logfmt *line)
{
	const struct timespec at_once = { 0 };
	sigset_t pipe_only, before, pending;
	bool ours;
	ssize_t written;
	int error;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
	sigpending(&pending);
	ours = !sigismember(&pending, SIGPIPE);
	written = write(fd, line->text, line->length);
	error = written < 0 ? errno : (size_t)written < line->length ? ENOSPC : 0;
	if (error == EPIPE && ours)
		sigtimedwait(&pipe_only, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

/* O_NONBLOCK is not ours to set here: the open file description belongs to others as well. */
static int write_stderr(const struct logfmt *line)
{
	struct pollfd stderr_poll = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (stderr_closed)
		return EBADF;
	if (poll(&stderr_poll, 1, 0) < 0)
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
	close(fd);
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
	const struct sockaddr_un daemon = { .sun_family = AF_UNIX, .sun_path = _PATH_LOG };
	char message[4 + LOGFMT_MAX];
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0;

	if (fd < 0)
		return errno;
	memcpy(message, priorities[line->level], 4);
	memcpy(message + 4, line->text, line->length - 1); /* no newline in a datagram */
	if (sendto(fd, message, 4 + line->length - 1, MSG_NOSIGNAL,
		   (const struct sockaddr *)&daemon, sizeof(daemon)) < 0)
		error = errno;
	close(fd);
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
