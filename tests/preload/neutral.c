// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* What any preload costs: a library with segments like the shim's, and a constructor that does
 * nothing. */

static volatile int data = 1;
static volatile char bss[4096];

static __attribute__((constructor)) void start(void)
{
	bss[0] = (char)data++;
}
