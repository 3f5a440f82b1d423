# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=running.bash
#
# A domain that runs, and that was started when one thing at a time was wrong: the doctor finds that, and what it says is to be
# done, in the order in which it says it, starts the domain anew as it should be.
. /host/scenarios/doctor/running.bash

again='virsh shutdown web1; until virsh start web1; do sleep 5; done'

# Without the library.
without_library web1
domain_runs web1
broken library 'LD_PRELOAD does not name the library' 'iommufd-rlimit-libvirt enable web1' \
	process 'runs without the library' "$again" \
	process 'process [0-9]*: iommufd [0-9]* has mode user' "$again"
mended
runs_as_it_should
stopped

# With a library that ld.so did not find.
library=$(find /usr/lib -name libiommufd-rlimit.so)
mkdir /usr/lib/apart
mv "$library" /usr/lib/apart/
echo /usr/lib/apart >/etc/ld.so.conf.d/apart.conf
domain_runs web1
broken library 'QEMU does not load .*: cannot open shared object file' ldconfig \
	process 'runs without the library' "$again" \
	process 'process [0-9]*: iommufd [0-9]* has mode user' "$again" \
	log 'at the last start: ERROR: ld.so: ' "$again"
mended
runs_as_it_should
stopped
mv /usr/lib/apart/libiommufd-rlimit.so "$library"
rm -r /usr/lib/apart /etc/ld.so.conf.d/apart.conf
ldconfig

# Without the helper.
systemctl stop iommufd-rlimit-helper.socket iommufd-rlimit-helper.service
domain_runs web1
broken helper 'there is no helper at' \
	'systemctl enable iommufd-rlimit-helper.socket; systemctl restart iommufd-rlimit-helper.socket' \
	process 'process [0-9]*: iommufd [0-9]* has mode user' "$again" \
	log 'start: outcome=denied' "$again"
mended
runs_as_it_should
