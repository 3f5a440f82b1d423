// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * Leaves the process nothing but CAP_SYS_RESOURCE and the system calls that one request takes. What
 * systemd's unit has done before is found done.
 */
#pragma once

#include <stdbool.h>

#define HELPER_ACCOUNT "iommufd-rlimit" /* used by root where it exists, else nobody's number */

/**
 * helper_confine_privileges - from root to an unprivileged user with CAP_SYS_RESOURCE
 *
 * As root: the user and group of HELPER_ACCOUNT, or 65534, no supplementary group. In any case: no
 * capability but CAP_SYS_RESOURCE, and that only if it was there; none to inherit, no new
 * privileges.
 *
 * Returns NULL, or what could not be done, with errno set.
 */
const char *helper_confine_privileges(void);

/** helper_confine_has_capability - is CAP_SYS_RESOURCE in the effective set? */
bool helper_confine_has_capability(void);

/** helper_confine_filter_exists - does this machine have system call filters, and we one for it? */
bool helper_confine_filter_exists(void);

/**
 * helper_confine_system_calls - from now on, only what helper_serve() needs
 *
 * ioctl(2) with any request but IOMMU_OPTION ends the process; every other call that is not on the
 * list fails with EPERM. Needs helper_confine_privileges() before. Does nothing where
 * helper_confine_filter_exists() is false.
 *
 * Returns 0 or an errno value.
 */
int helper_confine_system_calls(void);
