# SPDX-License-Identifier: Apache-2.0
"""VMs in the background and the commands that look at them: ps, status, stop, wait, rm and the others."""

import json
import os
import signal
import subprocess
import unittest

import vmmtest
from controltest import Place
from vmmtest import GuestTest

LONG = os.environ.get("VMM_TEST_TIER") == "long"


class PlaceTest(GuestTest):
    def setUp(self):
        self.place = Place()
        self.place.__enter__()
        self.addCleanup(self.place.__exit__)

    def ok(self, *args, **kw):
        """The output of a command that must succeed."""
        done = self.place.vmm(*args, **kw)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        return done.stdout

    def fails(self, words, *args, rc=125):
        done = self.place.vmm(*args)
        self.assertEqual(done.returncode, rc, done)
        self.assertIn(words, done.stderr)
        return done

    def ps(self):
        return {vm["name"]: vm for vm in json.loads(self.ok("ps", "--json"))}

    def end_of(self, name):
        """(reason, exit code) in the result of a dead VM."""
        vm = self.ps()[name]
        return vm["state"], vm["result"]["reason"], vm["result"]["exit_code"]

    def pid(self, name):
        with open(self.place.path(name, "lock"), encoding="ascii") as file:
            return int(file.read())

    def kill_hard(self, name):
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        vmmtest.wait_until(lambda: not self.ps()[name]["alive"], "the VM's death")


