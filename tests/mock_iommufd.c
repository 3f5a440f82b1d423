// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * A preload that plays the kernel to the library (LD_PRELOAD=SHIM:MOCK) and to the helper
 * (LD_PRELOAD=MOCK). A name that ends in dev/iommu, and "iommu" itself, opens /dev/full; sysfs
 * calls that an iommufd; and IOMMU_OPTION on it is answered as the environment says:
 *
 *   MOCK_NEW_MODE   "process": the mode of a new iommufd, in place of user
 *   MOCK_OPEN_ERRNO an open of the device fails with this number
 *   MOCK_SET_ERRNO  SET fails with this number
 *   MOCK_GET_ERRNO  GET fails with this number
 *   MOCK_LOST_SET   SET succeeds but changes nothing
 *   MOCK_LOG        file that gets a line for each IOMMU_OPTION: the descriptor, then the fields
 *   MOCK_SYSLOG     socket that takes the place of /dev/log; none if unset
 *   MOCK_JOURNAL    the same for /run/systemd/journal/dev-log
 *   MOCK_SECURE     getauxval(AT_SECURE) is 1
 *   MOCK_NO_SYSFS   sysfs is not mounted
 *   MOCK_ENTRIES    file that gets the name of each function that opens the device
 *   MOCK_CALLS      file that gets the number of each system call that the library makes
 *   MOCK_FAIL_CALL  which of these fails, counted from 1, with the errno MOCK_FAIL_ERRNO
 */
#undef _FILE_OFFSET_BITS
#undef _TIME_BITS
#undef _FORTIFY_SOURCE

#include "entries.h"
#include "mock_mode.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define IOMMU_OPTION _IO(';', 0x87)
#define DEVICE_LINK  "/sys/dev/char/1:7" /* admin-guide/devices.txt */

typedef long syscall_function(long number, ...);

static syscall_function *real_syscall(void)
{
	static syscall_function *_Atomic function;

	if (!function)
		function = (syscall_function *)dlsym(RTLD_NEXT, "syscall");
	return function;
}

static bool is_device_name(const char *path)
{
	size_t length = strlen(path);

	return !strcmp(path, "iommu") ||
	       (length >= strlen("dev/iommu") &&
		!strcmp(path + length - strlen("dev/iommu"), "dev/iommu"));
}

static int open_any(int dirfd, const char *path, int flags, mode_t mode);

/* A line in the file that an environment variable names, if it does. */
static void append(const char *variable, const char *line, size_t length)
{
	const char *path = getenv(variable);
	int fd;

	if (!path)
		return;
	fd = open_any(AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, length) != (ssize_t)length)
		abort();
	close(fd);
}

static void note_entry(const char *path, const char *line)
{
	int saved_errno = errno;

	if (!getenv("MOCK_ENTRIES"))
		return;
	if (real_syscall()(SYS_faccessat, AT_FDCWD, path, F_OK) == 0 || errno != EFAULT)
		if (is_device_name(path))
			append("MOCK_ENTRIES", line, strlen(line));
	errno = saved_errno;
}

/* The kernel looks first: a pointer that is none stays its business. */
static bool is_device(int dirfd, const char *path)
{
	int saved_errno = errno;
	bool readable = real_syscall()(SYS_faccessat, dirfd, path, F_OK) == 0 || errno != EFAULT;

	errno = saved_errno;
	return readable && is_device_name(path);
}

static int number_from(const char *name)
{
	const char *value = getenv(name);

	return value ? atoi(value) : 0;
}

static int open_any(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd;

	if (!is_device(dirfd, path))
		return (int)real_syscall()(SYS_openat, dirfd, path, flags, mode);
	if (getenv("MOCK_OPEN_ERRNO")) {
		errno = number_from("MOCK_OPEN_ERRNO");
		return -1;
	}
	fd = (int)real_syscall()(SYS_openat, dirfd, MOCK_DEVICE, flags & ~(O_CREAT | O_EXCL), mode);
	if (fd >= 0 && getenv("MOCK_NEW_MODE"))
		mock_set_mode(fd, !strcmp(getenv("MOCK_NEW_MODE"), "process"));
	return fd;
}

#define MODE_ARGUMENT(flags)                                                 \
	({                                                                   \
		mode_t mode_ = 0;                                            \
		if (((flags)&O_CREAT) || ((flags)&O_TMPFILE) == O_TMPFILE) { \
			va_list arguments_;                                  \
			va_start(arguments_, flags);                         \
			mode_ = va_arg(arguments_, mode_t);                  \
			va_end(arguments_);                                  \
		}                                                            \
		mode_;                                                       \
	})

