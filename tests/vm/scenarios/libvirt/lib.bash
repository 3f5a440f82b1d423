# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
# shellcheck shell=bash source=../../guest/systemd.bash
#
# What the scenarios of libvirt are written with. They run below systemd, and all is done as the manual says.
. /host/guest/systemd.bash
udevadm settle # which sets the permissions of all devices at the start

limit=400
memory=256
samples=/usr/share/iommufd-rlimit-shim/libvirt
apparmor_rules=/etc/apparmor.d/abstractions/libvirt-qemu.d/iommufd-rlimit

### The host

# As "meson install" leaves it, whatever an earlier scenario did. Only root may use the devices.
host_reset() {
	local name
	if [ ! -e /etc/libvirt/qemu.conf.debian ]; then
		cp /etc/libvirt/qemu.conf /etc/libvirt/qemu.conf.debian
		rm -f "$apparmor_rules" # of our package
		chmod 600 /dev/iommu /dev/vfio/devices/*
		return
	fi
	for name in $(virsh list --name); do virsh --quiet destroy "$name"; done
	for name in $(virsh list --all --name); do virsh --quiet undefine "$name"; done
	cp /etc/libvirt/qemu.conf.debian /etc/libvirt/qemu.conf
	rm -rf /etc/udev/rules.d/72-iommufd-rlimit*.rules /etc/security/limits.d/iommufd-rlimit.conf \
		"$apparmor_rules" /var/lib/iommufd-rlimit-shim /etc/systemd/system/libvirtd.service.d /run/systemd/system/iommufd-rlimit-helper.service.d \
		/var/log/libvirt/qemu/*.log
	systemctl disable --now --quiet iommufd-rlimit-helper.socket
	systemctl daemon-reload
	systemctl stop libvirtd
	udevadm control --reload
	udevadm trigger --settle --subsystem-match=misc --subsystem-match=vfio-dev # without the names that the rule gave
	chown root:root /dev/iommu /dev/vfio/devices/*
	chmod 600 /dev/iommu /dev/vfio/devices/*
}

# As on Fedora, RHEL and Rocky: virtqemud in place of libvirtd, for this scenario.
modular_daemons() {
	cp /etc/libvirt/libvirt.conf /run/libvirt.conf
	trap 'monolithic_daemon; keep_logs' EXIT
	# Debian's libvirt looks for no other daemon than libvirtd where no driver is named.
	echo 'uri_default = "qemu:///system"' >>/etc/libvirt/libvirt.conf
	! command -v apparmor_parser >/dev/null || apparmor_parser --replace /etc/apparmor.d/usr.sbin.virtqemud
	systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service
	systemctl start virtqemud.socket
}

# They run, and libvirtd does not. If its threads do not end within 30 seconds, it exits with a failure: src/rpc/virnetdaemon.c.
modular_daemons_run() { # DAEMON...
	local daemon
	for daemon; do
		systemctl is-active --quiet "$daemon.service" || fail "$daemon is $(systemctl is-active "$daemon.service")"
	done
	! systemctl is-active --quiet libvirtd.service || fail "libvirtd runs"
}

monolithic_daemon() {
	[ -e /run/libvirt.conf ] || return 0
	mv /run/libvirt.conf /etc/libvirt/
	systemctl stop virtqemud.socket virtqemud.service
	systemctl start libvirtd.socket
}

# From the packages to four domains, and back.
one_command() {
	local names=(d1 d2 d3 d4) name started
	for name in "${names[@]}"; do domain "$name" "$without_limit"; done
	host_snapshot before

	started=$SECONDS
	iommufd-rlimit-libvirt enable "${names[@]}" --yes
	ok "one command: $((SECONDS - started)) s"
	for name in "${names[@]}"; do
		domain_runs "$name"
		shim_says "$name" 'iommufd-rlimit: info:' outcome=applied requested=process effective=process via=helper
		accounted_by_process "$name"
		confined "$name"
		modes_are "$name" process
	done
	ok "one command and four starts: $((SECONDS - started)) s"

	for name in "${names[@]}"; do virsh --quiet destroy "$name"; done
	iommufd-rlimit-libvirt disable --all --yes
	host_snapshot after
	is_same before after
	[ ! -e /var/lib/iommufd-rlimit-shim ] || fail "/var/lib/iommufd-rlimit-shim is left"
}

# The one command, which sets the host up as well.
enable() { iommufd-rlimit-libvirt enable --yes "$@"; }

# The first connection would start the helper, which may take an emulated machine that is busy longer than the library waits.
helper_runs() { systemctl start iommufd-rlimit-helper.service; }

# What systemd knows of the helper.
service() { systemctl show --property="$1" --value iommufd-rlimit-helper.service; }

# host_snapshot NAME: all that enable and disable may change: files with their modes, nodes, units, the XML of domains.
host_snapshot() {
	local directory=/run/snapshots/$1 name
	rm -rf "$directory"
	mkdir -p "$directory/xml"
	cp -a /etc /var/lib/libvirt "$directory/"
	find "$directory" -type s -delete # which diff cannot compare
	# libvirt makes a profile of AppArmor when a domain starts for the first time, and leaves it.
	rm -rf "$directory/etc/apparmor.d/libvirt"
	find /etc /var/lib/libvirt -path /etc/apparmor.d/libvirt -prune -o -printf '%y %m %u %g %p %l\n' | sort >"$directory/modes"
	find /dev/iommu /dev/vfio -printf '%y %m %u %g %p %l\n' | sort >"$directory/nodes"
	systemctl is-enabled iommufd-rlimit-helper.socket >"$directory/units" || true
	systemctl is-active iommufd-rlimit-helper.socket >>"$directory/units" || true
	for name in $(virsh list --all --name); do
		virsh dumpxml --inactive --security-info "$name" >"$directory/xml/$name"
	done
}

is_same() {
	diff -r --no-dereference "/run/snapshots/$1" "/run/snapshots/$2" || fail "the host is not as it was: $1, $2"
	ok "the host is as it was: $1, $2"
}

### Domains

without_limit='/<memtune>/,/<\/memtune>/d'
export without_limit

# domain NAME: defines the sample with a device of its own, a small guest's limit, and without the shim.
domain() {
	next_device
	sed "s/type='kvm'/type='qemu'/; s/vfio-guest/$1/; s/0000:01:00.0/$device/; s/1280/$limit/; /<qemu:env/d; ${2-}" \
		"$samples/domain.xml" >"/run/$1.xml"
	virsh --quiet define "/run/$1.xml"
	mkdir -p "$vms/$1"
	ln -sf "/var/log/libvirt/qemu/$1.log" "$vms/$1/stderr"
}

# The XML by which libvirt itself gives the $device to a domain.
hostdev() {
	local address="domain='0' bus='0x${device:5:2}' slot='0x${device:8:2}' function='0'"
	echo "<hostdev mode='subsystem' type='pci' managed='no'><source><address $address/></source></hostdev>"
}

# without_library NAME: as domain() defined it, whatever was done to it since.
without_library() {
	virsh --quiet undefine "$1"
	virsh --quiet define "/run/$1.xml"
}

# The logs go into the results.
keep_logs() {
	local log
	for log in "$vms"/*/stderr; do cp --remove-destination "$(readlink "$log")" "$log" || rm "$log"; done 2>/dev/null
}
trap keep_logs EXIT

