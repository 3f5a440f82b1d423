// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Where the helper's words go: descriptor 2, so that the journal or the operator's file has them.
 */
#pragma once

#include "logfmt.h"

#define HELPER_NAME "iommufd-rlimit-helper"

/**
 * helper_log_line - one write(2) to descriptor 2
 * @line: a finished line
 *
 * Dropped where nobody reads the other end and the pipe is full: a log may not stop the service.
 */
void helper_log_line(const struct logfmt *line);

/**
 * helper_log_problem - a sentence to whoever starts the helper: what is wrong, and what to do
 * @format: as printf(3), without prefix and newline
 */
void helper_log_problem(const char *format, ...) __attribute__((format(printf, 1, 2)));
