// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * A preload that plays the kernel to the helper: sysfs calls /dev/full an iommufd, and IOMMU_OPTION
 * is answered as the file named by MOCK_DEVICE says. The call goes to the real kernel first:
 * through the helper's filter, and to find out what descriptor it is.
 *
 * And to a program that opens the device by its name, for scripts/bench: at the price of the system
 * call that the real one is. With MOCK_UNPRIVILEGED, SET wants the helper.
 */
#undef _FILE_OFFSET_BITS
#undef _TIME_BITS
#undef _FORTIFY_SOURCE

#include "mock_device.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#undef open64

#define DEVICE_LINK "/sys/dev/char/1:7" /* /dev/full: admin-guide/devices.txt */

/* include/uapi/linux/iommufd.h, written down a second time: the test's own reading of it. */
struct option {
	uint32_t size, option_id;
	uint16_t op, reserved;
	uint32_t object_id;
	uint64_t val64 __attribute__((aligned(8)));
};

typedef long syscall_function(long number, ...);

int open64(const char *path, int flags, ...);

static struct mock_device *mock;
static bool unprivileged;

static syscall_function *real_syscall(void)
{
	static syscall_function *_Atomic function;

	if (!function)
		function = (syscall_function *)dlsym(RTLD_NEXT, "syscall");
	return function;
}

__attribute__((constructor)) static void map(void)
{
	const char *path = getenv("MOCK_DEVICE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0)
		abort();
	mock = mmap(NULL, sizeof(*mock), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (mock == MAP_FAILED)
		abort();
	unprivileged = getenv("MOCK_UNPRIVILEGED");
}

/* Each open of the device makes a new iommufd. */
int open64(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list arguments;

	va_start(arguments, flags);
	if (flags & O_CREAT)
		mode = va_arg(arguments, mode_t);
	va_end(arguments);
	if (!strcmp(path, "/dev/iommu")) {
		path = MOCK_DEVICE_PATH;
		mock->mode = 0;
	}
	return (int)real_syscall()(SYS_openat, AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

static long read_device_link(char *target, size_t size)
{
	static const char device[] = "../../devices/virtual/misc/iommu";

	if (size > strlen(device))
		size = strlen(device);
	memcpy(target, device, size);
	return (long)size;
}

/* iommufd.c reads the link by syscall(2). Not every container has it. */
long syscall(long number, ...)
{
	long a[6], result;
	va_list arguments;

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	result = real_syscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_readlinkat && !strcmp((const char *)a[1], DEVICE_LINK) &&
	    (result >= 0 || errno == ENOENT))
		return read_device_link((char *)a[2], (size_t)a[3]);
	return result;
}

/* A process whose end waits for a file system is beyond any signal; here, for a minute. */
void _exit(int status)
{
	sigset_t all;

	sigfillset(&all);
	if (mock->hang_end)
		sigprocmask(SIG_BLOCK, &all, NULL);
	for (int i = 0; mock->hang_end && i < 6000; i++)
		poll(NULL, 0, 10);
	for (;;)
		syscall(SYS_exit_group, status, 0, 0, 0, 0, 0); /* as many as it takes */
}

static int set(const struct option *option)
{
	mock->sets++;
	while (mock->hang && !option->val64)
		poll(NULL, 0, -1);
	if (option->val64 > 1)
		return EINVAL;
	if (unprivileged)
		return EPERM;
	if (!mock->set_errno && !mock->lost_set)
		mock->mode = (int)option->val64;
	return mock->set_errno;
}

static int get(struct option *option)
{
	mock->gets++;
	if (!mock->get_errno)
		option->val64 = (uint64_t)mock->mode;
	return mock->get_errno;
}

static int answer(struct option *option)
{
	if (option->size != sizeof(*option) || option->option_id || option->reserved ||
	    option->object_id || option->op > 1) {
		mock->wrong++;
		return EOPNOTSUPP;
	}
	return option->op ? get(option) : set(option);
}

#ifdef __GLIBC__
typedef unsigned long ioctl_request;
#else
typedef int ioctl_request;
#endif

int ioctl(int fd, ioctl_request request, ...)
{
	va_list arguments;
	void *argument;
	long result;
	int error;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	result = syscall(SYS_ioctl, fd, request, argument);
	if (request != 0x3b87 || result >= 0 || errno != ENOTTY) {
		mock->wrong += request != 0x3b87;
		return (int)result;
	}
	error = answer(argument);
	if (error)
		errno = error;
	return error ? -1 : 0;
}

/* Its name where time_t became 64 bits wide later: 32-bit Arm. */
__asm__(".globl __ioctl_time64\n.set __ioctl_time64, ioctl");
