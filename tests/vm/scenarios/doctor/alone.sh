# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../libvirt/lib.bash
#
# A host without domains, for the user that libvirt would run QEMU as, and one QEMU that runs.
. /host/scenarios/libvirt/lib.bash

host_reset
examined=()
broken device 'user libvirt-qemu may not use /dev/iommu .0600 root:root.' \
		'install -D -m 644 .*/udev.rules .*; udevadm control --reload; udevadm trigger --settle' \
	helper 'there is no helper at' \
		'systemctl enable iommufd-rlimit-helper.socket; systemctl restart iommufd-rlimit-helper.socket'
mended

# The settings of a shell.
export IOMMUFD_RLIMIT_MODE=proces
broken mode 'IOMMUFD_RLIMIT_MODE=proces is not understood' 'export IOMMUFD_RLIMIT_MODE=process'
mended
export IOMMUFD_RLIMIT_MODE=query
broken mode 'IOMMUFD_RLIMIT_MODE=query leaves the mode at user' 'export IOMMUFD_RLIMIT_MODE=process'
mended
export IOMMUFD_RLIMIT_MODE=user
broken mode 'IOMMUFD_RLIMIT_MODE=user asks for the default' 'export IOMMUFD_RLIMIT_MODE=process'
mended
export IOMMUFD_RLIMIT_MODE=''
broken mode 'without IOMMUFD_RLIMIT_MODE the library does nothing' 'export IOMMUFD_RLIMIT_MODE=process'
mended
export IOMMUFD_RLIMIT_ON_ERROR=cry
broken mode 'IOMMUFD_RLIMIT_ON_ERROR=cry is not understood' 'unset IOMMUFD_RLIMIT_ON_ERROR'
mended
export IOMMUFD_RLIMIT_HELPER=none
broken helper 'IOMMUFD_RLIMIT_HELPER=none' 'unset IOMMUFD_RLIMIT_HELPER'
mended

# A QEMU by itself, with less than it has pinned.
export IOMMUFD_RLIMIT_MODE=process LD_PRELOAD=$shim
chmod 666 /dev/vfio/devices/*
user=$(id -u libvirt-qemu) group=kvm
vm_start alone
unset LD_PRELOAD
vm_runs alone
examined=(--pid "${pid[alone]}")
doctor 0 "${examined[@]}"
prlimit --pid "${pid[alone]}" --memlock=104857600
broken limit 'the limit of 100 MiB does not cover 25[0-9] MiB that it pins' "prlimit --pid ${pid[alone]} --memlock="
mended
vm_stop alone

# One that the kernel does not account: as root, with all capabilities.
export LD_PRELOAD=$shim
user=0 group=0
vm_start root
unset LD_PRELOAD
vm_runs root
examined=(--pid "${pid[root]}")
broken accounting 'has CAP_IPC_LOCK: the kernel does not account its memory' \
	'run QEMU as an unprivileged user: --user of qemu-iommufd-rlimit'
vm_stop root
