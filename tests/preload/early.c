// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Preloaded behind the shim, so constructed before it: opens the device in its constructor. */

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static __attribute__((constructor)) void early(void)
{
	int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		_exit(3);
	close(fd);
}
