// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Whatever the environment is, the settings are whole: every value in range, every string ended. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
	if (!good)
		abort();
}

static void check(const struct config *config, bool secure)
{
	require(config->mode <= MODE_QUERY && config->on_error <= ON_ERROR_FAIL);
	require(config->log <= LOG_TO_PATH && config->log_level <= LOG_LEVEL_DEBUG);
	require(memchr(config->log_path, '\0', sizeof(config->log_path)));
	require(memchr(config->helper, '\0', sizeof(config->helper)));
	require((config->log == LOG_TO_PATH) == (*config->log_path == '/'));
	require(!*config->helper || *config->helper == '/');
	require(!secure || config->log != LOG_TO_PATH);
	for (enum config_variable v = CONFIG_MODE; v < CONFIG_VARIABLES; v++) {
		require(memchr(config->bad[v].excerpt, '\0', sizeof(config->bad[v].excerpt)));
		require(!config->bad[v].fault == !*config->bad[v].excerpt);
		require(*config_value(config, v));
		require(*config_accepted(v, config->bad[v].fault));
	}
}

/* Entries that end in a zero each; after them the string ends as well. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 1);
	char *environment[ENTRIES_MAX + 1] = { NULL };
	struct config config;
	size_t count = 0;

	require(text);
	if (size)
		memcpy(text, data, size);
	for (size_t at = 0; at < size && count < ENTRIES_MAX; at += strlen(text + at) + 1)
		environment[count++] = text + at;
	for (int i = 0; i < 4; i++) {
		memset(&config, 0x5a, sizeof(config));
		config_parse(&config, environment, i & 1, i & 2 ? MODE_PROCESS : MODE_OFF);
		check(&config, i & 1);
	}
	free(text);
	return 0;
}