#define ENTRY_open(name)                                                                    \
	int name(const char *path, int flags, ...)                                          \
	{                                                                                   \
		note_entry(path, #name "\n");                                               \
		return open_any(AT_FDCWD, path, flags | O_LARGEFILE, MODE_ARGUMENT(flags)); \
	}

#define ENTRY_openat(name)                                                               \
	int name(int dirfd, const char *path, int flags, ...)                            \
	{                                                                                \
		note_entry(path, #name "\n");                                            \
		return open_any(dirfd, path, flags | O_LARGEFILE, MODE_ARGUMENT(flags)); \
	}

#define ENTRY___open_2(name)                                             \
	int name(const char *path, int flags)                            \
	{                                                                \
		note_entry(path, #name "\n");                            \
		return open_any(AT_FDCWD, path, flags | O_LARGEFILE, 0); \
	}

#define ENTRY___openat_2(name)                                        \
	int name(int dirfd, const char *path, int flags)              \
	{                                                             \
		note_entry(path, #name "\n");                         \
		return open_any(dirfd, path, flags | O_LARGEFILE, 0); \
	}

#define ENTRY_openat2(name)                                                            \
	int name(int dirfd, const char *path, const struct open_how *how, size_t size) \
	{                                                                              \
		note_entry(path, #name "\n");                                          \
		if (is_device(dirfd, path))                                            \
			path = MOCK_DEVICE;                                            \
		return (int)real_syscall()(__NR_openat2, dirfd, path, how, size);      \
	}

#define ENTRY(name, shape, substitute) \
	parameters_of_##shape name;    \
	ENTRY_##shape(name)
ENTRIES(ENTRY)

static long read_device_link(char *target, size_t size)
{
	static const char device[] = "../../devices/virtual/misc/iommu";

	if (size > strlen(device))
		size = strlen(device);
	memcpy(target, device, size);
	return (long)size;
}

unsigned long getauxval(unsigned long type)
{
	unsigned long (*real)(unsigned long type) = dlsym(RTLD_NEXT, "getauxval");

	return type == AT_SECURE && getenv("MOCK_SECURE") ? 1 : real(type);
}

/* include/uapi/linux/iommufd.h, written down a second time: the test's own reading of it. */
struct option {
	uint32_t size, option_id;
	uint16_t op, reserved;
	uint32_t object_id;
	uint64_t val64 __attribute__((aligned(8)));
};

static void log_option(int fd, const struct option *option)
{
	char line[160];
	int length;

	if (!getenv("MOCK_LOG")) /* scripts/bench times this */
		return;
	length = snprintf(line, sizeof(line),
			  "%d: size=%u option=%u op=%u reserved=%u object=%u val64=%llu\n", fd,
			  option->size, option->option_id, option->op, option->reserved,
			  option->object_id, (unsigned long long)option->val64);
	append("MOCK_LOG", line, (size_t)length);
}

/* The errno value of IOMMU_OPTION on @fd. */
static int answer(int fd, struct option *option)
{
	int mode = mock_mode(fd);

	if (mode < 0)
		return errno;
	if (option->op == 1) {
		option->val64 = (uint64_t)mode;
		return number_from("MOCK_GET_ERRNO");
	}
	if (!number_from("MOCK_SET_ERRNO") && !getenv("MOCK_LOST_SET"))
		mock_set_mode(fd, (int)option->val64);
	return number_from("MOCK_SET_ERRNO");
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
	int error;

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request != IOMMU_OPTION)
		return (int)real_syscall()(SYS_ioctl, fd, request, argument);
	log_option(fd, argument);
	error = answer(fd, argument);
	if (error)
		errno = error;
	return error ? -1 : 0;
}

static bool fails(long number)
{
	static atomic_int calls;
	char line[32];

	if (getenv("MOCK_CALLS"))
		append("MOCK_CALLS", line, (size_t)snprintf(line, sizeof(line), "%ld\n", number));
	return ++calls == number_from("MOCK_FAIL_CALL");
}

/* The name of ioctl() where time_t became 64 bits wide later: 32-bit Arm. */
__asm__(".globl __ioctl_time64\n.set __ioctl_time64, ioctl");

/* The log goes to sockets of the test's, never to those of this machine. */
static void redirect(const struct sockaddr_un *to, struct sockaddr_un *mock)
{
	const char *path = getenv(strcmp(to->sun_path, _PATH_LOG) ? "MOCK_JOURNAL" : "MOCK_SYSLOG");

	*mock = (struct sockaddr_un){ .sun_family = AF_UNIX };
	strncpy(mock->sun_path, path ? path : "/no-such-socket", sizeof(mock->sun_path) - 1);
}

/* The library talks to the kernel by syscall(2). */
long syscall(long number, ...)
{
	long a[6];
	va_list arguments;
	struct msghdr message;
	struct sockaddr_un mock;

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	if (fails(number)) {
		if (number == SYS_close) /* which closes even if it fails */
			real_syscall()(number, a[0]);
		errno = number_from("MOCK_FAIL_ERRNO");
		return -1;
	}
	if (number == SYS_readlinkat && !strcmp((const char *)a[1], DEVICE_LINK) &&
	    !getenv("MOCK_NO_SYSFS"))
		return read_device_link((char *)a[2], (size_t)a[3]);
	if (number == SYS_sendmsg && ((const struct msghdr *)a[1])->msg_name) {
		message = *(const struct msghdr *)a[1];
		redirect(message.msg_name, &mock);
		message.msg_name = &mock;
		a[1] = (long)&message;
	}
	return real_syscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
