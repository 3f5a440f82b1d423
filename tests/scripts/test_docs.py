#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The manual pages: clean, and complete where they list what the code has."""

import re
import shutil
import subprocess
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
PAGES = sorted((TOP / "docs").glob("*.[1-8]"))


PAGE = TOP / "docs/iommufd-rlimit.7"
THEORY = TOP / "docs/theory-of-operation.md"


def words(page, macro):
    """All that the page marks up as this: environment variables (Ev), fixed words (Cm)."""
    return set(re.findall(rf"^\.(?:It )?{macro} (\S+)", page.read_text(), re.M))


def readme_row(word):
    """The cells of the one row of README's tables that begins with the word, after it; the order of columns does not matter."""
    rows = re.findall(rf"^\| *`{word}` *\|(.*)\|$", (TOP / "README.md").read_text(), re.M)
    return [cell.strip() for cell in rows[0].split("|")] if len(rows) == 1 else rows


def settings():
    """The words of each variable, and those that config_parse() begins with."""
    source = (TOP / "shim/library/config.c").read_text()
    table = source[source.index("variables[CONFIG_VARIABLES]") : source.index("};\n")]
    names = dict(re.findall(r'\[(\w+)\] = "(\w+)"', table))
    set_first = re.findall(r"config->\w+ = (\w+);", source[source.index("void config_parse(") :])
    defaults = {names[value] for value in set_first if value in names}
    found = {}
    for name, text in re.findall(r'"(IOMMUFD_RLIMIT_\w+)",(.*?)\},\n\t', table + "\n\t", re.S):
        found[name] = set(re.findall(r'(?:= |\{ )"(\w+)"', text))
    return found, defaults | {"off"}  # MODE_OFF comes from meson


def diagnostics():
    """What DIAGNOSTICS says, by helper_step: the text, and the errno values that it names."""
    text = PAGE.read_text()
    section = text[text.index(".Sh DIAGNOSTICS") : text.index(".Sh SECURITY")]
    steps = re.split(r"^\.It Cm (\w+)$", section, flags=re.M)[1:]
    return {
        step: (text, set(re.findall(r"\bE[A-Z]+\b", " ".join(re.findall(r"^\.It Er (.*)$", text, re.M)))))
        for step, text in zip(steps[::2], steps[1::2])
    }


