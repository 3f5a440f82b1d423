// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* One line, whatever goes in. */

#include "logfmt.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void assert_line(const struct logfmt *line, const char *expected)
{
	char text[LOGFMT_MAX + 1] = { 0 };

	memcpy(text, line->text, line->length);
	assert_string_equal(text, expected);
}

static void value(const char *text, const char *expected)
{
	struct logfmt line;

	logfmt_begin(&line, "p", LOG_LEVEL_INFO);
	logfmt_text(&line, "key", text);
	assert_line(&line, expected);
}

static void test_values(void **state)
{
	value("plain-1.2/3:x", "p: info: key=plain-1.2/3:x\n");
	value("", "p: info: key=\"\"\n");
	value("two words", "p: info: key=\"two words\"\n");
	value("a=b", "p: info: key=\"a=b\"\n");
	value("say \"x\"", "p: info: key=\"say \\\"x\\\"\"\n");
	value("back\\slash", "p: info: key=\"back\\\\slash\"\n");
	value("\n\t\x01\x1f\x7f", "p: info: key=\"\\x0a\\x09\\x01\\x1f\\x7f\"\n");
	value("\x80\xc3\xa9\xff", "p: info: key=\"\\x80\\xc3\\xa9\\xff\"\n");
}

static void test_levels(void **state)
{
	struct logfmt line;

	logfmt_begin(&line, "who", LOG_LEVEL_ERROR);
	assert_line(&line, "who: error:\n");
	logfmt_begin(&line, "who", LOG_LEVEL_WARNING);
	assert_line(&line, "who: warning:\n");
	logfmt_begin(&line, "who", LOG_LEVEL_DEBUG);
	assert_line(&line, "who: debug:\n");
	assert_int_equal(line.level, LOG_LEVEL_DEBUG);
}

static void test_numbers(void **state)
{
	struct logfmt line;

	logfmt_begin(&line, "p", LOG_LEVEL_INFO);
	logfmt_number(&line, "a", 0);
	logfmt_number(&line, "b", 10);
	logfmt_number(&line, "c", -1);
	logfmt_number(&line, "d", INT64_MAX);
	logfmt_number(&line, "e", INT64_MIN);
	assert_line(&line, "p: info: a=0 b=10 c=-1 d=9223372036854775807 "
			   "e=-9223372036854775808\n");
}

static void test_errno(void **state)
{
	struct logfmt line;

	logfmt_begin(&line, "p", LOG_LEVEL_INFO);
	logfmt_errno(&line, "a", EPERM);
	logfmt_errno(&line, "b", EOPNOTSUPP);
	logfmt_errno(&line, "c", 4000);
	assert_line(&line, "p: info: a=EPERM b=EOPNOTSUPP c=4000\n");
}

/* A field that does not fit is left out whole, and a shorter one may follow it. */
static void test_never_longer(void **state)
{
	char text[LOGFMT_MAX + 2];

	for (size_t length = 0; length <= LOGFMT_MAX; length++) {
		struct logfmt line;
		const size_t around = strlen("p: info: k=\n");

		memset(text, 'x', sizeof(text));
		text[length] = '\0';
		logfmt_begin(&line, "p", LOG_LEVEL_INFO);
		logfmt_text(&line, "k", text);
		if (length && around + length <= LOGFMT_MAX)
			assert_int_equal(line.length, around + length);
		else if (length)
			assert_line(&line, "p: info:\n");
		assert_true(line.length <= LOGFMT_MAX);
		assert_int_equal(line.text[line.length - 1], '\n');
		logfmt_number(&line, "n", 1);
		logfmt_text(&line, "q", " ");
		assert_true(line.length <= LOGFMT_MAX);
		assert_int_equal(line.text[line.length - 1], '\n');
	}
}

static void test_never_half_an_escape(void **state)
{
	char text[LOGFMT_MAX];
	struct logfmt line;

	for (size_t length = 100; length < 140; length++) {
		memset(text, '\n', length);
		text[length] = '\0';
		logfmt_begin(&line, "p", LOG_LEVEL_INFO);
		logfmt_text(&line, "k", text);
		if (strlen("p: info: k=\"\"\n") + 4 * length <= LOGFMT_MAX)
			assert_int_equal(line.length, strlen("p: info: k=\"\"\n") + 4 * length);
		else
			assert_line(&line, "p: info:\n");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),       cmocka_unit_test(test_levels),
		cmocka_unit_test(test_numbers),      cmocka_unit_test(test_errno),
		cmocka_unit_test(test_never_longer), cmocka_unit_test(test_never_half_an_escape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
