// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char directory[64];
static char *environment[64];

void child_setenv(const char *name, const char *value)
{
	size_t length = strlen(name);
	size_t i = 0;

	while (environment[i] &&
	       (strncmp(environment[i], name, length) || environment[i][length] != '='))
		i++;
	assert_true(i + 1 < sizeof(environment) / sizeof(environment[0]));
	free(environment[i]);
	environment[i] = NULL;
	if (value) {
		assert_true(asprintf(&environment[i], "%s=%s", name, value) > 0);
		return;
	}
	for (; environment[i + 1]; i++) {
		environment[i] = environment[i + 1];
		environment[i + 1] = NULL;
	}
}

const char *child_path(const char *name)
{
	static char paths[4][128];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	assert_true(snprintf(path, sizeof(paths[0]), "%s/%s", directory, name) <
		    (int)sizeof(paths[0]));
	return path;
}

const char *child_tool(const char *variable)
{
	const char *path = getenv(variable);

	if (!path)
		fail_msg("%s is not set: run this test by meson", variable);
	return path;
}

int child_setup(void **state)
{
	/* What the sanitizers' runtimes are told, and the path for their symbolizer. */
	static const char *const kept[] = { "PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS",
					    "TSAN_OPTIONS" };
	char preload[1024];

	strcpy(directory, "/tmp/iommufd-rlimit-test-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(preload, sizeof(preload), "%s:%s", child_tool("SHIM"), child_tool("MOCK"));
	child_setenv("LD_PRELOAD", preload);
	child_setenv("MOCK_LOG", child_path("ioctls"));
	child_setenv("IOMMUFD_RLIMIT_HELPER", "none");
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (getenv(kept[i]))
			child_setenv(kept[i], getenv(kept[i]));
	return 0;
}

int child_teardown(void **state)
{
	pid_t child = fork();

	if (!child) {
		execlp("rm", "rm", "-rf", directory, NULL);
		_exit(127);
	}
	waitpid(child, NULL, 0);
	for (size_t i = 0; environment[i]; i++) {
		free(environment[i]);
		environment[i] = NULL;
	}
	return 0;
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads both pipes until both are closed; kills @pid at the deadline. */
static void collect(struct child *child, pid_t pid, int out, int err)
{
	struct pollfd polls[] = { { .fd = out, .events = POLLIN },
				  { .fd = err, .events = POLLIN } };
	char *at[] = { child->out, child->err };
	char *const end[] = { child->out + sizeof(child->out) - 1,
			      child->err + sizeof(child->err) - 1 };
	int64_t deadline = now_ms() + CHILD_SECONDS * 1000;

	while (polls[0].fd >= 0 || polls[1].fd >= 0) {
		int64_t left = deadline - now_ms();

		if (left <= 0 || poll(polls, 2, (int)left) <= 0) {
			kill(pid, SIGKILL);
			fail_msg("hangs; so far: %s%s", child->out, child->err);
		}
		for (int i = 0; i < 2; i++) {
			ssize_t length;

			if (polls[i].fd < 0 || !polls[i].revents)
				continue;
			length = read(polls[i].fd, at[i], (size_t)(end[i] - at[i]));
			if (length > 0) {
				at[i] += length;
			} else {
				close(polls[i].fd);
				polls[i].fd = -1;
			}
		}
	}
}

static void read_file(const char *path, char *to, size_t size)
{
	FILE *file = fopen(path, "re");

	memset(to, 0, size);
	if (!file)
		return;
	assert_true(fread(to, 1, size - 1, file) < size);
	fclose(file);
}

int child_emulated(void)
{
	return getenv("MESON_EXE_WRAPPER") != NULL;
}

const char *child_comm(void)
{
	return child_emulated() ? strrchr(getenv("MESON_EXE_WRAPPER"), '/') + 1 : "opener";
}

/* The emulator has to be static, so that LD_PRELOAD is for the program and not for itself. */
static _Noreturn void execute(const char *const arguments[])
{
	const char *emulated[16] = { getenv("MESON_EXE_WRAPPER") };

	for (size_t i = 0; i < 14 && arguments[i]; i++)
		emulated[i + 1] = arguments[i];
	if (child_emulated())
		arguments = emulated;
	execve(arguments[0], (char *const *)arguments, environment);
	_exit(127);
}

void child_run(struct child *child, void (*before_exec)(void), const char *const arguments[])
{
	int out[2], err[2];
	pid_t pid;

	memset(child, 0, sizeof(*child));
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		int null = open("/dev/null", O_RDONLY);

		dup2(null, STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		for (int fd = 3; fd < 1024; fd++)
			close(fd);
		if (before_exec)
			before_exec();
		execute(arguments);
	}
	close(out[1]);
	close(err[1]);
	collect(child, pid, out[0], err[0]);
	assert_int_equal(waitpid(pid, &child->status, 0), pid);
	child->pid = pid;
	read_file(child_path("ioctls"), child->ioctls, sizeof(child->ioctls));
}

void child_opener(struct child *to, const char *build, const char *const arguments[])
{
	const char *all[8] = { child_tool(build) };

	for (size_t i = 0; arguments[i]; i++)
		all[i + 1] = arguments[i];
	child_run(to, NULL, all);
}

size_t child_lines(const char *text)
{
	size_t lines = 0;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

void assert_part(const char *text, const char *part, int wanted, const char *file, int line)
{
	if (!strstr(text, part) == !wanted)
		return;
	print_error("%s \"%s\" in:\n%s\n", wanted ? "missing" : "unwanted", part, text);
	_fail(file, line);
}
