// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * A request is served in a process of its own, because a descriptor from a hostile client can make
 * ioctl(2) and close(2) hang. This one does nothing that can: it accepts, waits, and starts and
 * reaps children. It holds connections that have said nothing yet, which cost little, and starts
 * children for those that have; both up to a limit for each user and, of what it holds, for each
 * process, so that none crowds out the others.
 *
 * close(2) of a connection closes also the descriptors that wait in it, and hangs with them. So
 * this process closes none with a message unless a child holds it, too, and ends later: the one
 * that serves it, or a closer, which does nothing else. That end ignores SO_LINGER; a file system
 * that blocks it keeps the child, and so one of its user's places, or one of the closers. Once
 * these are all kept, no more is accepted: something has to give, and a bound is better than as
 * many processes as a hostile client likes.
 */
#include "helper_listen.h"

#include "helper_log.h"
#include "helper_serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	CONNECTIONS_MAX = 256,
	CONNECTIONS_PER_USER = 64,
	CONNECTIONS_PER_PROCESS = 4, /* the library makes one at a time */
	CHILDREN_MAX = 64,
	CHILDREN_PER_USER = 16, /* and one for each process */
	ACCEPTS_AT_A_TIME = 64, /* before those that have said something get their turn */
	CLOSERS_MAX = 64,
	UNWANTED_AT_A_TIME = 64, /* fewer wait for the end of the closers there are */
	UNWANTED_MAX = UNWANTED_AT_A_TIME + CONNECTIONS_MAX + ACCEPTS_AT_A_TIME,
	GO_SECONDS = 60,
	PATIENCE_MS = 2000, /* the library gives up at the same time */
};

struct connection {
	int fd;
	struct helper_peer peer;
	int64_t deadline;
};

struct child {
	pid_t pid;
	struct helper_peer peer;
};

struct server {
	int listener, signals;
	bool stop;
	const struct helper_access *access;
	size_t connection_count, child_count, unwanted_count, closer_count;
	struct connection connections[CONNECTIONS_MAX]; /* the oldest first */
	struct child children[CHILDREN_MAX];
	int unwanted[UNWANTED_MAX]; /* connections for the next closer */
	pid_t closers[CLOSERS_MAX];
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void log_killed(const struct helper_peer *peer, int number)
{
	struct logfmt line;

	logfmt_begin(&line, HELPER_NAME, LOG_LEVEL_WARNING);
	logfmt_text(&line, "outcome", "failed");
	logfmt_number(&line, "signal", number);
	helper_peer_log(peer, &line);
	logfmt_text(&line, "reason",
		    number == SIGALRM ? "the descriptor hangs, or this machine is too busy"
				      : "the request was not carried out");
	logfmt_text(&line, "hint", "see what this user runs");
	helper_log_line(&line);
}

static void log_dismissed(const struct helper_peer *peer, const char *reason)
{
	struct logfmt line;

	logfmt_begin(&line, HELPER_NAME, LOG_LEVEL_WARNING);
	logfmt_text(&line, "outcome", "refused");
	logfmt_errno(&line, "errno", ECONNRESET);
	helper_peer_log(peer, &line);
	logfmt_text(&line, "reason", reason);
	logfmt_text(&line, "hint", "see what this user runs");
	helper_log_line(&line);
}

static void log_closers_hang(void)
{
	struct logfmt line;

	logfmt_begin(&line, HELPER_NAME, LOG_LEVEL_ERROR);
	logfmt_text(&line, "outcome", "failed");
	logfmt_text(&line, "reason", "too many processes hang in closing what clients sent");
	logfmt_text(&line, "hint", "nobody is served until one ends; see what file systems hang");
	helper_log_line(&line);
}

static void forget_child(struct server *server, pid_t pid, int status)
{
	for (size_t i = 0; i < server->child_count; i++)
		if (server->children[i].pid == pid) {
			if (WIFSIGNALED(status))
				log_killed(&server->children[i].peer, WTERMSIG(status));
			server->children[i] = server->children[--server->child_count];
			return;
		}
	for (size_t i = 0; i < server->closer_count; i++)
		if (server->closers[i] == pid) {
			server->closers[i] = server->closers[--server->closer_count];
			return;
		}
}

static void reap(struct server *server)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		forget_child(server, pid, status);
}

