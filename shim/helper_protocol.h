// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * What the library and iommufd-rlimit-helper say to each other over a SOCK_SEQPACKET socket: one
 * request with one descriptor, one reply, both of fixed size and in the byte order of the machine.
 * Pure: no system call, no allocation. Every byte that arrives was written by somebody else.
 *
 * Any later version keeps magic and version where they are, so that each side can tell the other.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HELPER_PROTOCOL_VERSION 1
#define HELPER_REQUEST_MAGIC    0x71524c49u /* "ILRq" in memory where the low byte comes first */
#define HELPER_REPLY_MAGIC      0x61524c49u /* "ILRa" */
#define HELPER_COMM_MAX         16          /* TASK_COMM_LEN */
#define HELPER_MODE_UNKNOWN     UINT64_MAX  /* effective, where it could not be read */

struct helper_request {
	uint32_t magic;
	uint16_t version;
	uint16_t reserved; /* 0 */
	uint64_t mode;     /* an enum rlimit_mode */
	/*
	 * Who asks, for the log alone. It comes from the client because any process names itself as
	 * it likes anyway, and so the helper needs neither /proc nor a right to open files.
	 */
	char comm[HELPER_COMM_MAX];
};

struct helper_reply {
	uint32_t magic;
	uint16_t version;
	uint16_t error;     /* 0: the mode asked for is in force; else an errno value */
	uint64_t effective; /* the mode in force, or HELPER_MODE_UNKNOWN */
};

_Static_assert(sizeof(struct helper_request) == 32, "protocol size");
_Static_assert(offsetof(struct helper_request, version) == 4, "protocol offset");
_Static_assert(offsetof(struct helper_request, mode) == 8, "protocol offset");
_Static_assert(offsetof(struct helper_request, comm) == 16, "protocol offset");
_Static_assert(sizeof(struct helper_reply) == 16, "protocol size");
_Static_assert(offsetof(struct helper_reply, version) == 4, "protocol offset");
_Static_assert(offsetof(struct helper_reply, error) == 6, "protocol offset");
_Static_assert(offsetof(struct helper_reply, effective) == 8, "protocol offset");

/**
 * helper_request_decode - bytes from a client to a request
 * @message: the bytes of one message
 * @size: how many they are; more than a request has where the message was longer
 * @request: receives the request, comm ended by a zero; untouched on error
 *
 * Returns 0, EPROTO for what is no request, EPROTONOSUPPORT for one of another version, or EINVAL
 * for a mode that there is not.
 */
int helper_request_decode(const void *message, size_t size, struct helper_request *request);

/**
 * helper_reply_decode - bytes from the helper to a reply
 * @message: the bytes of one message
 * @size: how many they are; more than a reply has where the message was longer
 * @reply: receives the reply; untouched on error
 *
 * Returns 0, EPROTO for what is no reply, or EPROTONOSUPPORT for one of another version.
 */
int helper_reply_decode(const void *message, size_t size, struct helper_reply *reply);
