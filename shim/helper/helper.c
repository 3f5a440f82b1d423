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
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define NAME    "iommufd-rlimit-helper"
#define PROGRAM LIBEXECDIR "/" NAME

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* <asm-generic/socket.h>, Linux 6.16 */
#endif

enum { KEPT_MAX = 64, EXIT_USAGE = 2 };

static const char usage[] =
	"usage: " NAME " [--help | --version]\n"
	"Gives an iommufd with per-process accounting to each process that connects to its\n"
	"standard input, a listening AF_UNIX stream socket. Start it by systemd:\n"
	"  systemctl enable --now " NAME ".socket\n"
	"or by a socket binder in a loop, as " NAME "(8) shows:\n"
	"  s6-ipcserver-socketbinder -a 0660 /run/iommufd-rlimit/helper.sock " PROGRAM "\n";

/* Writes one line to stderr. A line that cannot be written at once is dropped. */
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
		return; /* the line is dropped; _FORTIFY_SOURCE wants a look at the result */
}

/* The step that mends a failed open or ioctl; NULL if there is no single one. */
static const char *hint_for(int error, bool opened)
{
	if (opened)
		return error == EPERM ? "give it CAP_SYS_RESOURCE in the initial user namespace"
				      : NULL;
	if (error == EPERM || error == EACCES)
		return "see DeviceAllow= and SupplementaryGroups=: systemctl cat " NAME;
	return error == ENOENT || error == ENODEV ? "run: modprobe iommufd" : NULL;
}

/*
 * Did the peer send anything before it was accepted? After SHUT_RD nothing more can be queued:
 * net/unix/af_unix.c, unix_stream_sendmsg().
 */
static bool has_queued(int connection)
{
	int bytes = 0;

	return shutdown(connection, SHUT_RD) < 0 || ioctl(connection, FIONREAD, &bytes) < 0 ||
	       bytes;
}

static int kept[KEPT_MAX];

static int close_kept(void *unused)
{
	for (size_t i = 0; i < KEPT_MAX; i++)
		close(kept[i]);
	return unused != NULL;
}

/*
 * A close of a connection closes the descriptors queued on it, which takes as long as their owner
 * likes (SO_LINGER of TCP, a VM of KVM). So a second process, which shares the descriptors of the
 * helper, closes the kept connections. If the helper cannot start that process, the helper ends,
 * and systemd starts another one for the next connection.
 */
static void keep(int connection)
{
	static _Alignas(16) char stack[8192];
	static size_t count;

	kept[count++] = connection;
	if (count == KEPT_MAX) {
		if (clone(close_kept, stack + sizeof(stack), CLONE_FILES | SIGCHLD, NULL) < 0)
			_exit(EXIT_FAILURE);
		count = 0;
	}
}

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
	int iommufd, error, unsent;
	bool opened;

	getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size);
	if (has_queued(connection)) {
		log_peer(LOG_LEVEL_WARNING, "ignored", 0, &peer, "the client must not send data");
		keep(connection);
		return;
	}
	iommufd = open(IOMMUFD_PATH, O_RDWR | O_CLOEXEC);
	opened = iommufd >= 0;
	error = opened ? set_process_mode(iommufd) : errno;
	unsent = answer(connection, error, iommufd);
	if (opened)
		close(iommufd); /* the peer has a reference of its own */
	if (error)
		log_peer(LOG_LEVEL_ERROR, "failed", error, &peer, hint_for(error, opened));
	else if (unsent)
		log_peer(LOG_LEVEL_WARNING, "unsent", unsent, &peer,
			 unsent == EPIPE ? "the client had closed the connection" : NULL);
	else
		log_peer(LOG_LEVEL_INFO, "given", 0, &peer, NULL);
	if (!opened)
		_exit(EXIT_FAILURE); /* systemd resolves DeviceAllow= when it starts a service */
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
	const int no = 0;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	fcntl(STDIN_FILENO, F_SETFL, 0); /* a socket binder may have made it non-blocking */
	/* Peers cannot send descriptors from now on, where the kernel knows the option. */
	setsockopt(STDIN_FILENO, SOL_SOCKET, SO_PASSRIGHTS, &no, sizeof(no));
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
		fprintf(stderr, NAME ": cannot take the argument \"%s\"\n%s", argv[argc - 1],
			usage);
	else if (!is_listening_stream(STDIN_FILENO))
		fprintf(stderr,
			NAME ": standard input is not a listening AF_UNIX stream socket\n%s",
			usage);
	else if (fcntl(STDERR_FILENO, F_GETFD) >= 0) /* else a connection would be stderr */
		return serve_all();
	return EXIT_USAGE;
}
