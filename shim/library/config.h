// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* The public interface: environment variables, their values and defaults. Stable. */
#pragma once

#include "logfmt.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/un.h>

/* Configured by meson: RUNSTATEDIR. */
#define CONFIG_HELPER_DEFAULT RUNSTATEDIR "/iommufd-rlimit/helper.sock"

enum config_variable {
	CONFIG_MODE,      /* IOMMUFD_RLIMIT_MODE */
	CONFIG_ON_ERROR,  /* IOMMUFD_RLIMIT_ON_ERROR */
	CONFIG_LOG,       /* IOMMUFD_RLIMIT_LOG */
	CONFIG_LOG_LEVEL, /* IOMMUFD_RLIMIT_LOG_LEVEL */
	CONFIG_HELPER,    /* IOMMUFD_RLIMIT_HELPER */
};
#define CONFIG_VARIABLES (CONFIG_HELPER + 1)

enum config_mode { MODE_OFF, MODE_USER, MODE_PROCESS, MODE_QUERY };
enum config_on_error { ON_ERROR_AUTO, ON_ERROR_CONTINUE, ON_ERROR_FAIL };
enum config_log { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_NONE, LOG_TO_PATH };

/* Why a value was set but not understood. */
enum config_fault {
	CONFIG_OK,
	CONFIG_UNKNOWN,  /* not a known word, and not a path where a path is allowed */
	CONFIG_TOO_LONG, /* a path that does not fit */
	CONFIG_SECURE,   /* a path under AT_SECURE */
};

#define CONFIG_HELPER_MAX   sizeof(((struct sockaddr_un *)0)->sun_path)
#define CONFIG_LOG_PATH_MAX 1024 /* with the terminating zero */
#define CONFIG_EXCERPT_MAX  32   /* bytes of a bad value that are shown */

struct config {
	enum config_mode mode;
	enum config_on_error on_error;
	enum log_level log_level;
	enum config_log log;
	char log_path[CONFIG_LOG_PATH_MAX]; /* with LOG_TO_PATH only */
	char helper[CONFIG_HELPER_MAX];     /* empty: none */
	bool helper_is_set;                 /* not the default */
	struct {
		enum config_fault fault;
		char excerpt[CONFIG_EXCERPT_MAX + sizeof("...")];
	} bad[CONFIG_VARIABLES];
};

/**
 * config_parse - environment to settings
 * @config: receives the settings, none of which points into the environment
 * @environment: as environ(7); NULL, which clearenv(3) leaves, counts as empty
 * @secure: AT_SECURE of getauxval(3): paths are not honoured
 * @default_mode: the mode if IOMMUFD_RLIMIT_MODE is unset or empty
 *
 * Pure. A value that is not understood is noted in @config->bad, and the setting keeps its default.
 * Only IOMMUFD_RLIMIT_MODE becomes MODE_QUERY: the library then logs, and changes nothing.
 */
void config_parse(struct config *config, char *const environment[], bool secure,
		  enum config_mode default_mode);

/** config_invalid - is MODE or ON_ERROR bad? Then an open fails. */
bool config_invalid(const struct config *config);

/** config_variable_name - "IOMMUFD_RLIMIT_MODE" and so on. */
const char *config_variable_name(enum config_variable variable);

/** config_accepted - the values that a variable accepts, as text for a log line. */
const char *config_accepted(enum config_variable variable, enum config_fault fault);

/** config_value - a setting as a word or a path; for a bad MODE, an excerpt of its value. */
const char *config_value(const struct config *config, enum config_variable variable);
