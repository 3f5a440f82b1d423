// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* What happened to one iommufd. */
#pragma once

#include "config.h"
#include "helper_client.h"
#include "logfmt.h"

#include <stdbool.h>
#include <stdint.h>

enum outcome {
	OUTCOME_APPLIED,     /* SET succeeded, here or in the helper, and GET agrees */
	OUTCOME_ALREADY,     /* SET failed, but the mode asked for is in force */
	OUTCOME_QUERIED,     /* nothing was to be changed */
	OUTCOME_UNSUPPORTED, /* ENOTTY, EOPNOTSUPP */
	OUTCOME_DENIED,      /* EPERM, and no helper could do it */
	OUTCOME_BUSY,        /* EBUSY: the iommufd has objects already */
	OUTCOME_INVALID,     /* EINVAL, or a setting that was not understood */
	OUTCOME_FAILED,      /* anything else; SET succeeded but GET disagrees */
};

/* The table of README.md and iommufd-rlimit(7). */
struct outcome_policy {
	char name[12];
	enum log_level level;
	bool open_fails[ON_ERROR_FAIL + 1]; /* by enum config_on_error */
};
extern const struct outcome_policy outcome_policies[OUTCOME_FAILED + 1];

/** outcome_of_errno - the outcome of a SET or GET that failed with @error, not 0. Pure. */
enum outcome outcome_of_errno(int error);

/* How the descriptor came into this process. */
enum source { SOURCE_OPEN, SOURCE_INHERITED };

struct outcome_report {
	enum outcome outcome;
	int fd;
	enum source source;
	bool effective_known;
	uint64_t effective;          /* enum rlimit_mode, as GET gave it */
	int error;                   /* errno value; 0 where there was none */
	struct helper_result helper; /* all zero where the helper was not asked */
	bool open_fails;             /* the caller of open() gets -1 and @error */
};
