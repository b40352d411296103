# SPDX-License-Identifier: Apache-2.0
"""--net user as an ordinary user: a firmware guest with a little of the Internet, passt, and the broker between.

The tests run in a network namespace of their own, where every port is free and passt finds an interface with an
address and a default route, and in a mount namespace where everybody may use /dev/kvm. Making these needs root.
"""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading

import vmmtest
from controltest import Place
from usernet import (ADDRESS, CLONE_NEWNET, CLONE_NEWNS, GATEWAY, Gate, NOBODY, PASST, become_nobody, helper_pid, helpers,
                     ip, make_network, must, need_root_and_passt, uid_of, unshare)
from vmmtest import GuestTest, wait_until

KVM = os.makedev(10, 232)


class World:
    """Namespaces of this process, and a directory that the user nobody can work in."""

    def __init__(self):
        unshare(CLONE_NEWNS | CLONE_NEWNET)
        make_network()
        self.dir = tempfile.mkdtemp(prefix="usernet-")
        os.chmod(self.dir, 0o755)
        must(subprocess.run(["mount", "--make-rprivate", "/"], stderr=subprocess.PIPE, check=False))
        must(subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.dir], stderr=subprocess.PIPE,
                            check=False))
        node = os.path.join(self.dir, "kvm")
        os.mknod(node, stat.S_IFCHR, KVM)
        os.chmod(node, 0o666)
        must(subprocess.run(["mount", "--bind", node, "/dev/kvm"], stderr=subprocess.PIPE, check=False))
        # The build directory may be out of that user's reach.
        self.vmm = shutil.copy(vmmtest.VMM, os.path.join(self.dir, "vmm"))
        self.guest = shutil.copy(vmmtest.guest("net"), self.dir)
        self.bin = os.path.join(self.dir, "bin")
        os.mkdir(self.bin)

    def close(self):
        subprocess.run(["umount", "/dev/kvm", self.dir], check=False)
        os.rmdir(self.dir)


world = None  # made by the first test: what lacks for it is told as a skip


def need_world():
    global world
    vmmtest.need_kvm()
    need_root_and_passt()
    if not world:
        world = World()


class Host(threading.Thread):
    """A TCP server that says a line to each line, and goes when it is left."""

    def __init__(self, address="127.0.0.1"):
        super().__init__(daemon=True)
        self.heard = []
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, connection.makefile("rw") as f:
                    self.heard.append(f.readline())
                    f.write("hello from the host\n")
                    f.flush()
                    f.readline()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self._listener.shutdown(socket.SHUT_RDWR)
        self.join()
        self._listener.close()


def talk(port, text, address="127.0.0.1"):
    """Says a line to a published port; what comes back until the guest closes."""
    with socket.create_connection((address, port), vmmtest.PATIENCE) as s, s.makefile("rw") as f:
        f.write(text + "\n")
        f.flush()
        return f.read()


class UserNetTest(GuestTest):
    def setUp(self):
        need_world()
        self.place = Place()
        self.place.__enter__()
        self.addCleanup(self.place.__exit__)
        self.place.env["PATH"] = "%s:%s:/usr/bin:/bin" % (world.bin, os.path.dirname(PASST))
        os.chown(self.place.env["XDG_RUNTIME_DIR"], NOBODY, NOBODY)
        wait_until(lambda: helpers() == {}, "the end of the helpers of a vmm that was killed")

    def vmm_args(self, words, *args):
        return ["-k", world.guest, "-m", "32M", "-a", words, "--name", "t", "--net", "user", *args]

    def start(self, words, *args, root=False):
        """A vmm, of the user nobody unless root."""
        vm = vmmtest.Vmm(*self.vmm_args(words, *args), program=world.vmm, env=self.place.env, result=False,
                         preexec=None if root else become_nobody)
        self.addCleanup(vm.__exit__)
        return vm

    def as_user(self, *args):
        return subprocess.run([world.vmm, *args], env=self.place.env, preexec_fn=become_nobody, check=False, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=vmmtest.PATIENCE)

    def finish(self, vm, rc=0):
        run = vm.wait()
        self.assertEqual(run.rc, rc, str(run))
        self.assertEqual(helpers(), {})
        return run

    def fails(self, *args, path=None):
        """What is said by a vmm that can't start."""
        if path:
            self.place.env["PATH"] = path
        run = self.start("", *args).wait()
        self.assertEqual((run.rc, helpers()), (125, {}), str(run))
        return run.err

    def events(self):
        return self.place.events("t")

    def wait_for_event(self, name, n=1):
        return wait_until(lambda: [e for e in self.events() if e["event"] == name][n - 1:], "event " + name)[0]

    def stats(self, device):
        return self.place.json("t", "/v1/stats")["devices"][device]


