# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=lib.bash
# suites: forky
#
# libvirt from 12.2 on opens /dev/iommu and sets the mode itself: the same result without the shim, and with it, no harm.
. /host/scenarios/libvirt/lib.bash

host_reset
touch /dev/vfio/vfio # libvirt looks whether it is there, and does not use it

# As the sample, but with <hostdev> in place of the command line.
own() { # NAME
	domain "$1" '/<qemu:commandline/,/<\/qemu:commandline/d'
	virsh --quiet undefine "$1"
	sed -i "s,</domain>,<iommufd enabled='yes'/><devices>$(hostdev)</devices>&," "/run/$1.xml"
	virsh --quiet define "/run/$1.xml"
}

# A device of the library's for the rules of the host; domain web3 gets the library though it does not need it.
domain web0
enable web0
own web1
own web2
own web3
enable web3 | grep 'web3: not needed: libvirt opens iommufd and sets the mode process by itself' || fail "enable does not say so"
variables="<qemu:env name='LD_PRELOAD' value='libiommufd-rlimit.so'/><qemu:env name='IOMMUFD_RLIMIT_MODE' value='process'/>"
namespace="xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
sed "s,</domain>,<qemu:commandline $namespace>$variables</qemu:commandline>&," /run/web3.xml >/run/web3-library.xml
virsh --quiet undefine web3
virsh --quiet define /run/web3-library.xml
for name in web1 web2 web3; do
	domain_runs $name
	accounted_by_process $name
done
shim_is_silent web1
shim_says web3 'iommufd-rlimit: info:' outcome=already source=inherited requested=process effective=process

# A second device of web1, and the first one of web4, which come later and go again: never in another mode.
devices_of() { virsh dumpxml "$1" | grep -c "<hostdev "; }
attach() { # NAME COUNT
	next_device
	hostdev >"/run/$1-hostdev.xml"
	virsh --quiet attach-device "$1" "/run/$1-hostdev.xml" || fail "libvirt does not attach a device to $1"
	[ "$(devices_of "$1")" = "$2" ] || fail "$1 has $(devices_of "$1") devices, not $2"
	accounted_by_process "$1"
	modes_are "$1" process
	ok "$1: a device came, the mode is process"
}
attach web1 2
virsh --quiet detach-device web1 /run/web1-hostdev.xml # which waits for a guest that this machine does not have
accounted_by_process web1
modes_are web1 process

domain web4 '/<qemu:commandline/,/<\/qemu:commandline/d'
virsh --quiet undefine web4
sed -i "s,</domain>,<iommufd enabled='yes'/>&," /run/web4.xml
virsh --quiet define /run/web4.xml
virsh --quiet start --paused web4
pid[web4]=$(cat /run/libvirt/qemu/web4.pid)
[ "$(pinned web4)" = 0 ] || fail "web4 pins $(pinned web4) kB without a device"
attach web4 1

doctor 0 --domain web1
doctor_says ok libvirt 'the library is not needed'
doctor_says ok process 'has mode process'
