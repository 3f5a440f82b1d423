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
 * this process closes none that has a message waiting, unless a child holds it, too, and the end of
 * that child comes later. That end ignores SO_LINGER; a file system that blocks it keeps the child,
 * and so one of its user's places, but nobody else's.
 */
#include "helper_listen.h"

#include "helper_log.h"
#include "helper_serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
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
	TURNED_AWAY_AT_A_TIME = 64,
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
	size_t connection_count, child_count;
	struct connection connections[CONNECTIONS_MAX]; /* the oldest first */
	struct child children[CHILDREN_MAX];
	size_t unwanted_count;
	int unwanted[TURNED_AWAY_AT_A_TIME]; /* one child turns them away */
};

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void log_killed(const struct child *child, int number)
{
	struct logfmt line;

	logfmt_begin(&line, HELPER_NAME, LOG_LEVEL_WARNING);
	logfmt_text(&line, "outcome", "failed");
	logfmt_number(&line, "signal", number);
	logfmt_number(&line, "pid", child->peer.pid);
	logfmt_number(&line, "uid", child->peer.uid);
	logfmt_number(&line, "gid", child->peer.gid);
	logfmt_text(&line, "reason",
		    number == SIGALRM ? "the descriptor hangs whoever looks at it"
				      : "the request was not carried out");
	logfmt_text(&line, "hint", "see what this user runs");
	helper_log_line(&line);
}

static void reap(struct server *server)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < server->child_count; i++) {
			if (server->children[i].pid != pid)
				continue;
			if (WIFSIGNALED(status))
				log_killed(&server->children[i], WTERMSIG(status));
			server->children[i] = server->children[--server->child_count];
			break;
		}
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
 * In a new child: waits until the parent has closed what it gave away. Other connections stay open
 * here until the end, for closing them might take long.
 */
static void become_child(const struct server *server)
{
	sigset_t go, none;
	int number;

	helper_serve_deadline();
	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	sigwait(&go, &number);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close(server->listener);
}

static pid_t start_child(struct server *server, int connection)
{
	static const int off = 0;
	pid_t pid = fork_or_wait(server);

	if (!pid) {
		become_child(server);
		setsockopt(connection, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off));
		helper_serve(connection, server->access);
		_exit(0);
	}
	if (pid > 0) {
		close(connection);
		kill(pid, SIGUSR1);
	}
	return pid;
}

static void turn_away_unwanted(struct server *server)
{
	pid_t pid;

	if (!server->unwanted_count)
		return;
	pid = fork_or_wait(server);
	if (!pid) {
		become_child(server);
		helper_turn_away(server->unwanted, server->unwanted_count);
		_exit(0);
	}
	while (server->unwanted_count--)
		if (pid > 0)
			close(server->unwanted[server->unwanted_count]);
	server->unwanted_count = 0;
	if (pid > 0)
		kill(pid, SIGUSR1);
}

enum waiting { NOTHING, MESSAGE, END };

/* The connections have the listener's SO_PASSCRED, so there is something to truncate in an empty
 * message, too. */
static enum waiting what_waits(int connection)
{
	char byte;
	struct iovec data = { &byte, sizeof(byte) };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };

	if (recvmsg(connection, &message, MSG_PEEK | MSG_DONTWAIT) < 0)
		return errno == EAGAIN ? NOTHING : MESSAGE;
	return message.msg_flags & MSG_CTRUNC ? MESSAGE : END;
}

static void forget(struct server *server, size_t i)
{
	server->connection_count--;
	memmove(&server->connections[i], &server->connections[i + 1],
		(server->connection_count - i) * sizeof(server->connections[0]));
}

static void dismiss(struct server *server, size_t i)
{
	int connection = server->connections[i].fd;
	enum waiting waiting = what_waits(connection);

	forget(server, i);
	if (waiting == NOTHING) {
		shutdown(connection, SHUT_RD); /* nor will there be anything now */
		waiting = what_waits(connection);
	}
	if (waiting != MESSAGE) {
		close(connection);
		return;
	}
	server->unwanted[server->unwanted_count++] = connection;
	if (server->unwanted_count == TURNED_AWAY_AT_A_TIME)
		turn_away_unwanted(server); /* leaves room, but at the end */
}

/* The connections are in the order of their deadlines. */
static void dismiss_overdue(struct server *server)
{
	int64_t now = now_ms();

	while (server->connection_count && server->connections[0].deadline <= now)
		dismiss(server, 0);
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
	const struct connection connection = server->connections[i];
	pid_t pid;

	forget(server, i);
	pid = start_child(server, connection.fd);
	if (pid > 0)
		server->children[server->child_count++] = (struct child){ pid, connection.peer };
}

