// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/*
 * start COUNT ENVIRONMENT...: how many microseconds more a program takes from exec to exit in each
 * ENVIRONMENT ("NAME=VALUE NAME=VALUE") than in an empty one. Prints what it takes in the empty
 * one, then a line for each; all medians, of COUNT pairs. The program is this one without
 * arguments. Each round starts it once in every environment, the first of the last round last, so
 * that whatever else the machine does meets all alike.
 */
#include "median.h"

#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define ENVIRONMENTS_MAX 16
#define VARIABLES_MAX    4

struct environment {
	char *variables[VARIABLES_MAX + 1];
	double *more; /* than in the empty one */
	double took;  /* in this round */
};

/* Splits @text where it is. */
static void set_variables(struct environment *environment, char *text)
{
	size_t count = 0;

	for (char *word = strtok(text, " "); word && count < VARIABLES_MAX;
	     word = strtok(NULL, " "))
		environment->variables[count++] = word;
}

static double start(char *const variables[])
{
	char name[] = "start", *const arguments[] = { name, NULL };
	const double begin = microseconds();
	int status;
	pid_t pid;

	if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, variables) ||
	    waitpid(pid, &status, 0) != pid || status)
		exit(1);
	return microseconds() - begin;
}

/* A program that moves to another processor on its way takes longer. */
static void stay_on_this_processor(void)
{
	cpu_set_t here;

	CPU_ZERO(&here);
	CPU_SET((size_t)sched_getcpu(), &here);
	sched_setaffinity(0, sizeof(here), &here);
}

int main(int argc, char **argv)
{
	static struct environment environments[ENVIRONMENTS_MAX]; /* the first is the empty one */
	const size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	const size_t count = (size_t)argc - 1;

	if (argc < 2)
		return 0;
	if (!rounds || count > ENVIRONMENTS_MAX)
		return 2;
	for (size_t i = 0; i < count; i++) {
		environments[i].more = calloc(rounds, sizeof(environments[i].more[0]));
		if (i)
			set_variables(&environments[i], argv[i + 1]);
	}
	stay_on_this_processor();
	for (size_t round = 0; round < rounds; round++) {
		for (size_t i = 0; i < count; i++) {
			struct environment *next = &environments[(round + i) % count];

			next->took = start(next->variables);
		}
		for (size_t i = 0; i < count; i++)
			environments[i].more[round] =
				environments[i].took - (i ? environments[0].took : 0);
	}
	for (size_t i = 0; i < count; i++)
		printf("%.1f\n", median(environments[i].more, rounds));
	return 0;
}
