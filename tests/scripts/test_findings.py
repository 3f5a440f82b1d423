#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""Each problem and warning of iommufd-rlimit-doctor is provoked in a virtual machine, and each fix that it prints is run there,
but for those in the lists below, which have a reason. Reads the source of the checks and of the scenarios; runs nothing."""

import ast
import re
import shlex
import unittest
from difflib import SequenceMatcher
from itertools import product
from pathlib import Path
from typing import List, NamedTuple

TOP = Path(__file__).resolve().parent.parent.parent
COMMANDS = TOP / "scripts/commands/iommufd_rlimit"
SOURCES = [*(COMMANDS / "checks").glob("*.py"), COMMANDS / "target.py"]
SCENARIOS = sorted((TOP / "tests/vm/scenarios").glob("*/*.sh"))
HOLE = "\0"  # a part of a text that is known only when it runs

# A problem or warning, by words of its message, that no scenario provokes: the reason. test_doctor or test_selinux does.
NOT_PROVOKED = {
    "denied process": "the machine's systemd has a PID namespace, and the kernel logs process ids of outside",
    "--version fails": "QEMU of the machine can be run",
    "is 7.2, without iommufd": "the machine has one QEMU, of a later version",
    "ld.so does not say why": "ld.so of the machine does",
    "is statically linked": "the machine has no such QEMU; tests/preload/languages has a program",
    "takes no open() from libc": "the machine has no such QEMU; tests/preload/languages has a program",
    "but not a maxMemory of": "no domain of the machine may get more memory later",
    "-12 (Cannot allocate memory): the memory limit did": "QEMU then ends; of its log scenario documented has the state ok",
    "cannot set mode process: outcome=": "what else the kernel may answer, it answers no program that works",
}

# A fix that no scenario runs: the reason.
NOT_RUN = {
    "install -D -m 644 .* .*; virsh shutdown .*; until virsh start .*; do sleep 5; done": "as of that AppArmor denied",
    "boot a kernel with CONFIG_VFIO_DEVICE_CDEV": "the machine has one kernel",
    "boot Linux 6.6 or later with CONFIG_IOMMUFD": "the machine has one kernel",
    "boot one of 6.6 or later with CONFIG_VFIO_DEVICE_CDEV": "the machine has one kernel",
    "end process .* and start it again": "only who started it knows how; with 'virsh' in its place it is run",
    "install QEMU 9.0 or later": "the machine has no network",
    "install libiommufd-rlimit": "the machine has no network; scenario packages installs it",
    "install libiommufd-rlimit and iommufd-rlimit-helper of the same version": "the machine has one version",
    "install libiommufd-rlimit for QEMU's architecture": "the machine has one architecture",
    "log in again": "a scenario is not a login",
    "setsebool -P domain_fd_use 1": "with the boolean off D-Bus of the machine fails, and libvirt with it",
    "run QEMU as an unprivileged user: --user of qemu-iommufd-rlimit": "scenario qemu/launcher does",
    "run QEMU outside of it, or in a container without user namespaces": "all scenarios do",
    "run QEMU outside of the user namespace": "all scenarios do",
    "start QEMU with qemu-iommufd-rlimit": "scenario qemu/launcher does",
    "start it again with IOMMUFD_RLIMIT_MODE=process": "only who started it knows how",
    "start process .* again without .*": "only who started it knows how",
    "start the container with --device .*": "the machine has no containers",
    "take a build of .* that is dynamically linked and opens files through libc": "the machine has no other",
    "user .* cannot set mode process: outcome=.* .*": "a hint of the library: tests/unit/test_hint.c has all of them",
}


def alternatives(node, path, function):
    """The texts that an expression in this function of this file may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.FormattedValue):
        return alternatives(node.value, path, function)
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in product(*(alternatives(value, path, function) for value in node.values))]
    if isinstance(node, ast.IfExp):
        return alternatives(node.body, path, function) + alternatives(node.orelse, path, function)
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in alternatives(value, path, function) if text]
    if isinstance(node, ast.Name):
        assigned = [n for n in ast.walk(function) if isinstance(n, ast.Assign) and n.lineno < node.lineno]
        assigned = [n for n in assigned if getattr(n.targets[0], "id", "") == node.id]
        last = max(assigned, key=lambda n: n.lineno, default=None)
        return alternatives(last.value, path, function) if last else [HOLE]
    if isinstance(node, ast.Call):
        method = getattr(getattr(node.func, "value", None), "id", "") in ("self", "target")
        name = node.func.attr if method else getattr(node.func, "id", "")
        where = (COMMANDS / "target.py",) if method else (path, COMMANDS / "checks/finding.py")
        returns = [(value, p, f) for value, p, f in RETURNS if p in where and f.name == name]
        return [text for found in returns for text in alternatives(*found)] or [HOLE]
    return [HOLE]


