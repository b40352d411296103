# SPDX-License-Identifier: Apache-2.0
"""Where guest memory comes from: huge pages, sealed shared memory, prefaulting; what too little of it gives."""

import contextlib
import fcntl
import os
import re

import vmmtest
from vmmtest import GuestTest, run_guest, start_guest

POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/"
ALL_SEALS = 0x1 | 0x2 | 0x4  # seal, shrink, grow


def read_number(path):
    with open(path, encoding="ascii") as f:
        return int(f.read())


def write_number(path, n):
    with open(path, "w", encoding="ascii") as f:
        f.write(str(n))


@contextlib.contextmanager
def huge_pages(test, n):
    """n free huge pages of 2 MiB, given back afterwards."""
    path = POOL + "nr_hugepages"
    before = read_number(path)
    used = before - read_number(POOL + "free_hugepages")
    try:
        write_number(path, used + n)
    except OSError as e:
        test.skipTest("cannot reserve huge pages: " + e.strerror)
    try:
        if read_number(POOL + "free_hugepages") < n:
            test.skipTest("the host has not %d huge pages in one piece" % n)
        yield
    finally:
        write_number(path, before)


def memfds(pid):
    """Descriptors of the process that are memfds, by number, and their names."""
    found = {}
    for fd in os.listdir("/proc/%d/fd" % pid):
        with contextlib.suppress(OSError):
            target = os.readlink("/proc/%d/fd/%s" % (pid, fd))
            if target.startswith("/memfd:"):
                found[int(fd)] = target
    return found


class Shared(GuestTest):
    def running(self, *args):
        return start_guest("exit", "how=ask", *args)

    def test_shared_memory_is_a_sealed_memfd(self):
        with self.running("-m", "64M,shared=on") as vm:
            vm.wait_for("ready")
            fds = memfds(vm.pid)
            self.assertTrue(fds, "no memfd in /proc/PID/fd")
            sizes = 0
            for fd in fds:
                with open("/proc/%d/fd/%d" % (vm.pid, fd), "rb") as f:
                    self.assertEqual(fcntl.fcntl(f, fcntl.F_GET_SEALS) & ALL_SEALS, ALL_SEALS, fds[fd])
                    sizes += os.fstat(f.fileno()).st_size
            self.assertEqual(sizes, 64 << 20)
            vm.send(b"q")
            self.check(vm.wait(), 0, "exit")

    def test_shared_memory_is_the_guests(self):
        with self.running("-m", "64M,shared=on") as vm:
            vm.wait_for("ready")
            fd = next(iter(memfds(vm.pid)))
            with open("/proc/%d/fd/%d" % (vm.pid, fd), "rb") as f:
                f.seek(1 << 20)
                self.assertIn(b"no such way: %s", f.read(65536), "the image lies at 1 MiB")
            vm.send(b"q")
            self.check(vm.wait(), 0, "exit")

    def test_memory_is_private_when_nothing_needs_it_shared(self):
        for spec in ("64M", "64M,shared=off", "64M,shared=auto"):
            with self.subTest(spec=spec), self.running("-m", spec) as vm:
                vm.wait_for("ready")
                self.assertEqual(memfds(vm.pid), {})
                vm.send(b"q")
                self.check(vm.wait(), 0, "exit")

    def test_guest_sees_the_same_memory_either_way(self):
        for spec in ("4G,shared=on", "64M,shared=on,prefault=on", "64M,prefault=on", "64M,thp=off"):
            with self.subTest(spec=spec):
                self.check(run_guest("memmap", "", "-m", spec), 0, "exit")

    def test_prefault_makes_it_resident(self):
        with self.running("-m", "64M,prefault=on") as vm:
            vm.wait_for("ready")
            with open("/proc/%d/status" % vm.pid, encoding="ascii") as f:
                rss = int(re.search(r"^VmRSS:\s+(\d+) kB", f.read(), re.M).group(1))
            self.assertGreaterEqual(rss, 64 << 10)
            vm.send(b"q")
            self.check(vm.wait(), 0, "exit")


class HugePages(GuestTest):
    def test_memory_comes_from_the_pool_and_goes_back(self):
        with huge_pages(self, 32):
            free = read_number(POOL + "free_hugepages")
            with start_guest("exit", "how=ask", "-m", "64M,hugepages=2M,prefault=on") as vm:
                vm.wait_for("ready")
                self.assertEqual(read_number(POOL + "free_hugepages"), free - 32)
                vm.send(b"q")
                self.check(vm.wait(), 0, "exit")
            self.assertEqual(read_number(POOL + "free_hugepages"), free)

    def test_guest_runs_from_huge_pages(self):
        with huge_pages(self, 32):
            self.check(run_guest("memmap", "", "-m", "64M,hugepages=2M"), 0, "exit")

    def test_too_few_huge_pages_are_told_before_anything_starts(self):
        with huge_pages(self, 8):
            run = self.check(run_guest("hello", "", "-m", "64M,hugepages=2M"), 125, "vmm_error")
            self.assertEqual(run.out, b"")
            self.assertRegex(run.err, "(?i)huge ?page")
            self.assertIn("nr_hugepages", run.err, "the remedy is named")
            self.assertEqual(read_number(POOL + "free_hugepages"), 8)

    def test_size_that_is_no_multiple_of_the_page_is_refused(self):
        run = self.check(run_guest("hello", "", "-m", "33M,hugepages=2M"), 125, "vmm_error")
        self.assertRegex(run.err, "(?i)multiple")


class Cgroup(GuestTest):
    """A limit that the guest would run into is told before anything starts."""

    def setUp(self):
        version1 = "/sys/fs/cgroup/memory"
        top = version1 if os.path.isdir(version1) else "/sys/fs/cgroup"
        self.group = os.path.join(top, "vmmtest-%d" % os.getpid())
        try:
            os.mkdir(self.group)
        except OSError as e:
            self.skipTest("no memory cgroup can be made here: " + e.strerror)
        self.addCleanup(os.rmdir, self.group)
        self.limit = "memory.limit_in_bytes" if top == version1 else "memory.max"
        if not os.path.exists(os.path.join(self.group, self.limit)):
            self.skipTest("the memory controller is not given to %s" % top)
        self.write(self.limit, "100M")

    def write(self, file, text):
        with open(os.path.join(self.group, file), "w", encoding="ascii") as f:
            f.write(text)

    def enter(self):
        self.write("cgroup.procs", "0")

    def test_more_than_the_limit_is_refused(self):
        run = vmmtest.run_guest("hello", "code=3", "-m", "128M", preexec=self.enter)
        self.check(run, 125, "vmm_error")
        self.assertIn("100 MiB", run.err)
        self.assertIn(self.limit, run.err)
        self.check(vmmtest.run_guest("hello", "code=3", "-m", "64M", preexec=self.enter), 3, "exit")


if __name__ == "__main__":
    vmmtest.main()
