# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The library in the XML of a domain of libvirt."""

import difflib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import escape

from .host import Failure

LIBRARY = "libiommufd-rlimit.so"
QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
VIRSH_TIMEOUT = 30  # seconds


# --- virsh


def virsh(*arguments):
    """What virsh prints, as bytes."""
    try:
        done = subprocess.run(
            ["virsh", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=VIRSH_TIMEOUT,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise Failure("no virsh; install libvirt-clients (Debian, Ubuntu) or libvirt-client (Fedora)")
    except subprocess.TimeoutExpired:
        raise Failure(f"no answer to 'virsh {arguments[0]}' in {VIRSH_TIMEOUT} s; is libvirt running?")
    if done.returncode:
        said = re.findall(r"^(?:error: )?(.+)$", done.stderr.decode(errors="replace"), re.M)
        raise Failure(f"virsh {arguments[0]}: " + "; ".join(said))
    return done.stdout


def persistent_domain(name):
    """What virsh dominfo says of a domain that has a configuration to change."""
    try:
        info = dict(re.findall(r"^([^:]+): *(.*)$", virsh("dominfo", name).decode(), re.M))
    except Failure as failure:
        if "failed to get domain" in str(failure):
            raise Failure(f"no domain '{name}'; 'virsh list --all' shows those there are")
        raise
    if info["Persistent"] != "yes":
        raise Failure(
            f"domain '{name}' is transient, it has no configuration to change; add the lines that "
            "iommufd-rlimit(7) shows to the XML that it is created from"
        )
    return info


def configuration(name):
    # Without --security-info the passwords in it would be lost with the next define.
    return virsh("dumpxml", "--inactive", "--security-info", name)


# --- The XML. It stays as it is to the byte, but for what has to change.


class Element:
    """Where in the text an element is: its start and end, and the start of its end tag."""

    def __init__(self, path, attributes, start):
        self.path, self.attributes, self.start = path, attributes, start
        self.end_tag = self.end = None


DOMAIN = ("domain",)
COMMANDLINE = (*DOMAIN, f"{QEMU} commandline")
VARIABLE = (*COMMANDLINE, f"{QEMU} env")


def elements(xml, path):
    """The elements of this path; it may end in None, for any."""
    parser = expat.ParserCreate(namespace_separator=" ")
    found, ancestors, ended = [], [], []

    def event(*_):
        # The parser tells where a tag begins; it ends where the next event begins.
        while ended:
            ended.pop().end = parser.CurrentByteIndex

    def start(name, attributes):
        event()
        above = ancestors[-1].path if ancestors else ()
        ancestors.append(Element((*above, name), attributes, parser.CurrentByteIndex))
        found.append(ancestors[-1])

    def end(_):
        event()
        ended.append(ancestors.pop())
        ended[-1].end_tag = parser.CurrentByteIndex

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.DefaultHandler = event
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise Failure(f"this XML cannot be read: {error}")
    return [e for e in found if e.path == path or (*e.path[:-1], None) == path]


def environment(xml):
    """The variables that QEMU is started with; of two of one name the last counts."""
    return {e.attributes["name"]: e.attributes.get("value", "") for e in elements(xml, VARIABLE)}


def insert(xml, at, text):
    return xml[:at] + text.encode() + xml[at:]


def remove(xml, element):
    """Without the element and the white space before it."""
    return xml[: element.start].rstrip() + xml[element.end :]


def set_variable(xml, name, value):
    quoted = escape(value, {"'": "&apos;"})
    variable = f"<qemu:env name='{name}' value='{quoted}'/>"
    present = [e for e in elements(xml, VARIABLE) if e.attributes["name"] == name]
    commandline = elements(xml, COMMANDLINE)
    if present:
        return insert(xml[: present[-1].start] + xml[present[-1].end :], present[-1].start, variable)
    if commandline:
        return insert(xml, commandline[0].end_tag, f"  {variable}\n  ")
    return insert(
        xml,
        elements(xml, DOMAIN)[0].end_tag,
        f"  <qemu:commandline xmlns:qemu='{QEMU}'>\n    {variable}\n  </qemu:commandline>\n",
    )


def remove_variable(xml, name):
    for variable in reversed(elements(xml, VARIABLE)):
        if variable.attributes["name"] == name:
            xml = remove(xml, variable)
    if not elements(xml, (*COMMANDLINE, None)):
        for commandline in elements(xml, COMMANDLINE):
            xml = remove(xml, commandline)
    return xml


# --- The shim's two variables


def preloads(value):
    """The libraries in a value of LD_PRELOAD: the shim's and the others."""
    names = list(filter(None, re.split("[ :]+", value)))
    ours = [name for name in names if os.path.basename(name).startswith("libiommufd-rlimit")]
    return ours, [name for name in names if name not in ours]


def is_enabled(xml):
    variables = environment(xml)
    ours, _ = preloads(variables.get("LD_PRELOAD", ""))
    return bool(ours) and variables.get("IOMMUFD_RLIMIT_MODE") == "process"


def enable(xml):
    ours, others = preloads(environment(xml).get("LD_PRELOAD", ""))
    if not ours:
        xml = set_variable(xml, "LD_PRELOAD", ":".join([LIBRARY, *others]))
    return set_variable(xml, "IOMMUFD_RLIMIT_MODE", "process")


def disable(xml):
    ours, others = preloads(environment(xml).get("LD_PRELOAD", ""))
    if ours and others:
        xml = set_variable(xml, "LD_PRELOAD", ":".join(others))
    elif ours:
        xml = remove_variable(xml, "LD_PRELOAD")
    return remove_variable(xml, "IOMMUFD_RLIMIT_MODE")


# --- Commands


def back_up(name, xml):
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    directory = Path(state) / "iommufd-rlimit"
    directory.mkdir(parents=True, exist_ok=True)
    # For the owner's eyes only: it may have passwords in it.
    descriptor, path = tempfile.mkstemp(".xml", time.strftime(f"{name}.%Y%m%d-"), directory)
    with open(descriptor, "wb") as file:
        file.write(xml)
    return path


def show_difference(name, before, after):
    lines = [text.decode(errors="replace").splitlines(keepends=True) for text in (before, after)]
    sys.stdout.writelines(difflib.unified_diff(*lines, f"{name} (now)", f"{name} (then)", n=2))


def change(name, edit, word, dry_run):
    info = persistent_domain(name)
    before = configuration(name)
    domain = elements(before, DOMAIN)
    if not domain or domain[0].attributes.get("type") not in ("kvm", "qemu"):
        raise Failure(f"domain '{name}' is not run by QEMU")
    after = edit(before)
    if after == before:
        print(f"{name}: {word} already")
        return 0
    if dry_run:
        show_difference(name, before, after)
        return 0
    backup = back_up(info["Name"], before)
    with tempfile.NamedTemporaryFile(suffix=".xml") as file:
        file.write(after)
        file.flush()
        virsh("define", file.name)
    if environment(configuration(name)) != environment(after):
        raise Failure(f"libvirt did not take the change; the XML as it was: {backup}")
    print(f"{name}: {word} from its next start on; undo: virsh define {backup}")
    if info.get("Managed save") == "yes":
        print(f"{name}: its saved state still has the old settings; start it and shut it down")
    elif info["State"] != "shut off":
        print(f"{name}: runs as before until it is shut down and started; a reboot is not enough")
    return 0


def status(name):
    info = persistent_domain(name)
    now = is_enabled(configuration(name))
    print(f"{name}: {'enabled' if now else 'disabled'}")
    if info["State"] != "shut off" and is_enabled(virsh("dumpxml", name)) != now:
        print(f"{name}: runs {'without' if now else 'with'} it until it is shut down and started")
    return 0 if now else 1
