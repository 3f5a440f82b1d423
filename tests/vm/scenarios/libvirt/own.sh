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

# A second device of web1, which comes later and goes again: never in another mode.
next_device
hostdev >/run/hostdev.xml
virsh --quiet attach-device web1 /run/hostdev.xml || fail "libvirt does not attach a device to web1"
[ "$(virsh dumpxml web1 | grep -c '<hostdev ')" = 2 ] || fail "web1 has no second device"
accounted_by_process web1
modes_are web1 process
virsh --quiet detach-device web1 /run/hostdev.xml # which waits for a guest that this machine does not have
accounted_by_process web1
modes_are web1 process

doctor 0 --domain web1
doctor_says ok libvirt 'the library is not needed'
doctor_says ok process 'has mode process'