/* Something is there to be read from a connection, if only its end. True where it is gone then. */
static bool look_at(struct server *server, size_t i)
{
	switch (what_waits(server->connections[i].fd)) {
	case MESSAGE:
		start(server, i);
		return true;
	case END:
		dismiss(server, i);
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
		dismiss(server, oldest_of_process);
	else if (of_user >= CONNECTIONS_PER_USER)
		dismiss(server, oldest_of_user);
	else if (server->connection_count == CONNECTIONS_MAX)
		dismiss(server, 0);
}

static void add_connection(struct server *server, int connection)
{
	struct helper_peer peer;

	/* Whoever has gone already is no work. */
	if (what_waits(connection) == END || helper_peer_get(connection, &peer)) {
		close(connection);
		return;
	}
	make_room(server, &peer);
	server->connections[server->connection_count++] = (struct connection){
		.fd = connection,
		.peer = peer,
		.deadline = now_ms() + HELPER_REQUEST_TIMEOUT_MS,
	};
}

/* Out of descriptors or memory: do with less, and do not spin. */
static void recover(struct server *server)
{
	if (server->connection_count)
		dismiss(server, 0);
	else
		poll(NULL, 0, 10);
}

static int accept_some(struct server *server)
{
	for (int i = 0; i < ACCEPTS_AT_A_TIME; i++) {
		int connection =
			accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (connection >= 0) {
			add_connection(server, connection);
			continue;
		}
		switch (errno) {
		case EAGAIN:
			return 0;
		case EINTR:
		case ECONNABORTED:
			break;
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			recover(server);
			return 0;
		default:
			return errno;
		}
	}
	return 0;
}

/* Descriptors to wait for: two of our own, then the connections in their order. */
enum { LISTENER, SIGNALS, FIRST_CONNECTION };

/* Until something can be done. Fills in what is to be read from which. */
static int wait_for_work(const struct server *server, struct pollfd *polls)
{
	size_t count = server->connection_count;
	int timeout = -1;

	polls[LISTENER] = (struct pollfd){ .fd = server->listener, .events = POLLIN };
	polls[SIGNALS] = (struct pollfd){ .fd = server->signals, .events = POLLIN };
	for (size_t i = 0; i < count; i++) {
		const struct connection *connection = &server->connections[i];

		/* A negative descriptor is not looked at. */
		polls[FIRST_CONNECTION + i] = (struct pollfd){
			.fd = may_start(server, &connection->peer) ? connection->fd : -1,
			.events = POLLIN,
		};
	}
	if (count) {
		int64_t left = server->connections[0].deadline - now_ms();

		timeout = left > 0 ? (int)left : 0;
	}
	return poll(polls, FIRST_CONNECTION + count, timeout) < 0 ? errno : 0;
}

static int work(struct server *server)
{
	struct pollfd polls[FIRST_CONNECTION + CONNECTIONS_MAX];
	const size_t count = server->connection_count;
	int error = wait_for_work(server, polls);

	if (error)
		return error == EINTR ? 0 : error;
	if (polls[SIGNALS].revents)
		take_signals(server);
	for (size_t i = 0, at = 0; i < count; i++)
		if (!polls[FIRST_CONNECTION + i].revents ||
		    !may_start(server, &server->connections[at].peer) || !look_at(server, at))
			at++;
	dismiss_overdue(server);
	if (polls[LISTENER].revents)
		error = accept_some(server);
	turn_away_unwanted(server);
	return error;
}

int helper_listen_signals(void)
{
	sigset_t ours;

	signal(SIGCHLD, SIG_DFL);
	signal(SIGUSR1, SIG_DFL);
	sigemptyset(&ours);
	sigaddset(&ours, SIGUSR1); /* of become_child() */
	sigprocmask(SIG_BLOCK, &ours, NULL);
	sigemptyset(&ours);
	sigaddset(&ours, SIGCHLD);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGINT);
	sigprocmask(SIG_BLOCK, &ours, NULL);
	return signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
}

int helper_listen(int listener, int signals, const struct helper_access *access)
{
	static struct server server;
	int error = 0;

	server.listener = listener;
	server.signals = signals;
	server.access = access;
	while (!server.stop && !error)
		error = work(&server);
	return error;
}