FUNCTIONS = [(path, n) for path in SOURCES for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
RETURNS = [(n.value, path, f) for path, f in FUNCTIONS for n in ast.walk(f) if isinstance(n, ast.Return)]


def findings():
    """The messages, and the fixes, of all problems and warnings."""
    messages, fixes = set(), set()
    for path, function in FUNCTIONS:
        for node in ast.walk(function):
            if isinstance(node, ast.Tuple) and len(node.elts) == 3 and isinstance(node.elts[0], ast.Name):
                state, message, fix = node.elts
                if state.id in ("PROBLEM", "WARNING", "level"):
                    messages.update(alternatives(message, path, function))
                    for text in filter(None, alternatives(fix, path, function)):
                        # A fix that does not come from the doctor is known by its message.
                        fixes.update([text] if words(text) else alternatives(message, path, function))
    return messages, fixes


def words(text):
    """Of a text, or of a regular expression of a scenario, without what is known only when it runs."""
    known = re.sub(r"\0|\$\(.*?\)|\$\w+|\$\{.*?\}|\.\*|\[.*?\]\*?|\bweb1\b", " ", text)
    return re.findall(r"[\w/=-]+", known)


def common(one, other):
    return sum(block.size for block in SequenceMatcher(None, one, other, False).get_matching_blocks())


def is_message(message, asserted):
    """Whether the part of a message that a scenario looks for may be of this one."""
    one, other = words(message), words(asserted)
    return common(one, other) >= max(1, 0.8 * min(len(one), len(other)))


def is_fix(fix, asserted):
    """The same of a fix, which a scenario looks for as a whole."""
    one, other = words(fix), words(asserted)
    same = common(one, other)
    # Both begin with the command. What is known only when it runs stands for a word that is left.
    return one[:1] == other[:1] and same + min(fix.count(HOLE), len(other) - same) >= 0.8 * max(len(one), len(other))


class Provocation(NamedTuple):
    """A line of a scenario that says what the doctor finds."""

    line: str
    messages: List[str]
    fixes: List[str]
    is_mended: bool  # what the doctor says is to be done is done before something else is broken


def provocations():
    found = []
    for path in SCENARIOS:
        text = re.sub(r"\\\n\s*", "", path.read_text())
        for name, value in re.findall(r"^(\w+)='([^']*)'$", text, re.M):
            text = text.replace(f"${name}", value)
        lines = text.splitlines()
        for number, line in enumerate(lines):
            if not re.match(r"\s*(broken|doctor_says problem|doctor_says warning) ", line):
                continue
            said = shlex.split(line, comments=True)
            triples = said[1:] if said[0] == "broken" else [*said[2:], ""][:3]
            after = re.search(r"^\s*(mended|do_fixes|broken)\b", "\n".join(lines[number + 1 :]), re.M)
            is_mended = after is not None and after[1] != "broken"
            found.append(Provocation(f"{path.name}: {line}", triples[1::3], list(filter(None, triples[2::3])), is_mended))
    return found


class FindingsTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.messages, self.fixes = findings()
        self.provoked = provocations()

    def compare(self, found, is_same, asserted, exceptions):
        """Each is asserted, or is an exception; and there are no other exceptions."""
        self.assertGreater(len(found), 30)
        missing = [text for text in sorted(found) if not any(is_same(text, other) for other in asserted)]
        excepted = {text: [name for name in exceptions if is_same(text, name)] for text in missing}
        self.assertEqual([text for text, names in excepted.items() if not names], [])
        self.assertEqual(set(exceptions), {name for names in excepted.values() for name in names})

    def test_each_is_provoked(self):
        self.compare(self.messages, is_message, [text for one in self.provoked for text in one.messages], NOT_PROVOKED)
        natively = "".join((TOP / f"tests/scripts/test_{name}.py").read_text() for name in ("doctor", "selinux"))
        for message in NOT_PROVOKED:
            self.assertTrue(message in natively, message)

    def test_each_fix_is_run(self):
        self.compare(self.fixes, is_fix, [fix for one in self.provoked if one.is_mended for fix in one.fixes], NOT_RUN)
        for one in self.provoked:
            left = [fix for fix in one.fixes if not any(is_fix(name, fix) for name in NOT_RUN)]
            self.assertTrue(one.is_mended or not left, one.line)


if __name__ == "__main__":
    unittest.main()
