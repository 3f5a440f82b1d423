// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "outcome.h"

#include <errno.h>

const struct outcome_policy outcome_policies[] = {
	/* name, level, and whether the open fails with auto, continue, fail */
	[OUTCOME_APPLIED] = { "applied", LOG_LEVEL_INFO, { 0, 0, 0 } },
	[OUTCOME_ALREADY] = { "already", LOG_LEVEL_INFO, { 0, 0, 0 } },
	[OUTCOME_QUERIED] = { "queried", LOG_LEVEL_INFO, { 0, 0, 0 } },
	[OUTCOME_UNSUPPORTED] = { "unsupported", LOG_LEVEL_WARNING, { 0, 0, 1 } },
	[OUTCOME_DENIED] = { "denied", LOG_LEVEL_WARNING, { 0, 0, 1 } },
	[OUTCOME_BUSY] = { "busy", LOG_LEVEL_ERROR, { 1, 0, 1 } },
	[OUTCOME_INVALID] = { "invalid", LOG_LEVEL_ERROR, { 1, 0, 1 } },
	[OUTCOME_FAILED] = { "failed", LOG_LEVEL_ERROR, { 1, 0, 1 } },
};

enum outcome outcome_of_errno(int error)
{
	switch (error) {
	case ENOTTY:
	case EOPNOTSUPP:
		return OUTCOME_UNSUPPORTED;
	case EPERM:
		return OUTCOME_DENIED;
	case EBUSY:
		return OUTCOME_BUSY;
	case EINVAL:
		return OUTCOME_INVALID;
	default:
		return OUTCOME_FAILED;
	}
}
