// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "inherited.h"

#include "iommufd.h"
#include "sys.h"

#include <stddef.h>

/* getdents64(2): not readdir(3), which allocates. */
struct linux_dirent64 {
	uint64_t d_ino;
	int64_t d_off;
	unsigned short d_reclen;
	unsigned char d_type;
	char d_name[];
};

/* A name in /proc/self/fd as a number; -1 for "." and "..". */
static int descriptor(const char *name)
{
	int fd = 0;

	if (*name == '.')
		return -1;
	for (; *name; name++)
		fd = 10 * fd + (*name - '0');
	return fd;
}

void inherited_for_each(void (*found)(int fd))
{
	_Alignas(struct linux_dirent64) char entries[1024];
	int directory = sys_open("/proc/self/fd", O_RDONLY | O_DIRECTORY, 0);
	long length;

	if (directory < 0)
		return;
	while ((length = syscall(SYS_getdents64, directory, entries, sizeof(entries))) > 0) {
		for (long at = 0; at < length;) {
			const struct linux_dirent64 *entry = (const void *)(entries + at);
			int fd = descriptor(entry->d_name);

			if (fd >= 0 && iommufd_is(fd))
				found(fd);
			at += entry->d_reclen;
		}
	}
	sys_close(directory);
}
