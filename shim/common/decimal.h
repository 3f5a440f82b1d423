// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Numbers to digits without stdio, which is neither async-signal-safe nor sparing with the stack.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DECIMAL_MAX sizeof("18446744073709551615") /* with the terminating zero */

/**
 * decimal - write an unsigned number in decimal
 * @to: receives the digits and a terminating zero, at most DECIMAL_MAX bytes
 * @value: the number
 *
 * Returns the place of the terminating zero.
 */
static inline char *decimal(char *to, uint64_t value)
{
	size_t digits = 1;
	char *end;

	for (uint64_t rest = value; rest >= 10; rest /= 10)
		digits++;
	end = to + digits;
	*end = '\0';
	do
		to[--digits] = (char)('0' + value % 10);
	while (value /= 10);
	return end;
}
