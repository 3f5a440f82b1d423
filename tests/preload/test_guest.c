// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* How the library behaves as a guest in somebody else's process: guest.c tells what is tried. */

#include "run.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void situation(struct run *guest, const char *name, const char *argument)
{
	run(guest, NULL, (const char *[]){ run_tool("GUEST"), name, argument, NULL });
	assert_string_equal(guest->out, "ok\n");
	assert_int_equal(guest->status, 0);
}

/* Once without and once with a mode; returns what the second run logged. */
static void both_ways(struct run *guest, const char *name, const char *argument)
{
	situation(guest, name, argument);
	assert_string_equal(guest->err, "");
	run_setenv("IOMMUFD_RLIMIT_MODE", "process");
	situation(guest, name, argument);
}

static void preload_behind(const char *tool)
{
	char preload[1024];

	snprintf(preload, sizeof(preload), "%s:%s:%s", run_tool("SHIM"), run_tool("MOCK"),
		 run_tool(tool));
	run_setenv("LD_PRELOAD", preload);
}

static void test_vfork(void **state)
{
	struct run guest;

	(void)state;
	both_ways(&guest, "vfork", NULL);
	assert_int_equal(run_lines(guest.err), 2);
}

static void test_at_exit(void **state)
{
	struct run guest;

	(void)state;
	both_ways(&guest, "at-exit", NULL);
	assert_int_equal(run_lines(guest.err), 2);
}

static void test_signal_handler(void **state)
{
	struct run guest;

	(void)state;
	run_setenv("IOMMUFD_RLIMIT_LOG", run_path("log"));
	run_setenv("MOCK_LOG", NULL);
	both_ways(&guest, "signal-handler", NULL);
}

static void test_fork_from_threads(void **state)
{
	struct run guest;

	(void)state;
	if (run_emulated())
		skip(); /* qemu-user may hang in the child */
	run_setenv("IOMMUFD_RLIMIT_LOG", "none");
	run_setenv("MOCK_LOG", NULL);
	both_ways(&guest, "fork-from-threads", NULL);
}

/* Lines of many threads in one file: each is whole. */
static void assert_whole_lines(const char *path, size_t count)
{
	FILE *file = fopen(path, "re");
	char line[1024], comm[32];

	snprintf(comm, sizeof(comm), " comm=%s\n", run_emulated() ? run_comm() : "guest");
	assert_non_null(file);
	for (size_t i = 0; i < count; i++) {
		assert_non_null(fgets(line, sizeof(line), file));
		assert_ptr_equal(strstr(line, "iommufd-rlimit: info: outcome=applied fd="), line);
		assert_true(strlen(line) > strlen(comm));
		assert_string_equal(line + strlen(line) - strlen(comm), comm);
	}
	assert_null(fgets(line, sizeof(line), file));
	fclose(file);
}

static void test_threads(void **state)
{
	struct run guest;

	(void)state;
	run_setenv("IOMMUFD_RLIMIT_LOG", run_path("log"));
	run_setenv("MOCK_LOG", NULL);
	both_ways(&guest, "threads", NULL);
	assert_whole_lines(run_path("log"), 64000); /* 64 x 1,000 */
}

/* A program that passes its iommufd on: the next one finds it, with the mode that it has. */
static void test_exec(void **state)
{
	struct run guest;

	(void)state;
	if (run_emulated())
		skip(); /* /proc/self/exe is the emulator */
	both_ways(&guest, "exec", NULL);
	assert_int_equal(run_lines(guest.err), 3);
	assert_has(guest.err, "outcome=applied fd=3 source=open ");
	assert_has(guest.err, "outcome=applied fd=3 source=inherited ");
	assert_has(guest.err, "outcome=applied fd=4 source=open ");
}

static void test_small_stack(void **state)
{
	static const char *const sinks[] = { "stderr", "syslog", "none", "/nowhere/log" };
	struct run guest;

	(void)state;
	if (SANITIZED)
		skip(); /* the sanitizers want more than that for themselves */
	run_setenv("MOCK_SET_ERRNO", "1");
	run_setenv("MOCK_SYSLOG", run_path("no-socket"));
	run_setenv("IOMMUFD_RLIMIT_HELPER", run_path("no-socket"));
	for (size_t i = 0; i < sizeof(sinks) / sizeof(sinks[0]); i++) {
		run_setenv("IOMMUFD_RLIMIT_LOG", sinks[i]);
		run_setenv("IOMMUFD_RLIMIT_MODE", NULL);
		both_ways(&guest, "small-stack", NULL);
	}
}

