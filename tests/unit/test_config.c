// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* config_parse(): a table of environments, and what they come to. */

#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODE      "IOMMUFD_RLIMIT_MODE="
#define ON_ERROR  "IOMMUFD_RLIMIT_ON_ERROR="
#define LOG       "IOMMUFD_RLIMIT_LOG="
#define LOG_LEVEL "IOMMUFD_RLIMIT_LOG_LEVEL="
#define HELPER    "IOMMUFD_RLIMIT_HELPER="

static void parse(struct config *config, const char *first, const char *second, bool secure,
		  enum config_mode default_mode)
{
	const char *environment[] = { "PATH=/bin", first, second, NULL };

	memset(config, 0x5a, sizeof(*config)); /* nothing may be left as it was */
	config_parse(config, (char *const *)environment, secure, default_mode);
}

/* @word after MODE=, or a whole other entry that goes with a mode that is not inert. */
static struct config *with(const char *entry)
{
	static struct config config;

	parse(&config, MODE "process", entry, false, MODE_OFF);
	return &config;
}

static enum config_mode mode(const char *entry, enum config_mode default_mode)
{
	struct config config;

	parse(&config, entry, NULL, false, default_mode);
	assert_int_equal(config.bad[CONFIG_MODE].fault, CONFIG_OK);
	assert_false(config_invalid(&config));
	return config.mode;
}

static void test_mode(void **state)
{
	assert_int_equal(mode("X=y", MODE_OFF), MODE_OFF);
	assert_int_equal(mode("X=y", MODE_PROCESS), MODE_PROCESS);
	assert_int_equal(mode(MODE, MODE_OFF), MODE_OFF);
	assert_int_equal(mode(MODE, MODE_PROCESS), MODE_PROCESS);
	assert_int_equal(mode(MODE "off", MODE_PROCESS), MODE_OFF);
	assert_int_equal(mode(MODE "process", MODE_OFF), MODE_PROCESS);
	assert_int_equal(mode(MODE "user", MODE_PROCESS), MODE_USER);
	assert_int_equal(mode(MODE "query", MODE_OFF), MODE_QUERY);
	assert_int_equal(mode("IOMMUFD_RLIMIT_MODES=user", MODE_OFF), MODE_OFF);
	assert_int_equal(mode("IOMMUFD_RLIMIT_MOD=user", MODE_OFF), MODE_OFF);
	assert_int_equal(mode("IOMMUFD_RLIMIT_MODE", MODE_OFF), MODE_OFF);
}

static void test_bad_mode(void **state)
{
	static const char *const bad[] = { "Process", "process ", " process", "1",   "procesS",
					   "p",       "/process", "none",     "\xff" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char entry[64] = MODE;
		struct config config;

		strcat(entry, bad[i]);
		parse(&config, entry, NULL, false, MODE_OFF);
		assert_int_equal(config.bad[CONFIG_MODE].fault, CONFIG_UNKNOWN);
		assert_string_equal(config.bad[CONFIG_MODE].excerpt, bad[i]);
		assert_int_equal(config.mode, MODE_QUERY); /* not inert, changes nothing */
		assert_true(config_invalid(&config));
	}
}

static void test_on_error(void **state)
{
	assert_int_equal(with("X=y")->on_error, ON_ERROR_AUTO);
	assert_int_equal(with(ON_ERROR)->on_error, ON_ERROR_AUTO);
	assert_int_equal(with(ON_ERROR "auto")->on_error, ON_ERROR_AUTO);
	assert_int_equal(with(ON_ERROR "continue")->on_error, ON_ERROR_CONTINUE);
	assert_int_equal(with(ON_ERROR "fail")->on_error, ON_ERROR_FAIL);
	assert_false(config_invalid(with(ON_ERROR "fail")));
	assert_int_equal(with(ON_ERROR "ignore")->on_error, ON_ERROR_AUTO);
	assert_int_equal(with(ON_ERROR "/fail")->bad[CONFIG_ON_ERROR].fault, CONFIG_UNKNOWN);
	assert_true(config_invalid(with(ON_ERROR "ignore")));
}

