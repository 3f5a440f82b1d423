// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * opener ENTRY PATH [FLAGS [MODE]]: one call of ENTRY (open, openat, open64, openat64, openat2), as
 * this program's own compilation names it: meson builds it plain, with large files, fortified, and
 * both. Prints what came of it, for a test to judge from outside:
 *
 *   return=FD errno=N cloexec=0|1 status=OCTAL mode=OCTAL accounting=user|process open=N
 *
 * where mode is the file's, accounting is that of the mock's iommufd, and open is the number of
 * descriptors above 2 that are open afterwards. PATH "@null", "@bad" and "@unterminated" are
 * pointers that the kernel answers with EFAULT.
 */
#include "../mock_mode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct open_how_ {
	unsigned long long flags, mode, resolve;
};

struct open_how;
/* Of the mock, where libc has none. */
__attribute__((weak)) int openat2(int dirfd, const char *path, const struct open_how *how,
				  size_t size);

#ifndef __GLIBC__
/* As a program built with musl before 1.2.4 does. Later there is nothing to link with. */
#undef open64
#undef openat64
__attribute__((weak)) int open64(const char *path, int flags, ...);
__attribute__((weak)) int openat64(int dirfd, const char *path, int flags, ...);
#endif

static const char *pointer(const char *name)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *pages;

	if (!strcmp(name, "@null"))
		return NULL;
	if (!strcmp(name, "@bad"))
		return (const char *)16;
	if (strcmp(name, "@unterminated"))
		return name;
	pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(pages + page, page);
	memset(pages, '/', page);
	memcpy(pages + page - strlen("/dev/iommu"), "/dev/iommu", strlen("/dev/iommu"));
	return pages + page - strlen("/dev/iommu");
}

/*
 * So that a relative path opens only where the directory's descriptor gets through. Out of the way
 * of what is opened next.
 */
static int root_directory(void)
{
	int low = (int)syscall(SYS_openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	int root = fcntl(low, F_DUPFD_CLOEXEC, 1000);

	close(low);
	return root;
}

/*
 * The flags are not constants, so a fortified build calls the __open_2 names. A null path is
 * against the declaration, and the point here.
 */
static __attribute__((no_sanitize("undefined"))) int
call(const char *entry, int root, const char *path, int flags, mode_t mode, int with_mode)
{
	if (!strcmp(entry, "open"))
		return with_mode ? open(path, flags, mode) : open(path, flags);
	if (!strcmp(entry, "openat"))
		return with_mode ? openat(root, path, flags, mode) : openat(root, path, flags);
	if (!strcmp(entry, "open64"))
		return with_mode ? open64(path, flags, mode) : open64(path, flags);
	if (!strcmp(entry, "openat64"))
		return with_mode ? openat64(root, path, flags, mode) : openat64(root, path, flags);
	if (!strcmp(entry, "openat2")) {
		struct open_how_ how = { .flags = (unsigned)flags, .mode = mode };

		return openat2(root, path, (const struct open_how *)&how, sizeof(how));
	}
	fprintf(stderr, "opener: no entry %s\n", entry);
	exit(2);
}

static int count_open(void)
{
	int count = 0;

	for (int fd = 3; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

int main(int argc, char **argv)
{
	int root, flags = O_RDWR | O_CLOEXEC, result, error, cloexec = 0, status = 0;
	mode_t mode = 0;
	struct stat file = { 0 };

	if (argc < 3)
		return 2;
	if (argc > 3)
		flags = (int)strtol(argv[3], NULL, 0);
	if (argc > 4)
		mode = (mode_t)strtol(argv[4], NULL, 0);
	root = root_directory();
	errno = 4242;
	result = call(argv[1], root, pointer(argv[2]), flags, mode, argc > 4);
	error = errno;
	close(root);
	if (result >= 0) {
		cloexec = fcntl(result, F_GETFD) & FD_CLOEXEC;
		status = fcntl(result, F_GETFL) & (O_ACCMODE | O_NONBLOCK);
		fstat(result, &file);
	}
	printf("return=%d errno=%d cloexec=%d status=%#o mode=%#o accounting=%s open=%d\n", result,
	       error, cloexec, status, file.st_mode & 07777,
	       mock_mode(result) == 1 ? "process" : "user", count_open());
	return 0;
}
