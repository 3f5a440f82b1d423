// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Whatever arrives at the library is taken as a reply or refused; what is taken is well formed. */
#include "helper_protocol.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct helper_reply reply;

	memset(&reply, 0xa5, sizeof(reply));
	if (helper_reply_decode(data, size, &reply))
		return 0;
	if (size != sizeof(reply) || reply.version != HELPER_PROTOCOL_VERSION ||
	    reply.error > 4095 || (reply.effective > 1 && reply.effective != HELPER_MODE_UNKNOWN))
		abort();
	return 0;
}
