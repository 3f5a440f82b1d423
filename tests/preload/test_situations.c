// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* How the library behaves in somebody else's process: situations.c tells what is tried. */

#include "child.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void situation(struct child *program, const char *name, const char *argument)
{
	child_run(program, NULL,
		  (const char *[]){ child_tool("SITUATIONS"), name, argument, NULL });
	assert_string_equal(program->out, "ok\n");
	assert_int_equal(program->status, 0);
}

/* Once without and once with a mode; returns what the second run logged. */
static void both_ways(struct child *program, const char *name, const char *argument)
{
	situation(program, name, argument);
	assert_string_equal(program->err, "");
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	situation(program, name, argument);
}

static void preload(const char *first, const char *second, const char *third)
{
	char list[1024];

	snprintf(list, sizeof(list), "%s:%s:%s", child_tool(first), child_tool(second),
		 child_tool(third));
	child_setenv("LD_PRELOAD", list);
}

/* So that its constructor runs before the shim's: glibc begins with the last, musl with the first.
 */
static void preload_early(void)
{
#ifdef __GLIBC__
	preload("SHIM", "MOCK", "EARLY");
#else
	preload("EARLY", "SHIM", "MOCK");
#endif
}

static void test_vfork(void **state)
{
	struct child program;

	both_ways(&program, "vfork", NULL);
	assert_int_equal(child_lines(program.err), 2);
}

static void test_at_exit(void **state)
{
	struct child program;

	both_ways(&program, "at-exit", NULL);
	assert_int_equal(child_lines(program.err), 2);
}

/* A library that the program loads later opens the device, as a module of QEMU may. */
static void test_dlopen(void **state)
{
	struct child program;

	both_ways(&program, "dlopen", child_tool("EARLY"));
	assert_int_equal(child_lines(program.err), 2);
}

/* Not by LD_PRELOAD: the library sees no open, and the program goes on. iommufd-rlimit(7), LIMITS.
 */
static void test_loaded_late(void **state)
{
	struct child program;

	if (SANITIZED)
		skip(); /* their runtimes have to be there at the start, and once */
	child_setenv("LD_PRELOAD", child_tool("MOCK"));
	both_ways(&program, "dlopen", child_tool("SHIM"));
	assert_string_equal(program.err, "");
#if defined(__GLIBC__) && __GLIBC_MINOR__ >= 36 /* 2.31 ends a program for it */
	child_setenv("LD_AUDIT", child_tool("SHIM"));
	situation(&program, "plain", NULL);
	assert_has_not(program.err, "outcome=");
	assert_has(program.err, "cannot be loaded as audit interface");
#endif
}

/* Nor into a static PIE, which ld.so does not load. */
static void test_static_pie(void **state)
{
	struct child program;

	if (!getenv("OPENER_STATIC"))
		skip(); /* no libc for it */
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_setenv("IOMMUFD_RLIMIT_LOG_LEVEL", "debug");
	child_opener(&program, "OPENER_STATIC", (const char *[]){ "open", "/dev/full", NULL });
	assert_has(program.out, "return=3 errno=4242 ");
	assert_string_equal(program.err, "");
}

static void test_signal_handler(void **state)
{
	struct child program;

	child_setenv("IOMMUFD_RLIMIT_LOG", child_path("log"));
	child_setenv("MOCK_LOG", NULL);
	both_ways(&program, "signal-handler", NULL);
}

static void test_fork_from_threads(void **state)
{
	struct child program;

	if (child_emulated())
		skip(); /* qemu-user may hang in the child */
	child_setenv("IOMMUFD_RLIMIT_LOG", "none");
	child_setenv("MOCK_LOG", NULL);
	both_ways(&program, "fork-from-threads", NULL);
}

/* Lines of many threads in one file: each is whole. */
static void assert_whole_lines(const char *path, size_t count)
{
	FILE *file = fopen(path, "re");
	char line[1024], comm[32];

	snprintf(comm, sizeof(comm), " comm=%s\n", child_emulated() ? child_comm() : "situations");
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
	struct child program;

	child_setenv("IOMMUFD_RLIMIT_LOG", child_path("log"));
	child_setenv("MOCK_LOG", NULL);
	both_ways(&program, "threads", NULL);
	assert_whole_lines(child_path("log"), 64000); /* 64 x 1,000 */
}

/* A program that passes its iommufd on: the next one finds it, with the mode that it has. */
static void test_exec(void **state)
{
	struct child program;

	if (child_emulated())
		skip(); /* /proc/self/exe is the emulator */
	both_ways(&program, "exec", NULL);
	assert_int_equal(child_lines(program.err), 3);
	assert_has(program.err, "outcome=applied fd=3 source=open ");
	assert_has(program.err, "outcome=applied fd=3 source=inherited ");
	assert_has(program.err, "outcome=applied fd=4 source=open ");
}

