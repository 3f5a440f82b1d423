# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# For the scenarios killed-*: enable is killed by SIGKILL at one of its steps, then run again: as if never killed.
. /host/scenarios/libvirt/lib.bash

# killed NUMBER: the step of this number is done, and the process ends before it knows; false if there are fewer.
killed() {
	local result=0
	python3 - "$1" <<-'END' || result=$?
		import os, signal, sys
		from importlib.machinery import SourceFileLoader

		sys.path.insert(0, "/usr/share/iommufd-rlimit-shim")
		from iommufd_rlimit import steps

		left = int(sys.argv[1])


		def dying(apply):
		    def call(step):
		        global left
		        apply(step)
		        left -= 1
		        if left == 0:
		            os.kill(os.getpid(), signal.SIGKILL)

		    return call


		for kind in (steps.WriteFile, steps.Run, steps.Define):
		    kind.apply = dying(kind.apply)
		sys.argv = ["iommufd-rlimit-libvirt", "enable", "d1", "--yes"]
		sys.exit(SourceFileLoader("script", "/usr/bin/iommufd-rlimit-libvirt").load_module().main())
	END
	[ "$result" = 137 ] && return
	[ "$result" = 0 ] || fail "enable ends with status $result"
	return 1
}

# killed_at NUMBER...: there are seven steps.
killed_at() {
	local number
	host_reset
	domain d1 "$without_limit"
	host_snapshot before
	enable d1 >"$vms/said"
	host_snapshot enabled
	for number; do
		iommufd-rlimit-libvirt disable --all --yes >"$vms/said"
		killed "$number" >"$vms/said" || fail "there are fewer than $number steps"
		[ -e /var/lib/iommufd-rlimit-shim/manifest.json ] || fail "killed at step $number, and no manifest"
		enable d1 >"$vms/said"
		host_snapshot again
		is_same enabled again
		ok "killed at step $number"
	done
	iommufd-rlimit-libvirt disable --all --yes >"$vms/said"
	host_snapshot after
	is_same before after
}
