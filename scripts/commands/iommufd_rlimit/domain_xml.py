# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The XML of a domain of libvirt: what it says of iommufd, and the change that the library takes."""

import json
import os
import re
import sys

from . import host, pci
from .host import Failure

try:
    from lxml import etree
except ImportError:
    etree = None

LIBRARY = "libiommufd-rlimit.so"
NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
QEMU = f"{{{NAMESPACE}}}"

# hard_limit is RLIMIT_MEMLOCK, where libvirt itself adds 1 GiB for devices that it assigns, and the limit of the domain's
# cgroup. So it covers QEMU's heap and threads as well, and tables of 8 bytes for each page of 4 KiB, of which there are
# four: QEMU's, KVM's, the IOMMU's, and the list of pinned pages that iommufd may keep.
OVERHEAD_KB = 1024 * 1024
PAGE_TABLES = 128
QUOTED = re.compile(r"""\"(?:[^"\\]|\\.)*"|'((?:[^'\\]|\\.)*)'""")
DEVICE_NAME = re.compile(r"\w[\w:.-]*", re.ASCII)  # whatever else the kernel does not call a device
PCI_ADDRESS = re.compile(r"(?:([\da-f]{1,8}):)?([\da-f]{1,2}):([\da-f]{1,2})\.([0-7])", re.ASCII | re.IGNORECASE)
EMULATED_IOMMU = re.compile("intel-iommu|amd-iommu|arm-smmuv3|virtio-iommu")


def preloads(value):
    """The libraries in a value of LD_PRELOAD: those of this project, and the others."""
    names = list(filter(None, re.split("[ :]+", value)))
    ours = [name for name in names if os.path.basename(name).startswith("libiommufd-rlimit")]
    return ours, [name for name in names if name not in ours]


def properties(text):
    """The value of QEMU's -object or -device as a dictionary of texts; 'type' is the type or the driver."""
    first = ""
    if text.startswith("{"):
        try:
            pairs = json.loads(QUOTED.sub(double_quoted, text)).items()
        except ValueError:
            pairs = ()
    else:
        words = [word.replace("\0", ",") for word in text.replace(",,", "\0").split(",")]
        if "=" not in words[0]:
            first = words.pop(0)
        pairs = (word.partition("=")[::2] for word in words)
    found = {name: str(value) for name, value in pairs}
    return {"type": found.get("qom-type") or found.get("driver") or first, **found}


def double_quoted(found):
    """A text in single quotes, which QEMU takes in JSON, too."""
    return found[0] if found[1] is None else json.dumps(found[1])


def pci_name(text):
    """The name in sysfs of a device by its PCI address, as QEMU takes it; another name as it is."""
    found = PCI_ADDRESS.fullmatch(text)
    return "{:04x}:{:02x}:{:02x}.{:x}".format(*(int(number or "0", 16) for number in found.groups())) if found else text


