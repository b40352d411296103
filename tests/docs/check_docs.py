# SPDX-License-Identifier: Apache-2.0
"""The documentation says what the program does: flags, keys, reasons and numbers are where they should be, links lead somewhere."""

import functools
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import vmmtest

TOP = pathlib.Path(vmmtest.TOP)
REFERENCE = TOP / "docs/reference"
MAN = TOP / "docs/man"
CONTRIBUTING_LINES = 120  # two pages
MULTIPLES = {"KIB": 10, "MIB": 20, "GIB": 30}


def read(path):
    return path.read_text(encoding="utf-8")


def vmm(*words, stdin=None):
    run = subprocess.run([vmmtest.VMM, *words], input=stdin, check=False, capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def output(*words):
    code, text = vmm(*words)
    assert code == 0, text
    return text


def markdown_files():
    """All pages of the source tree; build directories and hidden ones are none of it."""
    for directory, names, files in os.walk(TOP):
        names[:] = [n for n in names if not n.startswith((".", "build", "b-")) and n != "subprojects"]
        for name in files:
            if name.endswith(".md"):
                yield pathlib.Path(directory) / name


def slug(heading):
    """The anchor that a heading gets: lower case, no punctuation, dashes for blanks."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def anchors(path):
    return {slug(m.group(1)) for m in re.finditer(r"^#+ +(.*)$", without_code(read(path)), re.M)}


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def schema_keys(schema, prefix=""):
    """Dotted names of all properties, however deep."""
    for name, sub in schema.get("properties", {}).items():
        yield prefix + name
        yield from schema_keys(sub, prefix + name + ".")
        yield from schema_keys(sub.get("items", {}), prefix + name + "[].")


def keys_of(value, prefix=""):
    if isinstance(value, dict):
        for name, sub in value.items():
            yield prefix + name
            yield from keys_of(sub, prefix + name + ".")


class Reference(unittest.TestCase):
    def missing(self, page, words):
        text = read(REFERENCE / page)
        words = sorted(set(words))
        self.assertTrue(words, "nothing was found that could be looked up")
        self.assertEqual([w for w in words if "`%s`" % w not in text], [], "not in docs/reference/" + page)

    def test_cli_has_every_flag_of_help(self):
        self.missing("cli.md", re.findall(r"(?<![\w-])--?[a-z][a-z-]*", self.flags_column()))

    @staticmethod
    def flags_column():
        """What --help shows left of the texts: lines that begin with a flag, up to the first wide gap."""
        lines = re.findall(r"^ {2,6}(-.*)$", output("run", "--help"), re.M)
        return "\n".join(re.split(r" {2,}", line)[0].split("=")[0] for line in lines)

    def test_cli_has_every_key_of_a_flag(self):
        keys = re.findall(r"^ {8}([a-z_]+)=", output("run", "--help"), re.M)
        text = read(REFERENCE / "cli.md")
        self.assertTrue(keys)
        self.assertEqual([k for k in keys if not re.search(r",%s=`" % k, text)], [])

    def test_cli_has_every_command(self):
        commands = re.findall(r"^  ([a-z-]+) +", output("--help"), re.M)
        text = read(REFERENCE / "cli.md")
        self.assertIn("run", commands)
        self.assertEqual([c for c in commands if "    vmm %s " % c not in text], [])
        words = re.findall(r"^  ([a-z-]+) ", output("config", "--help"), re.M)
        self.assertEqual([w for w in words if "`vmm config %s" % w not in text], [])

    def test_configuration_has_every_key_of_the_schema(self):
        self.missing("configuration.md", schema_keys(json.loads(output("config", "schema"))))

    def test_exit_codes_has_every_reason(self):
        self.missing("exit-codes.md", re.findall(r'\[END_\w+\] = "(\w+)"', read(TOP / "src/machine/outcome.c")))

    def test_exit_codes_has_every_fixed_code(self):
        codes = re.findall(r"\bEXIT_\w+ = (\d+)", read(TOP / "src/machine/outcome.h"))
        self.assertEqual(len(codes), 3)
        for code in codes:
            self.assertRegex(read(REFERENCE / "exit-codes.md"), r"\| %s \|" % code)

    def test_result_has_every_key_of_a_real_result(self):
        vmmtest.need_kvm()
        run = vmmtest.run_guest("hello", "code=3")
        self.assertEqual(run.rc, 3, str(run))
        keys = [k for k in keys_of(run.result) if not k.startswith("exits.")]
        self.missing("result.md", keys + list(run.result["exits"]))

    def test_result_has_every_exit_name(self):
        names = re.findall(r'\[KVM_EXIT_\w+\] = "(\w+)"', read(TOP / "src/kvm/vcpu.c"))
        self.missing("result.md", names)

    def test_machine_has_every_number_of_the_layout(self):
        text = read(REFERENCE / "machine.md")
        layout = re.sub(r"/\*.*?\*/", "", read(TOP / "src/machine/layout.h"), flags=re.S)
        rows = re.findall(r"\b(LAYOUT_\w+)(?: =)?\s+((?:UINT64_C\()?0x[0-9a-f]+|\d+|[KMG]IB\(\d+\))", layout)
        self.assertGreater(len(rows), 15)
        absent = [(name, value) for name, value in rows if not self.number_is_in(text, name, value)]
        self.assertEqual(absent, [])

    @staticmethod
    def number_is_in(text, name, value):
        multiple = re.match(r"([KMG]IB)\((\d+)\)", value)
        if multiple:
            number = int(multiple.group(2)) << MULTIPLES[multiple.group(1)]
            words = ["%s %s" % (multiple.group(2), multiple.group(1).replace("IB", "iB")), "%#x" % number]
            return any(w in text for w in words)
        if "_GSI_" in name:
            return re.search(r"^\| %d \|" % int(value), text, re.M) is not None
        if value.isdigit():
            return re.search(r"\b%s\b" % value, text) is not None
        return re.search(r"%s\b" % re.search("0x[0-9a-f]+", value).group(0), text) is not None

    def test_machine_has_every_window_and_port_of_the_boot_layout(self):
        layout = read(TOP / "src/boot/x86/layout.h")
        text = read(REFERENCE / "machine.md")
        for name in ("LOW_GDT", "LOW_ZERO_PAGE", "LOW_START_INFO", "LOW_PAGE_TABLES", "LOW_CMDLINE", "BIOS_START",
                     "SMBIOS_START", "HIGH_RAM_START"):
            value = re.search(r"\b%s = (0x[0-9a-f]+)" % name, layout).group(1)
            self.assertRegex(text, r"%s\b" % value, name)

    def test_firmware_guests_has_every_guest_and_way(self):
        text = read(REFERENCE / "firmware-guests.md")
        names = re.search(r"foreach name : \[([^\]]*)\]", read(TOP / "firmware/meson.build")).group(1)
        ways = re.findall(r'^\t\{"([a-z0-9-]+)", way', read(TOP / "firmware/exit.c"), re.M)
        self.assertGreater(len(ways), 15)
        for word in [n + ".elf" for n in re.findall(r"'(\w+)'", names)] + ways:
            self.assertIn("`%s`" % word, text)


class Pages(unittest.TestCase):
    def test_every_relative_link_leads_somewhere(self):
        dead = []
        for page in markdown_files():
            for target in re.findall(r"\]\(([^)\s]+)\)", without_code(read(page))):
                if re.match(r"[a-z]+:", target):
                    continue
                path, _, anchor = target.partition("#")
                file = (page.parent / path).resolve() if path else page
                if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
                    dead.append("%s: %s" % (page.relative_to(TOP), target))
        self.assertEqual(dead, [])

    def test_every_page_of_docs_is_reached_from_the_index(self):
        seen, queue = set(), [TOP / "docs/README.md"]
        while queue:
            page = queue.pop()
            if page in seen or page.suffix != ".md" or not page.exists():
                continue
            seen.add(page)
            queue += [(page.parent / t.partition("#")[0]).resolve()
                      for t in re.findall(r"\]\(([^)\s:]+)\)", read(page)) if t.partition("#")[0]]
        pages = {p for p in markdown_files() if TOP / "docs" in p.parents}
        self.assertEqual(sorted(str(p.relative_to(TOP)) for p in pages - seen), [])

    def test_configurations_shown_are_good_ones(self):
        checked = 0
        for page in markdown_files():
            for block in re.findall(r"^```json\n(.*?)^```", read(page), re.M | re.S):
                if '"kernel"' not in block:
                    continue
                with self.subTest(page=str(page.relative_to(TOP))):
                    code, text = vmm("config", "check", "-", stdin=block)
                    self.assertEqual(code, 0, text)
                checked += 1
        self.assertGreater(checked, 0)

    def test_every_file_begins_with_its_licence(self):
        without = [str(p.relative_to(TOP)) for p in markdown_files() if not read(p).startswith("<!-- SPDX-")]
        self.assertEqual(without, [])

    def test_readme_has_the_two_commands_and_they_are_programs(self):
        for command in ("./tools/quickstart", "./tools/test"):
            self.assertIn(command, read(TOP / "README.md"))
            self.assertTrue(os.access(TOP / command, os.X_OK), command)

    def test_contributing_fits_two_pages(self):
        self.assertLessEqual(len(read(TOP / "CONTRIBUTING.md").splitlines()), CONTRIBUTING_LINES)

    def test_contributing_and_house_have_the_rank_table_of_check_layers(self):
        table = re.search(r"^RANK = \{(.*?)\}", read(TOP / "tools/check-layers"), re.M | re.S).group(1)
        ranks = {room: int(rank) for room, rank in re.findall(r"'(\w+)': (\d+)", table)}
        self.assertGreater(len(ranks), 10)
        for page in (TOP / "CONTRIBUTING.md", TOP / "docs/explanation/house.md"):
            told = {}
            for rank, rooms in re.findall(r"^\| (\d) \| ([^|]*)", read(page), re.M):
                told.update((room, int(rank)) for room in re.findall(r"`?(\w+)/", rooms))
            self.assertEqual(told, ranks, page.name)


class ManPage(unittest.TestCase):
    @functools.cached_property
    def page(self):
        with tempfile.TemporaryDirectory() as d:
            out = os.path.join(d, "vmm.1")
            with open(out, "w", encoding="utf-8") as f:
                subprocess.run([MAN / "fill-man", MAN / "vmm.1.in", vmmtest.VMM, "0"], check=True, stdout=f)
            return read(pathlib.Path(out))

    def test_has_every_flag(self):
        text = re.sub(r"\\f.", "", self.page).replace("\\-", "-")
        flags = re.findall(r"--[a-z-]+", Reference.flags_column())
        self.assertEqual([f for f in flags if f not in text], [])

    def test_has_every_fixed_exit_code(self):
        for code in ("124", "125", "255"):
            self.assertIn("\n.B %s\n" % code, self.page)


if __name__ == "__main__":
    vmmtest.main()