class Traffic(UserNetTest):
    def test_the_guest_gets_the_hosts_address_by_dhcp(self):
        vm = self.start("")
        vm.wait_for("link up")
        vm.wait_for("address %s\n" % ADDRESS)
        vm.wait_for("gateway %s\n" % GATEWAY)
        self.assertEqual(self.finish(vm).err, "", "and not a word of passt's")

    def test_everything_runs_as_the_user(self):
        vm = self.start("listen=7")
        vm.wait_for("listening")
        self.assertEqual([uid_of(vm.pid), uid_of(helper_pid("vmm-broker")), uid_of(helper_pid("passt"))],
                         [{NOBODY}] * 3)

    def test_a_port_of_the_host_is_reached(self):
        for words, args in (("", []), ("packed=1", []), ("transport=mmio mmio=0xfeb00000", ["--transport", "mmio"]),
                            ("", ["--io-engine", "epoll"]), ("", ["--sandbox", "off"])):
            with self.subTest(words=words, args=args), Host() as host:
                vm = self.start("connect=%d %s" % (host.port, words), *args)
                vm.wait_for("the host said: hello from the host\n")
                self.finish(vm)
                self.assertEqual(host.heard, ["hello from the guest\n"])

    def test_published_ports_lead_to_the_guest(self):
        vm = self.start("listen=7", "--publish", "8007:7", "--publish", "127.0.0.1:8008:7",
                        "--publish", "8009:7/udp", "--publish", ADDRESS + ":8010:7/tcp")
        vm.wait_for("listening")
        self.assertEqual(talk(8007, "one"), "one\n")
        self.assertEqual(talk(8007, "two", ADDRESS), "two\n")
        self.assertEqual(talk(8008, "three"), "three\n")
        self.assertEqual(talk(8010, "four", ADDRESS), "four\n")
        for address, port in ((ADDRESS, 8008), ("127.0.0.1", 8010), ("127.0.0.1", 8009)):
            with self.subTest(address=address, port=port), self.assertRaises(ConnectionRefusedError):
                talk(port, "not here", address)
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.settimeout(vmmtest.PATIENCE)
            s.sendto(b"datagram", ("127.0.0.1", 8009))
            self.assertEqual(s.recv(100), b"datagram")
            s.sendto(b"not here", ("127.0.0.1", 8007))  # TCP only
        talk(8007, "quit")
        self.assertNotIn(b"not here", self.finish(vm).out)

    def test_the_mtu_is_told(self):
        vm = vmmtest.Vmm("-k", world.guest, "-m", "32M", "--net", "user,mtu=1400", program=world.vmm,
                         env=self.place.env, result=False, preexec=become_nobody)
        self.addCleanup(vm.__exit__)
        vm.wait_for("mtu 1400\n")
        self.finish(vm)

    def test_as_root_passt_is_nobody_and_has_low_ports(self):
        vm = self.start("listen=7", "--publish", "80:7", root=True)
        vm.wait_for("listening")
        self.assertEqual(uid_of(helper_pid("passt")), {NOBODY})
        self.assertEqual(talk(80, "hello"), "hello\n")
        talk(80, "quit")
        self.finish(vm)

    def test_in_the_background(self):
        done = self.as_user("run", "-D", *self.vmm_args("listen=7", "--publish", "8007:7"))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "t\n", ""))
        wait_until(lambda: "listening" in self.place.curl("t", "/v1/console/tail")[1], "the guest")
        self.assertEqual(talk(8007, "hello"), "hello\n")
        talk(8007, "quit")  # the answer may be lost with the VM
        done = self.as_user("wait", "t")
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(helpers(), {})


