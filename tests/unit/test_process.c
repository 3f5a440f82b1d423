// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* What the kernel says about this process; the debug line shows it. */

#include "process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static void test_locked_memory(void **state)
{
	size_t size = 4 * (size_t)sysconf(_SC_PAGESIZE);
	char *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct process_facts facts;
	long before;

	(void)state;
	if (SANITIZED)
		skip(); /* their mlock() does nothing */
	process_facts(&facts);
	before = facts.vmlck_kb;
	assert_true(before >= 0);
	assert_int_equal(mlock(pages, size), 0);
	process_facts(&facts);
	assert_int_equal(facts.vmlck_kb, before + (long)size / 1024);
	munmap(pages, size);
}

static void test_limit(void **state)
{
	struct rlimit limit;
	struct process_facts facts;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
	process_facts(&facts);
	assert_int_equal(facts.memlock_unlimited, limit.rlim_cur == RLIM_INFINITY);
	if (!facts.memlock_unlimited)
		assert_int_equal(facts.memlock, limit.rlim_cur);
}

static void test_names(void **state)
{
	char comm[PROCESS_COMM_MAX];
	struct process_facts facts;

	(void)state;
	assert_int_equal(prctl(PR_SET_NAME, "fifteen-letters-and-more"), 0);
	process_comm(comm);
	assert_string_equal(comm, "fifteen-letters");
	process_facts(&facts);
	assert_int_equal(facts.uid, getuid());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_locked_memory),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
