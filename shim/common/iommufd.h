// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * What an iommufd is, and its one option that this project is about.
 * Source: include/uapi/linux/iommufd.h and drivers/iommu/iommufd/main.c, Linux 6.2 to 7.3.
 */
#pragma once

#include <linux/ioctl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define IOMMUFD_PATH "/dev/iommu"

#define IOMMU_OPTION _IO(';', 0x87) /* the only request that this project issues */

/* Which locked_vm the kernel charges for pinned memory: val64 of IOMMU_OPTION_RLIMIT_MODE. */
enum rlimit_mode {
	RLIMIT_MODE_USER = 0,    /* user->locked_vm, the sum over all processes of the user */
	RLIMIT_MODE_PROCESS = 1, /* mm->locked_vm, VmLck in proc_pid_status(5) */
};

/** rlimit_mode_name - "user", "process", or "unknown" for any other number. */
const char *rlimit_mode_name(uint64_t mode);

/**
 * iommufd_name_matches - can a file of this name be the iommufd device?
 * @path: a name that the kernel has just opened, so known to be readable to its end
 *
 * True for every name that ends in "iommu"; iommufd_is() then tells for certain.
 */
static inline bool iommufd_name_matches(const char *path)
{
	static const char tail[] = { 'o', 'm', 'm', 'u' }; /* four bytes: one compare */
	size_t length = strlen(path);

	return length > sizeof(tail) && !memcmp(path + length - sizeof(tail), tail, sizeof(tail)) &&
	       path[length - sizeof(tail) - 1] == 'i';
}

/** iommufd_is_path_only - O_PATH: names a device without having opened it. Overwrites errno. */
bool iommufd_is_path_only(int fd);

/**
 * iommufd_is - is this descriptor the iommufd misc device?
 * @fd: any descriptor; not changed
 *
 * A character device whose number sysfs names "misc/iommu". Needs neither /dev/iommu (absent from
 * the private /dev of a confined process) nor an open. False with O_PATH. Overwrites errno.
 */
bool iommufd_is(int fd);

/** iommufd_is_same_device - are both descriptors of one character device? Overwrites errno. */
bool iommufd_is_same_device(int fd, int other);

/**
 * iommufd_set_rlimit_mode - IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_OP_SET
 * @fd: an iommufd without objects yet; not closed
 * @mode: an enum rlimit_mode, as wide as the kernel takes it
 *
 * Returns 0 or an errno value: EPERM without CAP_SYS_RESOURCE in the initial user namespace, EBUSY
 * with objects, EINVAL for an unknown mode, EOPNOTSUPP or ENOTTY where the kernel or the file does
 * not know the option. Overwrites errno.
 */
int iommufd_set_rlimit_mode(int fd, uint64_t mode);

/**
 * iommufd_get_rlimit_mode - IOMMU_OPTION_RLIMIT_MODE, IOMMU_OPTION_OP_GET
 * @fd: an iommufd; not closed
 * @mode: receives the mode in force; 0 on error
 *
 * Needs no privilege. Returns 0 or an errno value. Overwrites errno.
 */
int iommufd_get_rlimit_mode(int fd, uint64_t *mode);

/** iommufd_has_rlimit_mode - does GET succeed, and say @mode? Overwrites errno. */
bool iommufd_has_rlimit_mode(int fd, uint64_t mode);
