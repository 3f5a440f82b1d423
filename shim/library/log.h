// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * Outcome to line. Safe wherever sink.h is; everything overwrites errno.
 */
#pragma once

#include "config.h"
#include "outcome.h"

/** log_load - with the level debug, log the settings at load. */
void log_load(const struct config *config);

/** log_outcome - one line for one iommufd, after one for each setting that was not understood. */
void log_outcome(const struct config *config, const struct outcome_report *report);
