// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "helper_log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void helper_log_line(const struct logfmt *line)
{
	struct pollfd writable = { .fd = STDERR_FILENO, .events = POLLOUT };

	/* Nothing can be done about a log that cannot be written. */
	if (poll(&writable, 1, 0) == 1 && write(STDERR_FILENO, line->text, line->length) < 0)
		return;
}

void helper_log_problem(const char *format, ...)
{
	va_list arguments;

	fputs(HELPER_NAME ": ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}
