# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash
#
# Runs the scenario that sources this file below a real systemd, process 1 of a process namespace, so that units, udev and
# AppArmor are Debian's own. That systemd stays for the next scenario. With SELinux, systemd is process 1 of the machine.

if [ "$(cat /proc/1/comm)" != systemd ]; then
	if [ ! -e /run/scenario-systemd ]; then
		mount -t cgroup2 cgroup2 /sys/fs/cgroup
		echo '+cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
		mkdir /sys/fs/cgroup/systemd
		if command -v apparmor_parser >/dev/null; then
			mount -t securityfs securityfs /sys/kernel/security
			# Debian's apparmor.service does nothing in a machine that it takes for a container.
			apparmor_parser --replace /etc/apparmor.d/usr.sbin.libvirtd /etc/apparmor.d/usr.lib.libvirt.virt-aa-helper
		fi
		setsid unshare --pid --fork --mount --cgroup --mount-proc sh -c \
			'echo 0 >/sys/fs/cgroup/systemd/cgroup.procs
			exec env -i container=vm /usr/lib/systemd/systemd --unit=basic.target' </dev/null >/run/systemd.log 2>&1 &
		until pgrep -x systemd >/run/scenario-systemd; do sleep 0.1; done
	fi
	exec nsenter --target "$(cat /run/scenario-systemd)" --all bash "$0" "$1"
fi

# shellcheck source=guest/lib.sh
. /host/guest/lib.sh

# Once systemd listens, systemctl waits for the job that systemd has for it.
until systemctl start basic.target; do sleep 0.2; done 2>/dev/null

# any_user_may: use the devices. systemd's udev has just taken what guest/init allowed.
any_user_may() {
	udevadm settle
	chmod 666 /dev/iommu /dev/vfio/devices/*
}
