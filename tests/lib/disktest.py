# SPDX-License-Identifier: Apache-2.0
"""Guests with a driver of their own for virtio disks (firmware/blk.c)."""

import os
import tempfile

from controltest import Place
from vmmtest import GuestTest, run_guest

MIB = 1 << 20
SECTOR = 512
# src/machine/layout.h
MMIO_BASE = 0xfeb00000
MMIO_GSIS = (1, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23)
TRANSPORTS = ("pci", "mmio")


class DiskTest(GuestTest):
    """Each test has a directory for its images, and a place for state directories."""

    def setUp(self):
        self.place = Place()
        self.place.__enter__()
        self.addCleanup(self.place.__exit__)
        directory = tempfile.TemporaryDirectory(prefix="virtio-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name

    def image(self, name="disk.img", size=MIB):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.truncate(size)
        return path

    @staticmethod
    def words(words="", transport="pci", ring="split", disk=0):
        """What the guest is told: where to look for the disk, and how."""
        all_words = [words, "disk=%d" % disk]
        if ring == "packed":
            all_words.append("packed=1")
        if transport == "mmio":
            all_words.append("transport=mmio mmio=%#x irq_pin=%d" % (MMIO_BASE, MMIO_GSIS[disk]))
        return " ".join(all_words)

    def run_disk(self, words, *args, transport="pci", ring="split", disk=0):
        run = run_guest("blk", self.words(words, transport, ring, disk), "--transport", transport, *args)
        self.check(run, 0, "exit")
        return run

    def start(self, words, *args, transport="pci", ring="split", ready="ready", name="t", guest="blk"):
        vm = self.place.start(name, guest, self.words(words, transport, ring), "--transport", transport, *args)
        self.addCleanup(vm.__exit__)
        if ready:
            vm.wait_for(ready)
        return vm

    def counters(self, name="t", disk="disk0"):
        return self.place.json(name, "/v1/stats")["devices"][disk]

    def restart_five_times(self, vm):
        """One that was started with then=ask and --on-reboot restart; by the guest in three ways. To its end."""
        for i in range(5):
            vm.wait_for("blk: ok")
            vm.wait_for("ready")
            vm.send(b"rkc"[i % 3:i % 3 + 1])
        vm.wait_for("blk: ok")
        vm.wait_for("ready")
        vm.send(b"q")
        self.assertEqual(self.check(vm.wait(), 0, "exit").result["resets"], 5)

    def end(self, vm, key=b"q"):
        vm.send(key)
        return self.check(vm.wait(), 0, "exit")
