# SPDX-License-Identifier: Apache-2.0
"""A guest with one virtio device of each kind: it resets them while none of their queues runs, and it idles."""

import errno
import fcntl
import os
import socket
import struct
import tempfile
import time
import unittest

import vmmtest
from controltest import Place
from vmmtest import GuestTest

LONG = os.environ.get("VMM_TEST_TIER") == "long"
MIB = 1 << 20
MMIO_BASE = 0xfeb00000  # src/machine/layout.h
VSOCK_PORT, FRAME, FRAME_TYPE = 1234, 60, 0x88b5  # firmware/devices.c, as is the order of
KINDS = ("net", "blk", "console", "rng", "balloon", "vsock", "mem", "pmem")
IDS = ("net0", "disk0", "console0", "rng0", "balloon0", "vsock0", "mem0", "pmem0")
TRANSPORTS = ("pci", "mmio")


class Peer:
    """The other end of the guest's network card. option: what vmm is told of it; fds: what it inherits."""
    option, fds, header, receive = "", (), b"", 0

    def __init__(self):
        self.socket = None

    def plug(self):
        """vmm has begun."""

    def echo(self):
        """Waits for a frame of the guest's and sends it back."""
        self.socket.settimeout(vmmtest.PATIENCE)
        frame = self.socket.recv(len(self.header) + FRAME, self.receive)
        expected = self.header + b"\xff" * 6 + b"\0" * 6 + FRAME_TYPE.to_bytes(2, "big")
        if frame != expected.ljust(len(self.header) + FRAME, b"\0"):
            raise AssertionError("a frame that the guest did not send: %r" % frame)
        self.socket.sendall(frame)

    def close(self):
        if self.socket:
            self.socket.close()


class Stream(Peer):
    """A unix socket: each frame has its length before it."""
    header, receive = FRAME.to_bytes(4, "big"), socket.MSG_WAITALL

    def __init__(self, path):
        super().__init__()
        self.option = "stream=unix:" + path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(vmmtest.PATIENCE)
        self.listener.bind(path)
        self.listener.listen()

    def plug(self):
        self.socket = self.listener.accept()[0]

    def close(self):
        self.listener.close()
        super().close()


class Tap(Peer):
    """A tap that vmm inherits, and the host's side of it."""
    TUNSETIFF, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x400454ca, 0x2, 0x1000, 0x4000
    SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1

    def __init__(self):
        super().__init__()
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        flags = self.IFF_TAP | self.IFF_NO_PI | self.IFF_VNET_HDR
        made = fcntl.ioctl(self.fd, self.TUNSETIFF, struct.pack("16sH22x", b"vmmtest%d", flags))
        name = made[:16].rstrip(b"\0")
        self.option, self.fds = "fd=%d" % self.fd, (self.fd,)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(FRAME_TYPE))
        fcntl.ioctl(self.socket, self.SIOCSIFFLAGS, struct.pack("16sH22x", name, self.IFF_UP))
        self.socket.bind((name.decode(), FRAME_TYPE))

    def plug(self):
        """It is vmm's alone now."""
        os.close(self.fd)
        self.fd = -1

    def close(self):
        super().close()
        if self.fd >= 0:
            os.close(self.fd)


def tap_or_skip():
    try:
        return Tap()
    except OSError as e:
        if e.errno in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENODEV):
            raise unittest.SkipTest("no tap can be made here: " + e.strerror) from None
        raise


class DevicesTest(GuestTest):
    def setUp(self):
        self.place = Place()
        self.place.__enter__()
        self.addCleanup(self.place.__exit__)

    def path(self, name):
        return os.path.join(self.dir, name)

    def image(self, name, size):
        with open(self.path(name), "wb") as f:
            f.truncate(size)
        return self.path(name)

    def start(self, words, *args, transport="pci", disk="", net="", vsock="", peer=None):
        """The guest with its devices, some of which have more keys; the other end of its network card is self.peer."""
        if transport == "mmio":
            words += " transport=mmio mmio=%#x" % MMIO_BASE
        directory = tempfile.TemporaryDirectory(prefix="devices-")
        self.addCleanup(directory.cleanup)
        self.dir = directory.name
        self.peer = peer or Stream(self.path("net"))
        self.addCleanup(self.peer.close)
        vm = self.place.start("t", "devices", words, "-m", "64M,max=192M", "--transport", transport,
                              "-d", self.image("disk", MIB) + disk, "--net", self.peer.option + net,
                              "--hvc", "file=" + self.path("hvc"), "--rng", "--balloon",
                              "--vsock", "7,uds=" + self.path("vsock") + vsock, "--pmem", self.image("pmem", 2 * MIB),
                              *args, fds=self.peer.fds)
        self.addCleanup(vm.__exit__)
        self.peer.plug()
        return vm

    def connect(self, vm):
        """A connection to the guest's port, which accepts it."""
        vm.wait_for("listening")
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.settimeout(vmmtest.PATIENCE)
        sock.connect(self.path("vsock"))
        sock.sendall(b"CONNECT %d\n" % VSOCK_PORT)
        self.assertRegex(sock.recv(32), rb"\AOK [0-9]+\n\Z")
        return sock

    def see_up(self, vm, kind):
        """Until the device has done its thing; vsock: the host's connection."""
        connection = self.connect(vm) if kind == "vsock" else None
        if kind == "net":
            self.peer.echo()
        vm.wait_for("up " + kind)
        return connection

    def bring_up(self, vm):
        """The host's connection."""
        return [self.see_up(vm, kind) for kind in KINDS][KINDS.index("vsock")]

    def rest(self):
        """Returns when what was asked to stop has stopped: so does a pause."""
        self.place.post("t", "/v1/pause")
        self.place.post("t", "/v1/resume")

    def end(self, vm):
        vm.wait_for("ready")
        vm.send(b"q")
        return self.check(vm.wait(), 0, "exit")


