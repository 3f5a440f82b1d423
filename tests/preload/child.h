// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Runs a program under LD_PRELOAD=SHIM:MOCK and takes down all that can be seen from outside. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#define CHILD_SECONDS 100 /* then the program hangs, and the test fails */

struct child {
	pid_t pid;
	int status; /* as waitpid(2) has it */
	char out[4096];
	char err[16384];
	char ioctls[4096]; /* MOCK_LOG */
};

/**
 * child_setup, child_teardown - cmocka's, for each test: an empty directory, and an environment
 * that has the preloads and the mock's files, but no setting of ours
 */
int child_setup(void **state);
int child_teardown(void **state);

/** child_setenv - set (or with NULL unset) a variable for the programs of this test. */
void child_setenv(const char *name, const char *value);

/** child_path - a name in the test's directory; valid until the next call but three. */
const char *child_path(const char *name);

/** child_tool - the path of something that meson built, by the name of its environment variable. */
const char *child_tool(const char *variable);

/** child_emulated - do programs run under qemu-user? It lacks some of what the kernel has. */
int child_emulated(void);

/** child_comm - what the kernel calls the opener, or the emulator that runs it. */
const char *child_comm(void);

/**
 * child_run - run a program to its end
 * @before_exec: called in the child; NULL for nothing
 * @arguments: program and arguments, NULL last
 */
void child_run(struct child *child, void (*before_exec)(void), const char *const arguments[]);

/** child_opener - child_run() one build of the opener; @arguments without the program. */
void child_opener(struct child *child, const char *build, const char *const arguments[]);

/** child_lines - how many lines a text has. */
size_t child_lines(const char *text);

/** assert_has, assert_has_not - a text contains a string, or does not; shows the text. */
#define assert_has(text, part)     assert_part(text, part, 1, __FILE__, __LINE__)
#define assert_has_not(text, part) assert_part(text, part, 0, __FILE__, __LINE__)
void assert_part(const char *text, const char *part, int wanted, const char *file, int line);
