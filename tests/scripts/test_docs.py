#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright (C) 2026 the iommufd-rlimit-shim developers
"""The documentation: manual pages that are clean and complete, examples that a test runs, and names of things that exist."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
PAGES = sorted((TOP / "docs").glob("*.[1-8]"))
README = TOP / "README.md"
MARKDOWN = [README, TOP / "CONTRIBUTING.md", TOP / "NEWS.md", *sorted((TOP / "docs").glob("*.md"))]
SCENARIOS = TOP / "tests/vm/scenarios"
DOCUMENTED = TOP / "tests/vm/guest/documented"

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


# File, figure, source, pattern.
FIGURES = (
    ("docs/iommufd-rlimit.7", "at most two seconds", "shim/library/helper_client.h", r"TIMEOUT_MS 2000\b"),
    ("docs/theory-of-operation.md", "One deadline of two seconds", "shim/library/helper_client.h", r"TIMEOUT_MS 2000\b"),
    ("docs/theory-of-operation.md", "data on 64 connections", "shim/helper/helper.c", r"KEPT_MAX = 64\b"),
    ("docs/theory-of-operation.md", "16,384 such connections", "scripts/host/systemd/iommufd-rlimit-helper.service.in", r"TasksMax=256\nLimitNOFILE=20480\b"),
    ("docs/iommufd-rlimit-helper.8", "64 at a time", "shim/helper/helper.c", r"KEPT_MAX = 64\b"),
    ("docs/iommufd-rlimit-helper.8", "with mode 0660", "scripts/host/systemd/iommufd-rlimit-helper.socket.in", r"SocketMode=0660\b"),
    ("docs/iommufd-rlimit.7", "created with mode 0640", "shim/library/sink.c", r"S_IRUSR \| S_IWUSR \| S_IRGRP\b"),
    ("docs/iommufd-rlimit-libvirt.1", "1/128 of the guest's memory", "scripts/commands/iommufd_rlimit/domain_xml.py", r"PAGE_TABLES = 128\b"),
    ("README.md", "meson 0.63", "meson.build", r"meson_version: '>= 0\.63'"),
)


def is_command(file, line):
    """A command at the left margin of an example."""
    return bool(re.match(r"\s{4,}[#$] \S" if file.suffix == ".md" else r"(\.Dl )?[#$] \S", line))


def is_in_example(file, line):
    """The line before a command belongs to the same example."""
    return bool(re.match(r"\s{4,}\S" if file.suffix == ".md" else r"[^.]", line))


def example(name, file):
    """The commands of the example of this name, as tests/vm runs them."""
    done = subprocess.run([DOCUMENTED, "commands", name, file], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


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

    @unittest.skipUnless(shutil.which("lexgrog"), "no lexgrog")
    def test_whatis(self):
        for page in PAGES:
            done = subprocess.run(["lexgrog", page], capture_output=True, text=True, timeout=60)
            self.assertRegex(done.stdout, rf'"{re.escape(page.stem)} - \w', page.name)

    def test_sections(self):
        """Those of man-pages(7); mandoc holds them to the order of mdoc(7)."""
        for page in PAGES:
            sections = re.findall(r"^\.Sh (.*)$", page.read_text(), re.M)
            wanted = {"NAME", "DESCRIPTION", "EXAMPLES", "SEE ALSO"}
            if page.suffix != ".7":
                wanted |= {"SYNOPSIS", "OPTIONS", "EXIT STATUS"}
            self.assertLessEqual(wanted, set(sections), page.name)

    # --- examples

    def test_each_example_has_a_mark(self):
        """The mark is the line before: a comment in Markdown, the line before .Bd or .Dl in a manual page."""
        for file in [*MARKDOWN, *PAGES]:
            lines = [line for line in file.read_text().splitlines() if line.strip()]
            for number, line in enumerate(lines):
                if not is_command(file, line) or is_in_example(file, lines[number - 1]):
                    continue
                is_literal = file.suffix != ".md" and not line.startswith(".Dl")  # after a .Bd
                before = lines[number - (2 if is_literal else 1)]
                self.assertRegex(before, r"test: \S+|<!-- scenario -->", f"{file.name}: {line}")

    def test_each_mark_has_a_test(self):
        """One in tests/vm, in the test of the packages, or in this file; "none:" has a reason."""
        tests = [*SCENARIOS.glob("*/*"), TOP / "scripts/packaging/debian/tests/installed", Path(__file__)]
        text = "\n".join(test.read_text() for test in tests if test.is_file())
        run = set(re.findall(r"(?:documented|as_shown|by_binder|test:) ([\w-]+)", text))
        for file in [*MARKDOWN, *PAGES]:
            for mark in re.findall(r'^(?:\s*<!-- |\.\\" )test: (.*?)(?: -->)?$', file.read_text(), re.M):
                if not re.match(r"none: \w", mark):
                    self.assertIn(mark, run, file.name)

    def test_commands_of_the_readme_are_those_of_the_manual_page(self):
        self.assertEqual(example("domain", README), example("libvirt", PAGE))
        self.assertEqual(len(example("domain", README)), 3)

    def test_build(self):
        """documented build, but for the destination."""
        commands = example("build", README)
        self.assertEqual(len(commands), 3)
        with tempfile.TemporaryDirectory() as scratch:
            for command in commands:
                words = [f"{scratch}/build" if word == "build" else word for word in shlex.split(command)]
                if "setup" in words:
                    words += ["-Dtests=disabled", "-Dfuzz=disabled"]
                done = subprocess.run(
                    words,
                    cwd=TOP,
                    env={**os.environ, "DESTDIR": f"{scratch}/root"},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    timeout=100,
                )
                self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}")
            installed = {path.name for path in Path(scratch, "root/usr").rglob("*")}
        self.assertIn("libiommufd-rlimit.so", installed)
        # Each file of the installation that the documentation names.
        for file in [README, *PAGES]:
            for name in re.findall(r"/usr/[\w./-]*/([\w.-]*iommufd-rlimit[\w.-]*\w)", file.read_text()):
                self.assertIn(name, installed, file.name)

    def test_scenario_of_the_contributing_guide(self):
        """It has ten lines, and each word of it that is a function exists."""
        text = (TOP / "CONTRIBUTING.md").read_text()
        lines = re.search(r"<!-- scenario -->\n\n((?:    .*\n)+)", text)[1].splitlines()
        self.assertEqual(len(lines), 10)
        library = (TOP / "tests/vm/guest/lib.sh").read_text()
        for line in lines:
            if re.match(r"    [a-z_]+( |$)", line):
                self.assertRegex(library, rf"(?m)^{line.split()[0]}\(\) ", line)

    # --- names

    def test_each_link(self):
        for file in MARKDOWN:
            text = file.read_text()
            for link in re.findall(r"\]\(([^)]+)\)", text):
                path, _, anchor = link.partition("#")
                target = (file.parent / path).resolve() if path else file
                self.assertTrue(target.exists(), f"{file.name}: {link}")
                if anchor:
                    headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
                    self.assertIn(anchor, [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings], file.name)

    def test_each_path_of_the_tree(self):
        for file in MARKDOWN:
            for path in re.findall(r"(?<![\w/.-])(?:\./)?((?:docs|scripts|shim|tests)/[\w./-]*\w)", file.read_text()):
                if path != "tests/vm/scenarios/qemu/three.sh":
                    self.assertTrue((TOP / path).exists(), f"{file.name}: {path}")

    def test_each_path_of_a_host(self):
        """Those of this project, which the code has as well; a path of another project is not looked up."""
        code = [*(TOP / "scripts").rglob("*"), *(TOP / "shim").rglob("*")]
        text = "\n".join(path.read_text(errors="replace") for path in code if path.is_file())
        for name, value in (('RUNSTATEDIR "', "/run"), ("{host.ETC}", "/etc"), ("{host.RUN}", "/run")):
            text = text.replace(name, value)
        for file in [*MARKDOWN, *PAGES]:
            for path in re.findall(r"(?<![\w.])/(?:dev|etc|run|usr|var)/[\w./-]*\w", file.read_text()):
                # What the installation has is in test_build; a drop-in is the reader's own.
                if "iommufd-rlimit" in path and not re.match(r"/usr/|/etc/systemd/", path):
                    self.assertIn(path.replace("/manifest.json", ""), text, file.name)

    def test_each_option_in_a_command(self):
        """Of a program of this project, by its --help."""
        helps = {}
        for program in ("bench", "check", "demo", "iommufd-rlimit-doctor", "iommufd-rlimit-libvirt", "qemu-iommufd-rlimit"):
            (helps[program],) = (TOP / "scripts").rglob(program)
        helps.update({"tests/vm/run": TOP / "tests/vm/run"})
        seen = set()
        for name, program in helps.items():
            commands = [[program, "--help"]]
            if name == "iommufd-rlimit-libvirt":
                commands += [[program, "enable", "--help"], [program, "disable", "--help"]]
            known = "--help"
            for command in commands:
                known += subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
            for file in [*MARKDOWN, *PAGES]:
                for words in re.findall(rf"(?:^|[/`#$] ?|scripts/){re.escape(name)}((?: [^`|#<>\n]*)?)", file.read_text(), re.M):
                    words = words.partition(" qemu-system")[0]
                    for option in re.findall(r"(?<= )--[a-z][a-z-]*", words):
                        self.assertIn(option, known, f"{file.name}: {name}{words}")
                        seen.add(option)
        self.assertGreater(len(seen), 8)

    def test_each_variable(self):
        source = (TOP / "shim/library/config.c").read_text()
        for file in [*MARKDOWN, *PAGES]:
            for name in re.findall(r"\bIOMMUFD_RLIMIT_[A-Z_]+\b", file.read_text()):
                self.assertIn(f'"{name}"', source, file.name)

    def test_support_matrix(self):
        """A row that says "seen" names a machine of tests/vm; tests/vm/support compares the row with the results."""
        text = README.read_text().split("## Where it works\n")[1].split("\n## ")[0]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
        states = {row[-2] for row in rows[1:]}
        self.assertEqual(states, {"seen", "built", "not tried"})
        for row in rows[1:]:
            state, test = row[-2:]
            if state == "seen":
                group, suite, *policy = test.split("-")
                self.assertTrue((SCENARIOS / group).is_dir(), test)
                if suite == "aarch64":
                    self.assertTrue((SCENARIOS.parent / "machines" / test.partition("-")[2]).is_dir(), test)
                    continue
                suites = SCENARIOS / group / "suites"
                known = suites.read_text().split() if suites.exists() else ["trixie"]
                self.assertIn(suite, known, test)
                if policy:
                    self.assertIn(*policy, (SCENARIOS / group / "policies").read_text().split(), test)
            elif state == "not tried":
                self.assertEqual(test, "")

    def test_figures(self):
        """A figure in the documentation, and its place in the code."""
        for file, figure, source, pattern in FIGURES:
            with self.subTest(file, figure=figure):
                self.assertIn(figure, " ".join((TOP / file).read_text().split()))
                self.assertRegex((TOP / source).read_text(), pattern)

    def test_columns_of_the_figures_of_the_benchmark(self):
        headings = re.findall(r"table '([^']+)'", (TOP / "scripts/bench").read_text())
        page = (TOP / "docs/benchmarks.md").read_text()
        self.assertEqual(len(headings), 3)
        for heading in headings:
            self.assertRegex(page, r"\s+".join(map(re.escape, heading.split("\t"))))

    # --- what the code has

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

    def test_every_errno_of_the_kernel(self):
        """Those that have an outcome of their own, and EIO, which the library itself gives."""
        source = (TOP / "shim/library/outcome.c").read_text()
        cases = re.findall(r"((?:\tcase E\w+:\n)+)\t\treturn OUTCOME_(\w+);", source)
        self.assertGreater(len(cases), 3)
        text = PAGE.read_text()
        listed = text[text.index(".Sh DIAGNOSTICS") : text.index(".It Cm open\nThe helper was not asked")]
        for names, outcome in [*cases, ("case EIO:", "FAILED")]:
            for name in re.findall(r"E[A-Z]+", names):
                self.assertRegex(listed, rf"\.It Er {name}\nOutcome\n\.Cm {outcome.lower()} ")

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
        listed = header[header.index("The errno value of the result, by step:") : header.index("Blocks no longer")]
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
        names = re.findall(r'"(\w+)": \w+\.check_', (TOP / "scripts/commands/iommufd_rlimit/checks/__init__.py").read_text())
        self.assertGreater(len(names), 10)
        self.assertLessEqual(set(names), words(TOP / "docs/iommufd-rlimit-doctor.1", "Cm"))

    def test_every_option(self):
        for script in (TOP / "scripts/commands").glob("iommufd-rlimit-*"):
            page = (TOP / f"docs/{script.name}.1").read_text()
            for option in re.findall(r'add_argument\("-(-\w+(?:-\w+)*)"', script.read_text()):
                self.assertIn(f"Fl {option}", page)


if __name__ == "__main__":
    unittest.main()
