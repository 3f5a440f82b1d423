// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* The iommufds that are open when the library is loaded (QEMU: fd=N). */
#pragma once

/**
 * inherited_for_each - call a function for each open descriptor that is an iommufd
 * @found: called with the descriptor, which stays open
 *
 * Finds none if /proc is not mounted. Overwrites errno.
 */
void inherited_for_each(void (*found)(int fd));
