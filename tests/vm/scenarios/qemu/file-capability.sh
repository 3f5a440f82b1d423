# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/lib.sh
#
# File capabilities on QEMU: ld.so then ignores a preload by path, without a word. By name it takes it from the library
# directories if it has the set-user-ID bit, and complains if not.
. /host/guest/lib.sh

memory=64
limit=96
library=$(find /usr/lib -name "$shim")
# QEMU finds its firmware from where it is itself.
mkdir -p /tmp/usr/bin
ln -s /usr/share /tmp/usr/share
cp "$qemu" /tmp/usr/bin
qemu=/tmp/$qemu
setcap cap_sys_resource=ep "$qemu"

with=(env LD_PRELOAD="$library" IOMMUFD_RLIMIT_MODE=process)
vm_start by-path
vm_runs by-path
shim_is_silent by-path
modes_are by-path user
vm_stop by-path

with=(env LD_PRELOAD="$shim" IOMMUFD_RLIMIT_MODE=process)
vm_start by-name
vm_runs by-name
shim_is_silent by-name
stderr_has by-name "'$shim' from LD_PRELOAD cannot be preloaded"
modes_are by-name user
vm_stop by-name

chmod u+s "$library"
vm_start by-name-setuid
vm_runs by-name-setuid
chmod u-s "$library"
shim_says by-name-setuid outcome=applied source=open requested=process effective=process via=ioctl
modes_are by-name-setuid process
accounted_by_process by-name-setuid

# The launcher goes by path, and says what comes of that.
qemu-iommufd-rlimit --dry-run "$qemu" >"$vms/launcher" 2>&1
grep -q 'warning: .*file capabilities' "$vms/launcher" || fail "the launcher does not warn: $(cat "$vms/launcher")"
