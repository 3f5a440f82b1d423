// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* A child of the test in the helper's place, on helper.sock in the test's directory. */
#pragma once

#include <sys/types.h>

#define FAKE_SETS_MODE     1
#define FAKE_IS_SILENT     2 /* does not answer */
#define FAKE_ANSWERS_ERROR 4 /* EPERM */

/** fake_helper_set_state - the mode that the mock's iommufd has, "0" or "1". */
void fake_helper_set_state(const char *mode);

/**
 * fake_helper_start - serve one connection, and end
 * @behaviour: FAKE_*
 *
 * Returns the child, to be waited for. Its status is 0 if a request came with what it should bring.
 */
pid_t fake_helper_start(int behaviour);