static void test_seccomp(void **state)
{
	struct run guest;

	(void)state;
	if (SANITIZED || run_emulated())
		skip(); /* their runtimes make calls of their own; qemu-user has no seccomp */
	run_setenv("MOCK_LOG", NULL);
	situation(&guest, "seccomp-kill", "/dev/iommu");
	run_setenv("IOMMUFD_RLIMIT_MODE", "process");
	situation(&guest, "seccomp-kill", "/dev/null");
	/* The device, with nothing that the library needs: it copes, and the open goes on. */
	run_setenv("MOCK_SET_ERRNO", "1");
	situation(&guest, "seccomp-errno", "/dev/iommu");
}

static void test_cancel(void **state)
{
	struct run guest;

	(void)state;
	assert_int_equal(mkfifo(run_path("fifo"), 0600), 0);
	if (SANITIZED)
		skip();
	run_setenv("LD_PRELOAD", run_tool("SHIM")); /* the mock's open() cannot be cancelled */
	both_ways(&guest, "cancel", run_path("fifo"));
}

static void test_cancel_state(void **state)
{
	struct run guest;

	(void)state;
	if (SANITIZED)
		skip(); /* they do not follow a cancelled thread */
	both_ways(&guest, "cancel-state", NULL);
	assert_has(guest.err, "outcome=applied ");
}

/* Before the library's own constructor it is inert; a descriptor that is left is seen as inherited.
 */
static void test_early_constructor(void **state)
{
	struct run guest;

	(void)state;
	preload_behind("EARLY");
	both_ways(&guest, "plain", NULL);
	assert_int_equal(run_lines(guest.err), 1);
	assert_has(guest.err, " source=open ");
	assert_int_equal(run_lines(guest.ioctls), 2);
	run_setenv("EARLY_KEEPS", "1");
	situation(&guest, "plain", NULL);
	assert_int_equal(run_lines(guest.err), 2);
	assert_has(guest.err, "outcome=applied fd=3 source=inherited ");
}

static void close_stderr(void)
{
	close(STDERR_FILENO);
}

/* A file that the constructor opened is descriptor 2 by the time the shim's own runs. */
static void test_early_file_as_stderr(void **state)
{
	struct run guest;
	struct stat st;

	(void)state;
	preload_behind("EARLY");
	run_setenv("EARLY_FILE", run_path("disk-image"));
	run_setenv("IOMMUFD_RLIMIT_MODE", "process");
	run(&guest, close_stderr, (const char *[]){ run_tool("GUEST"), "plain", NULL });
	assert_string_equal(guest.out, "ok\n");
	assert_int_equal(stat(run_path("disk-image"), &st), 0);
	assert_int_equal(st.st_size, 0);
}

static void test_started(void **state)
{
	struct run guest;

	(void)state;
	run_setenv("IOMMUFD_RLIMIT_LOG", "/nowhere/log");
	run_setenv("IOMMUFD_RLIMIT_LOG_LEVEL", "debug");
	both_ways(&guest, "started", NULL);
}

static void break_stderr(void)
{
	int ends[2];

	if (pipe(ends) || dup2(ends[1], STDERR_FILENO) < 0)
		_exit(126);
	close(ends[0]);
	close(ends[1]);
}

static void test_signals(void **state)
{
	struct run guest;

	(void)state;
	run_setenv("IOMMUFD_RLIMIT_MODE", "process");
	run(&guest, break_stderr, (const char *[]){ run_tool("GUEST"), "signals", NULL });
	assert_string_equal(guest.out, "ok\n");
}

static void test_preinit(void **state)
{
	struct run guest;

	(void)state;
#ifndef __GLIBC__
	skip(); /* musl has no .preinit_array */
#endif
	both_ways(&guest, "preinit", NULL);
	/* No environment yet when it was opened; the constructor finds it. */
	assert_int_equal(run_lines(guest.err), 1);
	assert_has(guest.err, "outcome=applied ");
}

static void test_allocator_that_opens(void **state)
{
	struct run guest;

	(void)state;
	if (SANITIZED)
		skip(); /* they bring the allocator */
#if defined(__GLIBC__) && __GLIBC_MINOR__ < 34
	skip(); /* the mock's dlsym() recurses: it allocates */
#endif
	preload_behind("ALLOCATOR");
	both_ways(&guest, "plain", NULL);
	assert_has(guest.err, "outcome=applied ");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, run_setup, run_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vfork),
		TEST(test_at_exit),
		TEST(test_signal_handler),
		TEST(test_fork_from_threads),
		TEST(test_threads),
		TEST(test_exec),
		TEST(test_small_stack),
		TEST(test_seccomp),
		TEST(test_cancel),
		TEST(test_cancel_state),
		TEST(test_early_constructor),
		TEST(test_early_file_as_stderr),
		TEST(test_started),
		TEST(test_signals),
		TEST(test_preinit),
		TEST(test_allocator_that_opens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
