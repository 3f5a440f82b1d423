# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# Each permission of the module is needed: without it something fails or is denied. A copy of the module has a boolean for
# each, so that it can be taken away in a second.
. /host/scenarios/selinux/lib.bash

# The boolean's name has the permission's place in the module: line and permission.
with_booleans() {
	awk '
		/^\t*\(allow / {
			indent = $0; sub(/\(.*/, "", indent)
			rule = $0; sub(/ \([a-z_0-9 ]*\)\)\)$/, "", rule)
			permissions = $0; sub(/\)\)\)$/, "", permissions); sub(/.*\(/, "", permissions)
			for (i = split(permissions, permission, " "); i > 0; i--) {
				name = "iommufd_rlimit_" NR "_" permission[i]
				print "(boolean " name " true)" >"/run/booleans.cil"
				print indent "(booleanif " name " (true " rule " (" permission[i] ")))))"
			}
			next
		}
		{ print }' "$samples/iommufd-rlimit.cil" >/run/rules.cil
	cat /run/booleans.cil /run/rules.cil
}

with_booleans >/run/iommufd-rlimit.cil
time semodule -i /run/iommufd-rlimit.cil
