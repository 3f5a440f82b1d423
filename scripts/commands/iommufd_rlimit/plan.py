# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The plan of 'enable' and 'disable': the notes and the steps."""

import re

from . import host, obstacles, pci, qemu_conf, setup, users
from .domain_xml import LIBRARY, DomainXml, without_change
from .steps import Define, Forget, Remember, difference


class Plan:
    def __init__(self):
        self.notes = []  # a sentence each
        self.steps = []
        self.is_incomplete = False  # part of the request needs another change first

    def is_empty(self):
        return not any(step.what for step in self.steps)

    def obstacle(self, sentence):
        self.notes.append(sentence)
        self.is_incomplete = True

    def restore(self, host_setup):
        """The host, as far as nobody else has changed it since."""
        steps, changed = host_setup.restore()
        self.steps += steps
        for path in changed:
            self.obstacle(
                f"{path} was changed by somebody else since it was written, and is left as it is; take back by hand:\n"
                + difference(*text_before_and_after(host_setup.manifest, path), path)
            )

    def text(self):
        lines = [f"{note}.\n" for note in self.notes]
        for step in filter(lambda step: step.what, self.steps):
            lines.append(f"\n* {step.what}\n{step.show()}")
        return "".join(lines)


def gib(kb):
    return f"{kb / (1 << 20):.4g} GiB" if kb >= 1 << 20 else f"{kb / 1024:.4g} MiB"


def total_memory_kb():
    return int(re.search(r"^MemTotal:\s*(\d+)", host.read(f"{host.PROC}/meminfo"), re.M)[1])


# --- enable


def plan_enable(connection, manifest, names, limit_kb):
    """names: those of domains; None for all."""
    plan = Plan()
    conf = {} if connection.is_session else qemu_conf.read()
    user = host.process_user("self") if connection.is_session else qemu_conf.user(conf)
    wanted, checked = {}, {}
    for domain in [connection.domain(name) for name in names] if names is not None else connection.domains():
        xml = DomainXml(domain.configuration())
        reason = xml.not_needed()
        if reason:
            plan.notes.append(f"domain {domain.name}: not needed: {reason}")
            continue
        if not domain.is_persistent:
            fix = "it has no configuration to change: add the lines of iommufd-rlimit(7) to the XML that it is created from"
            plan.obstacle(f"domain {domain.name} is transient: {fix}")
            continue
        own = {} if connection.is_session else xml.runs_as()
        runs_as = qemu_conf.user({**conf, **own}) if own else user
        if own and not runs_as:
            what = "this host does not have the user or the group of its <seclabel>"
            plan.obstacle(f"domain {domain.name}: {what}: virsh edit {domain.name}")
            continue
        qemu = (xml.emulator, *own.values())
        if qemu not in checked:
            checked[qemu] = obstacles.obstacle(xml.emulator, conf, runs_as, connection.is_session)
        if checked[qemu]:
            plan.obstacle(f"domain {domain.name}: {checked[qemu]}")
            continue
        limit, new = limits_of(connection, xml, limit_kb)
        if limit < xml.least_kb():
            plan.obstacle(
                f"domain {domain.name}: its limit of {gib(limit)} does not cover {gib(xml.memory_kb())} of memory and "
                f"{gib(xml.bars_kb())} of its devices: add --limit {xml.enough_kb() // 1024}M"
            )
            continue
        wanted[domain.uuid] = (domain, xml, limit, new)
    if not wanted:
        return plan
    others = [d for d in connection.domains() if d.uuid in manifest.domains and d.uuid not in wanted]
    xmls = [xml for _, xml, *_ in wanted.values()] + [DomainXml(domain.configuration()) for domain in others]
    devices = {name for xml in xmls for name in xml.devices()}
    if not connection.is_session:
        plan.steps = setup.Setup(connection, manifest, conf, user).steps(devices)
    for domain, xml, _, new in wanted.values():
        enable_domain(plan, connection, domain, xml, new, "as --limit says" if limit_kb else "")
    limits = [limit for _, _, limit, _ in wanted.values()]
    limits += [xml.limit_kb() for xml in xmls[len(wanted) :] if xml.limit_kb()]
    if not plan.is_empty():
        plan.notes.append(meaning(limits))
    if connection.is_session:
        lacking = users.lacking(user, devices, max(limits), host.libvirt_daemon_pid(user.uid))
        if lacking:
            plan.obstacle(lacking)
    return plan


def meaning(limits):
    count = f"{len(limits)} domains may" if len(limits) > 1 else "1 domain may"
    each = f"{len(limits)} x {gib(limits[0])} = " if len(set(limits)) == 1 and len(limits) > 1 else ""
    text = (
        f"together: {count} pin {each}{gib(sum(limits))}, each by its own limit; this host has {gib(total_memory_kb())}"
    )
    more = ", which is less: the domains cannot all use their whole limit" if sum(limits) > total_memory_kb() else ""
    return text + more


