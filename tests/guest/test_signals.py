# SPDX-License-Identifier: Apache-2.0
"""Signals: a polite end where the guest can, a quick one where it can't, and a result file each time."""

import signal
import time

import vmmtest
from vmmtest import GuestTest, start_guest

LONG = ("--stop-timeout", "300s")  # longer than the tests' patience: whoever waits for it fails


class Button(GuestTest):
    def press(self, number, rc, reason):
        with start_guest("exit", "how=wait-button", *LONG) as vm:
            vm.wait_for("ready")
            vm.signal(number)
            vm.wait_for("power button")
            return self.check(vm.wait(), rc, reason)

    def test_term_hup_and_int_press_the_power_button(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with self.subTest(signal=number):
                self.press(number, 0, "poweroff")

    def test_timeout_presses_the_power_button(self):
        with start_guest("exit", "how=wait-button", "--timeout", "1s") as vm:
            vm.wait_for("power button")
            self.check(vm.wait(), 124, "timeout")

    def test_guest_that_ignores_the_button_is_killed_after_the_stop_timeout(self):
        with start_guest("exit", "how=ignore-button", "--stop-timeout", "700ms") as vm:
            vm.wait_for("ready")
            pressed = time.monotonic()
            vm.signal(signal.SIGTERM)
            vm.wait_for("power button")
            self.check(vm.wait(), 128 + signal.SIGTERM, "killed")
            self.assertGreaterEqual(time.monotonic() - pressed, 0.7)

    def test_timeout_during_a_stop_leaves_the_guest_its_moment(self):
        with start_guest("exit", "how=ignore-button", "--timeout", "1s", *LONG) as vm:
            vm.wait_for("ready")
            begin = time.monotonic()
            vm.signal(signal.SIGTERM)
            vm.wait_for("power button")
            self.check(vm.wait(), 124, "timeout")
            self.assertGreaterEqual(time.monotonic() - begin, 1.5)  # the two seconds after the timeout, less the start

    def test_signals_that_mean_nothing_are_ignored(self):
        with start_guest("exit", "how=ask") as vm:
            vm.wait_for("ready")
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGXFSZ, signal.SIGPIPE):
                vm.signal(number)
            vm.send(b"p")
            self.check(vm.wait(), 0, "poweroff")

    def test_second_term_kills_at_once(self):
        with start_guest("exit", "how=ignore-button", *LONG) as vm:
            vm.wait_for("ready")
            vm.signal(signal.SIGTERM)
            vm.wait_for("power button")
            vm.signal(signal.SIGTERM)
            self.check(vm.wait(), 128 + signal.SIGTERM, "killed")


class NoButton(GuestTest):
    def test_guest_without_a_button_driver_is_killed_at_once(self):
        for how in ("hlt-forever", "spin"):
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                with self.subTest(how=how, signal=number), start_guest("exit", "how=" + how, *LONG) as vm:
                    vm.wait_for("ready")
                    vm.signal(number)
                    self.check(vm.wait(), 128 + number, "killed")

    def test_killed_guest_leaves_nothing_behind(self):
        with vmmtest.no_leaks(self):
            with start_guest("exit", "how=spin", "-c", "4") as vm:
                vm.wait_for("ready")
                vm.signal(signal.SIGTERM)
                self.check(vm.wait(), 128 + signal.SIGTERM, "killed")


class Ignored(GuestTest):
    def test_pipe_is_ignored(self):
        with start_guest("exit", "how=ask") as vm:
            vm.wait_for("ready")
            vm.signal(signal.SIGPIPE)
            vm.send(b"4")
            self.check(vm.wait(), 4, "exit")

    def test_stop_and_continue_go_by_unnoticed(self):
        with start_guest("exit", "how=ask", "-c", "2") as vm:
            vm.wait_for("ready")
            vm.signal(signal.SIGSTOP)
            vmmtest.wait_until(lambda: stopped(vm.pid), "the stop")
            vm.signal(signal.SIGCONT)
            vm.send(b"6")
            self.check(vm.wait(), 6, "exit")


def stopped(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "T"


if __name__ == "__main__":
    vmmtest.main()