static void test_log_level(void **state)
{
	assert_int_equal(with("X=y")->log_level, LOG_LEVEL_INFO);
	assert_int_equal(with(LOG_LEVEL "error")->log_level, LOG_LEVEL_ERROR);
	assert_int_equal(with(LOG_LEVEL "warning")->log_level, LOG_LEVEL_WARNING);
	assert_int_equal(with(LOG_LEVEL "info")->log_level, LOG_LEVEL_INFO);
	assert_int_equal(with(LOG_LEVEL "debug")->log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(with(LOG_LEVEL "7")->log_level, LOG_LEVEL_INFO);
	assert_int_equal(with(LOG_LEVEL "7")->bad[CONFIG_LOG_LEVEL].fault, CONFIG_UNKNOWN);
	assert_false(config_invalid(with(LOG_LEVEL "7")));
}

static void test_log(void **state)
{
	assert_int_equal(with("X=y")->log, LOG_TO_STDERR);
	assert_int_equal(with(LOG "stderr")->log, LOG_TO_STDERR);
	assert_int_equal(with(LOG "syslog")->log, LOG_TO_SYSLOG);
	assert_int_equal(with(LOG "none")->log, LOG_TO_NONE);
	assert_int_equal(with(LOG "/var/log/x")->log, LOG_TO_PATH);
	assert_string_equal(with(LOG "/var/log/x")->log_path, "/var/log/x");
	assert_int_equal(with(LOG "log/x")->log, LOG_TO_STDERR);
	assert_int_equal(with(LOG "log/x")->bad[CONFIG_LOG].fault, CONFIG_UNKNOWN);
	assert_false(config_invalid(with(LOG "log/x")));
}

static void test_helper(void **state)
{
	assert_string_equal(with("X=y")->helper, CONFIG_HELPER_DEFAULT);
	assert_string_equal(with(HELPER)->helper, CONFIG_HELPER_DEFAULT);
	assert_string_equal(with(HELPER "none")->helper, "");
	assert_string_equal(with(HELPER "/run/x.sock")->helper, "/run/x.sock");
	assert_true(with(HELPER "/run/x.sock")->helper_is_set);
	assert_false(with("X=y")->helper_is_set);
	assert_false(with(HELPER "x.sock")->helper_is_set);
	assert_string_equal(with(HELPER "x.sock")->helper, CONFIG_HELPER_DEFAULT);
	assert_int_equal(with(HELPER "x.sock")->bad[CONFIG_HELPER].fault, CONFIG_UNKNOWN);
	assert_false(config_invalid(with(HELPER "x.sock")));
}

/* A path of @length bytes, as an entry. */
static char *long_entry(const char *prefix, size_t length)
{
	char *entry = malloc(strlen(prefix) + length + 1);

	assert_non_null(entry);
	strcpy(entry, prefix);
	memset(entry + strlen(prefix), 'x', length);
	entry[strlen(prefix)] = '/';
	entry[strlen(prefix) + length] = '\0';
	return entry;
}

static void path_limit(const char *prefix, enum config_variable variable, size_t longest)
{
	char *fits = long_entry(prefix, longest);
	char *longer = long_entry(prefix, longest + 1);
	char *longest_of_all = long_entry(prefix, 1 << 20);

	assert_int_equal(with(fits)->bad[variable].fault, CONFIG_OK);
	assert_string_equal(config_value(with(fits), variable), fits + strlen(prefix));
	assert_int_equal(with(longer)->bad[variable].fault, CONFIG_TOO_LONG);
	assert_int_equal(with(longest_of_all)->bad[variable].fault, CONFIG_TOO_LONG);
	assert_string_equal(with(longest_of_all)->bad[variable].excerpt,
			    "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...");
	free(fits);
	free(longer);
	free(longest_of_all);
}

static void test_lengths(void **state)
{
	char exact[] = LOG "12345678901234567890123456789012";
	char longer[] = LOG "123456789012345678901234567890123";

	/* What the error line tells people. */
	path_limit(LOG, CONFIG_LOG, 1023);
	path_limit(HELPER, CONFIG_HELPER, 107);
	assert_string_equal(with(exact)->bad[CONFIG_LOG].excerpt, exact + strlen(LOG));
	assert_string_equal(with(longer)->bad[CONFIG_LOG].excerpt,
			    "12345678901234567890123456789012...");
}

static void test_first_definition_counts(void **state)
{
	struct config config;

	parse(&config, MODE "user", MODE "process", false, MODE_OFF);
	assert_int_equal(config.mode, MODE_USER);
	parse(&config, MODE, MODE "process", false, MODE_OFF);
	assert_int_equal(config.mode, MODE_OFF);
}

static void test_no_environment(void **state)
{
	struct config config;

	config_parse(&config, NULL, false, MODE_OFF);
	assert_int_equal(config.mode, MODE_OFF);
	config_parse(&config, NULL, false, MODE_PROCESS);
	assert_int_equal(config.mode, MODE_PROCESS);
	assert_string_equal(config.helper, CONFIG_HELPER_DEFAULT);
}

static void test_secure(void **state)
{
	struct config config;

	parse(&config, MODE "process", LOG "/tmp/x", true, MODE_OFF);
	assert_int_equal(config.mode, MODE_PROCESS);
	assert_int_equal(config.log, LOG_TO_STDERR);
	assert_string_equal(config.log_path, "");
	assert_int_equal(config.bad[CONFIG_LOG].fault, CONFIG_SECURE);
	parse(&config, MODE "user", HELPER "/tmp/x", true, MODE_OFF);
	assert_string_equal(config.helper, CONFIG_HELPER_DEFAULT);
	assert_int_equal(config.bad[CONFIG_HELPER].fault, CONFIG_SECURE);
	assert_false(config_invalid(&config));
	parse(&config, MODE "user", LOG "syslog", true, MODE_OFF);
	assert_int_equal(config.log, LOG_TO_SYSLOG);
	parse(&config, MODE "user", ON_ERROR "fail", true, MODE_OFF);
	assert_int_equal(config.on_error, ON_ERROR_FAIL);
}

static void test_inert_looks_no_further(void **state)
{
	struct config config;

	parse(&config, MODE "off", ON_ERROR "nonsense", false, MODE_PROCESS);
	assert_int_equal(config.mode, MODE_OFF);
	assert_false(config_invalid(&config));
}

static void test_names_and_values(void **state)
{
	struct config *config = with(LOG "/x");

	assert_string_equal(config_variable_name(CONFIG_MODE), "IOMMUFD_RLIMIT_MODE");
	assert_string_equal(config_variable_name(CONFIG_ON_ERROR), "IOMMUFD_RLIMIT_ON_ERROR");
	assert_string_equal(config_variable_name(CONFIG_LOG), "IOMMUFD_RLIMIT_LOG");
	assert_string_equal(config_variable_name(CONFIG_LOG_LEVEL), "IOMMUFD_RLIMIT_LOG_LEVEL");
	assert_string_equal(config_variable_name(CONFIG_HELPER), "IOMMUFD_RLIMIT_HELPER");
	assert_string_equal(config_value(config, CONFIG_MODE), "process");
	assert_string_equal(config_value(config, CONFIG_ON_ERROR), "auto");
	assert_string_equal(config_value(config, CONFIG_LOG), "/x");
	assert_string_equal(config_value(config, CONFIG_LOG_LEVEL), "info");
	assert_string_equal(config_value(with(LOG "syslog"), CONFIG_LOG), "syslog");
	assert_string_equal(config_value(with(HELPER "none"), CONFIG_HELPER), "none");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mode),
		cmocka_unit_test(test_bad_mode),
		cmocka_unit_test(test_on_error),
		cmocka_unit_test(test_log_level),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_helper),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_first_definition_counts),
		cmocka_unit_test(test_no_environment),
		cmocka_unit_test(test_secure),
		cmocka_unit_test(test_inert_looks_no_further),
		cmocka_unit_test(test_names_and_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
