// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* What the program is left with after a warning or an error, and the step to take. */
#pragma once

#include "config.h"
#include "outcome.h"

#define HINT_MAX 192 /* bytes, with the terminating zero; the line has room for it: LOGFMT_MAX */

/**
 * hint_write - the hint of a log line
 * @hint: receives it; empty for an outcome of level info
 *
 * Pure. The step that it names is true for the errno values of @report.
 */
void hint_write(const struct config *config, const struct outcome_report *report,
		char hint[HINT_MAX]);
