// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * What the mock device answers, in a file that the test and every process of the helper map: the
 * helper's system call filter leaves no other way to script it or to ask what it saw.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define MOCK_DEVICE_PATH "/dev/full" /* plays /dev/iommu */

struct mock_device {
	atomic_int set_errno; /* SET fails with this, 0: succeeds */
	atomic_int get_errno;
	atomic_int lost_set; /* SET succeeds and changes nothing */
	atomic_int hang;     /* SET of mode user never returns */
	atomic_int mode;     /* in force */
	atomic_int sets, gets;
	atomic_int wrong;    /* calls that no kernel of Linux 6.2 to 7.3 would understand */
	atomic_int hang_end; /* _exit(2) never ends a process */
};
