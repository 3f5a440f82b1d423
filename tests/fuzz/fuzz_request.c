// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Whatever arrives at the helper is taken as a request or refused; what is taken is well formed. */
#include "helper_protocol.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct helper_request request;

	memset(&request, 0xa5, sizeof(request));
	if (helper_request_decode(data, size, &request))
		return 0;
	if (size != sizeof(request) || request.version != HELPER_PROTOCOL_VERSION ||
	    request.mode > 1 || !memchr(request.comm, '\0', sizeof(request.comm)))
		abort();
	return 0;
}
