# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/systemd.bash
#
# QEMU and the helper without libvirt, by the commands of README.md, iommufd-rlimit-helper(8), iommufd-rlimit(7) and
# qemu-iommufd-rlimit(1).
. /host/guest/systemd.bash
any_user_may

usermod -aG kvm vm
memory=64

# The QEMU of the example: emulated, small, and in the background.
as_shown() {
	next_device
	documented "$1" "s/,accel=kvm//; s/-m [0-9]*G\?/-m $memory -S -nodefaults -display none -daemonize -pidfile \/run\/$1.pid/; s/0000:01:00.0/$device/"
	pid[$1]=$(cat "/run/$1.pid")
	modes_are "$1" process
}

# The library asks the helper, as the user vm.
helper_gives() {
	setpriv --reuid=vm --regid=kvm --clear-groups env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process \
		bash -c ': <>/dev/iommu' 2>&1 | tee "$vms/said" | grep -q via=helper
}

documented helper
wait_for helper_gives || fail "the helper gives nothing: $(<"$vms/said")"
as_shown qemu
accounted_by_process qemu
as_shown qemu-root
accounted_by_process qemu-root
as_shown plain # by root, whose memory is not accounted
documented preload
documented launcher

groupadd qemu
documented helper-socket-group
documented helper-service-group

# The other socket binders, in place of systemd.
systemctl stop iommufd-rlimit-helper.socket
rm -rf /run/iommufd-rlimit
in_background="s/^done'.*/done' >\/run\/binder.log 2>\&1 \& echo \$! >\/run\/binder.pid/
	s/^sleep 1$/until test -S \/run\/iommufd-rlimit\/helper.sock; do sleep 1; done/"
by_binder() { # EXAMPLE
	documented "$1" "$in_background"
	wait_for helper_gives || fail "no helper by $1: $(<"$vms/said") $(</run/binder.log)"
	ok "the helper gives an iommufd: $1"
	kill "$(cat /run/binder.pid)"
	pkill -f iommufd-rlimit-helper || true
	rm -f /run/iommufd-rlimit/helper.sock
}
by_binder s6
by_binder binder
