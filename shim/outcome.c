// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "outcome.h"

#define NEVER                           \
	{                               \
		[ON_ERROR_FAIL] = false \
	}
#define WITH_FAIL                      \
	{                              \
		[ON_ERROR_FAIL] = true \
	}
#define ALSO_AUTO                                              \
	{                                                      \
		[ON_ERROR_AUTO] = true, [ON_ERROR_FAIL] = true \
	}

const struct outcome_policy outcome_policies[] = {
	[OUTCOME_APPLIED] = { "applied", LOG_LEVEL_INFO, NEVER },
	[OUTCOME_ALREADY] = { "already", LOG_LEVEL_INFO, NEVER },
	[OUTCOME_QUERIED] = { "queried", LOG_LEVEL_INFO, NEVER },
	[OUTCOME_UNSUPPORTED] = { "unsupported", LOG_LEVEL_WARNING, WITH_FAIL },
	[OUTCOME_DENIED] = { "denied", LOG_LEVEL_WARNING, WITH_FAIL },
	[OUTCOME_BUSY] = { "busy", LOG_LEVEL_ERROR, ALSO_AUTO },
	[OUTCOME_INVALID] = { "invalid", LOG_LEVEL_ERROR, ALSO_AUTO },
	[OUTCOME_FAILED] = { "failed", LOG_LEVEL_ERROR, ALSO_AUTO },
};
