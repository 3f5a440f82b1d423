// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "helper_serve.h"

#include "helper_confine.h"
#include "helper_log.h"
#include "helper_protocol.h"
#include "iommufd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * The library sends right after connect(2), and this process was started after that: who has sent
 * nothing yet takes one of its user's places for nothing. Not less, because a scheduler may hold a
 * thread up for as long (100 ms is the period of cgroup quotas); not more is needed, because one
 * held up for longer tries again.
 */
#define REQUEST_TIMEOUT_MS 100

enum refusal {
	REFUSAL_NONE,
	REFUSAL_SILENCE,
	REFUSAL_NO_REQUEST,
	REFUSAL_VERSION,
	REFUSAL_MODE,
	REFUSAL_DESCRIPTORS,
	REFUSAL_PEER,
	REFUSAL_NO_IOMMUFD,
};

static const struct {
	int error; /* what the client is told */
	const char *reason, *hint;
} refusals[] = {
	/* One that was held up after connect(2) tries again. */
	[REFUSAL_SILENCE] = { EAGAIN, "no request came in time", "see why this client hangs" },
	[REFUSAL_NO_REQUEST] = { EPROTO, "the message is no request",
				 "only libiommufd-rlimit.so should connect here" },
	[REFUSAL_VERSION] = { EPROTONOSUPPORT, "another version of the protocol",
			      "install the library and the helper from the same release" },
	[REFUSAL_MODE] = { EINVAL, "no such mode",
			   "only libiommufd-rlimit.so should connect here" },
	[REFUSAL_DESCRIPTORS] = { EBADF, "not exactly one descriptor",
				  "only libiommufd-rlimit.so should connect here" },
	[REFUSAL_PEER] = { EACCES, "this user is not allowed",
			   "see --allow-user and --allow-group in iommufd-rlimit-helper(8)" },
	[REFUSAL_NO_IOMMUFD] = { ENOTTY, "the descriptor is no iommufd",
				 "if it is " IOMMUFD_PATH ", /sys is missing here" },
};

struct exchange {
	struct helper_peer peer;
	bool understood; /* request is filled in */
	struct helper_request request;
	enum refusal refusal;
	int set_error;
	uint64_t effective;
};

static bool wait_for_message(int connection)
{
	struct pollfd readable = { .fd = connection, .events = POLLIN };

	return poll(&readable, 1, REQUEST_TIMEOUT_MS) > 0;
}

/* The one descriptor of a message, or -1 where there is none, more than one, or something else. */
static int only_descriptor(struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	int fd;

	if (message->msg_flags & MSG_CTRUNC || !header || header->cmsg_level != SOL_SOCKET ||
	    header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(fd)))
		return -1;
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

static enum refusal receive_request(int connection, struct exchange *exchange, int *fd)
{
	char bytes[sizeof(exchange->request) + 1]; /* one more, to tell a longer one */
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))]; /* the kernel closes what has no room here */
	} control;
	struct iovec data = { bytes, sizeof(bytes) };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t length;

	if (!wait_for_message(connection))
		return REFUSAL_SILENCE;
	length = syscall(SYS_recvmsg, connection, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (length < 0)
		return REFUSAL_NO_REQUEST;
	switch (helper_request_decode(bytes, (size_t)length, &exchange->request)) {
	case 0:
		break;
	case EPROTONOSUPPORT:
		return REFUSAL_VERSION;
	case EINVAL:
		return REFUSAL_MODE;
	default:
		return REFUSAL_NO_REQUEST;
	}
	exchange->understood = true;
	*fd = only_descriptor(&message);
	return *fd < 0 ? REFUSAL_DESCRIPTORS : REFUSAL_NONE;
}

static void set_mode(struct exchange *exchange, int fd)
{
	exchange->set_error = iommufd_set_rlimit_mode(fd, exchange->request.mode);
	iommufd_get_rlimit_mode(fd, &exchange->effective);
}

static bool is_in_force(const struct exchange *exchange)
{
	return !exchange->refusal && exchange->effective == exchange->request.mode;
}