class DocsTest(unittest.TestCase):
    @unittest.skipUnless(shutil.which("mandoc"), "no mandoc")
    def test_lint(self):
        done = subprocess.run(["mandoc", "-T", "lint", *PAGES], capture_output=True, text=True, timeout=60)
        # What is installed on this machine does not matter.
        said = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
        self.assertEqual(said, [])

    def test_every_reference_to_a_page_of_ours_has_one(self):
        ours = {page.name for page in PAGES}
        for page in PAGES:
            for name, section in re.findall(r"^\.Xr (\S*iommufd-rlimit\S*) (\d)", page.read_text(), re.M):
                self.assertIn(f"{name}.{section}", ours, page.name)

    def test_commands_of_the_readme_are_those_that_are_run(self):
        """The scenarios in tests/vm run what follows a mark in the page; the README shows the same."""
        page = (TOP / "docs/iommufd-rlimit.7").read_text()
        readme = (TOP / "README.md").read_text().splitlines()
        (block,) = re.findall(r'^\.\\" test: libvirt\n(.*?)^\.Ed', page, re.M | re.S)
        commands = re.findall(r"^# (.*)$", block, re.M)
        self.assertEqual(len(commands), 3)
        for command in commands:
            self.assertIn(f"    {command}", readme)

    def test_every_setting(self):
        found, defaults = settings()
        self.assertEqual(len(found), 5)
        for name, accepted in found.items():
            self.assertIn(name, words(PAGE, "Ev"))
            self.assertLessEqual(accepted, words(PAGE, "Cm"))
            cells = [set(re.findall(r"`(\w+)`", cell)) for cell in readme_row(name)]
            self.assertIn(accepted, cells, f"README has other values of {name}")
            others = set().union(*(cell for cell in cells if cell != accepted))
            self.assertLessEqual(accepted & defaults, others, f"README has another default of {name}")

    def test_every_outcome(self):
        """In README's table as well, with what becomes of the open under the policy auto."""
        outcomes = re.findall(
            r'\[OUTCOME_\w+\] = \{ "(\w+)", \w+, \{ (\d)', (TOP / "shim/library/outcome.c").read_text()
        )
        self.assertEqual(len(outcomes), 8)
        for name, fails in outcomes:
            self.assertIn(name, words(PAGE, "Cm"))
            opens = [cell for cell in readme_row(name) if re.match("succeeds|fails", cell)]
            self.assertEqual(len(opens), 1, f"README has no one cell on the open for {name}")
            self.assertEqual(opens[0].startswith("fails"), fails == "1", name)

    def test_every_helper_step(self):
        source = (TOP / "shim/library/helper_client.c").read_text()
        names = set(re.findall(r'\[HELPER_\w+\] = "(\w+)"', source))
        self.assertEqual(len(names), 7)
        self.assertEqual(names, set(diagnostics()))

    def test_every_errno_of_the_helper_client(self):
        """Those that have a hint of their own, and those that the header of the client lists."""
        hints = re.findall(r"\{ HELPER_(\w+), (E\w+|0),\s+\"([^\"]*)\"", (TOP / "shim/library/hint.c").read_text())
        self.assertGreater(len(hints), 10)
        named = [(step.lower(), error) for step, error, _ in hints if error != "0"]

        header = (TOP / "shim/library/helper_client.h").read_text()
        listed = header[header.index("The errno value of the result, by step:") : header.index("Never blocks longer")]
        for step, text in re.findall(r"HELPER_([A-Z]+) +(.*?)(?= \* +HELPER_[A-Z]+ |\Z)", listed, re.S):
            named += [(step.lower(), error) for error in re.findall(r"\bE[A-Z]{3,}\b", text)]
        self.assertGreater(len(named), len(hints))

        page = diagnostics()
        for step, error in named:
            self.assertIn(error, page[step][1], step)
        for step, _, hint in hints:
            for command in re.findall(r"run: (.*)", hint):
                self.assertIn(f".Ql {command}", page[step.lower()][0])

    def test_every_outcome_and_exit_status_of_the_helper(self):
        source = (TOP / "shim/helper/helper.c").read_text()
        outcomes = set(re.findall(r'log_peer\(LOG_LEVEL_\w+, "(\w+)"', source))
        self.assertEqual(len(outcomes), 4)
        page = TOP / "docs/iommufd-rlimit-helper.8"
        self.assertLessEqual(outcomes, words(page, "Cm"))
        self.assertEqual(re.search(r"EXIT_USAGE = (\d)", source)[1], "2")
        statuses = re.search(r"^\.Sh EXIT STATUS$(.*?)^\.Sh", page.read_text(), re.M | re.S)[1]
        self.assertEqual(re.findall(r"^\.It (\d)$", statuses, re.M), ["0", "1", "2"])

    def test_each_file_and_function_of_the_theory_of_operation(self):
        """`function()` in `file` of ours; and of the kernel `file`, `function()`, which is not looked up."""
        text = " ".join(THEORY.read_text().split())
        files = re.findall(r"`((?:docs|scripts|shim|tests)/[^` ]+)`", text)
        self.assertGreater(len(set(files)), 10)
        for file in files:
            self.assertTrue((TOP / file).is_file(), file)

        seen = set()
        names = r"`\w+(?:\(\))?`"
        for functions, file in re.findall(rf"({names}(?:(?:, | and ){names})*) in `(shim/\w+/\w+\.[ch])`", text):
            for name in re.findall(r"`(\w+(?:\(\))?)`", functions):
                # A definition at the left margin, be it of a function or of a table.
                definition = rf"^\w.*\b{re.escape(name.removesuffix('()'))}" + (r"\(" if name.endswith("()") else r"\b")
                self.assertTrue(re.search(definition, (TOP / file).read_text(), re.M), f"{name} in {file}")
                seen.add(name)
        self.assertGreater(len(seen), 15)

        kernel = set()
        for functions in re.findall(rf"`(?:drivers|net)/[^`]+`, ({names}(?:, {names})*)", text):
            kernel.update(re.findall(r"`(\w+\(\))`", functions))
        # Each function is named with its file at least once.
        self.assertEqual(set(re.findall(r"`(\w+\(\))`", text)) - seen - kernel, set())

    def test_every_check_of_the_doctor(self):
        names = re.findall(r'"(\w+)": \w+\.check_', (TOP / "scripts/iommufd_rlimit/checks/__init__.py").read_text())
        self.assertGreater(len(names), 10)
        self.assertLessEqual(set(names), words(TOP / "docs/iommufd-rlimit-doctor.1", "Cm"))

    def test_every_option(self):
        for script in (TOP / "scripts").glob("iommufd-rlimit-*"):
            page = (TOP / f"docs/{script.name}.1").read_text()
            for option in re.findall(r'add_argument\("-(-\w+(?:-\w+)*)"', script.read_text()):
                self.assertIn(f"Fl {option}", page)


if __name__ == "__main__":
    unittest.main()
