// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* open COUNT: opens the device COUNT times; prints the microseconds of an open, the median. */

#include "median.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	double *times;

	if (!count)
		return 2;
	times = calloc(count, sizeof(times[0]));
	for (size_t i = 0; i < count; i++) {
		const double begin = microseconds();
		const int fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);

		times[i] = microseconds() - begin;
		if (fd < 0 || close(fd))
			return 1;
	}
	printf("%.1f\n", median(times, count));
	return 0;
}
