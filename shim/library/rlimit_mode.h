// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Descriptor in, outcome out: set the mode, ask the helper, read back, decide, log. */
#pragma once

#include "config.h"
#include "outcome.h"

/**
 * rlimit_mode_apply - do to one iommufd what the settings ask for, and log the outcome
 * @config: the settings; their mode is not MODE_OFF
 * @fd: the iommufd; not closed
 * @source: how it came here
 *
 * Returns 0 where the descriptor is to be used, else the errno value that its open is to fail with.
 * Overwrites errno.
 */
int rlimit_mode_apply(const struct config *config, int fd, enum source source);
