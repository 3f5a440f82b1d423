// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "iommufd.h"

#include "decimal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The lines of <linux/iommufd.h> that are needed: Debian 12 does not have the header. */
enum { IOMMU_OPTION_RLIMIT_MODE = 0 };
enum { IOMMU_OPTION_OP_SET = 0, IOMMU_OPTION_OP_GET = 1 };

struct iommu_option {
	uint32_t size;
	uint32_t option_id;
	uint16_t op;
	uint16_t reserved;
	uint32_t object_id;
	_Alignas(8) uint64_t val64;
};

_Static_assert(sizeof(struct iommu_option) == 24, "uapi size");
_Static_assert(offsetof(struct iommu_option, op) == 8, "uapi offset");
_Static_assert(offsetof(struct iommu_option, object_id) == 12, "uapi offset");
_Static_assert(offsetof(struct iommu_option, val64) == 16, "uapi offset");

const char *rlimit_mode_name(uint64_t mode)
{
	switch (mode) {
	case RLIMIT_MODE_USER:
		return "user";
	case RLIMIT_MODE_PROCESS:
		return "process";
	default:
		return "unknown";
	}
}

bool iommufd_is_path_only(int fd)
{
	long flags = syscall(SYS_fcntl, fd, F_GETFL);

	return flags >= 0 && (flags & O_PATH);
}

/* DONT_SYNC: never wait for the server of a network file system. */
static bool is_character_device(int fd, struct statx *file)
{
	return syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, file) >=
		       0 &&
	       (file->stx_mode & S_IFMT) == S_IFCHR;
}

bool iommufd_is(int fd)
{
	static const char directory[] = "/sys/dev/char/";
	static const char device[] = "/misc/iommu";
	struct statx file;
	char name[sizeof(directory) + 2 * DECIMAL_MAX];
	char target[64]; /* "../../devices/virtual/misc/iommu" */
	long length;
	char *end;

	if (!is_character_device(fd, &file) || iommufd_is_path_only(fd))
		return false;
	end = decimal(stpcpy(name, directory), file.stx_rdev_major);
	*end++ = ':';
	decimal(end, file.stx_rdev_minor);
	length = syscall(SYS_readlinkat, AT_FDCWD, name, target, sizeof(target));
	return length >= (long)strlen(device) && (size_t)length < sizeof(target) &&
	       !memcmp(target + length - strlen(device), device, strlen(device));
}

bool iommufd_is_same_device(int fd, int other)
{
	struct statx file, other_file;

	return is_character_device(fd, &file) && is_character_device(other, &other_file) &&
	       file.stx_rdev_major == other_file.stx_rdev_major &&
	       file.stx_rdev_minor == other_file.stx_rdev_minor;
}

static int iommu_option(int fd, uint16_t op, uint64_t *val64)
{
	struct iommu_option cmd = {
		.size = sizeof(cmd),
		.option_id = IOMMU_OPTION_RLIMIT_MODE,
		.op = op,
		.val64 = *val64,
	};

	if (ioctl(fd, IOMMU_OPTION, &cmd) < 0)
		return errno;
	*val64 = cmd.val64;
	return 0;
}

int iommufd_set_rlimit_mode(int fd, uint64_t mode)
{
	return iommu_option(fd, IOMMU_OPTION_OP_SET, &mode);
}

int iommufd_get_rlimit_mode(int fd, uint64_t *mode)
{
	*mode = 0;
	return iommu_option(fd, IOMMU_OPTION_OP_GET, mode);
}

bool iommufd_has_rlimit_mode(int fd, uint64_t mode)
{
	uint64_t value;

	return !iommufd_get_rlimit_mode(fd, &value) && value == mode;
}
