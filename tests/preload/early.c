// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * Preloaded behind the shim, so constructed before it: opens the device in its constructor, and
 * keeps it with EARLY_KEEPS; before that the file that EARLY_FILE names, which it keeps.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static __attribute__((constructor)) void early(void)
{
	const char *file = getenv("EARLY_FILE");
	int fd;

	if (file && open(file, O_RDWR | O_CREAT, 0600) < 0)
		_exit(3);
	fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		_exit(3);
	if (!getenv("EARLY_KEEPS"))
		close(fd);
}
