// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* What a measurement of time is made of. */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <time.h>

static inline double microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static inline int compare_times(const void *left, const void *right)
{
	const double *a = left, *b = right;

	return (*a > *b) - (*a < *b);
}

/* Sorts them. */
static inline double median(double *times, size_t count)
{
	qsort(times, count, sizeof(times[0]), compare_times);
	return (times[(count - 1) / 2] + times[count / 2]) / 2;
}
