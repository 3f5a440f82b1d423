// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "config.h"

#include <string.h>

#define WORDS_MAX 5

_Static_assert(sizeof(CONFIG_HELPER_DEFAULT) <= sizeof(((struct config *)0)->helper),
	       "-Drunstatedir is too long for the name of a socket below it");

static const struct {
	const char name[25];
	const char words[WORDS_MAX][9]; /* indexed by the enumeration; empty: no more */
	const char accepted[56];
} variables[CONFIG_VARIABLES] = {
	[CONFIG_MODE] = { "IOMMUFD_RLIMIT_MODE",
			  { [MODE_OFF] = "off",
			    [MODE_USER] = "user",
			    [MODE_PROCESS] = "process",
			    [MODE_QUERY] = "query" },
			  "process, user, query or off" },
	[CONFIG_ON_ERROR] = { "IOMMUFD_RLIMIT_ON_ERROR",
			      { [ON_ERROR_AUTO] = "auto",
				[ON_ERROR_CONTINUE] = "continue",
				[ON_ERROR_FAIL] = "fail" },
			      "auto, continue or fail" },
	[CONFIG_LOG] = { "IOMMUFD_RLIMIT_LOG",
			 { [LOG_TO_STDERR] = "stderr",
			   [LOG_TO_SYSLOG] = "syslog",
			   [LOG_TO_NONE] = "none" },
			 "stderr, syslog, none or an absolute path" },
	[CONFIG_LOG_LEVEL] = { "IOMMUFD_RLIMIT_LOG_LEVEL",
			       { [LOG_LEVEL_ERROR] = "error",
				 [LOG_LEVEL_WARNING] = "warning",
				 [LOG_LEVEL_INFO] = "info",
				 [LOG_LEVEL_DEBUG] = "debug" },
			       "error, warning, info or debug" },
	[CONFIG_HELPER] = { "IOMMUFD_RLIMIT_HELPER",
			    { "none" },
			    "none or the absolute path of a socket" },
};

/* The value in "NAME=value"; NULL if the entry has another name. */
static const char *value_of(const char *entry, const char *name)
{
	for (; *name; name++)
		if (*entry++ != *name)
			return NULL;
	return *entry == '=' ? entry + 1 : NULL;
}

/* The first definition counts, as with getenv(3); NULL if there is none. */
static const char *lookup(char *const environment[], const char *name)
{
	const char *value = NULL;

	for (; environment && *environment && !value; environment++)
		value = value_of(*environment, name);
	return value;
}

static int find_word(enum config_variable variable, const char *value)
{
	for (int i = 0; i < WORDS_MAX && *variables[variable].words[i]; i++)
		if (!strcmp(variables[variable].words[i], value))
			return i;
	return -1;
}

static void set_word(struct config *config, enum config_variable variable, int word)
{
	switch (variable) {
	case CONFIG_MODE:
		config->mode = (enum config_mode)word;
		break;
	case CONFIG_ON_ERROR:
		config->on_error = (enum config_on_error)word;
		break;
	case CONFIG_LOG:
		config->log = (enum config_log)word;
		break;
	case CONFIG_LOG_LEVEL:
		config->log_level = (enum log_level)word;
		break;
	case CONFIG_HELPER: /* "none" is its only word */
		*config->helper = '\0';
		break;
	}
}

static enum config_fault set_path(struct config *config, enum config_variable variable,
				  const char *value, bool secure)
{
	const bool is_log = variable == CONFIG_LOG;
	const size_t size = is_log ? sizeof(config->log_path) : sizeof(config->helper);

	if (*value != '/' || (!is_log && variable != CONFIG_HELPER))
		return CONFIG_UNKNOWN;
	if (secure)
		return CONFIG_SECURE;
	if (strlen(value) >= size)
		return CONFIG_TOO_LONG;
	strcpy(is_log ? config->log_path : config->helper, value);
	if (is_log)
		config->log = LOG_TO_PATH;
	else
		config->helper_is_set = true;
	return CONFIG_OK;
}

static void note_bad(struct config *config, enum config_variable variable, enum config_fault fault,
		     const char *value)
{
	char *excerpt = config->bad[variable].excerpt;
	size_t length = strlen(value);

	config->bad[variable].fault = fault;
	if (length > CONFIG_EXCERPT_MAX) {
		length = CONFIG_EXCERPT_MAX;
		strcpy(excerpt + length, "...");
	}
	memcpy(excerpt, value, length); /* config_parse() has zeroed the rest */
}

static void set(struct config *config, enum config_variable variable, const char *value,
		bool secure)
{
	int word = find_word(variable, value);
	enum config_fault fault = CONFIG_OK;

	if (word >= 0)
		set_word(config, variable, word);
	else
		fault = set_path(config, variable, value, secure);
	if (fault)
		note_bad(config, variable, fault, value);
	if (fault && variable == CONFIG_MODE)
		config->mode = MODE_QUERY;
}

void config_parse(struct config *config, char *const environment[], bool secure,
		  enum config_mode default_mode)
{
	memset(config, 0, sizeof(*config));
	config->mode = default_mode;
	config->on_error = ON_ERROR_AUTO;
	config->log = LOG_TO_STDERR;
	config->log_level = LOG_LEVEL_INFO;
	strcpy(config->helper, CONFIG_HELPER_DEFAULT);

	for (enum config_variable v = CONFIG_MODE; v < CONFIG_VARIABLES; v++) {
		const char *value = lookup(environment, variables[v].name);

		if (value && *value)
			set(config, v, value, secure);
		if (config->mode == MODE_OFF) /* inert, whatever else is set */
			return;
	}
}

bool config_invalid(const struct config *config)
{
	return config->bad[CONFIG_MODE].fault || config->bad[CONFIG_ON_ERROR].fault;
}

const char *config_variable_name(enum config_variable variable)
{
	return variables[variable].name;
}

const char *config_accepted(enum config_variable variable, enum config_fault fault)
{
	if (fault == CONFIG_SECURE)
		return "no path in a program with raised privileges (AT_SECURE)";
	if (fault == CONFIG_TOO_LONG)
		return variable == CONFIG_LOG ? "a path of at most 1023 bytes"
					      : "a path of at most 107 bytes";
	return variables[variable].accepted;
}

const char *config_value(const struct config *config, enum config_variable variable)
{
	switch (variable) {
	case CONFIG_MODE:
		return config->bad[variable].fault ? config->bad[variable].excerpt
						   : variables[variable].words[config->mode];
	case CONFIG_ON_ERROR:
		return variables[variable].words[config->on_error];
	case CONFIG_LOG:
		return config->log == LOG_TO_PATH ? config->log_path
						  : variables[variable].words[config->log];
	case CONFIG_LOG_LEVEL:
		return variables[variable].words[config->log_level];
	case CONFIG_HELPER:
		break;
	}
	return *config->helper ? config->helper : "none";
}
