# SPDX-License-Identifier: Apache-2.0
"""The exit contract: every way out of a VM gives its exit code, its reason and a whole result file."""

import numbers
import os
import signal
import tempfile

import vmmtest
from vmmtest import GuestTest, run_guest, run_vmm


class Codes(GuestTest):
    def test_guest_code_comes_out_unchanged(self):
        for code in (0, 1, 2, 3, 42, 77, 100, 123, 124, 125, 126, 127, 128, 137, 143, 200, 254, 255):
            with self.subTest(code=code):
                run = self.check(run_guest("hello", "code=%d" % code), code, "exit")
                self.assertEqual(run.result["guest_exit"], code)

    def test_nothing_is_left_behind_by_many_launches(self):
        with vmmtest.no_leaks(self):
            for _ in range(20):
                self.check(run_guest("hello"), 0, "exit")


class Ways(GuestTest):
    def way(self, how, rc, reason, *args, **kw):
        return self.check(run_guest("exit", "how=" + how, *args, **kw), rc, reason)

    def test_poweroff(self):
        self.assertIsNone(self.way("poweroff", 0, "poweroff").result["guest_exit"])

    def test_every_way_of_reset_is_a_reboot(self):
        for how in ("reset-acpi", "reset-kbd", "reset-cf9"):
            with self.subTest(how=how):
                self.way(how, 0, "reboot")

    def test_triple_fault(self):
        run = self.way("triple", 255, "triple_fault")
        self.assertIn("exit guest, start 1", run.err, "the last console lines go to stderr")

    def test_timeout_of_a_guest_that_sleeps(self):
        self.way("hlt-forever", 124, "timeout", "--timeout", "500ms")

    def test_timeout_of_a_guest_that_spins(self):
        self.way("spin", 124, "timeout", "--timeout", "500ms")

    def test_timeout_of_every_cpu(self):
        self.way("spin", 124, "timeout", "--timeout", "500ms", "-c", "4")


class Panics(GuestTest):
    def panic(self, how, *args):
        return self.check(run_guest("exit", "how=" + how, *args), 255, "panic")

    def assert_text(self, run):
        self.assertIn("Kernel panic - not syncing: test panic", run.result["panic_text"] or "")
        self.assertIn("Kernel panic - not syncing: test panic", run.err, "the last console lines on stderr")

    def test_panic_line_then_triple_fault(self):
        self.assert_text(self.panic("panic"))

    def test_panic_line_then_reset(self):
        self.assert_text(self.panic("panic-reset"))

    def test_panic_line_then_silence(self):
        self.assert_text(self.panic("panic-silent"))

    def test_panic_line_then_a_busy_loop(self):
        self.assert_text(self.panic("panic-spin"))

    def test_panic_counts_even_with_restart_on_reboot(self):
        self.assert_text(self.panic("panic-reset", "--on-reboot", "restart"))

    def test_pvpanic(self):
        run = self.panic("pvpanic")
        self.assertRegex(run.text, "pvpanic events [0-9a-f]*[13579bdf]\n", "the panicked event is offered")

    def test_panic_wait_keeps_the_vm_for_a_look(self):
        with vmmtest.start_guest("exit", "how=pvpanic", "--on-panic", "wait") as vm:
            vm.wait_for_err("held")
            self.assertIsNone(vm.process.poll())
            vm.signal(signal.SIGTERM)
            self.check(vm.wait(), 255, "panic")

    def test_panic_wait_ends_with_the_timeout(self):
        run = self.panic("panic-silent", "--on-panic", "wait", "--timeout", "3s")
        self.assertGreaterEqual(run.result["timings_ms"]["exit"], 3000)


class VmmErrors(GuestTest):
    def test_code_outside_memory_is_explained(self):
        run = self.check(run_guest("exit", "how=bad-insn"), 125, "vmm_error")
        self.assertIn("d0000000", run.err.lower(), "the block has the registers")
        self.assertRegex(run.err, "(?i)rip")
        self.assertIsNone(run.result["guest_exit"])


class ResultFile(GuestTest):
    def result(self):
        return self.check(run_guest("hello", "code=7"), 7, "exit").result

    def numbers_of(self, value):
        """All numbers in a JSON value, however deep."""
        if isinstance(value, dict):
            return [n for v in value.values() for n in self.numbers_of(v)]
        return [value] if isinstance(value, numbers.Number) else []

    def test_has_every_field_of_the_contract(self):
        result = self.result()
        for name in ("reason", "guest_exit", "exit_code", "timings_ms", "cpu_ms", "rss_peak_kib", "exits", "versions",
                     "console_tail", "panic_text"):
            self.assertIn(name, result)
        for name in ("start", "first_kvm_run", "first_console_byte", "exit"):
            self.assertIn(name, result["timings_ms"])

    def test_timings_are_in_order(self):
        t = self.result()["timings_ms"]
        times = [t[k] for k in ("first_kvm_run", "first_console_byte", "exit")]
        self.assertEqual(sorted(times), times)
        self.assertGreater(times[0], 0)

    def test_what_never_happened_has_no_time(self):
        run = run_guest("hello", "", "-m", "33M,hugepages=2M")
        self.assertEqual(run.reason, "vmm_error", str(run))
        self.assertIsNone(run.result["timings_ms"]["first_kvm_run"])

    def test_exits_are_counted_by_reason(self):
        exits = self.result()["exits"]
        self.assertTrue(exits and all(isinstance(n, int) and n >= 0 for n in self.numbers_of(exits)), exits)
        self.assertGreater(sum(self.numbers_of(exits)), 0)

    def test_cpu_time_and_peak_memory_are_there(self):
        result = self.result()
        self.assertGreater(sum(self.numbers_of(result["cpu_ms"])), 0)
        self.assertGreater(result["rss_peak_kib"], 500)

    def test_console_tail_is_what_the_guest_said(self):
        self.assertTrue(self.result()["console_tail"].startswith("hello from the guest\n"))

    def test_panic_text_is_null_without_a_panic(self):
        self.assertIsNone(self.result()["panic_text"])

    def test_old_content_of_the_file_is_replaced(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "r.json")
            with open(path, "w", encoding="utf-8") as f:
                f.write("x" * 100000)
            run_vmm("-k", vmmtest.guest("hello"), *vmmtest.SMALL, "--result", path, result=False)
            self.assertEqual(vmmtest._read_result(path)["reason"], "exit")


if __name__ == "__main__":
    vmmtest.main()
