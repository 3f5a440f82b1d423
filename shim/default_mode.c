// SPDX-License-Identifier: LGPL-2.1-or-later
// Copyright (C) 2026 the iommufd-rlimit-shim developers

/* Compiled once for each library, with -DDEFAULT_MODE=: all that they differ in. */

#include "config.h"

extern const enum config_mode default_mode;
const enum config_mode default_mode = DEFAULT_MODE;
