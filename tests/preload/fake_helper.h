// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* A child of the test in the helper's place, on helper.sock in the test's directory. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

struct fake_helper {
	void (*serve)(int connection); /* NULL: the connection is never accepted */
	int type;                      /* of the socket; 0: SOCK_STREAM */
	uid_t uid;                     /* 0: the test's own */
	mode_t mode;                   /* of the socket; 0: 0777 */
};

/** fake_helper_start - serve each connection, one after the other, until fake_helper_stop(). */
void fake_helper_start(struct fake_helper helper);

/** fake_helper_stop - end it; fails the test where it had ended by itself. */
void fake_helper_stop(void);

/** fake_helper_wait - until it ends by itself. Returns its exit status. */
int fake_helper_wait(void);

/** fake_helper_device - a new iommufd of the mock's. @mode: 0: user, 1: process */
int fake_helper_device(int mode);

/** fake_helper_send - one byte, with descriptors, which are closed. */
void fake_helper_send(int connection, unsigned char byte, const int *fds, size_t count);

/** fake_helper_gives - serves as the real one does, and takes the acknowledgement. */
void fake_helper_gives(int connection);
