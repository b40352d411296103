# SPDX-License-Identifier: Apache-2.0
"""--on-reboot restart: the machine comes up again in place, as it was the first time."""

import os
import signal

import vmmtest
from vmmtest import GuestTest, start_guest

TIMES = 20


class Restart(GuestTest):
    def restart(self, guest, append, args, keys, expect):
        """Answers `ready` with a key for each restart, then with 'q'."""
        with start_guest(guest, append, "--on-reboot", "restart", *args) as vm:
            pid_fds = None
            for i in range(TIMES):
                vm.wait_for(expect)
                vm.wait_for("ready")
                fds = os.listdir("/proc/%d/fd" % vm.pid)
                pid_fds = pid_fds or fds
                self.assertEqual(fds, pid_fds, "descriptors after restart %d" % i)
                vm.send(keys[i % len(keys)])
            vm.wait_for(expect)
            vm.wait_for("ready")
            vm.send(b"q")
            return self.check(vm.wait(), 0, "exit")

    def test_twenty_restarts_by_every_way_of_reset(self):
        run = self.restart("exit", "how=ask", (), (b"r", b"k", b"c"), "exit guest, start 1\n")
        self.assertEqual(run.text.count("start 1\n"), TIMES + 1, "the image is loaded anew each time")

    def test_twenty_restarts_with_application_processors(self):
        self.restart("smp", "cpus=4 then=ask", ("-c", "4"), (b"r",), "answers 3\n")

    def test_twenty_restarts_after_interrupts_and_timers(self):
        self.restart("timer", "then=ask", (), (b"r",), "self ipis 2\n")

    def test_restart_of_the_serial_port(self):
        self.restart("uart", "then=ask", (), (b"k",), "uart: ok\n")

    def test_poweroff_ends_it_all_the_same(self):
        with start_guest("exit", "how=ask", "--on-reboot", "restart") as vm:
            vm.wait_for("ready")
            vm.send(b"r")
            vm.wait_for("ready")
            vm.send(b"p")
            self.check(vm.wait(), 0, "poweroff")

    def test_triple_fault_is_no_reboot(self):
        with start_guest("exit", "how=ask", "--on-reboot", "restart") as vm:
            vm.wait_for("ready")
            vm.send(b"t")
            self.check(vm.wait(), 255, "triple_fault")

    def test_reset_by_all_processors_at_once_is_one_reset(self):
        with start_guest("smp", "cpus=8 race=1", "-c", "8", "--on-reboot", "restart") as vm:
            for _ in range(2 * TIMES):  # the more, the likelier two of them meet
                vm.wait_for("racing\n")
            vm.signal(signal.SIGTERM)
            run = self.check(vm.wait(), 128 + signal.SIGTERM, "killed")
        # The last boot may have got to its reset or not.
        self.assertIn(run.text.count("racing\n") - run.result["resets"], (0, 1))

    def test_term_in_the_middle_of_a_reset_loop_ends_it(self):
        with start_guest("exit", "how=reset-acpi", "--on-reboot", "restart") as vm:
            for _ in range(3):
                vm.wait_for("start 1\n")
            vm.signal(signal.SIGTERM)
            self.check(vm.wait(), 128 + signal.SIGTERM, "killed")


if __name__ == "__main__":
    vmmtest.main()