class Detached(PlaceTest):
    def test_runs_on_its_own_and_is_found(self):
        self.place.detach("a", "exit", "how=echo")
        self.assertEqual((self.ps()["a"]["state"], self.ps()["a"]["pid"]), ("running", self.pid("a")))
        self.assertEqual(self.ok("ps", "-q"), "a\n")
        self.assertIn("running", self.ok("status", "a"))
        self.ok("pause", "a")
        self.assertEqual(self.ps()["a"]["state"], "paused")
        self.ok("resume", "a")
        self.ok("device", "a", "serial0", "send", "text=hello")
        vmmtest.wait_until(lambda: "hello" in self.ok("logs", "a"), "the echo in the log")
        self.assertEqual(json.loads(self.ok("inspect", "a"))["info"]["detached"], True)
        self.ok("stop", "--timeout", "100ms", "a")
        self.assertEqual(self.place.vmm("status", "a").returncode, 3)
        self.assertEqual(self.end_of("a"), ("dead", "killed", 137))
        self.ok("rm", "a")
        self.assertEqual(self.ps(), {})
        self.assertEqual([f for f in os.listdir(self.place.base) if f != ".lock"], [])

    def test_wait_gives_the_exit_code(self):
        self.place.detach("a", "exit", "how=ask")
        with subprocess.Popen([vmmtest.VMM, "wait", "a"], env=self.place.env) as waiting:
            self.ok("device", "a", "serial0", "send", "text=7")
            self.assertEqual(waiting.wait(vmmtest.PATIENCE), 7)
        self.assertEqual(self.place.vmm("wait", "a").returncode, 7)
        self.assertEqual(self.end_of("a"), ("dead", "exit", 7))
        self.assertIn("exit (7)", self.ok("ps"))

    def test_wait_for_one_in_the_foreground(self):
        with self.place.start("a", "exit", "how=ask") as vm:
            vm.wait_for("ready")
            with subprocess.Popen([vmmtest.VMM, "wait", "a"], env=self.place.env, stderr=subprocess.PIPE) as waiting:
                vmmtest.wait_until(lambda: self.has_open(waiting.pid, self.place.path("a", "lock")), "wait")
                vm.send(b"5")
                self.assertEqual((waiting.wait(vmmtest.PATIENCE), waiting.stderr.read()), (5, b""))

    @staticmethod
    def has_open(pid, path):
        fds = "/proc/%d/fd" % pid
        return any(os.path.exists(os.path.join(fds, fd)) and os.readlink(os.path.join(fds, fd)) == path
                   for fd in os.listdir(fds))

    def test_rm_option_leaves_nothing(self):
        with vmmtest.no_leaks(self):
            self.place.detach("a", "exit", "how=ask", "--rm")
            self.ok("device", "a", "serial0", "send", "text=p")
            vmmtest.wait_until(lambda: not self.ps(), "the directory's end")
            vmmtest.wait_until(lambda: not vmmtest.processes_of(os.path.realpath(vmmtest.VMM)), "the process' end")

    def test_start_that_fails_is_told_and_leaves_nothing(self):
        for args, words in ((("-k", "/nonexistent"), "/nonexistent"),
                            (("-k", vmmtest.guest("exit"), "-m", "60T"), "--mem"),
                            (("-k", vmmtest.guest("exit"), "--control", "off"), "--control off")):
            done = self.place.vmm("run", "-D", "--name", "a", *args)
            self.assertEqual((done.returncode, done.stdout), (125, ""))
            self.assertIn(words, done.stderr)
        self.assertEqual(self.ps(), {})

    def test_output_of_the_start_is_closed_for_the_caller(self):
        # Whoever reads the output of `vmm run -D` to its end must not wait for the VM.
        done = subprocess.run([vmmtest.VMM, "run", "-D", "--name", "a", "-k", vmmtest.guest("exit"), "-m", "32M", "-a",
                               "how=spin"], env=self.place.env, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=vmmtest.PATIENCE, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"a\n", b""))

    def test_the_console_log_is_bounded_and_keeps_the_end(self):
        total = 5 << 19
        done = self.place.vmm("run", "-D", "--name", "a", "-k", vmmtest.guest("exit"), "-m", "32M", "-a",
                              "how=flood n=%d" % total)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(self.place.vmm("wait", "a").returncode, 0)
        sizes = [os.path.getsize(self.place.path("a", name)) for name in ("console.log", "console.log.1")]
        self.assertLess(max(sizes), 3 << 19)
        logged = self.ok("logs", "a").splitlines()
        with open(self.place.path("a", "result.json"), encoding="utf-8") as file:
            dropped = json.load(file)["console"]["dropped"]
        numbers = [int(line[:8], 16) for line in logged if len(line) == 63]
        self.assertGreater(len(numbers), (1 << 20) // 64 - 2)
        if dropped == 0:  # a busy host may not keep up with the guest, which never waits
            self.assertEqual(numbers, list(range(total // 64 - len(numbers), total // 64)))

    def test_pidfile_and_events(self):
        pidfile, events = self.place.path("..", "pid"), self.place.path("..", "events")
        self.place.detach("a", "exit", "how=ask", "--pidfile", pidfile, "--events", events)
        with open(pidfile, encoding="ascii") as file:
            self.assertEqual(file.read(), "%d\n" % self.pid("a"))
        self.ok("device", "a", "serial0", "send", "text=4")
        self.assertEqual(self.place.vmm("wait", "a").returncode, 4)
        self.assertFalse(os.path.exists(pidfile))
        with open(events, encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual([event["event"] for event in lines], ["started", "running", "ended"])
        self.assertEqual([event["seq"] for event in lines], [1, 2, 3])

    def test_pidfile_of_another_is_left_alone(self):
        pidfile, link, fifo = (self.place.path("..", name) for name in ("pid", "link", "fifo"))
        self.place.detach("a", "exit", "how=spin", "--pidfile", pidfile)
        self.fails("belongs to another VM", "run", "-k", vmmtest.guest("hello"), "-m", "32M", "--pidfile", pidfile)
        self.fails("/nonexistent", "run", "-k", "/nonexistent", "--pidfile", pidfile + "2")
        with open(pidfile, encoding="ascii") as file:
            self.assertEqual(file.read(), "%d\n" % self.pid("a"))
        os.symlink(pidfile, link)
        self.fails("symbolic link", "run", "-k", vmmtest.guest("hello"), "-m", "32M", "--pidfile", link)
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.fails("regular file", "run", "-k", vmmtest.guest("hello"), "-m", "32M", "--pidfile", fifo)
        os.close(reader)
        self.assertTrue(os.path.exists(fifo))

    def test_descriptors_of_the_caller_are_let_go(self):
        reader, writer = os.pipe()
        done = subprocess.run([vmmtest.VMM, "run", "-D", "--name", "a", "-k", vmmtest.guest("exit"), "-m", "32M", "-a",
                               "how=spin"], env=self.place.env, pass_fds=[writer], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, 0)
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            self.assertEqual(file.read(), b"")  # the end, while the VM lives
        self.assertEqual(self.ps()["a"]["state"], "running")

    def test_events_to_a_descriptor_that_is_not_open_is_refused(self):
        for options in ((), ("-D",)):
            self.fails("not open", "run", *options, "-k", vmmtest.guest("hello"), "-m", "32M", "--events", "fd:4")

    def test_a_crash_is_told_in_the_result(self):
        self.place.detach("a", "exit", "how=spin")
        os.kill(self.pid("a"), signal.SIGSEGV)
        vmmtest.wait_until(lambda: not self.ps()["a"]["alive"], "the crash")
        self.assertEqual(self.end_of("a"), ("dead", "vmm_error", 139))

    def test_events_go_to_a_descriptor(self):
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb") as stream:
            done = subprocess.run([vmmtest.VMM, "run", "-k", vmmtest.guest("hello"), "-m", "32M", "-a", "code=6",
                                   "--events", "fd:%d" % writer], env=self.place.env, pass_fds=[writer],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
            os.close(writer)
            lines = [json.loads(line) for line in stream.read().splitlines()]
        self.assertEqual(done.returncode, 6)
        self.assertEqual((lines[-1]["event"], lines[-1]["exit_code"]), ("ended", 6))


class Names(PlaceTest):
    def test_a_living_name_is_not_taken(self):
        self.place.detach("a", "exit", "how=spin")
        done = self.place.vmm("run", "--name", "a", "-k", vmmtest.guest("exit"), "-m", "32M")
        self.assertEqual(done.returncode, 125)
        self.assertIn(str(self.pid("a")), done.stderr)
        self.assertEqual(self.ps()["a"]["state"], "running")

    def test_a_killed_vm_is_seen_dead_and_its_name_is_free(self):
        self.place.detach("a", "exit", "how=spin")
        self.kill_hard("a")
        self.assertEqual(self.end_of("a"), ("dead", "lost", 137))
        self.assertEqual(self.place.vmm("status", "a").returncode, 3)
        self.assertEqual(self.place.vmm("wait", "a").returncode, 137)
        self.assertIn("ready", self.ok("logs", "a"))
        self.place.detach("a", "exit", "how=spin")
        self.assertEqual(self.ps()["a"]["state"], "running")

    def test_only_one_of_many_gets_the_name(self):
        starts = [subprocess.Popen([vmmtest.VMM, "run", "-D", "--name", "one", "-k", vmmtest.guest("exit"), "-m", "32M",
                                    "-a", "how=spin"], env=self.place.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(8)]
        codes = [start.communicate(timeout=vmmtest.PATIENCE) and start.returncode for start in starts]
        self.assertEqual(sorted(codes), [0] + [125] * 7)
        self.assertEqual(self.ps()["one"]["state"], "running")

    def test_dead_ones_are_removed_together(self):
        for name in ("a", "b", "c"):
            self.place.detach(name, "exit", "how=spin")
        self.kill_hard("a")
        self.kill_hard("b")
        self.fails("c", "rm", "c")
        self.ok("rm", "--dead")
        self.assertEqual(list(self.ps()), ["c"])
        self.ok("rm", "-f", "c")
        self.assertEqual(self.ps(), {})

    def test_wrong_names_are_told(self):
        self.place.detach("machine", "exit", "how=spin")
        self.fails('"machine"', "stats", "machin")
        self.fails("no VM", "pause", "zzz")
        self.assertEqual(self.place.vmm("status", "machin").returncode, 3)
        self.fails("--timeout", "stop", "--tiemout", "1s", "machine")


class Many(PlaceTest):
    COUNT = 64

    def test_all_are_listed_and_all_are_stopped(self):
        before = len(os.listdir("/proc/self/fd"))
        names = ["vm%02d" % i for i in range(self.COUNT)]
        for name in names:
            self.place.detach(name, "exit", "how=wait-button")
        found = self.ps()
        self.assertEqual(sorted(found), names)
        self.assertEqual({vm["state"] for vm in found.values()}, {"running"})
        self.assertEqual(len({vm["pid"] for vm in found.values()}), self.COUNT)
        self.ok("stop", "--all", timeout=300)
        self.assertEqual({self.end_of(name) for name in names[::9]}, {("dead", "poweroff", 0)})
        self.assertEqual({vm["result"]["reason"] for vm in self.ps().values()}, {"poweroff"})
        self.ok("rm", "--dead")
        self.assertEqual(self.ps(), {})
        self.assertEqual([f for f in os.listdir(self.place.base) if f != ".lock"], [])
        self.assertEqual(vmmtest.processes_of(os.path.realpath(vmmtest.VMM)), set())
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class Attach(PlaceTest):
    def test_by_pipe(self):
        self.place.detach("a", "exit", "how=echo")
        with subprocess.Popen([vmmtest.VMM, "attach", "a"], env=self.place.env, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as client:
            client.stdin.write(b"piped text")
            client.stdin.flush()
            self.assertEqual(client.stdout.read(10), b"piped text")
            client.stdin.write(b"q")
            client.stdin.close()
            self.assertIn(b"quit", client.stdout.read())
            self.assertEqual(client.wait(vmmtest.PATIENCE), 0)

    def test_by_terminal_and_the_terminal_is_put_back(self):
        self.place.detach("a", "exit", "how=echo")
        with vmmtest.Vmm("a", tty=True, result=False, command="attach", env=self.place.env) as client:
            client.send(b"typed")
            client.wait_for("typed")
            client.send(b"\x01d")
            done = client.wait()
            self.assertEqual(done.rc, 0, done)
            self.assertEqual(vmmtest.termios.tcgetattr(client.slave), vmmtest.fresh_terminal_modes())
        self.assertEqual(self.ps()["a"]["state"], "running")


class Foreground(PlaceTest):
    def test_leaves_nothing(self):
        with vmmtest.no_leaks(self), self.place.start("a", "exit", "how=ask") as vm:
            vm.wait_for("ready")
            self.assertEqual(self.ps()["a"]["state"], "running")
            vm.send(b"0")
            self.check(vm.wait(), 0, "exit")
            self.assertEqual(self.ps(), {})

    def test_without_a_place_it_still_runs(self):
        with open(self.place.base, "w", encoding="ascii"):  # a file where the directory should be
            pass
        run = vmmtest.run_guest("hello", "code=3", env=self.place.env)
        self.check(run, 3, "exit")
        run = vmmtest.run_guest("hello", "code=3", "--control", "on", env=self.place.env)
        self.check(run, 125, "vmm_error")
        self.assertIn(self.place.base, run.err)
        os.unlink(self.place.base)

    def test_control_off_makes_no_directory(self):
        with self.place.start("a", "exit", "how=spin", "--control", "off") as vm:
            vm.wait_for("ready")
            self.assertFalse(os.path.exists(self.place.base))


@unittest.skipUnless(os.geteuid() == 0, "only root can make a directory of somebody else")
class Strangers(PlaceTest):
    def test_a_directory_that_others_may_write_is_refused(self):
        os.mkdir(self.place.base, 0o700)
        os.chmod(self.place.base, 0o777)
        done = self.place.vmm("run", "--control", "on", "-k", vmmtest.guest("hello"), "-m", "32M")
        self.assertEqual(done.returncode, 125)
        self.assertIn(self.place.base, done.stderr)
        os.chmod(self.place.base, 0o700)


if __name__ == "__main__":
    vmmtest.main()
