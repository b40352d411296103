# SPDX-License-Identifier: Apache-2.0
"""The console: where it goes, what comes in, and that nobody on its other side can stall or break the VM."""

import contextlib
import fcntl
import os
import signal
import socket
import tempfile
import termios

import vmmtest
from vmmtest import GuestTest, run_guest, start_guest

F_SETPIPE_SZ = 1031  # named in fcntl since Python 3.10
FILL = "".join(chr(ord("a") + i % 26) for i in range(8, 63))


def flood_bytes(n):
    lines = b"".join(b"%08x%s\n" % (i, FILL.encode()) for i in range(n // 64 + 1))
    return lines[:n]


class Streams(GuestTest):
    def test_stdio_carries_the_guest_and_nothing_else(self):
        run = self.check(run_guest("hello", "word", "--kernel-defaults=off"), 0, "exit")
        self.assertEqual(run.out, b"hello from the guest\nword\n")
        self.assertEqual(run.err, "")

    def test_every_byte_of_much_output_arrives(self):
        run = self.check(run_guest("exit", "how=flood n=65536 quiet"), 0, "exit")
        self.assertEqual(run.out, flood_bytes(65536))

    def test_file_gets_the_output(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "console")
            with open(path, "wb") as f:
                f.write(b"old" * 1000)
            run = self.check(run_guest("exit", "how=flood n=8192 quiet", "--console", "file=" + path), 0, "exit")
            with open(path, "rb") as f:
                self.assertEqual(f.read(), flood_bytes(8192))
            self.assertEqual(run.out, b"")

    def test_none_drops_the_output_and_the_result_keeps_its_tail(self):
        run = self.check(run_guest("hello", "", "--console", "none"), 0, "exit")
        self.assertEqual(run.out, b"")
        self.assertIn("hello from the guest", run.result["console_tail"])

    def test_pty_works_both_ways(self):
        with start_guest("exit", "how=echo", "--console", "pty") as vm:
            name = vm.wait_for_err(r"/dev/pts/\d+").group(0)
            fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
            with os.fdopen(fd, "r+b", buffering=0) as tty:
                tty.write(b"abc")
                said = b""
                while b"abc" not in said:
                    said += tty.read(1024)
                # The end of vmm hangs the terminal up, and with it goes what nobody has read.
                tty.write(b"q")
            self.check(vm.wait(), 0, "exit")

    def connect(self, path):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(vmmtest.PATIENCE)

        def attempt():
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                s.connect(path)
                return True
            return False
        vmmtest.wait_until(attempt, path)
        return s

    def converse(self, s, say, until):
        s.sendall(say)
        said = b""
        while until not in said:
            data = s.recv(1024)
            self.assertTrue(data, said)
            said += data
        return said

    def test_unix_socket_works_both_ways_and_is_removed(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "s")
            with start_guest("exit", "how=echo", "--console", "unix=" + path) as vm:
                with self.connect(path) as s:
                    self.assertIn(b"abc", self.converse(s, b"abcq", b"quit"))
                self.check(vm.wait(), 0, "exit")
            self.assertFalse(os.path.exists(path))

    def test_unix_socket_takes_the_next_client_when_one_left(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "s")
            with start_guest("exit", "how=echo", "--console", "unix=" + path) as vm:
                with self.connect(path) as s:
                    self.converse(s, b"one", b"one")
                with self.connect(path) as s:
                    self.converse(s, b"two", b"two")
                    self.converse(s, b"q", b"quit")
                self.check(vm.wait(), 0, "exit")

    def test_stale_socket_file_is_replaced(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "s")
            stale = socket.socket(socket.AF_UNIX)
            stale.bind(path)
            stale.close()
            with start_guest("exit", "how=echo", "--console", "unix=" + path) as vm:
                with self.connect(path) as s:
                    self.converse(s, b"q", b"quit")
                self.check(vm.wait(), 0, "exit")

    def test_debug_console_has_a_stream_of_its_own(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "debug")
            run = self.check(run_guest("exit", "how=debugcon", "--debugcon", "file=" + path), 0, "exit")
            with open(path, "rb") as f:
                self.assertEqual(f.read(), b"debug console\n")
            self.assertIn("debugcon e9\n", run.text)
            self.assertNotIn("debug console", run.text)


class Input(GuestTest):
    def test_piped_input_reaches_the_guest_with_its_end(self):
        for irq in ("", " irq"):
            with self.subTest(irq=irq):
                run = self.check(run_guest("exit", "how=echo" + irq, stdin=b"one two three"), 0, "exit")
                self.assertIn("ready\none two threeend of input\n", run.text)

    def test_input_longer_than_every_buffer_arrives_whole(self):
        data = b"".join(b"line %06d\n" % i for i in range(1000))
        run = self.check(run_guest("exit", "how=echo", stdin=data), 0, "exit")
        self.assertIn(data, run.out)

    def test_empty_input_ends_at_once(self):
        self.assertIn("end of input", self.check(run_guest("exit", "how=echo"), 0, "exit").text)

    def test_input_that_comes_later_wakes_a_sleeping_guest(self):
        with start_guest("exit", "how=echo irq") as vm:
            vm.wait_for("ready")
            for word in (b"first", b"second"):
                vm.send(word)
                vm.wait_for(word)
            vm.close_stdin()
            vm.wait_for("end of input")
            self.check(vm.wait(), 0, "exit")

    def test_guest_that_never_reads_leaves_vmm_well(self):
        with start_guest("exit", "how=hlt-forever", "--timeout", "1s") as vm:
            os.set_blocking(vm.process.stdin.fileno(), False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    vm.send(b"x" * 65536)
            self.check(vm.wait(), 124, "timeout")


class BadReaders(GuestTest):
    def test_reader_that_stops_does_not_stall_the_guest(self):
        n = 320 << 10  # more than pipe and ring together
        with start_guest("exit", "how=flood quiet n=%d" % n) as vm:
            fcntl.fcntl(vm.process.stdout, F_SETPIPE_SZ, 4096)
            vm.process.wait(vmmtest.PATIENCE)  # without having read a byte
            run = self.check(vm.wait(), 0, "exit")
        self.assertGreater(run.result["console"]["dropped"], 0)
        self.assertEqual(len(run.out) + run.result["console"]["dropped"], n, "each byte was written or counted")
        self.assertTrue(flood_bytes(n).startswith(run.out[:4096]), "what was kept is in order")

    def test_reader_that_goes_away_does_not_end_the_guest(self):
        with start_guest("exit", "how=ask") as vm:
            vm.wait_for("ready")
            vm.process.stdout.close()
            vm._fd = -1
            vm.send(b"5")
            self.check(vm.wait(), 5, "exit")

    def test_unix_client_that_stops_reading_does_not_stall_the_guest(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "s")
            with start_guest("exit", "how=noisy", "--console", "unix=" + path, "--timeout", "3s") as vm:
                s = socket.socket(socket.AF_UNIX)
                vmmtest.wait_until(lambda: os.path.exists(path), path)
                s.connect(path)
                self.check(vm.wait(), 124, "timeout")
                s.close()

    def test_full_disk_does_not_end_the_guest(self):
        self.check(run_guest("exit", "how=flood quiet n=4096", "--console", "file=/dev/full"), 0, "exit")


class Terminal(GuestTest):
    def start(self, append, *args):
        return start_guest("exit", append, *args, tty=True)

    def modes(self, vm):
        return termios.tcgetattr(vm.slave)

    def is_raw(self, vm):
        return not self.modes(vm)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def test_ctrl_a_x_quits(self):
        with self.start("how=echo") as vm:
            vm.wait_for("ready")
            self.assertTrue(self.is_raw(vm))
            vm.send(b"\x01x")
            self.check(vm.wait(), 0, "quit")
            self.assertEqual(self.modes(vm), vmmtest.fresh_terminal_modes())

    def test_ctrl_a_x_quits_a_guest_that_spins(self):
        with self.start("how=spin") as vm:
            vm.wait_for("ready")
            vm.send(b"\x01x")
            self.check(vm.wait(), 0, "quit")

    def test_ctrl_a_h_helps(self):
        with self.start("how=echo") as vm:
            vm.wait_for("ready")
            vm.send(b"\x01h")
            vm.wait_for_err("Ctrl-A.*x quits")
            vm.send(b"q")
            self.check(vm.wait(), 0, "exit")

    def test_ctrl_a_a_sends_ctrl_a(self):
        with self.start("how=echo") as vm:
            vm.wait_for("ready")
            vm.send(b"\x01a")
            vm.wait_for(b"\x01")
            vm.send(b"q")
            self.check(vm.wait(), 0, "exit")

    def test_ctrl_c_goes_to_the_guest(self):
        with self.start("how=echo") as vm:
            vm.wait_for("ready")
            vm.send(b"\x03")
            vm.wait_for(b"\x03")
            vm.send(b"q")
            self.check(vm.wait(), 0, "exit")

    def test_terminal_is_restored_on_every_exit(self):
        for how, rc, reason in (("poweroff", 0, "poweroff"), ("reset-acpi", 0, "reboot"), ("exit code=3", 3, "exit"),
                                ("triple", 255, "triple_fault"), ("panic", 255, "panic"),
                                ("bad-insn", 125, "vmm_error")):
            with self.subTest(how=how), self.start("how=" + how) as vm:
                self.check(vm.wait(), rc, reason)
                self.assertEqual(self.modes(vm), vmmtest.fresh_terminal_modes())

    def test_terminal_is_restored_by_signals_and_crashes(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGQUIT):
            with self.subTest(signal=number), self.start("how=hlt-forever") as vm:
                vm.wait_for("ready")
                self.assertTrue(self.is_raw(vm))
                vm.signal(number)
                self.assertNotEqual(vm.wait().rc, 0)
                self.assertEqual(self.modes(vm), vmmtest.fresh_terminal_modes())


if __name__ == "__main__":
    vmmtest.main()
