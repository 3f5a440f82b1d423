# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# A host where all is well, and then one thing broken at a time: the doctor finds that, and what to do about it.
. /host/scenarios/selinux/lib.bash

host_with_module
domain web1
iommufd-rlimit-libvirt enable web1
doctor 0 --domain web1
doctor_says ok selinux 'lets QEMU .svirt_[a-z_]*. use iommufd'

# Files with a label that they brought from where they were made.
library=$(find /usr/lib -name libiommufd-rlimit.so)
for file in "$library" /dev/vfio/devices/vfio0 /usr/libexec/iommufd-rlimit-helper; do
	chcon -t device_t "$file"
	broken selinux "$file is labelled" "restorecon $file"
	restorecon "$file"
done
# The helper cannot open this one either, which the check of the mode finds.
chcon -t device_t /dev/iommu
doctor 2 --domain web1
doctor_says problem selinux '/dev/iommu is labelled device_t in place of iommu_device_t'
restorecon /dev/iommu
doctor 0 --domain web1

# A QEMU that did not inherit the limit. It is another limit than the domain's as well, which the check of memory says.
domain_is_served web1 "$emulated"
prlimit --pid "${pid[web1]}" --memlock=8388608:
doctor 2 --domain web1
doctor_says problem selinux 'may lock only 8 MiB'
virsh --quiet destroy web1
doctor 0 --domain web1
