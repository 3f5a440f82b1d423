// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

#include "logfmt.h"

#include "decimal.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

const char *log_level_name(enum log_level level)
{
	static const char names[][8] = {
		[LOG_LEVEL_ERROR] = "error",
		[LOG_LEVEL_WARNING] = "warning",
		[LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_DEBUG] = "debug",
	};

	return names[level];
}

/* Adds bytes before the final newline; if they do not fit, returns false and adds none. */
static bool add(struct logfmt *line, const char *bytes, size_t count)
{
	if (count > sizeof(line->text) - line->length)
		return false;
	memcpy(line->text + line->length - 1, bytes, count);
	line->length += count;
	line->text[line->length - 1] = '\n';
	return true;
}

static bool add_string(struct logfmt *line, const char *string)
{
	return add(line, string, strlen(string));
}

static bool needs_quotes(const char *value)
{
	if (!*value)
		return true;
	for (; *value; value++)
		if (*value <= ' ' || *value > '~' || *value == '"' || *value == '\\' ||
		    *value == '=')
			return true;
	return false;
}

static bool add_escaped(struct logfmt *line, char byte)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char code = (unsigned char)byte;
	char escape[] = { '\\', 'x', hex[code >> 4], hex[code & 15] };

	if (byte == '"' || byte == '\\')
		return add(line, (char[]){ '\\', byte }, 2);
	if (byte < ' ' || byte > '~')
		return add(line, escape, sizeof(escape));
	return add(line, &byte, 1);
}

static bool add_value(struct logfmt *line, const char *value)
{
	if (!needs_quotes(value))
		return add_string(line, value);
	if (!add_string(line, "\""))
		return false;
	for (; *value; value++)
		if (!add_escaped(line, *value))
			return false;
	return add_string(line, "\"");
}

void logfmt_begin(struct logfmt *line, const char *prefix, enum log_level level)
{
	line->level = level;
	line->length = 1;
	line->text[0] = '\n';
	add_string(line, prefix);
	add_string(line, ": ");
	add_string(line, log_level_name(level));
	add_string(line, ":");
}

void logfmt_text(struct logfmt *line, const char *key, const char *value)
{
	size_t before = line->length;

	if (add_string(line, " ") && add_string(line, key) && add_string(line, "=") &&
	    add_value(line, value))
		return;
	line->length = before;
	line->text[before - 1] = '\n';
}

void logfmt_number(struct logfmt *line, const char *key, int64_t value)
{
	char digits[1 + DECIMAL_MAX] = "-";

	if (value < 0)
		decimal(digits + 1, -(uint64_t)value);
	else
		decimal(digits, (uint64_t)value);
	logfmt_text(line, key, digits);
}

void logfmt_errno(struct logfmt *line, const char *key, int error)
{
	/* The values that can occur here; strerrorname_np() is not in every libc. */
	static const struct {
		int error;
		const char name[16];
	} names[] = {
#define NAME(e) { e, #e }
		NAME(EACCES),  NAME(EAFNOSUPPORT), NAME(EAGAIN),          NAME(EBADF),
		NAME(EBADMSG), NAME(EBUSY),        NAME(ECONNREFUSED),    NAME(ECONNRESET),
		NAME(EDQUOT),  NAME(EFAULT),       NAME(EFBIG),           NAME(EINTR),
		NAME(EINVAL),  NAME(EIO),          NAME(EISDIR),          NAME(ELOOP),
		NAME(EMFILE),  NAME(EMSGSIZE),     NAME(ENAMETOOLONG),    NAME(ENFILE),
		NAME(ENOBUFS), NAME(ENODEV),       NAME(ENOENT),          NAME(ENOMEM),
		NAME(ENOSPC),  NAME(ENOSYS),       NAME(ENOTDIR),         NAME(ENOTSOCK),
		NAME(ENOTTY),  NAME(ENXIO),        NAME(EOPNOTSUPP),      NAME(EPERM),
		NAME(EPIPE),   NAME(EPROTO),       NAME(EPROTONOSUPPORT), NAME(EPROTOTYPE),
		NAME(EROFS),   NAME(ETIMEDOUT),    NAME(ETOOMANYREFS),
#undef NAME
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].error == error) {
			logfmt_text(line, key, names[i].name);
			return;
		}
	logfmt_number(line, key, error);
}
