// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * A request is served in a process of its own, because a descriptor from a hostile client can make
 * fstat(2), ioctl(2) and close(2) hang. This one does nothing that can: it accepts, waits, and
 * starts and reaps children. It holds connections that have said nothing yet, which cost little, up
 * to a limit, and starts children only for those that have, up to a limit; both for each user, so
 * that one user cannot crowd out another.
 *
 * close(2) of a connection here closes also what is under way in it, and would hang as well. So no
 * connection is closed here that can have a message waiting, unless a child holds it, too.
 */
#include "helper_listen.h"

#include "helper_log.h"
#include "helper_serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	CONNECTIONS_MAX = 256,
	CONNECTIONS_PER_USER = 64,
	CHILDREN_MAX = 64,
	CHILDREN_PER_USER = 16,
	ACCEPTS_AT_A_TIME = 64, /* before those that have said something get their turn */
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
	int listener;
	const struct helper_access *access;
	size_t connection_count, child_count;
	struct connection connections[CONNECTIONS_MAX]; /* the oldest first */
	struct child children[CHILDREN_MAX];
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	if (number != SIGCHLD)
		stop = 1;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static _Noreturn void run_child(const struct server *server, int connection, int gate, bool serve)
{
	sigset_t none;
	char byte;

	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	helper_serve_deadline();

	/* Until the parent has closed its own: the last to close is the one that may hang. */
	while (read(gate, &byte, 1) < 0 && errno == EINTR)
		;
	dup2(connection, STDIN_FILENO);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
	if (serve)
		helper_serve(STDIN_FILENO, server->access);
	else
		helper_turn_away(STDIN_FILENO);
	_exit(0);
}

/* Gives a connection to a child, and is rid of it itself. Returns the child's pid or -1. */
static pid_t hand_over(const struct server *server, int connection, bool serve)
{
	pid_t pid = -1;
	int gate[2];

	if (pipe2(gate, O_CLOEXEC) == 0) {
		pid = fork();
		if (!pid) {
			close(gate[1]);
			run_child(server, connection, gate[0], serve);
		}
		close(connection);
		close(gate[0]);
		close(gate[1]);
	} else {
		close(connection);
	}
	return pid;
}

static void forget_connection(struct server *server, size_t i)
{
	server->connection_count--;
	memmove(&server->connections[i], &server->connections[i + 1],
		(server->connection_count - i) * sizeof(server->connections[0]));
}

static bool has_nothing_yet(int connection)
{
	char byte;

	return recv(connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Closes a connection that has said nothing; one that has, a child turns away. */
static void dismiss(struct server *server, size_t i)
{
	int connection = server->connections[i].fd;
	char byte;

	forget_connection(server, i);
	if (has_nothing_yet(connection)) {
		shutdown(connection, SHUT_RD); /* nor will it say anything now */
		if (recv(connection, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {
			close(connection);
			return;
		}
	}
	hand_over(server, connection, false);
}

/* The connections are in the order of their deadlines. */
static void dismiss_overdue(struct server *server)
{
	int64_t now = now_ms();

	while (server->connection_count && server->connections[0].deadline <= now)
		dismiss(server, 0);
}

static bool may_start(const struct server *server, uid_t uid)
{
	size_t of_user = 0;

	for (size_t i = 0; i < server->child_count; i++)
		of_user += server->children[i].peer.uid == uid;
	return server->child_count < CHILDREN_MAX && of_user < CHILDREN_PER_USER;
}

static void start(struct server *server, size_t i)
{
	struct child *child = &server->children[server->child_count];
	int connection = server->connections[i].fd;

	child->peer = server->connections[i].peer;
	forget_connection(server, i);
	child->pid = hand_over(server, connection, true);
	if (child->pid > 0)
		server->child_count++;
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

static void make_room(struct server *server, uid_t uid)
{
	size_t of_user = 0;
	size_t oldest = 0;

	for (size_t i = server->connection_count; i-- > 0;)
		if (server->connections[i].peer.uid == uid) {
			of_user++;
			oldest = i;
		}
	if (of_user >= CONNECTIONS_PER_USER)
		dismiss(server, oldest);
	else if (server->connection_count == CONNECTIONS_MAX)
		dismiss(server, 0);
}

static void add_connection(struct server *server, int connection)
{
	struct helper_peer peer;

	if (helper_peer_get(connection, &peer)) {
		close(connection);
		return;
	}
	make_room(server, peer.uid);
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

/* Until something can be done. Fills in what is to be read from which connection. */
static int wait_for_work(const struct server *server, struct pollfd *polls, const sigset_t *mask)
{
	size_t count = server->connection_count;
	struct timespec timeout, *until = NULL;

	polls[0] = (struct pollfd){ .fd = server->listener, .events = POLLIN };
	for (size_t i = 0; i < count; i++) {
		const struct connection *connection = &server->connections[i];

		/* A negative descriptor is not looked at. */
		polls[1 + i] = (struct pollfd){
			.fd = may_start(server, connection->peer.uid) ? connection->fd : -1,
			.events = POLLIN,
		};
	}
	if (count) {
		int64_t left = server->connections[0].deadline - now_ms();

		if (left < 0)
			left = 0;
		timeout = (struct timespec){ left / 1000, left % 1000 * 1000000 };
		until = &timeout;
	}
	if (ppoll(polls, 1 + count, until, mask) >= 0)
		return 0;
	for (size_t i = 0; i <= count; i++)
		polls[i].revents = 0;
	return errno == EINTR ? 0 : errno;
}

static int work(struct server *server, const sigset_t *mask)
{
	struct pollfd polls[1 + CONNECTIONS_MAX];
	int error = wait_for_work(server, polls, mask);

	if (error)
		return error;
	reap(server);
	/* From the newest, so that those before it keep their place. */
	for (size_t i = server->connection_count; i-- > 0;)
		if (polls[1 + i].revents && may_start(server, server->connections[i].peer.uid))
			start(server, i);
	dismiss_overdue(server);
	return polls[0].revents ? accept_some(server) : 0;
}

int helper_listen(int listener, const struct helper_access *access)
{
	static const int signals[] = { SIGCHLD, SIGTERM, SIGINT };
	static struct server server;
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t ours, before;
	int error = 0;

	server.listener = listener;
	server.access = access;
	sigemptyset(&ours);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		sigaddset(&ours, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	/* They arrive in ppoll(2) and nowhere else. */
	sigprocmask(SIG_BLOCK, &ours, &before);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigdelset(&before, signals[i]);
	while (!stop && !error)
		error = work(&server, &before);
	return error;
}
