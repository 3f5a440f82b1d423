# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
#
# From the report to running domains, by nothing but the commands of iommufd-rlimit(7).
. /host/scenarios/libvirt/lib.bash

host_reset
names=(web1 web2 web3 web4)
for name in "${names[@]}"; do domain "$name"; done
doctor 2 --domain web1
doctor_says problem device 'may not use /dev/iommu'
doctor_says problem library 'LD_PRELOAD does not name the library'
doctor_says problem devices 'does not get /dev/iommu from libvirt'
doctor_says problem apparmor 'does not let QEMU use iommufd'

documented libvirt-host
domain_runs web1
accounted_by_user web1
confined web1
domain_fails web2 '= -12 (Cannot allocate memory)'
virsh --quiet destroy web1

for name in "${names[@]}"; do
	documented libvirt-domain "s/vfio-guest/$name/"
	pid[$name]=$(cat "/run/libvirt/qemu/$name.pid")
	record "$name" runs
done
for name in "${names[@]}"; do
	shim_says "$name" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
	accounted_by_process "$name"
	confined "$name"
done
doctor 0 --domain web4
doctor_says ok process 'has mode process'
doctor_says ok mode 'through the helper'