class Resets(DevicesTest):
    """None of the device's queues is live when the guest resets it: that is done on the vCPU's own thread."""

    def one_by_one(self, vm, connection):
        for kind in KINDS:
            vm.wait_for("stopped " + kind)
            self.rest()
            vm.send(b"r")
            vm.wait_for("reset " + kind)
            if kind == "vsock":
                self.assertEqual(connection.recv(1), b"", "the end of the stream")
            self.see_up(vm, kind)

    def check_counters(self):
        devices = self.place.json("t", "/v1/stats")["devices"]
        for name in IDS:
            self.assertEqual(devices[name]["resets"], 3, name)
            self.assertEqual(devices[name]["guest_errors"], 0, name)
        self.assertEqual(devices["vsock0"]["host_connections"], 2)

    def check_stop(self, how, transport):
        for engine, ring in (("auto", ""), ("epoll", " packed=1")):
            with self.subTest(engine=engine):
                vm = self.start("stop=" + how + ring, "--io-engine", engine, transport=transport)
                self.one_by_one(vm, self.bring_up(vm))
                self.check_counters()
                self.end(vm)
                with open(self.path("hvc"), encoding="ascii") as f:
                    self.assertEqual(f.read(), "the console works\n" * 2)

    def test_without_bus_mastering(self):
        self.check_stop("master", "pci")

    def test_after_each_queue_was_reset_on_pci(self):
        self.check_stop("queues", "pci")

    def test_after_each_queue_was_reset_on_mmio(self):
        self.check_stop("queues", "mmio")

    def test_after_each_queue_was_taken_back_on_mmio(self):
        self.check_stop("ready", "mmio")


def switches(pid):
    """How often each thread but the vCPUs has gone to sleep: it woke up as often. None: one is awake."""
    found = {}
    for tid in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, tid), encoding="ascii") as f:
            fields = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
        if fields["Name"].startswith("vcpu"):
            continue
        if not fields["State"].startswith("S"):
            return None
        found[fields["Name"], int(tid)] = int(fields["voluntary_ctxt_switches"])
    return found


class Quiet(DevicesTest):
    def settled(self, pid):
        """Once what was asked for has been answered and two looks in a row give the same."""
        seen = [None]

        def same():
            before, seen[0] = seen[0], switches(pid)
            return before and seen[0] == before

        vmmtest.wait_until(same, "rest")
        return seen[0]


class Idle(Quiet):
    def check_idle(self, *args, transport="pci"):
        vm = self.start("", *args, transport=transport)
        self.bring_up(vm)
        vm.wait_for("ready")
        vmmtest.wait_until(lambda: self.place.json("t", "/v1/stats")["control"]["connections"] == 1, "nobody else")
        before = self.settled(vm.pid)
        self.assertIn("io/0", {name for name, _ in before})
        time.sleep(10 if LONG else 2)
        self.assertEqual(switches(vm.pid), before)
        vm.send(b"q")
        self.check(vm.wait(), 0, "exit")

    def test_an_idle_guest_wakes_nobody(self):
        for engine in ("auto", "epoll"):
            for transport in TRANSPORTS:
                with self.subTest(engine=engine, transport=transport):
                    self.check_idle("--io-engine", engine, transport=transport)


class IoThreads(Quiet):
    def threads(self, pid):
        return {name: tid for name, tid in self.settled(pid) if name.startswith("io/")}

    def test_threads_stay_on_the_processors_that_they_are_pinned_to(self):
        allowed = sorted(os.sched_getaffinity(0))
        first, last = allowed[0], allowed[-1]
        vm = self.start("", "--iothreads", "3,pin=%d:%d" % (last, first))
        self.bring_up(vm)
        vm.wait_for("ready")
        threads = self.threads(vm.pid)
        self.assertEqual({name: os.sched_getaffinity(tid) for name, tid in threads.items()},
                         {"io/0": {last}, "io/1": {first}, "io/2": {last}})
        self.assertEqual(os.sched_getaffinity(vm.pid), set(allowed), "main goes where it likes")
        vm.send(b"q")
        self.check(vm.wait(), 0, "exit")

    def work(self, vm):
        """How often each I/O thread has slept while the guest's disk did five rounds."""
        before = self.settled(vm.pid)
        for _ in range(5):
            vm.send(b"x")
            vm.wait_for("round")
        after = self.settled(vm.pid)
        return {name: after[name, tid] - count for (name, tid), count in before.items() if name.startswith("io/")}

    def test_disk_is_the_work_of_the_thread_that_it_was_given(self):
        with tempfile.TemporaryDirectory(prefix="devices-") as self.dir:
            disk = self.image("disk", MIB)
            for number in (0, 1):
                with self.place.start("t", "blk", "disk=0 wait=1", "--iothreads", "2",
                                      "-d", "%s,iothread=%d" % (disk, number)) as vm:
                    vm.wait_for("ready")
                    slept = self.work(vm)
                    self.assertGreaterEqual(slept["io/%d" % number], 5)
                    self.assertEqual(slept["io/%d" % (1 - number)], 0)
                    vm.send(b"q")
                    self.check(vm.wait(), 0, "exit")


class InheritedTap(DevicesTest):
    def test_frames_go_through_a_tap_that_somebody_else_opened(self):
        vm = self.start("", peer=tap_or_skip())
        self.bring_up(vm)
        self.end(vm)


if __name__ == "__main__":
    vmmtest.main()
