# SPDX-License-Identifier: Apache-2.0
"""Virtio disks under a guest with a driver of its own: both transports, ring formats and engines; resets, pauses,
restarts; images that shrink, grow, are shared or are in use."""

import itertools
import os
import signal

import vmmtest
from disktest import MIB, MMIO_GSIS, SECTOR, TRANSPORTS, DiskTest
from vmmtest import no_leaks, run_guest

LONG = os.environ.get("VMM_TEST_TIER") == "long"
PCI_SLOTS = 31
RINGS = ("split", "packed")
ENGINES = ("uring", "epoll")


def missing_uring(disk):
    """Why no I/O thread can use io_uring here, or None."""
    run = run_guest("hello", "", "--io-engine", "uring", "-d", disk)
    return run.err if run.rc == 125 and "--io-engine uring" in run.err else None


class Matrix(DiskTest):
    def each(self):
        for transport, ring, engine in itertools.product(TRANSPORTS, RINGS, ENGINES):
            with self.subTest(transport=transport, ring=ring, engine=engine):
                yield transport, ring, ("--io-engine", engine)

    def setUp(self):
        super().setUp()
        reason = missing_uring(self.image())
        if reason:
            self.skipTest(reason)

    def test_rounds_with_driver_resets_polled(self):
        disk = self.image()
        with no_leaks(self):
            for transport, ring, engine in self.each():
                self.run_disk("rounds=4 requests=32", "-d", disk, *engine, transport=transport, ring=ring)

    def test_rounds_with_driver_resets_by_interrupts(self):
        disk = self.image()
        for transport, ring, engine in self.each():
            run = self.run_disk("rounds=4 requests=32 irq=1", "-d", disk, *engine, transport=transport, ring=ring)
            self.assertIn("interrupts came", run.text)

    def test_three_io_threads_and_four_queues(self):
        disk = self.image()
        for transport, ring, engine in self.each():
            self.run_disk("rounds=3 requests=32 queues=4 irq=1", "-d", disk + ",queues=4", "--iothreads", "3", *engine,
                          transport=transport, ring=ring)

    def test_five_restarts_of_the_machine(self):
        disk = self.image()
        for transport, ring, engine in self.each():
            with vmmtest.start_guest("blk", self.words("rounds=2 irq=1 then=ask", transport, ring), "-d", disk,
                                     "--transport", transport, "--on-reboot", "restart", *engine) as vm:
                self.restart_five_times(vm)

    def test_pauses_under_load(self):
        disk = self.image()
        for transport, ring, engine in self.each():
            vm = self.start("load=1 requests=32 irq=1", "-d", disk, *engine, transport=transport, ring=ring)
            for _ in range(50 if LONG else 3):
                self.place.post("t", "/v1/pause")
                before = self.counters()
                self.assertEqual(self.counters()["chains"], before["chains"], "nothing is taken in a pause")
                self.place.post("t", "/v1/resume")
                vmmtest.wait_until(lambda b=before: self.counters()["chains"] > b["chains"], "requests")
            run = self.end(vm)
            self.assertNotIn("rounds 0\n", run.text)

    def test_kill_under_load_and_the_same_image_again_at_once(self):
        disk = self.image()
        with no_leaks(self):
            for transport, ring, engine in self.each():
                with self.place.start("t", "blk", self.words("load=1 requests=32", transport, ring), "-d", disk,
                                      "--transport", transport, *engine) as vm:
                    vm.wait_for("ready")
                    vm.signal(signal.SIGKILL)
                    vm.process.wait()
                    self.run_disk("rounds=2", "-d", disk, *engine, transport=transport, ring=ring)
                    self.place.vmm("rm", "t")


