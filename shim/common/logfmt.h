// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * Builds one log line, "iommufd-rlimit: LEVEL: key=value key="quoted value"\n", in a fixed buffer.
 * Pure: no system call, no allocation, no locale. The same for the library and the helper.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

#define LOGFMT_MAX 512 /* bytes of a line, newline included; so a pipe takes it whole */

struct logfmt {
	enum log_level level;
	size_t length;
	char text[LOGFMT_MAX]; /* always ends in a newline; not zero-terminated */
};

/**
 * logfmt_begin - start a line
 * @line: receives the prefix
 * @prefix: the program that logs, "iommufd-rlimit" for the library
 * @level: printed after the prefix
 */
void logfmt_begin(struct logfmt *line, const char *prefix, enum log_level level);

/**
 * logfmt_text - add key=value
 * @line: a line begun
 * @key: a constant; printed as it is
 * @value: any bytes. Quoted where it is empty or has a space, a quote, an equals sign or a
 *         backslash; control and non-ASCII bytes become \xNN.
 *
 * A field that does not fit into LOGFMT_MAX is left out whole, so that the line stays valid.
 */
void logfmt_text(struct logfmt *line, const char *key, const char *value);

/** logfmt_number - add key=value, in decimal; see logfmt_text(). */
void logfmt_number(struct logfmt *line, const char *key, int64_t value);

/** logfmt_errno - add key=EPERM, or key=NUMBER for an errno value without a name here. */
void logfmt_errno(struct logfmt *line, const char *key, int error);

/** log_level_name - "error", "warning", "info" or "debug". */
const char *log_level_name(enum log_level level);
