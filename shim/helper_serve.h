// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* One connection, from the first byte to the log line. */
#pragma once

#include "helper_peer.h"

#define HELPER_SERVE_SECONDS 3 /* a file system that hangs in fstat(2) ends the process */

/**
 * helper_serve_deadline - end this process in HELPER_SERVE_SECONDS, whatever it is doing then
 *
 * By SIGALRM, which its default action makes fatal and so able to end most waits in the kernel.
 */
void helper_serve_deadline(void);

/**
 * helper_serve - receive a request, check it, carry it out, answer, log
 * @connection: a connected SOCK_SEQPACKET socket
 * @access: who may ask
 *
 * For a process of its own, after helper_serve_deadline(), that ends right after this: it is
 * confined to the system calls that it takes, and what it receives is left to the end of the
 * process to close. close(2) would wait on a socket with SO_LINGER for as long as its sender likes;
 * the end of a process does not.
 *
 * Returns false where it did not come to receiving, and has told descriptor 2 why.
 */
bool helper_serve(int connection, const struct helper_access *access);