# It starts, or was started. QEMU has pinned all memory then; that a guest runs in it would only keep the machine busy.
domain_runs() {
	if [ ! -e "/run/libvirt/qemu/$1.pid" ]; then
		virsh --quiet start --paused "$1" || fail "$1 does not start"
	fi
	pid[$1]=$(cat "/run/libvirt/qemu/$1.pid")
	record "$1" runs
	ok "$1 runs"
}

domain_fails() { # NAME TEXT
	local said
	said=$(virsh start --paused "$1" 2>&1) && fail "$1 starts"
	[[ $said == *"$2"* ]] || fail "$1 does not fail with '$2' but: $said"
	record "$1" "dies: $2"
	ok "$1 fails: $2"
}

confined() {
	local profile
	profile=$(cat "/proc/${pid[$1]}/attr/current")
	[ "$profile" = "libvirt-$(virsh domuuid "$1" | head -n 1) (enforce)" ] || fail "$1 is confined by '$profile'"
	[ "$(sed -n 's/^CapEff:\t//p' "/proc/${pid[$1]}/status")" = 0000000000000000 ] || fail "$1 has capabilities"
	ok "$1: confined by AppArmor, no capability"
}

# A guest that runs may have part of the first MiB unmapped, by its firmware.
pins_its_memory() {
	local kb
	kb=$(pinned "$1")
	if [ "$kb" -lt $((memory * 1024 - 1024)) ] || [ "$kb" -gt $((memory * 1024 + 4096)) ]; then
		fail "$1 with $memory MiB of memory pins $kb kB"
	fi
}

### The doctor

# doctor STATUS [OPTION...]: keeps what it says.
doctor() {
	local result=0
	doctor_said=$(iommufd-rlimit-doctor "${@:2}") || result=$?
	printf '%s\n' "$doctor_said"
	[ "$result" = "$1" ] || fail "the doctor ends with status $result, not $1"
}

doctor_says() { # LEVEL CHECK TEXT [FIX]
	grep -qE "^$1 +$2 .*$3" <<<"$doctor_said" || fail "the doctor does not say: $1 $2 $3"
	grep -q "^ *fix: .*${4-}" <<<"$doctor_said" || [ -z "${4-}" ] || fail "the doctor does not say what to do: $4"
	ok "doctor: $1 $2 $3"
}

# Whom it examines.
examined=(--domain web1)

# broken [CHECK TEXT FIX]...: the doctor finds these problems and warnings, each by this check, and no others, and says what to
# do. tests/scripts/test_findings.py looks for each of its findings here.
broken() {
	local count=$(($# / 3)) ended=0
	doctor_said=$(iommufd-rlimit-doctor "${examined[@]}") || ended=$?
	printf '%s\n' "$doctor_said"
	! grep -q '^problem' <<<"$doctor_said" || [ "$ended" = 2 ] || fail "the doctor ends with status $ended, not 2"
	while [ $# -gt 0 ]; do
		doctor_says '(problem|warning)' "$1" "$2" "$3"
		shift 3
	done
	[ "$(grep -c '^\(problem\|warning\)' <<<"$doctor_said")" = "$count" ] || fail "the doctor finds more than is broken"
}

# What the doctor said is to be done is done, as it was said and in that order. But no guest here would shut down, or has
# anything to do.
do_fixes() {
	local fix fixes command
	mapfile -t fixes < <(sed -n 's/^ *fix: //p' <<<"$doctor_said" | awk '!seen[$0]++')
	for fix in "${fixes[@]}"; do
		command=${fix//libvirt enable/libvirt enable --yes}
		command=${command//virsh shutdown/virsh destroy}
		command=${command//virsh start/virsh start --paused}
		case $command in
		export\ * | unset\ *) eval "$command" ;; # of the shell from which the doctor is run
		*) timeout 300 bash -exc "$command" ;;
		esac || fail "this does not run: $fix"
		ok "done: $fix"
	done
}

# mended: that is done, and all is well.
mended() {
	do_fixes
	doctor 0 "${examined[@]}"
}

# As somebody would edit the XML of web1: back to what it was.
export EDITOR='cp /run/web1-good.xml'
