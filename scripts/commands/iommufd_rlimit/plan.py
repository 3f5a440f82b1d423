# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The plan of 'enable' and 'disable': the notes and the steps."""

import re

from . import host, obstacles, pci, qemu_conf, setup, users
from .domain_xml import LIBRARY, DomainXml
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
        if xml.emulator not in checked:
            checked[xml.emulator] = obstacles.obstacle(xml.emulator, conf, user, connection.is_session)
        if checked[xml.emulator]:
            plan.obstacle(f"domain {domain.name}: {checked[xml.emulator]}")
            continue
        wanted[domain.uuid] = (domain, xml)
    if not wanted:
        return plan
    others = [d for d in connection.domains() if d.uuid in manifest.domains and d.uuid not in wanted]
    xmls = [xml for _, xml in wanted.values()] + [DomainXml(domain.configuration()) for domain in others]
    devices = {name for xml in xmls for name in xml.devices()}
    if not connection.is_session:
        plan.steps = setup.Setup(connection, manifest, conf, user).steps(devices)
    limits = [enable_domain(plan, connection, manifest, domain, xml, limit_kb) for domain, xml in wanted.values()]
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


def enable_domain(plan, connection, manifest, domain, xml, limit_kb):
    """Adds the step and the notes for a domain; returns its limit in kB."""
    for name in xml.devices():
        note_device(plan, domain, name)
    enough = xml.enough_kb()
    has = xml.limit_kb()
    new = limit_kb if limit_kb is not None else enough if has is None else None
    if connection.is_session:  # whose domains have no limits: the user has one
        has, new = new if has is None else has, None
    sizes = f"{gib(xml.memory_kb())} of memory, {gib(xml.bars_kb())} of its devices, and what QEMU itself takes"
    if new is not None and new != has:
        source = "as --limit says" if limit_kb is not None else f"for {sizes}"
        plan.notes.append(f"domain {domain.name}: its limit becomes {gib(new)}, {source}")
    limit = new if new is not None else has
    if limit < xml.least_kb():
        plan.obstacle(
            f"domain {domain.name}: its limit of {gib(limit)} does not cover {gib(xml.memory_kb())} of memory and "
            f"{gib(xml.bars_kb())} of its devices: add --limit {-(-enough // 1024)}M"
        )
    if xml.is_enabled() and (new is None or new == has):
        # A domain that the manifest does not have was enabled by somebody else, and disable leaves it so.
        now = domain.configuration()
        plan.steps.append(Remember("domains", {domain.uuid: {"name": domain.name, "before": now, "limit": None}}))
        return limit
    entry = {"name": domain.name, "limit": new if new != has else None}
    xml.enable(new)
    plan.steps.append(Define(connection, domain, xml.text(), f"QEMU gets {LIBRARY} and mode process", entry))
    note_time(plan, domain)
    return limit


def note_device(plan, domain, name):
    if not pci.directory(name):
        plan.notes.append(f"domain {domain.name}: this host has no device {name} at present")
    elif not pci.node(name):
        bound = pci.driver(name)
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
            plan.steps.append(Forget(uuid))
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
    now = domain.configuration()
    if entry and now == entry["before"]:
        plan.steps.append(Forget(domain.uuid))
        return
    if entry and now == entry.get("after"):
        text = entry["before"]
    else:
        xml = DomainXml(now)
        if not xml.has_library() and not entry:
            plan.notes.append(f"domain {domain.name}: disabled already")
            return
        xml.disable(entry["limit"] if entry else None)
        text = xml.text()
    plan.steps.append(Define(connection, domain, text, "QEMU does not get the library any more"))
    note_time(plan, domain)
