# SPDX-License-Identifier: Apache-2.0
"""The machine as a guest finds it: memory map, tables, processors, interrupts, PCI, serial port, clock."""

import re
import time

import vmmtest
from vmmtest import GuestTest, run_guest

MIB, GIB = 1 << 20, 1 << 30
HOLE, TOP32 = 3 * GIB, 4 * GIB
RAM = 1


class Memory(GuestTest):
    def memmap(self, size):
        run = self.check(run_guest("memmap", "", "-m", "%dM" % (size // MIB)), 0, "exit")
        entries = [tuple(int(n, 16) for n in m) for m in
                   re.findall(r"^memmap ([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+)$", run.text, re.M)]
        return run, entries

    def check_size(self, size):
        run, entries = self.memmap(size)
        ram = [(base, base + n) for base, n, kind in entries if kind == RAM]
        self.assertEqual([e[0] for e in entries], sorted(e[0] for e in entries), "entries in order")
        for base, end in ram:
            self.assertEqual((base % 4096, end % 4096), (0, 0), "RAM to the page")
            self.assertFalse(base < 0x100000 and end > 0xa0000, "no RAM in the legacy hole")
            self.assertFalse(base < TOP32 and end > HOLE, "no RAM in the 32-bit hole")
        low, high = min(size, HOLE), size - min(size, HOLE)
        self.assertEqual(sum(end - max(base, MIB) for base, end in ram if end > MIB and base < TOP32), low - MIB)
        self.assertEqual(sum(end - base for base, end in ram if base >= TOP32), high)
        self.assertGreaterEqual(sum(end - base for base, end in ram if end <= MIB), 0x9f000)
        if high:
            self.assertIn((TOP32, TOP32 + high), ram)
        return run, entries

    def test_sizes_around_the_hole(self):
        for size in (32 * MIB, 33 * MIB, 128 * MIB, 3 * GIB - MIB, 3 * GIB, 3 * GIB + MIB, 5 * GIB):
            with self.subTest(mib=size // MIB):
                self.check_size(size)

    def test_ecam_is_reserved(self):
        _, entries = self.check_size(128 * MIB)
        self.assertTrue(any(base == 0xe0000000 and n == MIB and kind == 2 for base, n, kind in entries),
                        entries)

    def test_tables_are_all_there(self):
        run, _ = self.check_size(128 * MIB)
        for name in ("FACP", "APIC", "MCFG", "DSDT"):
            self.assertRegex(run.text, r"(?m)^acpi %s \d+ ok$" % name)


class Processors(GuestTest):
    def cpuid(self, run):
        cpus, leaves = {}, {}
        for cpu, apic in re.findall(r"^cpu (\d+) apic (\d+)$", run.text, re.M):
            cpus[int(cpu)] = int(apic)
        for line in re.findall(r"^cpuid (\d+) (.*)$", run.text, re.M):
            words = [int(w, 16) for w in line[1].split()]
            leaves[int(line[0]), words[0], words[1]] = words[2:]
        return cpus, leaves

    def test_each_processor_starts_and_answers(self):
        for n in (1, 2, 4, 16):
            with self.subTest(cpus=n):
                run = self.check(run_guest("smp", "cpus=%d" % n, "-c", n), 0, "exit")
                self.assertIn("cpus listed %d started %d\nanswers %d\n" % (n, n, n - 1), run.text)

    def test_the_most_processors(self):
        run = self.check(run_guest("smp", "cpus=254", "-c", 254, timeout=180), 0, "exit")
        self.assertIn("cpus listed 254 started 254\n", run.text)

    def topology(self, sockets, cores, threads):
        n = sockets * cores * threads
        spec = "%d,sockets=%d,cores=%d,threads=%d" % (n, sockets, cores, threads)
        return n, self.cpuid(self.check(run_guest("cpuid", "", "-c", spec), 0, "exit"))

    def check_topology(self, sockets, cores, threads):
        n, (cpus, leaves) = self.topology(sockets, cores, threads)
        self.assertEqual(len(set(cpus.values())), n, "each has an APIC id of its own")
        packages, siblings = set(), set()
        for cpu, apic in cpus.items():
            ebx = leaves[cpu, 1, 0][1]
            self.assertEqual(ebx >> 24, apic & 0xff, "leaf 1 has the APIC id")
            if cores * threads > 1:
                self.assertGreaterEqual(ebx >> 16 & 0xff, cores * threads)
                self.assertTrue(leaves[cpu, 1, 0][3] & 1 << 28, "HTT: several logical processors in a package")
            smt, core = leaves[cpu, 0xb, 0], leaves[cpu, 0xb, 1]
            self.assertEqual((smt[2] >> 8 & 0xff, core[2] >> 8 & 0xff), (1, 2), "SMT, then core level")
            self.assertEqual((smt[3], core[3]), (apic, apic), "leaf 0xb has the APIC id")
            self.assertEqual((smt[1] & 0xffff, core[1] & 0xffff), (threads, cores * threads))
            siblings.add(apic >> (smt[0] & 31))
            packages.add(apic >> (core[0] & 31))
        self.assertEqual((len(siblings), len(packages)), (sockets * cores, sockets))

    def test_topology_of_cpuid_is_the_one_asked_for(self):
        for shape in ((1, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 1), (1, 3, 1), (2, 3, 2)):
            with self.subTest(sockets_cores_threads=shape):
                self.check_topology(*shape)

    def test_caches_are_shared_by_whole_levels(self):
        n, (cpus, leaves) = self.topology(1, 4, 1)
        if (0, 4, 0) not in leaves or not leaves[0, 4, 0][0] & 31:
            self.skipTest("this processor describes no caches in leaf 4")
        for cpu in cpus:
            self.assertGreaterEqual((leaves[cpu, 4, 0][0] >> 26) + 1, n, "cores of a package in leaf 4")
            for sub in range(4):
                eax = leaves[cpu, 4, sub][0]
                if eax & 31 and eax >> 5 & 7 < 3:
                    self.assertEqual(eax >> 14 & 0xfff, 0, "first and second level belong to one core")


class Devices(GuestTest):
    def test_timer_interrupts_and_self_ipis(self):
        run = self.check(run_guest("timer"), 0, "exit")
        self.assertIn("one-shot ticks 10\n", run.text)
        self.assertIn("self ipis 2\n", run.text)
        self.assertIn("apic x2apic", run.text)

    def test_both_ways_to_pci_configuration_agree(self):
        run = self.check(run_guest("pci"), 0, "exit")
        self.assertIn("ecam e0000000 buses 0 to 0\n", run.text)
        self.assertRegex(run.text, r"pci 0:0\.0 [0-9a-f]{4}:[0-9a-f]{4} class 060000\n")

    def test_uart_registers_fifos_loopback_and_interrupt(self):
        self.check(run_guest("uart"), 0, "exit")

    def test_rtc_tells_the_time_of_the_host(self):
        before = int(time.time())
        run = self.check(run_guest("rtc"), 0, "exit")
        told = int(re.search(r"^epoch (\d+)$", run.text, re.M).group(1))
        self.assertTrue(before - 1 <= told <= time.time() + 1, (before, told))


if __name__ == "__main__":
    vmmtest.main()
