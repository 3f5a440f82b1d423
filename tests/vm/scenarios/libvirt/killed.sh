# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# enable killed by SIGKILL at each of its steps, then run again: as if never killed.
. /host/scenarios/libvirt/lib.bash

host_reset
domain d1 "$without_limit"
domain d2 "$without_limit"
host_snapshot before
enable d1 d2
host_snapshot enabled
iommufd-rlimit-libvirt disable --all --yes
host_snapshot after
is_same before after

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
		sys.argv = ["iommufd-rlimit-libvirt", "enable", "d1", "d2", "--yes"]
		sys.exit(SourceFileLoader("script", "/usr/bin/iommufd-rlimit-libvirt").load_module().main())
	END
	[ "$result" = 137 ] && return
	[ "$result" = 0 ] || fail "enable ends with status $result"
	return 1
}

number=1
while killed "$number" >"$vms/said"; do
	[ -e /var/lib/iommufd-rlimit-shim/manifest.json ] || fail "killed at step $number, and no manifest"
	enable d1 d2 >"$vms/said"
	host_snapshot again
	is_same enabled again
	iommufd-rlimit-libvirt disable --all --yes >"$vms/said"
	host_snapshot after
	is_same before after
	number=$((number + 1))
done
[ "$number" -ge 8 ] || fail "there are only $number steps"
ok "killed at each of $((number - 1)) steps"
