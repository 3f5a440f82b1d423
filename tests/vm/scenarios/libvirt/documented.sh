# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: trixie
#
# From the report to running domains and back, by nothing but the commands of README.md.
. /host/scenarios/libvirt/lib.bash

host_reset
names=(web1 web2)
for name in "${names[@]}"; do domain "$name"; done

# The host as it has to be for these devices, but no domain with the library.
enable web1 web2
for name in "${names[@]}"; do without_library "$name"; done
domain_runs web1
accounted_by_user web1
confined web1
doctor 2 --domain web1
doctor_says problem library 'LD_PRELOAD does not name the library'
doctor_says problem process 'runs without the library'
doctor_says problem process 'has mode user'
documented need 's/vfio-guest/web1/'
domain_fails web2 'error: internal error: '
domain_fails web2 '= -12 (Cannot allocate memory)'
doctor 2 --domain web2
doctor_says ok log '-12 .Cannot allocate memory.: the memory limit did not allow it'
virsh --quiet destroy web1

documented domain 's/vfio-guest/web1/; s/enable/enable --yes/'
documented domain-log 's/vfio-guest/web1/'
enable web2
for name in "${names[@]}"; do
	domain_runs "$name"
	shim_says "$name" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
	accounted_by_process "$name"
	confined "$name"
done
doctor 0 --domain web2
doctor_says ok process 'has mode process'
doctor_says ok mode 'through the helper'

for name in "${names[@]}"; do
	virsh --quiet destroy "$name"
done
documented uninstall 's/disable/disable --yes/'