class Images(DiskTest):
    def test_what_is_written_is_in_the_image(self):
        disk = self.image()
        self.run_disk("requests=2", "-d", disk)
        with open(disk, "rb") as f:
            self.assertEqual(f.read(8192)[::SECTOR], b"\0" * 8 + b"\1" * 8)

    def test_overlay_leaves_the_image_as_it_was(self):
        disk = self.image()
        with open(disk, "r+b") as f:
            f.write(b"unchanged" * 1000)
        with open(disk, "rb") as f:
            before = f.read()
        self.run_disk("rounds=3 requests=32", "-d", disk + ",overlay=on")
        with open(disk, "rb") as f:
            self.assertEqual(f.read(), before)

    def test_a_second_writer_is_told_so(self):
        disk = self.image()
        vm = self.start("wait=irq", "-d", disk)
        second = run_guest("blk", "", "-d", disk)
        self.check(second, 125, "vmm_error")
        self.assertIn(disk, second.err)
        self.assertIn("lock=off", second.err)
        self.check(run_guest("blk", "ro=1", "-d", disk + ",ro"), 125, "vmm_error")
        self.end(vm)
        self.run_disk("", "-d", disk)

    def test_readers_share_an_image(self):
        disk = self.image()
        vm = self.start("wait=irq ro=1", "-d", disk + ",ro")
        self.run_disk("ro=1", "-d", disk + ",ro")
        self.check(run_guest("blk", "", "-d", disk), 125, "vmm_error")
        self.end(vm)

    def test_writes_to_a_read_only_disk_fail(self):
        disk = self.image()
        for transport in TRANSPORTS:
            self.run_disk("ro=1 requests=32", "-d", disk + ",ro", transport=transport)
        with open(disk, "rb") as f:
            self.assertEqual(f.read(), b"\0" * MIB)

    def test_an_image_truncated_below_the_guest_is_an_io_error(self):
        for engine in ENGINES:
            with self.subTest(engine=engine):
                disk = self.image()
                vm = self.start("wait=1 requests=5", "-d", disk, "--io-engine", "auto" if engine == "uring" else engine)
                self.assertEqual(self.counters()["errors"], 0)
                os.truncate(disk, 0)
                vm.send(b"f")
                vm.wait_for("round 0")
                self.assertEqual(self.counters()["errors"], 5)
                self.assertEqual(self.place.json("t", "/v1/info")["state"], "running")
                os.truncate(disk, MIB)
                vm.send(b"r")
                vm.wait_for("round 1")
                self.assertEqual(self.counters()["errors"], 5)
                self.end(vm)

    def test_the_guest_sees_a_new_size(self):
        for transport in TRANSPORTS:
            with self.subTest(transport=transport):
                disk = self.image()
                vm = self.start("wait=1 irq=1 show=1", "-d", disk, transport=transport, ready="capacity 2048 sectors")
                vm.wait_for("ready")
                self.place.post("t", "/v1/devices/disk0/resize", {"size": "3M"})
                vm.send(b"r")
                vm.wait_for("round 0 capacity 6144\n")
                self.end(vm)
                self.assertEqual(os.stat(disk).st_size, 3 * MIB)


class Limits(DiskTest):
    def test_requests_wait_and_are_counted(self):
        disk = self.image()
        vm = self.start("wait=irq requests=32 irq=1", "-d", disk + ",iops=400,iops_burst=10")
        counters = self.counters()
        self.assertGreater(counters["throttled"], 0)
        self.place.post("t", "/v1/devices/disk0/limit", {"iops": "0"})
        vm.send(b"r")
        vm.wait_for("round 0")
        self.assertEqual(self.counters()["throttled"], counters["throttled"])
        self.end(vm)

    def test_a_pause_and_a_reset_while_requests_wait(self):
        disk = self.image()
        for transport in TRANSPORTS:
            vm = self.start("load=1 requests=32 irq=1", "-d", disk + ",iops=200,iops_burst=10", "--on-reboot", "restart",
                            transport=transport)
            vmmtest.wait_until(lambda: self.counters()["throttled"] > 0, "the limit")
            self.place.post("t", "/v1/pause")
            self.place.post("t", "/v1/resume")
            self.place.post("t", "/v1/reset")
            vm.wait_for("ready")
            self.end(vm)