def limits_of(connection, xml, limit_kb):
    """The limit of a domain that is enabled, in kB; and the same if it is a new one, else None."""
    has = xml.limit_kb()
    limit = limit_kb or has or xml.enough_kb()
    if connection.is_session:  # whose domains have no limits: the user has one
        return has or limit, None
    return limit, limit if limit != has else None


def enable_domain(plan, connection, domain, xml, new, source):
    """Adds the step and the notes for a domain. new: its new limit, if it gets one."""
    for name in xml.devices():
        note_device(plan, domain, name)
    if new is not None:
        sizes = f"{gib(xml.memory_kb())} of memory, {gib(xml.bars_kb())} of its devices, and what QEMU itself takes"
        plan.notes.append(f"domain {domain.name}: its limit becomes {gib(new)}, {source or f'for {sizes}'}")
    elif xml.is_enabled():
        # A domain that the manifest does not have was enabled by somebody else, and disable leaves it so.
        now = domain.configuration()
        plan.steps.append(Remember("domains", {domain.uuid: {"name": domain.name, "before": now, "limit": None}}))
        return
    xml.enable(new)
    entry = {"name": domain.name, "limit": new}
    plan.steps.append(Define(connection, domain, xml.text(), f"QEMU gets {LIBRARY} and mode process", entry))
    note_time(plan, domain)


def note_device(plan, domain, name):
    if not pci.directory(name):
        plan.notes.append(f"domain {domain.name}: this host has no device {name} at present")
    elif not pci.node(name):
        bound = pci.driver(name)
        if bound and "vfio" in bound:
            fix = "before the domain starts, boot a kernel with CONFIG_VFIO_DEVICE_CDEV"
            plan.notes.append(f"domain {domain.name}: driver {bound} made no file for device {name}: {fix}")
            return
        driver = f"bound to {bound}, which is not a VFIO driver" if bound else "bound to no driver"
        fix = f"before the domain starts, run: driverctl set-override {name} vfio-pci"
        plan.notes.append(f"domain {domain.name}: device {name} is {driver}: {fix}")


def note_time(plan, domain):
    """Adds the note that says when the change takes effect."""
    if domain.is_active:
        what = "runs as before until it is shut down and started; a reboot within it is not enough"
        plan.notes.append(f"domain {domain.name}: {what}")
    elif domain.has_saved_state():
        what = "its saved state has the old settings: it is restored with them, until it is shut down and started"
        plan.notes.append(f"domain {domain.name}: {what}")
    else:
        plan.notes.append(f"domain {domain.name}: the change takes effect when it starts")


# --- disable


def plan_disable(connection, manifest, names):
    """names: those of domains; None for all that were enabled."""
    plan = Plan()
    present = {domain.uuid: domain for domain in connection.domains()}
    if names is None:
        chosen = {uuid: present.get(uuid) for uuid in manifest.domains}
    else:
        chosen = {domain.uuid: domain for domain in map(connection.domain, names)}
    for uuid, domain in chosen.items():
        if domain is None:
            plan.notes.append(f"domain {manifest.domains[uuid]['name']} is not there any more")
            plan.steps.append(Forget("domains", uuid))
        else:
            disable_domain(plan, connection, manifest, domain)
    if names is not None and not any(uuid in manifest.domains for uuid in chosen):
        return plan
    left = [domain for uuid, domain in present.items() if uuid in manifest.domains and uuid not in chosen]
    if left and connection.is_session:
        return plan
    if left or manifest.users:
        conf = qemu_conf.read()
        devices = {name for domain in left for name in DomainXml(domain.configuration()).devices()}
        plan.steps += setup.Setup(connection, manifest, conf, qemu_conf.user(conf)).steps(devices)
        others = [*sorted(domain.name for domain in left), *(f"sessions of user {name}" for name in manifest.users)]
        plan.notes.append(f"still enabled: {', '.join(others)}")
        return plan
    if not connection.is_session:
        plan.restore(setup.Setup(connection, manifest, {}, None))
    return plan


def text_before_and_after(manifest, path):
    before = manifest.file_before(path) or b""
    return host.read(path), before.decode(errors="replace")


def disable_domain(plan, connection, manifest, domain):
    entry = manifest.domains.get(domain.uuid)
    if not domain.is_persistent:
        plan.notes.append(f"domain {domain.name} is transient: it has no configuration to take the change back in")
        plan.steps.append(Forget("domains", domain.uuid))
        return
    now = domain.configuration()
    xml = DomainXml(now)
    if entry:
        text = entry["before"] if now == entry.get("after") else without_change(now, entry)
        if now == entry["before"] or text == xml.text():
            plan.steps.append(Forget("domains", domain.uuid))
            return
    else:
        if not xml.has_library():
            plan.notes.append(f"domain {domain.name}: disabled already")
            return
        xml.disable()
        text = xml.text()
    plan.steps.append(Define(connection, domain, text, "QEMU does not get the library any more"))
    note_time(plan, domain)