class DomainXml:
    """The XML as libvirt has it."""

    def __init__(self, text):
        if etree is None:
            raise Failure(f"{sys.executable} has no module lxml; install python3-lxml")
        self.root = etree.fromstring(text, etree.XMLParser(resolve_entities=False))
        self.name, self.uuid = self.root.findtext("name"), self.root.findtext("uuid")
        self.emulator = self.root.findtext("devices/emulator")

    def text(self):
        return etree.tostring(self.root, encoding="unicode") + "\n"

    # --- iommufd

    def arguments(self, option):
        """The values of this option of QEMU in <qemu:commandline>."""
        words = [element.get("value", "") for element in self.root.iter(f"{QEMU}arg")]
        return [properties(after) for word, after in zip(words, words[1:]) if word.lstrip("-") == option]

    def opens_iommufd(self):
        """Whether QEMU opens /dev/iommu: it is given an iommufd without a descriptor."""
        return any(found["type"] == "iommufd" and "fd" not in found for found in self.arguments("object"))

    def hostdevs(self):
        """The elements of the PCI and mediated devices that libvirt assigns."""
        return [e for e in self.root.iterfind("devices/hostdev") if e.get("type") in ("pci", "mdev")]

    def devices(self):
        """The names in sysfs of those on an iommufd that QEMU opens."""
        of_vfio = [found for found in self.arguments("device") if found["type"].startswith("vfio-pci")]
        given = [found for found in of_vfio if "iommufd" in found]
        paths = [found.get("sysfsdev") or found.get("host") or "" for found in given]
        names = [os.path.basename(path.rstrip("/")) for path in paths]
        # A <hostdev>, with the property added.
        if any(e.get("name") == "iommufd" for e in self.root.iter(f"{QEMU}property")):
            names += map(hostdev_name, self.hostdevs())
        return [pci_name(name) for name in names if DEVICE_NAME.fullmatch(name)]

    def libvirt_sets_mode(self):
        """libvirt itself opens the iommufds, all of them, and asks for the mode."""
        by_domain = any(e.get("enabled") == "yes" for e in self.root.iterfind("iommufd"))
        by_device = any(e.get("iommufd") == "yes" for e in self.root.iterfind("devices/hostdev/driver"))
        return (by_domain or by_device) and not self.opens_iommufd()

    def not_needed(self):
        """The reason why the domain does not have the problem, in one sentence; empty if it has the problem."""
        if self.root.get("type") not in ("kvm", "qemu"):
            return f"it is not run by QEMU but is of type {self.root.get('type')}"
        if self.libvirt_sets_mode():
            return "libvirt opens iommufd and sets the mode process by itself"
        if self.opens_iommufd():
            return ""
        if self.hostdevs():
            return (
                "its <hostdev> is attached by the legacy VFIO container, which the kernel accounts by process already"
            )
        return "it has no device on iommufd"

    def runs_as(self):
        """The user and the group that QEMU of this domain alone runs as, in the form of qemu.conf; empty for those there."""
        label = self.root.findtext("seclabel[@model='dac']/label")
        return dict(zip(("user", "group"), label.split(":"))) if label else {}

    # --- memory

    def memory_kb(self):
        """The most that the guest may have."""
        return int(self.root.findtext("maxMemory") or self.root.findtext("memory"))

    def limit_kb(self):
        """Its <hard_limit>; None where it has none."""
        text = self.root.findtext("memtune/hard_limit")
        return int(text) if text else None

    def bars_kb(self):
        return sum(map(pci.bars_kb, self.devices()))

    def least_kb(self):
        """The least that a limit has to cover: the guest's memory, the regions of its devices, and a page of the kernel."""
        return self.memory_kb() + self.bars_kb() + host.PAGE_KB

    def address_spaces(self):
        """In how many the guest's memory may be: behind an emulated IOMMU each device has its own, as libvirt counts, too."""
        emulated = any(EMULATED_IOMMU.match(found["type"]) for found in self.arguments("device"))
        return max(1, len(self.devices())) if emulated or self.root.find("devices/iommu") is not None else 1

    def enough_kb(self):
        """A limit that covers the guest's memory, the regions of its devices, and QEMU; in whole MiB."""
        pinned = self.memory_kb() * self.address_spaces() + self.bars_kb()
        size = pinned + OVERHEAD_KB + self.memory_kb() // PAGE_TABLES
        return -(-size // 1024) * 1024

    # --- the library

    def environment(self):
        """The variables that QEMU is started with. The last of two variables of one name counts."""
        return {e.get("name"): e.get("value", "") for e in self.root.iter(f"{QEMU}env")}

    def has_library(self):
        return bool(preloads(self.environment().get("LD_PRELOAD", ""))[0])

    def is_enabled(self):
        return self.has_library() and self.environment().get("IOMMUFD_RLIMIT_MODE") == "process"

    def enable(self, limit_kb=None):
        """Adds the library and the mode; and the limit, if one is given."""
        ours, others = preloads(self.environment().get("LD_PRELOAD", ""))
        if not ours:
            self.set_variable("LD_PRELOAD", ":".join([LIBRARY, *others]))
        self.set_variable("IOMMUFD_RLIMIT_MODE", "process")
        if limit_kb is not None:
            self.set_limit(limit_kb)

    def disable(self, before=None, limit_kb=None):
        """Takes back what enable() did to a domain that was as in 'before', another DomainXml; by default it had none of it.
        The limit, if it is still the one that is given."""
        ours, others = preloads(self.environment().get("LD_PRELOAD", ""))
        if ours and not (before and before.has_library()):
            self.set_variable("LD_PRELOAD", ":".join(others))
        self.set_variable("IOMMUFD_RLIMIT_MODE", before and before.environment().get("IOMMUFD_RLIMIT_MODE"))
        if limit_kb is not None and self.limit_kb() == limit_kb:
            self.set_limit(before and before.limit_kb())

    def set_variable(self, name, value):
        """None or an empty value removes it."""
        present = [e for e in self.root.iter(f"{QEMU}env") if e.get("name") == name]
        if not value:
            for element in present:
                remove(element)
            return
        if present:
            present[-1].set("value", value)
            return
        commandline = self.root.find(f"{QEMU}commandline")
        if commandline is None:
            commandline = etree.Element(f"{QEMU}commandline", nsmap={"qemu": NAMESPACE})
            insert(self.root, commandline, "\n  ", len(self.root))
        insert(commandline, etree.Element(f"{QEMU}env", name=name, value=value), "\n    ", len(commandline))

    def set_limit(self, limit_kb):
        """None removes it."""
        if limit_kb is None:
            remove(self.root.find("memtune/hard_limit"))
            return
        memtune = self.root.find("memtune")
        if memtune is None:
            memtune = etree.Element("memtune")
            insert(self.root, memtune, "\n  ", self.root.index(self.root.find("memory")) + 1)
        limit = memtune.find("hard_limit")
        if limit is None:
            limit = etree.Element("hard_limit")
            insert(memtune, limit, "\n    ", 0)
        limit.set("unit", "KiB")
        limit.text = str(limit_kb)


def without_change(text, entry):
    """The XML of a domain without what enable changed in it, by the entry that the manifest has for the domain."""
    xml = DomainXml(text)
    xml.disable(DomainXml(entry["before"]), entry["limit"])
    return xml.text()


def hostdev_name(element):
    address = element.find("source/address")
    if address.get("uuid"):
        return address.get("uuid")
    domain, bus, slot, function = (int(address.get(key, "0"), 16) for key in ("domain", "bus", "slot", "function"))
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def insert(parent, element, indent, position):
    """Inserts an element on a line of its own."""
    before = parent[position - 1] if position else None
    following = (parent.text if before is None else before.tail) or indent[:-2]
    element.tail = following if following.strip() == "" else indent[:-2]
    if before is None:
        parent.text = indent
    else:
        before.tail = indent
    parent.insert(position, element)


def remove(element):
    """Removes an element with its line, and its parent if that is then empty."""
    parent, before = element.getparent(), element.getprevious()
    tail = element.tail
    parent.remove(element)
    if before is not None:
        before.tail = tail
    elif len(parent):
        parent.text = tail and parent.text
    if not len(parent):
        remove(parent)
