// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* What is left to the helper: one user, one capability, one ioctl. */
#include "helper_confine.h"
#include "helper_process.h"
#include "iommufd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* The status, as waitpid(2) has it, of a child that does this under the filter. */
static int status_of(int (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int result;

		if (helper_confine_privileges() || helper_confine_system_calls())
			_exit(99);
		result = act();
		syscall(SYS_exit_group, result);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void need_filter(void)
{
	if (!helper_confine_filter_exists())
		skip();
}

static int device;

static int set_mode(void)
{
	return iommufd_set_rlimit_mode(device, RLIMIT_MODE_PROCESS);
}

static int get_mode(void)
{
	uint64_t mode;

	return iommufd_get_rlimit_mode(device, &mode);
}

/* /dev/null does not know it: the answer is the kernel's own. */
static void lets_set_and_get_through(void **state)
{
	(void)state;
	need_filter();
	assert_int_equal(WEXITSTATUS(status_of(set_mode)), ENOTTY);
	assert_int_equal(WEXITSTATUS(status_of(get_mode)), ENOTTY);
}

static unsigned long request;

static int any_ioctl(void)
{
	char argument[64] = { 0 };

	return (int)syscall(SYS_ioctl, device, request, argument);
}

static void is_killed_for_every_other_ioctl(void **state)
{
	static const unsigned long others[] = { FIONREAD,   FIONBIO,  TIOCSTI,   0,
						~0UL,       0x3b86,   0x3b88,    0x3b80,
						0xc0003b87, 0x3b8700, 0x40183b87 };

	(void)state;
	need_filter();
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		int status;

		request = others[i];
		status = status_of(any_ioctl);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
}

#ifndef SYS_mmap /* 32-bit Arm */
#define SYS_mmap SYS_mmap2
#endif

static long number;

static int any_call(void)
{
	return syscall(number, -1, F_SETFL, 0, 0, 0, 0) < 0 ? errno : 0;
}

static void is_refused_what_a_request_does_not_take(void **state)
{
	static const long calls[] = {
		SYS_openat,  SYS_socket, SYS_connect,  SYS_clone,     SYS_execve,    SYS_mprotect,
		SYS_kill,    SYS_ptrace, SYS_unlinkat, SYS_prlimit64, SYS_setresuid, SYS_capset,
		SYS_accept4, SYS_dup,    SYS_close,    SYS_fcntl,     SYS_sendmsg,   SYS_prctl,
	};

	(void)state;
	need_filter();
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		number = calls[i];
		assert_int_equal(WEXITSTATUS(status_of(any_call)), EPERM);
	}
}

/* A field of proc_pid_status(5), without its leading blank. */
static void status_field(pid_t pid, const char *field, char *value, size_t size)
{
	char name[32], line[256];
	FILE *file;

	snprintf(name, sizeof(name), "/proc/%d/status", pid);
	file = fopen(name, "re");
	assert_non_null(file);
	*value = '\0';
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, field, strlen(field)) && line[strlen(field)] == ':')
			snprintf(value, size, "%s", line + strlen(field) + 2);
	fclose(file);
	value[strcspn(value, "\n")] = '\0';
}

static void assert_field(const char *field, const char *expected)
{
	char value[256];

	status_field(helper_pid(), field, value, sizeof(value));
	if (strcmp(value, expected))
		fail_msg("%s of the helper is \"%s\", not \"%s\"", field, value, expected);
}

static void serves_under_the_filter(void **state)
{
	struct helper_request hanging = helper_good_request();
	int connection = helper_on_connection(NULL);
	int full = helper_open_device();

	(void)state;
	need_filter();
	mock->hang = 1;
	hanging.mode = RLIMIT_MODE_USER;
	assert_int_equal(helper_send(connection, &hanging, sizeof(hanging), &full, 1), 0);
	while (!mock->sets)
		poll(NULL, 0, 1);
	assert_field("Seccomp", "2");
	kill(helper_pid(), SIGKILL);
	helper_status();
	close(full);
	close(connection);
}

static void keeps_but_one_capability(void **state)
{
	char had[256], expected[32];

	(void)state;
	status_field(getpid(), "CapPrm", had, sizeof(had));
	snprintf(expected, sizeof(expected), "%016llx",
		 strtoull(had, NULL, 16) & 1ULL << CAP_SYS_RESOURCE);
	helper_listen_with(NULL);
	assert_field("CapPrm", expected);
	assert_field("CapEff", expected);
	assert_field("CapInh", "0000000000000000");
	assert_field("CapAmb", "0000000000000000");
	assert_field("NoNewPrivs", "1");
}

static void is_nobody_when_started_by_root(void **state)
{
	gid_t groups[64];
	int group_count;

	(void)state;
	if (getuid() || getpwnam(HELPER_ACCOUNT))
		skip();
	group_count = getgroups(sizeof(groups) / sizeof(groups[0]), groups);
	assert_true(group_count >= 0);
	assert_int_equal(setgroups(1, (const gid_t[]){ 4711 }), 0);
	helper_listen_with(NULL);
	assert_int_equal(setgroups((size_t)group_count, groups), 0);
	assert_field("Uid", "65534\t65534\t65534\t65534");
	assert_field("Gid", "65534\t65534\t65534\t65534");
	assert_field("Groups", " ");
}

static void stays_who_it_is_when_started_by_a_user(void **state)
{
	char before[256];

	(void)state;
	if (!getuid())
		skip();
	status_field(getpid(), "Uid", before, sizeof(before));
	helper_listen_with(NULL);
	assert_field("Uid", before);
}

static int setup(void **state)
{
	device = open("/dev/null", O_RDWR | O_CLOEXEC);
	return helper_setup(state);
}

static int teardown(void **state)
{
	close(device);
	return helper_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lets_set_and_get_through),
		TEST(is_killed_for_every_other_ioctl),
		TEST(is_refused_what_a_request_does_not_take),
		TEST(serves_under_the_filter),
		TEST(keeps_but_one_capability),
		TEST(is_nobody_when_started_by_root),
		TEST(stays_who_it_is_when_started_by_a_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
