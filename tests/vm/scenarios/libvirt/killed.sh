# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# enable is killed by SIGKILL before and after each of its steps, each time run again, until a run comes to its end: as if
# never killed. The same for disable.
. /host/scenarios/libvirt/lib.bash

# until_done COMMAND...: runs the program again and again. Each run ends, by SIGKILL, at the first moment at which none before
# it ended. Before: the manifest has the step, and nothing was done. After: it was done, and the manifest does not know.
until_done() {
	local result=137 runs=0
	: >/run/moments
	while [ "$result" = 137 ]; do
		result=0
		python3 - "$@" --yes >"$vms/said" 2>&1 <<-'END' || result=$?
			import os, signal, sys
			from importlib.machinery import SourceFileLoader

			sys.path.insert(0, "/usr/share/iommufd-rlimit-shim")
			from iommufd_rlimit import steps


			def end_at(moment):
			    with open("/run/moments", "r+") as file:
			        if moment + "\n" not in file.readlines():
			            print(moment, file=file, flush=True)
			            os.kill(os.getpid(), signal.SIGKILL)


			def dying(apply):
			    def call(step):
			        end_at(f"before {step.what}")
			        apply(step)
			        end_at(f"after {step.what}")

			    return call


			for kind in (steps.WriteFile, steps.Run, steps.SetNodes, steps.Define):
			    kind.apply = dying(kind.apply)
			sys.argv[0] = "iommufd-rlimit-libvirt"
			sys.exit(SourceFileLoader("script", "/usr/bin/iommufd-rlimit-libvirt").load_module().main())
		END
		runs=$((runs + 1))
		if [ "$result" = 137 ]; then
			[ -e /var/lib/iommufd-rlimit-shim/manifest.json ] || fail "no manifest when killed $(tail -n 1 /run/moments)"
			ok "killed $(tail -n 1 /run/moments)"
		fi
	done
	[ "$result" = 0 ] || fail "$* ends with status $result: $(cat "$vms/said")"
	[ "$runs" = $(($(wc -l </run/moments) + 1)) ] || fail "$runs runs, $(wc -l </run/moments) of them killed"
}

# killed_at_each_step FILE: the plan, as it was shown on the host where nothing was done yet.
killed_at_each_step() {
	sed -n 's/^\* \(.*\)/before \1\nafter \1/p' "$1" | sort >"$vms/expected"
	[ -s "$vms/expected" ] || fail "the plan has no steps"
	sort /run/moments | diff "$vms/expected" - || fail "these moments, and those of the plan"
	ok "killed $(wc -l <"$vms/expected") times"
}

host_reset
domain d1 "$without_limit"
host_snapshot before
iommufd-rlimit-libvirt enable d1 --dry-run >"$vms/enable-plan"
enable d1 >"$vms/said"
host_snapshot enabled
iommufd-rlimit-libvirt disable --all --dry-run >"$vms/disable-plan"
iommufd-rlimit-libvirt disable --all --yes >"$vms/said"

until_done enable d1
killed_at_each_step "$vms/enable-plan"
host_snapshot again
is_same enabled again

until_done disable --all
killed_at_each_step "$vms/disable-plan"
host_snapshot after
is_same before after
