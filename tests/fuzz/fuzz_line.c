// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Whatever the values are, the result is one line of printable fields that can be told apart. */
#include "logfmt.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
	if (!good)
		abort();
}

/* Past one value, quoted or not; NULL where it is neither. */
static const char *skip_value(const char *at, const char *end)
{
	if (*at != '"') {
		while (at < end && *at != ' ')
			require(*at != '"' && *at != '=' && *at != '\\'), at++;
		return at;
	}
	for (at++; at < end && *at != '"'; at++)
		at += *at == '\\';
	return at < end ? at + 1 : NULL;
}

static void check(const struct logfmt *line)
{
	static const char start[] = "fuzz: info:";
	const char *end = line->text + line->length - 1;
	const char *at = line->text + strlen(start);

	require(line->length <= LOGFMT_MAX && *end == '\n');
	require(!memcmp(line->text, start, strlen(start)));
	for (const char *byte = line->text; byte < end; byte++)
		require(*byte >= ' ' && *byte <= '~');
	while (at < end) {
		require(end - at >= 3 && !memcmp(at, " k=", 3));
		at = skip_value(at + 3, end);
		require(at && (at == end || *at == ' '));
	}
}

/* Values that end in a zero each; after them the string ends as well. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 1);
	struct logfmt line;

	require(text);
	if (size)
		memcpy(text, data, size);
	logfmt_begin(&line, "fuzz", LOG_LEVEL_INFO);
	for (size_t at = 0; at < size; at += strlen(text + at) + 1) {
		logfmt_text(&line, "k", text + at);
		logfmt_errno(&line, "k", text[at]);
		check(&line);
	}
	free(text);
	return 0;
}
