# SPDX-License-Identifier: Apache-2.0
"""Disks whose back end is qemu-storage-daemon: found out by the bare option, both transports, interrupts; the daemon dies
under load and comes back, or does not. Network cards on DPDK's testpmd, which joins two VMs."""

import os
import shutil
import signal
import subprocess
import unittest

import vmmtest
from disktest import MIB, SECTOR, TRANSPORTS, DiskTest
from vmmtest import no_leaks, run_guest

LONG = os.environ.get("VMM_TEST_TIER") == "long"
DAEMON = "qemu-storage-daemon"
SWITCH = "dpdk-testpmd"


class Daemon:
    """The back end of one image, which can be killed and started again."""

    def __init__(self, image, path, queues=1):
        self.path = path
        self._command = [DAEMON, "--blockdev", f"driver=file,node-name=file,filename={image}",
                         "--blockdev", "driver=raw,node-name=disk,file=file", "--export",
                         f"type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path={path},writable=on,"
                         f"num-queues={queues}"]
        self._process = None

    def start(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        return self

    def kill(self):
        self._process.kill()
        self._process.wait()
        if os.path.exists(self.path):
            os.unlink(self.path)

    def memory(self):
        """The names of the files it has mapped."""
        with open(f"/proc/{self._process.pid}/maps", encoding="utf-8") as file:
            return file.read()


@unittest.skipUnless(shutil.which(DAEMON), f"{DAEMON} is not installed (tools/setup test)")
class VhostUserBlk(DiskTest):
    def daemon(self, image=None, queues=1):
        daemon = Daemon(image or self.image(), os.path.join(self.dir, "sock"), queues).start()
        self.addCleanup(daemon.kill)
        vmmtest.wait_until(lambda: os.path.exists(daemon.path), "the daemon's socket")
        return daemon

    def option(self, daemon, more=""):
        return "--vhost-user", daemon.path + more

    def test_bare_option_finds_a_disk_and_writes_arrive(self):
        image = self.image()
        daemon = self.daemon(image)
        with no_leaks(self):
            for transport in TRANSPORTS:
                run = self.run_disk("rounds=4 requests=32 show=1", *self.option(daemon), transport=transport)
                self.assertIn(f"capacity {MIB // SECTOR} sectors", run.text)
                self.assertIn("the back end is a disk (type=blk)", run.err)
        with open(image, "rb") as file:
            self.assertNotEqual(file.read(MIB), b"\0" * MIB, "the guest's blocks are in the image")

    def test_interrupts_and_four_queues(self):
        daemon = self.daemon(queues=4)
        for transport in TRANSPORTS:
            run = self.run_disk("rounds=3 requests=32 queues=4 irq=1", *self.option(daemon, ",queues=4"),
                                transport=transport)
            self.assertIn("interrupts came", run.text)

    def test_more_queues_than_it_has_is_an_error(self):
        daemon = self.daemon(queues=2)
        run = run_guest("blk", self.words(), *self.option(daemon, ",queues=4"))
        self.assertEqual(run.rc, 125)
        self.assertIn("use queues=2", run.err)

    def test_pauses_under_load(self):
        daemon = self.daemon()
        vm = self.start("load=1 requests=32 irq=1", *self.option(daemon))
        for _ in range(50 if LONG else 5):
            self.place.post("t", "/v1/pause")
            self.place.post("t", "/v1/resume")
        self.assertNotIn("rounds 0\n", self.end(vm).text)

    def test_restarts_of_the_machine_keep_the_connection(self):
        daemon = self.daemon()
        for transport in TRANSPORTS:
            with vmmtest.start_guest("blk", self.words("rounds=2 irq=1 then=ask", transport), *self.option(daemon),
                                     "--transport", transport, "--on-reboot", "restart") as vm:
                self.restart_five_times(vm)

    def test_killed_under_load_with_one_request_at_a_time(self):
        """Each time it comes back where it was: the guest's driver sees nothing but a pause."""
        for transport in TRANSPORTS:
            daemon = self.daemon()
            vm = self.start("load=1 requests=1 irq=1", *self.option(daemon, ",id=disk0"), transport=transport)
            for i in range(100 if LONG else 10):
                daemon.kill()
                vmmtest.wait_until(lambda: not self.counters()["connected"], "the loss to be seen")
                daemon.start()
                vmmtest.wait_until(lambda n=i: self.counters()["reconnects"] > n, "it is back")
            self.assertEqual(self.counters()["resets"], 1, "the driver's own, at its start")
            self.assertEqual(self.counters()["unrecovered"], 0)
            events = [e["event"] for e in self.place.events("t") if e.get("device") == "disk0"]
            self.assertEqual(events[:4], ["backend_lost", "backend_back"] * 2)
            self.assertNotIn("rounds 0\n", self.end(vm).text)
            daemon.kill()

    def test_vm_lives_without_it_and_can_be_ended(self):
        daemon = self.daemon()
        vm = self.start("load=1 requests=1", *self.option(daemon, ",id=disk0,reconnect=0"))
        daemon.kill()
        vmmtest.wait_until(lambda: not self.counters()["connected"], "the loss to be seen")
        self.assertEqual(self.place.json("t", "/v1/info")["state"], "running")
        self.place.post("t", "/v1/pause")
        self.place.post("t", "/v1/resume")
        self.place.post("t", "/v1/kill")
        vm.wait()

    def test_nobody_there(self):
        run = run_guest("blk", self.words(), "--vhost-user", f"{self.dir}/none,wait=50ms")
        self.assertEqual(run.rc, 125)
        self.assertIn("there is no such socket", run.err)
        self.assertIn("wait=", run.err)

    def test_signal_ends_the_wait_for_it(self):
        path = f"{self.dir}/none"
        for number in signal.SIGINT, signal.SIGTERM:
            with vmmtest.start_guest("blk", self.words(), "--vhost-user", f"{path},wait=1h,type=blk,server",
                                     env=self.place.env) as vm:
                vmmtest.wait_until(lambda: os.path.exists(path), "it to listen")
                os.kill(vm.pid, number)
                run = vm.wait()
            self.assertEqual(run.rc, 125)
            self.assertIn("interrupted while waiting", run.err)
            self.assertFalse(os.path.exists(path))
        self.assertEqual([name for name in os.listdir(self.place.base) if not name.startswith(".")], [])

    def test_guests_memory_cannot_be_cut_off(self):
        """The daemon has it mapped, and its file is sealed: see also tests/unit/mm."""
        daemon = self.daemon()
        vm = self.start("load=1 requests=4", *self.option(daemon))
        self.assertIn("memfd:", daemon.memory())
        self.end(vm)


class Switch:
    """Two ports; what comes in at one goes out at the other."""

    def __init__(self, directory):
        self.paths = [os.path.join(directory, f"port{i}") for i in range(2)]
        self._command = [SWITCH, "--no-huge", "-m", "512", "-l", "0,1", "--no-pci", "--no-telemetry",
                         *[f"--vdev=net_vhost{i},iface={path}" for i, path in enumerate(self.paths)],
                         "--", "--total-num-mbufs=4096", "--forward-mode=io", "--auto-start"]
        self._process = None

    def start(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
        vmmtest.wait_until(lambda: all(map(os.path.exists, self.paths)), "the switch's sockets")

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        for path in filter(os.path.exists, self.paths):
            os.unlink(path)


@unittest.skipUnless(shutil.which(SWITCH), f"{SWITCH} is not installed (tools/setup test)")
class VhostUserNet(DiskTest):
    FRAMES = 20000

    def setUp(self):
        super().setUp()
        self.switch = Switch(self.dir)
        self.switch.start()
        self.addCleanup(self.switch.kill)

    def guest_on(self, port, words, transport="pci", more=""):
        """One that is about to begin, whose driver is up."""
        return self.start(words, "--vhost-user", self.switch.paths[port] + more, transport=transport,
                          ring="packed" if more else "split", ready="begin", name=f"port{port}", guest="netbench")

    def connected(self, port):
        return self.place.json(f"port{port}", "/v1/stats")["devices"]["vhost0"]["connected"]

    def receive(self, receiver):
        receiver.send(b"a")
        receiver.wait_for("end")

    def test_two_vms_through_a_switch(self):
        for transport in TRANSPORTS:
            for more in "", ",packed=on":
                with self.subTest(transport=transport, more=more):
                    sender = self.guest_on(0, "frames=1000000000", transport, more)
                    receiver = self.guest_on(1, f"rx=1 frames={self.FRAMES}", transport, more)
                    sender.send(b"a")
                    self.receive(receiver)
                    receiver.send(b"b")
                    self.assertIn("network card (type=net)", self.check(receiver.wait(), 0, "exit").err)
                    self.place.post("port0", "/v1/kill")
                    sender.wait()

    def test_switch_is_killed_under_load_and_traffic_goes_on(self):
        sender = self.guest_on(0, "frames=1000000000")
        receiver = self.guest_on(1, f"rx=1 frames={self.FRAMES}")
        sender.send(b"a")
        for _ in range(20 if LONG else 3):
            self.switch.kill()
            vmmtest.wait_until(lambda: not self.connected(0) and not self.connected(1), "the loss to be seen")
            self.switch.start()
            vmmtest.wait_until(lambda: self.connected(0) and self.connected(1), "it is back")
        self.receive(receiver)

    def test_more_pairs_than_rings(self):
        run = run_guest("netbench", "", "--vhost-user", self.switch.paths[0] + ",queues=17")
        self.assertEqual(run.rc, 125)


if __name__ == "__main__":
    vmmtest.main()
