// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* calls NAME COUNT: COUNT times open64+close or openat64+close of a file that is no iommufd, or
 * ioctl. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
	int available;

	if (argc < 3)
		return 2;
	for (long i = 0; i < count; i++) {
		int fd;

		if (!strcmp(argv[1], "ioctl")) {
			ioctl(0, FIONREAD, &available);
			continue;
		}
		fd = !strcmp(argv[1], "open64")
			     ? open64("/dev/null", O_RDWR | O_CLOEXEC)
			     : openat64(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0 || close(fd))
			return 1;
	}
	return 0;
}
