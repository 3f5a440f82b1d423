# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# policies: targeted
#
# A host where all is well, and then one thing broken at a time: the doctor finds that, and what it says is to be done mends it.
. /host/scenarios/selinux/lib.bash

host_with_module
domain web1
enable web1
doctor 0 --domain web1
doctor_says ok selinux "lets QEMU .$emulated. use iommufd"

# Files with a label that they brought from where they were made, and a device that was there before the module.
helper=/usr/libexec/iommufd-rlimit-helper
mislabelled() { # FILE TYPE
	chcon -t "$2" "$1"
	broken selinux "$1 is labelled $2 in place of" "restorecon $1"
	mended
}
mislabelled "$(find /usr/lib -name libiommufd-rlimit.so)" user_home_t
mislabelled "$helper" user_home_t
mislabelled /dev/vfio/devices/vfio0 device_t
# The helper cannot open this one either, which other checks find.
chcon -t device_t /dev/iommu
doctor 2 --domain web1
doctor_says problem selinux '/dev/iommu is labelled device_t in place of iommu_device_t'
mended

# A socket that was made before the helper had its label.
chcon -t bin_t "$helper"
systemctl restart iommufd-rlimit-helper.socket
restorecon "$helper"
doctor 2 --domain web1
doctor_says problem selinux '/run/iommufd-rlimit/helper.sock listens as [a-z_]* in place of iommufd_rlimit_t'
mended

# A QEMU that did not inherit the limit. It is another limit than the domain's as well, which the check of memory says.
domain_is_served web1 "$emulated"
prlimit --pid "${pid[web1]}" --memlock=8388608:
doctor 2 --domain web1
doctor_says problem selinux "process .* may lock only .*: it did not inherit libvirt's limit"
mended
virsh --quiet destroy web1
