// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "helper_protocol.h"

#include "iommufd.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define ERRNO_MAX 4095 /* MAX_ERRNO of the kernel */

/* The part that is the same in every version and in both directions. */
struct head {
	uint32_t magic;
	uint16_t version;
};

static int check_head(const void *message, size_t size, uint32_t magic)
{
	struct head head;

	if (size < sizeof(head))
		return EPROTO;
	memcpy(&head, message, sizeof(head));
	if (head.magic != magic)
		return EPROTO;
	return head.version == HELPER_PROTOCOL_VERSION ? 0 : EPROTONOSUPPORT;
}

int helper_request_decode(const void *message, size_t size, struct helper_request *request)
{
	struct helper_request copy;
	int error = check_head(message, size, HELPER_REQUEST_MAGIC);

	if (error)
		return error;
	if (size != sizeof(copy))
		return EPROTO;
	memcpy(&copy, message, sizeof(copy));
	if (copy.reserved)
		return EPROTO;
	if (copy.mode != RLIMIT_MODE_USER && copy.mode != RLIMIT_MODE_PROCESS)
		return EINVAL;
	copy.comm[sizeof(copy.comm) - 1] = '\0';
	*request = copy;
	return 0;
}

static bool is_mode_or_unknown(uint64_t mode)
{
	return mode == RLIMIT_MODE_USER || mode == RLIMIT_MODE_PROCESS ||
	       mode == HELPER_MODE_UNKNOWN;
}

int helper_reply_decode(const void *message, size_t size, struct helper_reply *reply)
{
	struct helper_reply copy;
	int error = check_head(message, size, HELPER_REPLY_MAGIC);

	if (error)
		return error;
	if (size != sizeof(copy))
		return EPROTO;
	memcpy(&copy, message, sizeof(copy));
	if (copy.error > ERRNO_MAX || !is_mode_or_unknown(copy.effective))
		return EPROTO;
	*reply = copy;
	return 0;
}
