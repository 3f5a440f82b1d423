// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Accepts connections and gives each that says something a process of its own. */
#pragma once

#include "helper_peer.h"

/**
 * helper_listen_signals - from now on, SIGTERM and SIGINT are for helper_listen() to act on
 *
 * Returns a descriptor of the caller's, or -1 and errno.
 */
int helper_listen_signals(void);

/**
 * helper_listen - serve until SIGTERM or SIGINT
 * @listener: a listening non-blocking socket; not closed
 * @signals: of helper_listen_signals(); not closed
 * @access: who may ask
 */
void helper_listen(int listener, int signals, const struct helper_access *access);
