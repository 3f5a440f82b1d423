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

#define RUN_SECONDS 100 /* then the program hangs, and the test fails */

struct run {
	pid_t pid;
	int status; /* as waitpid(2) has it */
	char out[4096];
	char err[16384];
	char ioctls[4096]; /* MOCK_LOG */
};

/**
 * run_setup, run_teardown - cmocka's, for each test: an empty directory, and an environment that
 * has the preloads and the mock's files, but no setting of ours
 */
int run_setup(void **state);
int run_teardown(void **state);

/** run_setenv - set (or with NULL unset) a variable for the programs of this test. */
void run_setenv(const char *name, const char *value);

/** run_path - a name in the test's directory; valid until the next call but three. */
const char *run_path(const char *name);

/** run_tool - the path of something that meson built, by the name of its environment variable. */
const char *run_tool(const char *variable);

/** run_emulated - do programs run under qemu-user? It lacks some of what the kernel has. */
int run_emulated(void);

/** run_comm - what the kernel calls the opener, or the emulator that runs it. */
const char *run_comm(void);

/**
 * run - run a program to its end
 * @before_exec: called in the child; NULL for nothing
 * @arguments: program and arguments, NULL last
 */
void run(struct run *run, void (*before_exec)(void), const char *const arguments[]);

/** run_opener - run() one build of the opener; @arguments without the program. */
void run_opener(struct run *run, const char *build, const char *const arguments[]);

/** run_lines - how many lines a text has. */
size_t run_lines(const char *text);

/** assert_has, assert_has_not - a text contains a string, or does not; shows the text. */
#define assert_has(text, part)     assert_part(text, part, 1, __FILE__, __LINE__)
#define assert_has_not(text, part) assert_part(text, part, 0, __FILE__, __LINE__)
void assert_part(const char *text, const char *part, int wanted, const char *file, int line);
