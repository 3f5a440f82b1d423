// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* hint_write(): each warning and error has a hint, and the longest line has room for the longest.
 */

#include "hint.h"

#include "iommufd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool helper_is_set; /* IOMMUFD_RLIMIT_HELPER is a path */

/* All but what follows from the outcome is as bad as can be. */
static struct outcome_report report_of(enum outcome outcome)
{
	return (struct outcome_report){
		.outcome = outcome,
		.source = SOURCE_OPEN,
		.effective_known = true,
		.effective = RLIMIT_MODE_USER,
		.error = EPERM,
	};
}

static const char *hint_of(enum config_mode mode, struct outcome_report report)
{
	static char hint[HINT_MAX];
	const struct config config = { .mode = mode, .helper_is_set = helper_is_set };

	memset(hint, 'x', sizeof(hint));
	hint_write(&config, &report, hint);
	assert_non_null(memchr(hint, '\0', sizeof(hint)));
	return hint;
}

static void test_level(void **state)
{
	for (enum outcome outcome = OUTCOME_APPLIED; outcome <= OUTCOME_FAILED; outcome++) {
		const char *hint = hint_of(MODE_PROCESS, report_of(outcome));

		if (outcome_policies[outcome].level == LOG_LEVEL_INFO)
			assert_string_equal(hint, "");
		else
			assert_ptr_equal(
				strstr(hint, "the program goes on with per-user accounting; "),
				hint);
	}
}

static void test_what_is_left(void **state)
{
	struct outcome_report report = report_of(OUTCOME_BUSY);

	report.effective = RLIMIT_MODE_PROCESS;
	assert_string_equal(hint_of(MODE_USER, report),
			    "the program goes on with per-process accounting; set the mode in the "
			    "program that opened this iommufd");
	report.effective_known = false;
	assert_string_equal(
		hint_of(MODE_USER, report),
		"the program goes on; set the mode in the program that opened this iommufd");
	report.open_fails = true;
	assert_string_equal(
		hint_of(MODE_USER, report),
		"this open fails; set the mode in the program that opened this iommufd");
}

/* What is to be done about a helper that did not give. */
static const char *step_of(enum helper_step step, int error)
{
	struct outcome_report report = report_of(OUTCOME_DENIED);

	report.helper = (struct helper_result){ step, error };
	return strchr(hint_of(MODE_PROCESS, report), ';') + 2;
}

/* Of its step, and its errno value where that step has some of its own. */
static void test_helper(void **state)
{
	static const struct {
		enum helper_step step;
		int error;
		const char *expected;
	} cases[] = {
		{ HELPER_NOT_ASKED, 0, "unset IOMMUFD_RLIMIT_HELPER" },
		{ HELPER_OPEN, EBADF,
		  "open /dev/iommu with O_RDWR; the helper gives nothing else" },
		{ HELPER_CONNECT, EACCES, "this user may not connect; run: iommufd-rlimit-doctor" },
		{ HELPER_CONNECT, ETIMEDOUT, "run: iommufd-rlimit-doctor" },
		{ HELPER_REPLACE, EBADF, "raise the limit of open files: ulimit -n" },
		{ HELPER_REPLACE, EBUSY, "run: iommufd-rlimit-doctor" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(step_of(cases[i].step, cases[i].error), cases[i].expected);
}

static void test_helper_of_ones_own(void **state)
{
	static const int nobody_listens[] = { ENOENT, ECONNREFUSED, EPROTOTYPE };

	helper_is_set = true;
	for (size_t i = 0; i < sizeof(nobody_listens) / sizeof(nobody_listens[0]); i++)
		assert_string_equal(
			step_of(HELPER_CONNECT, nobody_listens[i]),
			"start the helper on the socket that IOMMUFD_RLIMIT_HELPER names");
	assert_string_equal(step_of(HELPER_CONNECT, EMFILE),
			    "raise the limit of open files: ulimit -n");
	helper_is_set = false;
}

/* To go on without the mode is a step only for a program that does not. */
static void test_failed(void **state)
{
	struct outcome_report report = report_of(OUTCOME_FAILED);

	assert_string_equal(
		hint_of(MODE_PROCESS, report),
		"the program goes on with per-user accounting; run: iommufd-rlimit-doctor");
	report.open_fails = true;
	assert_string_equal(hint_of(MODE_PROCESS, report),
			    "this open fails; to go on, set IOMMUFD_RLIMIT_ON_ERROR=continue");
}

static void test_unsupported(void **state)
{
	struct outcome_report report = report_of(OUTCOME_UNSUPPORTED);

	report.open_fails = true;
	report.error = ENOTTY;
	assert_string_equal(hint_of(MODE_PROCESS, report),
			    "this open fails; this file is not an iommufd; run: ls -l /dev/iommu");
	report.error = EOPNOTSUPP;
	assert_string_equal(hint_of(MODE_PROCESS, report),
			    "this open fails; boot Linux 6.6 or later");
}

static void test_denied_without_a_helper(void **state)
{
	struct outcome_report report = report_of(OUTCOME_DENIED);

	assert_non_null(strstr(hint_of(MODE_USER, report), "; give the program CAP_SYS_RESOURCE"));
	report.source = SOURCE_INHERITED;
	assert_non_null(
		strstr(hint_of(MODE_PROCESS, report),
		       "; preload the library into the program that opened this descriptor"));
}

static void test_names_of_modes(void **state)
{
	assert_string_equal(rlimit_mode_name(RLIMIT_MODE_USER), "user");
	assert_string_equal(rlimit_mode_name(RLIMIT_MODE_PROCESS), "process");
	assert_string_equal(rlimit_mode_name(2), "unknown"); /* of a later kernel */
}

/* Everything else in the line as long as it can be, and the hint is still there whole. */
static void test_line_has_room(void **state)
{
	struct logfmt line;
	char hint[HINT_MAX];

	memset(hint, ' ', sizeof(hint)); /* quoted */
	hint[sizeof(hint) - 1] = '\0';
	logfmt_begin(&line, "iommufd-rlimit", LOG_LEVEL_WARNING);
	logfmt_text(&line, "outcome", "unsupported");
	logfmt_number(&line, "fd", INT32_MAX);
	logfmt_text(&line, "source", "inherited");
	logfmt_text(&line, "requested", "process");
	logfmt_text(&line, "effective", "unknown");
	logfmt_errno(&line, "errno", EPROTONOSUPPORT);
	logfmt_errno(&line, "helper", EPROTONOSUPPORT);
	logfmt_text(&line, "helper_step", "listener");
	logfmt_number(&line, "pid", INT32_MAX);
	logfmt_text(&line, "comm", "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1");
	logfmt_text(&line, "hint", hint);
	assert_true(line.length <= LOGFMT_MAX);
	assert_memory_equal(line.text + line.length - 3, " \"\n", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_level),
		cmocka_unit_test(test_what_is_left),
		cmocka_unit_test(test_helper),
		cmocka_unit_test(test_helper_of_ones_own),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_unsupported),
		cmocka_unit_test(test_denied_without_a_helper),
		cmocka_unit_test(test_names_of_modes),
		cmocka_unit_test(test_line_has_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