/* What the client is told: an errno value, or 0. */
static int answer_of(const struct exchange *exchange)
{
	if (exchange->refusal)
		return refusals[exchange->refusal].error;
	if (is_in_force(exchange))
		return 0;
	return exchange->set_error ? exchange->set_error : EIO;
}

static void answer(int connection, const struct exchange *exchange)
{
	const struct helper_reply reply = {
		.magic = HELPER_REPLY_MAGIC,
		.version = HELPER_PROTOCOL_VERSION,
		.error = (uint16_t)answer_of(exchange),
		.effective = exchange->effective,
	};

	/* A client that has gone, or reads nothing, has itself to blame. */
	syscall(SYS_sendto, connection, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL, NULL,
		0);
}

static const char *outcome_of(const struct exchange *exchange)
{
	if (exchange->refusal)
		return "refused";
	if (is_in_force(exchange))
		return exchange->set_error ? "already" : "applied";
	return exchange->set_error == EPERM ? "denied" : "failed";
}

static const char *hint_of(const struct exchange *exchange)
{
	if (exchange->refusal)
		return refusals[exchange->refusal].hint;
	switch (exchange->set_error) {
	case EPERM:
		return "the helper needs CAP_SYS_RESOURCE outside of any user namespace";
	case EBUSY:
		return "this iommufd has objects already; set the mode where it is opened";
	default:
		return "see iommufd-rlimit-helper(8)";
	}
}

static void log_exchange(const struct exchange *exchange)
{
	bool good = is_in_force(exchange);
	struct logfmt line;

	logfmt_begin(&line, HELPER_NAME, good ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING);
	logfmt_text(&line, "outcome", outcome_of(exchange));
	if (exchange->understood)
		logfmt_text(&line, "requested", rlimit_mode_name(exchange->request.mode));
	if (!exchange->refusal)
		logfmt_text(&line, "effective", rlimit_mode_name(exchange->effective));
	if (!good)
		logfmt_errno(&line, "errno", answer_of(exchange));
	helper_peer_log(&exchange->peer, &line);
	if (exchange->understood)
		logfmt_text(&line, "comm", exchange->request.comm);
	if (exchange->refusal)
		logfmt_text(&line, "reason", refusals[exchange->refusal].reason);
	if (!good)
		logfmt_text(&line, "hint", hint_of(exchange));
	helper_log_line(&line);
}

static void carry_out(int connection, const struct helper_access *access, struct exchange *exchange)
{
	int fd = -1;

	exchange->refusal = receive_request(connection, exchange, &fd);
	if (exchange->refusal)
		return;
	if (!helper_peer_is_allowed(connection, &exchange->peer, access))
		exchange->refusal = REFUSAL_PEER;
	else if (!iommufd_is(fd))
		exchange->refusal = REFUSAL_NO_IOMMUFD;
	else
		set_mode(exchange, fd);
}

static void log_failure(int error, const char *reason)
{
	struct logfmt line;

	logfmt_begin(&line, HELPER_NAME, LOG_LEVEL_ERROR);
	logfmt_text(&line, "outcome", "failed");
	logfmt_errno(&line, "errno", error);
	logfmt_text(&line, "reason", reason);
	helper_log_line(&line);
}

/* Without the filter nothing is received: it is there for what a hostile request might lead to. */
static bool confine(void)
{
	int error = helper_confine_system_calls();

	if (error)
		log_failure(error, "no system call filter");
	return !error;
}

void helper_serve_deadline(void)
{
	sigset_t alarm_only;

	signal(SIGALRM, SIG_DFL);
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
	alarm(HELPER_SERVE_SECONDS);
}

bool helper_serve(int connection, const struct helper_access *access)
{
	struct exchange exchange = { .effective = HELPER_MODE_UNKNOWN };
	int error;

	if (!confine())
		return false;
	error = helper_peer_get(connection, &exchange.peer);
	if (error) {
		log_failure(error, "nobody knows who asks");
		return false;
	}
	carry_out(connection, access, &exchange);
	answer(connection, &exchange);
	log_exchange(&exchange);
	return true;
}
