# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# Domains of an unprivileged user's own session: enabled by the user, allowed by root, each accounted by itself; and back.
. /host/scenarios/libvirt/lib.bash

# A login of hers, with the groups and limits that the host has for her by then.
as_alice() { su - alice -c "$*"; }

# enable as she does it; keeps what it says.
alice_enables() { # STATUS
	local result=0
	said=$(as_alice iommufd-rlimit-libvirt enable "${names[@]}" --yes) || result=$?
	printf '%s\n' "$said"
	[ "$result" = "$1" ] || fail "enable ends with status $result, not $1"
}

# What it says that is to be run; empty for nothing.
to_run() { sed -n "s/.*: run '\(sudo \|\)\(.*\)', .*/\2/p" <<<"$said"; }

alice_starts() { # NAME
	as_alice virsh --quiet start --paused "$1" || fail "$1 does not start"
	pid[$1]=$(pgrep -u alice -f "guest=$1,") || fail "alice does not run $1"
	record "$1" runs
	ok "$1 runs, as alice"
}

# She goes with all that is hers, the libvirt daemon of her session as well.
remove_alice() {
	pkill -KILL -u alice || true
	wait_for runs_nothing || return 0
	userdel --remove alice || true
}
runs_nothing() { ! pgrep -u alice >/dev/null; }
trap 'keep_logs; remove_alice' EXIT

host_reset
useradd --create-home alice
names=(d1 d2 d3 d4)
for name in "${names[@]}"; do
	domain "$name" "$without_limit"
	virsh --quiet undefine "$name"
	as_alice virsh --quiet define "/run/$name.xml"
	as_alice virsh dumpxml --inactive "$name" >"$vms/$name/before"
done
host_snapshot before

alice_enables 1
bash -exc "$(to_run) --yes" || fail "this does not run: $(to_run)"
# She logs in anew; what she runs since before has not.
alice_enables 1
bash -exc "$(to_run)" || fail "this does not run: $(to_run)"
alice_enables 0
[ -z "$(to_run)" ] || fail "still something is to be run: $(to_run)"

for name in "${names[@]}"; do
	ln -sf "/home/alice/.cache/libvirt/qemu/log/$name.log" "$vms/$name/stderr"
	alice_starts "$name"
	shim_says "$name" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
	accounted_by_process "$name"
	modes_are "$name" process
done

doctor_said=$(as_alice iommufd-rlimit-doctor --domain d1) || fail "the doctor finds something in d1: $doctor_said"
doctor_says ok process 'has mode process'

for name in "${names[@]}"; do as_alice virsh --quiet destroy "$name"; done
as_alice iommufd-rlimit-libvirt disable --all --yes
iommufd-rlimit-libvirt forbid alice --yes
for name in "${names[@]}"; do
	as_alice virsh dumpxml --inactive "$name" | diff "$vms/$name/before" - || fail "$name is not as it was"
done
rm -f /etc/group- /etc/gshadow- /run/snapshots/before/etc/group- /run/snapshots/before/etc/gshadow- # of usermod and gpasswd
sed -i '/ \/etc\/\(group\|gshadow\)-/d' /run/snapshots/before/modes
host_snapshot after
is_same before after