class Places(DiskTest):
    def disks(self, n):
        return [word for i in range(n) for word in ("-d", self.image("disk%d.img" % i, MIB + i * SECTOR))]

    def check_full(self, transport, n):
        disks = self.disks(n + 1)
        for i in (0, n - 1):
            run = self.run_disk("show=1 irq=1", *disks[:-2], transport=transport, disk=i)
            self.assertIn("capacity %d sectors\nserial disk%d\n" % (MIB // SECTOR + i, i), run.text)
        run = run_guest("blk", "", "--transport", transport, *disks)
        self.check(run, 125, "vmm_error")
        self.assertIn("disk%d: " % n, run.err)
        self.assertIn("%d devices" % n, run.err)

    def test_as_many_as_there_are_slots_on_pci(self):
        self.check_full("pci", PCI_SLOTS)

    def test_as_many_as_there_are_pins_on_mmio(self):
        self.check_full("mmio", len(MMIO_GSIS))


class Counters(DiskTest):
    def test_each_device_counts_what_its_driver_does(self):
        disk = self.image()
        vm = self.start("wait=irq irq=1 rounds=2 requests=4 queues=2", "-d", disk + ",queues=2")
        counters = self.counters()
        self.assertEqual(counters["chains"], 2 * (4 + 1 + 4))
        self.assertEqual(counters["resets"], 2)
        self.assertEqual(counters["guest_errors"], 0)
        self.assertGreater(counters["kicks"], 0)
        self.assertGreater(counters["interrupts"], 0)
        shown = self.place.vmm("stats", "t").stdout
        self.assertRegex(shown, r"(?m)^devices\.disk0\.chains +18$")
        listed = {d["id"]: d for d in self.place.json("t", "/v1/devices")}["disk0"]["stats"]
        self.assertEqual({s["name"] for s in listed}, set(counters))
        self.end(vm)


class GiantOutput(DiskTest):
    """A guest that sends on its virtio console what takes vmm's main thread many minutes to look at."""
    TOTAL = 64 * 64 * 200 * MIB

    def send(self):
        """Main is at work on it, and far from its end."""
        vm = self.start("mib=200", "-m", "256M", "--console", "none", "--hvc", "console", ready=None, guest="console")
        vmmtest.wait_until(self.sent, "output")
        return vm

    def sent(self):
        return self.counters(disk="console0")["tx_bytes"]

    def test_the_control_socket_answers_meanwhile(self):
        self.send()
        status = self.place.vmm("status", "t")
        self.assertEqual(status.returncode, 0, status)
        self.assertIn("running", status.stdout)
        before = self.sent()
        vmmtest.wait_until(lambda: self.sent() > before, "more output")
        self.assertLess(self.sent(), self.TOTAL)

    def test_a_pause_holds_it_where_it_is(self):
        self.send()
        self.place.post("t", "/v1/pause")
        before = self.sent()
        self.assertEqual(self.sent(), before)
        self.place.post("t", "/v1/resume")
        vmmtest.wait_until(lambda: self.sent() > before, "more output")
        self.assertLess(self.sent(), self.TOTAL)

    def test_sigterm_ends_it(self):
        vm = self.send()
        vm.signal(signal.SIGTERM)
        self.check(vm.wait(), 128 + signal.SIGTERM, "killed")

    def test_vmm_stop_ends_it(self):
        vm = self.send()
        stop = self.place.vmm("stop", "t")
        self.assertEqual(stop.returncode, 0, stop)
        vm.wait()

    def test_all_of_it_arrives_and_comes_back(self):
        path = os.path.join(self.dir, "hvc")
        run = run_guest("console", "chains=3 segments=5 mib=1", "--hvc", "file=" + path)
        self.check(run, 0, "exit")
        self.assertIn("sent\nconsole: ok", run.text)
        self.assertEqual(os.path.getsize(path), 15 * MIB)


if __name__ == "__main__":
    vmmtest.main()
