// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * Line to sink. Nothing here waits for a sink that is full when the library looks at it, raises a
 * signal, allocates, or keeps a descriptor.
 */
#pragma once

#include "config.h"
#include "logfmt.h"

#include <stdatomic.h>
#include <unistd.h>

extern atomic_bool sink_stderr_closed; /* when the program started */

/** sink_note_open - before sink_start(): a file that open() returned as descriptor 2 is not stderr.
 */
static inline void sink_note_open(int fd)
{
	if (fd == STDERR_FILENO)
		sink_stderr_closed = true;
}

/** sink_start - note whether descriptor 2 is closed. Overwrites errno. */
void sink_start(void);

/**
 * sink_write - write one line
 * @sink: where to
 * @path: with LOG_TO_PATH the file to append to, created where it is missing; else not looked at
 * @line: the line
 *
 * Returns 0 or an errno value: EAGAIN where the sink would block, EBADF where stderr was closed
 * when the program started. Overwrites errno.
 */
int sink_write(enum config_log sink, const char *path, const struct logfmt *line);
