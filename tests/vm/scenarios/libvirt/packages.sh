# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# The Debian packages on a host that has nothing of ours: their own test, from dpkg to four domains, an installation over
# itself under running VMs, and nothing left after the purge.
. /host/scenarios/libvirt/lib.bash

packages=(iommufd-rlimit-tools iommufd-rlimit-helper libiommufd-rlimit)
names=(d1 d2 d3 d4)

install_packages() { /host/guest/install-packages || fail "dpkg --install fails"; }

nothing_is_left() {
	local left
	left=$(find /etc /usr /var /run/systemd /run/iommufd-rlimit* -name '*iommufd[-_]rlimit*' ! -path '/var/log/libvirt/*')
	[ -z "$left" ] || fail "left: $left"
	ok "nothing of ours is on the host"
}

# The machine has the packages from the start.
host_reset
dpkg --purge "${packages[@]}"
trap 'install_packages; keep_logs' EXIT
nothing_is_left

started=$SECONDS
install_packages
installed=$((SECONDS - started))
for name in "${names[@]}"; do
	domain "$name" "$without_limit"
done
enable "${names[@]}"
for name in "${names[@]}"; do domain_runs "$name"; done
ok "from dpkg, $installed s, and one command to four domains: $((SECONDS - started)) s"
for name in "${names[@]}"; do
	shim_says "$name" outcome=applied via=helper
	accounted_by_process "$name"
done

install_packages
[ "$(virsh list --name | xargs)" = "${names[*]}" ] || fail "of the domains only these are left: $(virsh list --name | xargs)"
virsh --quiet destroy d4
domain_runs d4
accounted_by_process d4
ok "installed over itself: VMs run on, and another starts"

for name in "${names[@]}"; do virsh --quiet destroy "$name"; done
iommufd-rlimit-libvirt disable --all --yes
AUTOPKGTEST_TMP=$(mktemp -d) sh /host/packages/installed || fail "the packages' own test fails"
dpkg --purge "${packages[@]}"
nothing_is_left