static void take_signals(struct server *server)
{
	struct signalfd_siginfo info;

	while (read(server->signals, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			server->stop = true;
	reap(server);
}

/* Without a process nothing can be done for anybody, so this waits for one; -1 only at the end. */
static pid_t fork_or_wait(struct server *server)
{
	pid_t pid;

	while ((pid = fork()) < 0 && !server->stop) {
		poll(NULL, 0, 10);
		take_signals(server);
	}
	return pid;
}

/*
 * In a new child: waits until the parent has closed what it gave away; for long, because on a busy
 * machine that may take more than what a request is given. Other connections stay open here until
 * the end, for closing them might take long.
 */
static void become_child(const struct server *server)
{
	static const struct timespec patience = { .tv_sec = GO_SECONDS };
	sigset_t go, none;

	close(server->listener);
	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	sigtimedwait(&go, NULL, &patience);
	helper_serve_deadline();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void close_unwanted(struct server *server)
{
	pid_t pid;

	if (server->unwanted_count < (server->closer_count ? UNWANTED_AT_A_TIME : 1) ||
	    server->closer_count == CLOSERS_MAX)
		return;
	pid = fork_or_wait(server);
	if (!pid) {
		become_child(server);
		_exit(EXIT_SUCCESS);
	}
	if (pid < 0)
		return;
	while (server->unwanted_count)
		close(server->unwanted[--server->unwanted_count]);
	server->closers[server->closer_count++] = pid;
	kill(pid, SIGUSR1);
	if (server->closer_count == CLOSERS_MAX)
		log_closers_hang();
}

enum waiting { NOTHING, MESSAGE, END };

/* The connections have the listener's SO_PASSCRED, so there is something to truncate in an empty
 * message, too. */
static enum waiting peek(int connection)
{
	char byte;
	struct iovec data = { &byte, sizeof(byte) };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };

	if (recvmsg(connection, &message, MSG_PEEK | MSG_DONTWAIT) < 0)
		return errno == EAGAIN ? NOTHING : MESSAGE;
	return message.msg_flags & MSG_CTRUNC ? MESSAGE : END;
}

/* The kernel looks for a message first, and for the end then; what came between is there to see the
 * second time (net/unix/af_unix.c: __unix_dgram_recvmsg). */
static enum waiting what_waits(int connection)
{
	enum waiting first = peek(connection);

	return first == END ? peek(connection) : first;
}

static void forget(struct server *server, size_t i)
{
	server->connection_count--;
	memmove(&server->connections[i], &server->connections[i + 1],
		(server->connection_count - i) * sizeof(server->connections[0]));
}

/* The peer knows it at once, whatever children still hold the connection. */
static void dismiss(struct server *server, size_t i, const char *reason)
{
	const struct connection connection = server->connections[i];

	forget(server, i);
	log_dismissed(&connection.peer, reason);
	shutdown(connection.fd, SHUT_RDWR);
	if (what_waits(connection.fd) == END) /* and nothing more can come */
		close(connection.fd);
	else
		server->unwanted[server->unwanted_count++] = connection.fd;
}

/* The connections are in the order of their deadlines. */
static void dismiss_overdue(struct server *server)
{
	int64_t now = now_ms();

	while (server->connection_count && server->connections[0].deadline <= now)
		dismiss(server, 0, "no request came, or none could be served, in time");
}

/* The library asks for one thing at a time, so what hangs a child is no other process's loss. */
static bool may_start(const struct server *server, const struct helper_peer *peer)
{
	size_t of_user = 0;

	for (size_t i = 0; i < server->child_count; i++) {
		const struct helper_peer *served = &server->children[i].peer;

		if (peer->pid && served->pid == peer->pid) /* 0: of another PID namespace */
			return false;
		of_user += served->uid == peer->uid;
	}
	return server->child_count < CHILDREN_MAX && of_user < CHILDREN_PER_USER;
}

static void start(struct server *server, size_t i)
{
	static const int off = 0;
	const struct connection connection = server->connections[i];
	pid_t pid = fork_or_wait(server);

	if (!pid) {
		become_child(server);
		setsockopt(connection.fd, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off));
		_exit(helper_serve(connection.fd, server->access) ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	if (pid < 0)
		return;
	forget(server, i);
	close(connection.fd);
	server->children[server->child_count++] = (struct child){ pid, connection.peer };
	kill(pid, SIGUSR1);
}

/* Something is there to be read from a connection, if only its end. True where it is gone then. */
static bool look_at(struct server *server, size_t i)
{
	switch (what_waits(server->connections[i].fd)) {
	case MESSAGE:
		start(server, i);
		return true;
	case END:
		close(server->connections[i].fd);
		forget(server, i);
		return true;
	case NOTHING:
		break;
	}
	return false;
}

/* Who comes takes the place of the oldest of its own process or user that has its share. */
static void make_room(struct server *server, const struct helper_peer *peer)
{
	size_t of_user = 0, of_process = 0;
	size_t oldest_of_user = 0, oldest_of_process = 0;

	for (size_t i = server->connection_count; i-- > 0;) {
		if (server->connections[i].peer.uid != peer->uid)
			continue;
		of_user++;
		oldest_of_user = i;
		if (!peer->pid || server->connections[i].peer.pid != peer->pid)
			continue;
		of_process++;
		oldest_of_process = i;
	}
	if (of_process >= CONNECTIONS_PER_PROCESS)
		dismiss(server, oldest_of_process, "too many connections of this process");
	else if (of_user >= CONNECTIONS_PER_USER)
		dismiss(server, oldest_of_user, "too many connections of this user");
	else if (server->connection_count == CONNECTIONS_MAX)
		dismiss(server, 0, "too many connections");
}

static void add_connection(struct server *server, int connection)
{
	struct helper_peer peer = { 0, (uid_t)-1, (gid_t)-1 };

	if (what_waits(connection) == END) { /* whoever has gone already is no work */
		close(connection);
		return;
	}
	helper_peer_get(connection, &peer); /* for the limits; who serves it asks again */
	make_room(server, &peer);
	server->connections[server->connection_count++] = (struct connection){
		.fd = connection,
		.peer = peer,
		.deadline = now_ms() + PATIENCE_MS,
	};
}

/* Out of descriptors or memory, most likely: do with less, and do not spin. */
static void recover(struct server *server, int error)
{
	if (server->connection_count)
		dismiss(server, 0, strerror(error));
	else
		poll(NULL, 0, 10);
}

static void accept_some(struct server *server)
{
	for (int i = 0; i < ACCEPTS_AT_A_TIME; i++) {
		int connection =
			accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (connection < 0) {
			if (errno != EAGAIN)
				recover(server, errno);
			return;
		}
		add_connection(server, connection);
	}
}

/* Descriptors to wait for: two of our own, then the connections in their order. */
enum { LISTENER, SIGNALS, FIRST_CONNECTION };

/* Until something can be done. Fills in what is to be read from which; false on an error. */
static bool wait_for_work(const struct server *server, struct pollfd *polls)
{
	size_t count = server->connection_count;
	int timeout = -1;

	/* A negative descriptor is not looked at. */
	polls[LISTENER] = (struct pollfd){
		.fd = server->closer_count < CLOSERS_MAX ? server->listener : -1,
		.events = POLLIN,
	};
	polls[SIGNALS] = (struct pollfd){ .fd = server->signals, .events = POLLIN };
	for (size_t i = 0; i < count; i++) {
		const struct connection *connection = &server->connections[i];

		polls[FIRST_CONNECTION + i] = (struct pollfd){
			.fd = may_start(server, &connection->peer) ? connection->fd : -1,
			.events = POLLIN,
		};
	}
	if (count) {
		int64_t left = server->connections[0].deadline - now_ms();

		timeout = left > 0 ? (int)left : 0;
	}
	return poll(polls, FIRST_CONNECTION + count, timeout) >= 0;
}

static void work(struct server *server)
{
	struct pollfd polls[FIRST_CONNECTION + CONNECTIONS_MAX];
	const size_t count = server->connection_count;

	if (!wait_for_work(server, polls)) {
		recover(server, errno);
		return;
	}
	take_signals(server);
	for (size_t i = 0, at = 0; i < count; i++)
		if (!polls[FIRST_CONNECTION + i].revents ||
		    !may_start(server, &server->connections[at].peer) || !look_at(server, at))
			at++;
	dismiss_overdue(server);
	if (polls[LISTENER].revents)
		accept_some(server);
	close_unwanted(server);
}

int helper_listen_signals(void)
{
	sigset_t ours, blocked;

	signal(SIGCHLD, SIG_DFL);
	signal(SIGUSR1, SIG_DFL);
	sigemptyset(&ours);
	sigaddset(&ours, SIGCHLD);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGINT);
	blocked = ours;
	sigaddset(&blocked, SIGUSR1); /* of become_child() */
	if (sigprocmask(SIG_BLOCK, &blocked, NULL) < 0)
		return -1;
	return signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
}

void helper_listen(int listener, int signals, const struct helper_access *access)
{
	static struct server server;

	server.listener = listener;
	server.signals = signals;
	server.access = access;
	while (!server.stop)
		work(&server);
}
