// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * iommufd-rlimit-helper gives an iommufd in mode process to each process that connects to its
 * socket. It receives nothing, so there is nothing to parse. The socket's permissions decide who
 * may connect; docs/theory-of-operation.md says why that is enough.
 */
#include "helper_protocol.h"
#include "iommufd.h"
#include "logfmt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME    "iommufd-rlimit-helper"
#define PROGRAM LIBEXECDIR "/" NAME

enum { KEPT_MAX = 64, EXIT_USAGE = 2 };

static const char usage[] =
	"usage: " NAME " [--help | --version]\n"
	"Gives an iommufd with per-process accounting to each process that connects to its\n"
	"standard input, a listening AF_UNIX stream socket. Start it by systemd:\n"
	"  systemctl enable --now " NAME ".socket\n"
	"or by a socket binder:\n"
	"  s6-ipcserver-socketbinder -a 0660 /run/iommufd-rlimit/helper.sock " PROGRAM "\n"
	"See " NAME "(8).\n";

/* One line to stderr, dropped where it cannot be written at once. */
static void log_peer(enum log_level level, const char *outcome, int error, const struct ucred *peer,
		     const char *hint)
{
	/* journald reads the priority, sd-daemon(3). */
	static const char *const journal_names[] = { "<3>" NAME, "<4>" NAME, "<6>" NAME };
	struct pollfd writable = { .fd = STDERR_FILENO, .events = POLLOUT };
	struct logfmt line;

	logfmt_begin(&line, getenv("JOURNAL_STREAM") ? journal_names[level] : NAME, level);
	logfmt_text(&line, "outcome", outcome);
	if (error)
		logfmt_errno(&line, "errno", error);
	logfmt_number(&line, "pid", peer->pid);
	logfmt_number(&line, "uid", peer->uid);
	logfmt_number(&line, "gid", peer->gid);
	if (hint)
		logfmt_text(&line, "hint", hint);
	if (poll(&writable, 1, 0) == 1 && write(STDERR_FILENO, line.text, line.length) < 0)
		return;
}

/* NULL for an errno value that no one step mends. */
static const char *hint_for(int error, bool opened)
{
	if (error == EPERM)
		return opened ? "needs CAP_SYS_RESOURCE in the initial user namespace"
			      : "see DeviceAllow= of " NAME ".service";
	if (error == EACCES)
		return "see SupplementaryGroups= of " NAME ".service";
	if (error == ENOENT || error == ENXIO || error == ENODEV)
		return "modprobe iommufd";
	return opened ? "needs Linux 6.2 or later, with IOMMU_OPTION_RLIMIT_MODE" : NULL;
}

/*
 * Did the peer send anything before it was accepted? Descriptors may be queued with it. A process
 * that closes the connection closes these, and waits as long as their owner likes (SO_LINGER), but
 * not at its own end: net/ipv4/af_inet.c, inet_release(), PF_EXITING. So such a connection is kept,
 * and the process ends when many are. After SHUT_RD nothing more can be queued:
 * net/unix/af_unix.c, unix_stream_sendmsg().
 */
static bool has_queued(int connection)
{
	int bytes = 0;

	return shutdown(connection, SHUT_RD) < 0 || ioctl(connection, FIONREAD, &bytes) < 0 ||
	       bytes;
}

/* Returns 0 or an errno value. */
static int set_process_mode(int iommufd)
{
	int error = iommufd_set_rlimit_mode(iommufd, RLIMIT_MODE_PROCESS);

	return error || iommufd_has_rlimit_mode(iommufd, RLIMIT_MODE_PROCESS) ? error : EIO;
}

/* Sends HELPER_GIVEN with the descriptor, or @error alone. Returns 0 or an errno value. */
static int answer(int connection, int error, int iommufd)
{
	unsigned char byte = error ? (unsigned char)error : HELPER_GIVEN;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
				  .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS } };
	const struct msghdr message = {
		.msg_iov = &(struct iovec){ &byte, sizeof(byte) },
		.msg_iovlen = 1,
		.msg_control = error ? NULL : &control,
		.msg_controllen = error ? 0 : sizeof(control),
	};

	memcpy(CMSG_DATA(&control.header), &iommufd, sizeof(iommufd));
	return sendmsg(connection, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? errno : 0;
}

static void serve(int connection)
{
	struct ucred peer = { 0 };
	socklen_t size = sizeof(peer);
	static int kept;
	int iommufd, error, unsent;

	getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size);
	if (has_queued(connection)) {
		log_peer(LOG_LEVEL_WARNING, "ignored", 0, &peer, "a client sends nothing");
		if (++kept == KEPT_MAX)
			_exit(EXIT_FAILURE);
		return; /* and the connection stays open */
	}
	iommufd = open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC);
	error = iommufd < 0 ? errno : set_process_mode(iommufd);
	unsent = answer(connection, error, iommufd);
	if (error)
		log_peer(LOG_LEVEL_ERROR, "failed", error, &peer, hint_for(error, iommufd >= 0));
	else if (unsent)
		log_peer(LOG_LEVEL_WARNING, "unsent", unsent, &peer, "the client has gone");
	else
		log_peer(LOG_LEVEL_INFO, "given", 0, &peer, NULL);
	if (iommufd < 0)
		_exit(EXIT_FAILURE); /* systemd resolves DeviceAllow= when it starts a service */
	close(iommufd);
	close(connection);
}

static bool is_listening_stream(int fd)
{
	int domain = 0, type = 0, listening = 0;
	socklen_t size = sizeof(int);

	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size);
	return domain == AF_UNIX && type == SOCK_STREAM && listening;
}

static int serve_all(void)
{
	signal(SIGPIPE, SIG_IGN);
	fcntl(STDIN_FILENO, F_SETFL, 0); /* a socket binder may have made it non-blocking */
	for (;;) {
		int connection = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC);

		if (connection >= 0)
			serve(connection);
		else if (errno != EINTR && errno != ECONNABORTED)
			break;
	}
	perror(NAME ": accept");
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--version"))
		return puts(NAME " " VERSION) < 0;
	if (argc == 2 && !strcmp(argv[1], "--help"))
		return fputs(usage, stdout) < 0;
	if (argc > 1)
		fprintf(stderr, NAME ": \"%s\" is not an option\n%s", argv[1], usage);
	else if (!is_listening_stream(STDIN_FILENO))
		fprintf(stderr, NAME ": standard input is not a listening socket\n%s", usage);
	else if (fcntl(STDERR_FILENO, F_GETFD) >= 0) /* else a connection would become the log */
		return serve_all();
	return EXIT_USAGE;
}