static void test_small_stack(void **state)
{
	static const char *const sinks[] = { "stderr", "syslog", "none", "/nowhere/log" };
	struct child program;

	if (SANITIZED)
		skip(); /* the sanitizers want more than that for themselves */
	child_setenv("MOCK_SET_ERRNO", "1");
	child_setenv("MOCK_SYSLOG", child_path("no-socket"));
	child_setenv("IOMMUFD_RLIMIT_HELPER", child_path("no-socket"));
	for (size_t i = 0; i < sizeof(sinks) / sizeof(sinks[0]); i++) {
		child_setenv("IOMMUFD_RLIMIT_LOG", sinks[i]);
		child_setenv("IOMMUFD_RLIMIT_MODE", NULL);
		both_ways(&program, "small-stack", NULL);
	}
}

static void test_seccomp(void **state)
{
	struct child program;

	if (SANITIZED || child_emulated())
		skip(); /* their runtimes make calls of their own; qemu-user has no seccomp */
	child_setenv("MOCK_LOG", NULL);
	situation(&program, "seccomp-kill", "/dev/iommu");
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	situation(&program, "seccomp-kill", "/dev/null");
	/* The device, with nothing that the library needs: it copes, and the open goes on. */
	child_setenv("MOCK_SET_ERRNO", "1");
	situation(&program, "seccomp-errno", "/dev/iommu");
}

static void test_cancel(void **state)
{
	struct child program;

	assert_int_equal(mkfifo(child_path("fifo"), 0600), 0);
	if (SANITIZED)
		skip();
	child_setenv("LD_PRELOAD", child_tool("SHIM")); /* the mock's open() cannot be cancelled */
	both_ways(&program, "cancel", child_path("fifo"));
}

static void test_cancel_state(void **state)
{
	struct child program;

	if (SANITIZED)
		skip(); /* they do not follow a cancelled thread */
	both_ways(&program, "cancel-state", NULL);
	assert_has(program.err, "outcome=applied ");
}

/* Before the library's own constructor it is inert; a descriptor that is left is seen as inherited.
 */
static void test_early_constructor(void **state)
{
	struct child program;

	preload_early();
	both_ways(&program, "plain", NULL);
	assert_int_equal(child_lines(program.err), 1);
	assert_has(program.err, " source=open ");
	assert_int_equal(child_lines(program.ioctls), 2);
	child_setenv("EARLY_KEEPS", "1");
	situation(&program, "plain", NULL);
	assert_int_equal(child_lines(program.err), 2);
	assert_has(program.err, "outcome=applied fd=3 source=inherited ");
}

static void close_stderr(void)
{
	close(STDERR_FILENO);
}

/* A file that the constructor opened is descriptor 2 by the time the shim's own runs. */
static void test_early_file_as_stderr(void **state)
{
	struct child program;
	struct stat st;

	preload_early();
	child_setenv("EARLY_FILE", child_path("disk-image"));
	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_run(&program, close_stderr,
		  (const char *[]){ child_tool("SITUATIONS"), "plain", NULL });
	assert_string_equal(program.out, "ok\n");
	assert_int_equal(stat(child_path("disk-image"), &st), 0);
	assert_int_equal(st.st_size, 0);
}

static void test_started(void **state)
{
	struct child program;

	child_setenv("IOMMUFD_RLIMIT_LOG", "/nowhere/log");
	child_setenv("IOMMUFD_RLIMIT_LOG_LEVEL", "debug");
	both_ways(&program, "started", NULL);
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
	struct child program;

	child_setenv("IOMMUFD_RLIMIT_MODE", "process");
	child_run(&program, break_stderr,
		  (const char *[]){ child_tool("SITUATIONS"), "signals", NULL });
	assert_string_equal(program.out, "ok\n");
}

static void test_preinit(void **state)
{
	struct child program;

#ifndef __GLIBC__
	skip(); /* musl has no .preinit_array */
#endif
	both_ways(&program, "preinit", NULL);
	/* No environment yet when it was opened; the constructor finds it. */
	assert_int_equal(child_lines(program.err), 1);
	assert_has(program.err, "outcome=applied ");
}

static void test_allocator_that_opens(void **state)
{
	struct child program;

	if (SANITIZED)
		skip(); /* they bring the allocator */
#if defined(__GLIBC__) && __GLIBC_MINOR__ < 34
	skip(); /* the mock's dlsym() recurses: it allocates */
#endif
	preload("SHIM", "MOCK", "ALLOCATOR");
	both_ways(&program, "plain", NULL);
	assert_has(program.err, "outcome=applied ");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, child_setup, child_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_vfork),
		TEST(test_at_exit),
		TEST(test_dlopen),
		TEST(test_loaded_late),
		TEST(test_static_pie),
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