class Deaths(UserNetTest):
    def setUp(self):
        super().setUp()
        self.gate = Gate(world.bin)
        self.addCleanup(self.gate.remove)

    def start(self, *args, **kw):
        vm = super().start("listen=7", "--publish", "8007:7", *args, **kw)
        vm.wait_for("mac ")
        vm.wait_for("listening")
        return vm

    def test_a_passt_that_is_killed_comes_back(self):
        vm = self.start()
        self.assertEqual(talk(8007, "before"), "before\n")
        self.gate.close()
        os.kill(helper_pid("passt"), signal.SIGKILL)
        vm.wait_for("link down")
        self.assertEqual(self.stats("net0")["link_downs"], 1)
        self.assertEqual(self.wait_for_event("helper_died")["how"], "it was ended by signal 9")
        self.gate.open()
        vm.wait_for("link up")
        event = self.wait_for_event("helper_restarted")
        self.assertEqual((event["helper"], event["device"]), ("passt", "net0"))
        self.assertEqual(self.stats("broker0"), {"deaths": 1, "restarts": 1, "failed_restarts": 0})
        self.assertEqual(talk(8007, "after"), "after\n")
        talk(8007, "quit")
        run = self.finish(vm)
        self.assertIn("net0: passt has died: it was ended by signal 9", run.err)
        self.assertEqual(run.text.count("mac "), 1)

    def test_it_is_killed_again_and_again(self):
        vm = self.start()
        for n in range(1, 6):
            os.kill(helper_pid("passt"), signal.SIGKILL)
            self.wait_for_event("helper_restarted", n)
            self.assertEqual(talk(8007, "after %d" % n), "after %d\n" % n)
        talk(8007, "quit")
        self.finish(vm)

    def test_one_that_does_not_come_back_is_tried_again(self):
        self.gate.write("[ -e %s ] && { echo out of order >&2; exit 1; }" % self.gate.path)
        vm = self.start()
        self.gate.close()
        os.kill(helper_pid("passt"), signal.SIGKILL)
        vm.wait_for("link down")
        wait_until(lambda: self.stats("broker0")["failed_restarts"] >= 2, "two attempts")
        self.gate.open()
        vm.wait_for("link up")
        self.assertEqual(talk(8007, "quit"), "quit\n")
        run = self.finish(vm)
        self.assertEqual(run.err.count("can't be started again"), 1, run.err)
        self.assertIn("out of order", run.err)

    def test_a_vmm_that_is_killed_leaves_nothing(self):
        vm = self.start()
        self.assertNotEqual(helpers(), {})
        vm.signal(signal.SIGKILL)
        vm.process.wait()
        wait_until(lambda: helpers() == {}, "the end of all helpers")
        socket.create_server(("0.0.0.0", 8007)).close()

    def test_a_vmm_that_is_stopped_leaves_nothing_and_the_terminal_stops_vmm_only(self):
        vm = self.start()
        # As the terminal does it: the whole process group.
        self.assertNotEqual(os.getpgid(vm.pid), os.getpgid(helper_pid("vmm-broker")))
        self.assertNotEqual(os.getpgid(vm.pid), os.getpgid(helper_pid("passt")))
        vm.signal(signal.SIGTERM)
        vm.signal(signal.SIGTERM)
        self.finish(vm, rc=143)

    def test_a_broker_that_is_killed_costs_the_network_only(self):
        vm = self.start()
        os.kill(helper_pid("vmm-broker"), signal.SIGKILL)
        vm.wait_for("link down")
        vm.wait_for_err("the broker has gone")
        self.assertEqual(self.place.json("t", "/v1/info")["state"], "running")
        wait_until(lambda: not [p for p, n in helpers().items() if n.startswith("passt")], "the end of passt")
        vm.signal(signal.SIGTERM)
        vm.signal(signal.SIGTERM)
        self.finish(vm, rc=143)

    def test_a_reset_keeps_the_connection(self):
        vm = self.start("--on-reboot", "restart")
        passt = helper_pid("passt")
        self.place.post("t", "/v1/reset")
        vm.wait_for("listening")
        self.assertEqual(helper_pid("passt"), passt)
        self.assertEqual(talk(8007, "quit"), "quit\n")
        self.finish(vm)


class Errors(UserNetTest):
    def test_a_port_that_is_in_use(self):
        with socket.create_server(("127.0.0.1", 8007)):
            err = self.fails("--publish", "8007:7")
        self.assertIn("--publish 8007:7: TCP port 8007 of the host is in use", err)
        with socket.create_server(("::", 8007), family=socket.AF_INET6):
            self.assertIn("--publish 8007:7: TCP port 8007", self.fails("--publish", "8007:7"))
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("0.0.0.0", 8007))
            self.assertIn("--publish 8007:7/udp: UDP port 8007 of the host is in use",
                          self.fails("--publish", "8007:7/udp"))

    def test_a_port_that_passt_can_not_have(self):
        err = self.fails("--publish", "127.0.0.1:8007:7", "--publish", "127.0.0.2:8007:8")
        self.assertIn("--net user, --publish: passt can't be started: ", err)
        self.assertIn("Overlapping port specifier 127.0.0.2/8007:8", err)

    def test_a_port_that_needs_privileges(self):
        err = self.fails("--publish", "80:80")
        self.assertIn("--publish 80:80: TCP port 80 of the host is for privileged programs only", err)

    def test_an_address_that_is_not_the_hosts(self):
        self.assertIn("--publish 198.51.100.1:8007:7: 198.51.100.1 is no address of this host",
                      self.fails("--publish", "198.51.100.1:8007:7"))

    def test_no_passt(self):
        self.assertIn("--net user: passt is not installed, or not in PATH: install Debian's package passt",
                      self.fails(path=world.bin))

    def test_no_network(self):
        ip("route", "del", "default")
        self.addCleanup(ip, "route", "add", "default", "via", GATEWAY)
        self.assertIn("--net user: passt can't be started: No external routable interface", self.fails())


if __name__ == "__main__":
    try:
        vmmtest.main()
    finally:
        if world:
            world.close()
