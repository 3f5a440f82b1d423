// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* A helper with the mock device, and what a client of it does, step by step. */
#pragma once

#include "helper_protocol.h"
#include "mock_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#define PATIENCE_MS 20000 /* then something hangs: slow machines and sanitizers are allowed for */

extern struct mock_device *mock;

/** helper_setup, helper_teardown - cmocka's, for each test: a directory, a mock, no helper yet. */
int helper_setup(void **state);
int helper_teardown(void **state);

/** helper_path - a name in the test's directory; valid until the next call. */
const char *helper_path(const char *name);

/**
 * helper_start - start a helper with these arguments, NULL last, and /dev/null as descriptor 0
 *
 * Descriptors 1 and 2 go to what helper_log() reads. Ended by helper_teardown(), which fails the
 * test where its end is none that it should have.
 */
void helper_start(const char *const *arguments);

/** helper_start_on - the same with @input as descriptor 0. */
void helper_start_on(int input, const char *const *arguments);

/** helper_log_to - what the next helper has as descriptors 1 and 2 in place of that file. */
void helper_log_to(int fd);

/** helper_start_closed - the same without descriptors 0, 1 and 2. */
void helper_start_closed(const char *const *arguments);

/** helper_listen_with - helper_start() with --listen helper_path("sock"), and wait until it does.
 */
void helper_listen_with(const char *const *options);

/** helper_pid - of the helper that runs. */
pid_t helper_pid(void);

/** helper_release, helper_adopt - set a helper aside while another is started; and back. */
pid_t helper_release(void);
void helper_adopt(pid_t pid);

/**
 * helper_on_connection - start a helper as systemd does, with one end of a pair as descriptor 0
 * @options: options, NULL last; NULL for none
 *
 * Returns the other end.
 */
int helper_on_connection(const char *const *options);

/** helper_status - wait for the helper to end by itself; its status as waitpid(2) has it. */
int helper_status(void);

/** helper_log - everything said on descriptor 2 so far; valid until the next call. */
const char *helper_log(void);

/** helper_wait_for_log - until it has @count times @part; fails the test where that never comes. */
void helper_wait_for_log(const char *part, size_t count);

/** helper_connect - a connection to the helper that listens; fails the test where there is none. */
int helper_connect(void);

/** helper_try_connect - the same, or -1 and errno. */
int helper_try_connect(void);

/** helper_good_request - a request for mode process, by "test". */
struct helper_request helper_good_request(void);

/**
 * helper_send - one message
 * @fds: descriptors to go along; not closed
 *
 * Returns 0 or an errno value.
 */
int helper_send(int connection, const void *bytes, size_t size, const int *fds, size_t fd_count);

/** helper_send_good - helper_good_request() with @fd. */
void helper_send_good(int connection, int fd);

/**
 * helper_receive - wait for the answer
 *
 * Returns its error; or -1 where the helper closed the connection without one.
 */
int helper_receive(int connection, struct helper_reply *reply);

/** helper_open_device - what plays /dev/iommu; the caller closes it. */
int helper_open_device(void);

/** milliseconds - of CLOCK_MONOTONIC. */
double milliseconds(void);
