# SPDX-License-Identifier: Apache-2.0
"""The watchdog: what becomes of a guest that has armed it and hangs, whatever else is going on."""

import vmmtest
from controltest import Place
from vmmtest import GuestTest, run_guest

RESTART = ("--watchdog", "reset", "--on-reboot", "restart")


class Actions(GuestTest):
    """With nothing else going on."""

    def hang(self, *options):
        return run_guest("exit", "how=hlt-forever watchdog=20", *options)

    def test_reset_ends_the_run(self):
        self.check(self.hang("--watchdog", "reset"), 255, "watchdog")

    def test_poweroff_ends_the_run(self):
        self.check(self.hang("--watchdog", "poweroff", "--on-reboot", "restart"), 255, "watchdog")

    def test_timeout_counts_where_nothing_is_done(self):
        self.check(self.hang("--watchdog", "none", "--timeout", "1s"), 124, "timeout")


class Running(GuestTest):
    """Looked at from outside."""

    def start(self, append, *options):
        self.place = Place()
        self.place.__enter__()
        self.addCleanup(self.place.__exit__)
        self.vm = self.place.start("t", "exit", append, *options)
        self.addCleanup(self.vm.__exit__)

    def info(self):
        return self.place.json("t", "/v1/info")

    def expirations(self):
        return self.place.json("t", "/v1/stats")["devices"]["watchdog0"]["expirations"]

    def event(self, name):
        """The first of that name."""
        return vmmtest.wait_until(lambda: [e for e in self.place.events("t") if e["event"] == name], "event " + name)[0]

    def test_reset_restarts_the_guest(self):
        self.start("how=hlt-forever watchdog=20", *RESTART)
        self.assertEqual(self.event("watchdog")["action"], "reset")
        self.assertEqual(self.event("reset")["by"], "watchdog")
        self.vm.wait_for("ready")
        self.vm.wait_for("ready")

    def test_pause_keeps_it(self):
        self.start("how=hlt-forever watchdog=20", "--watchdog", "pause")
        self.assertEqual(self.event("watchdog")["action"], "pause")
        self.event("paused")
        self.assertEqual((self.info()["state"], self.expirations()), ("paused", 1))
        self.place.post("t", "/v1/resume")
        self.assertEqual((self.info()["state"], self.expirations()), ("running", 1))

    def test_guest_that_hangs_on_its_way_down_is_not_started_again(self):
        self.start("how=ignore-button watchdog=20", *RESTART)
        self.vm.wait_for("ready")
        self.place.post("t", "/v1/stop", {"timeout": 600})
        self.check(self.vm.wait(), 255, "watchdog")

    def test_held_guest_is_kept_for_a_look(self):
        self.start("how=pvpanic watchdog=500", "--on-panic", "wait", *RESTART)  # held after half a second
        vmmtest.wait_until(self.expirations, "the watchdog")
        self.assertEqual((self.info()["state"], self.info()["resets"]), ("panicked", 0))

    def test_reset_after_a_panic_line_is_a_panic(self):
        self.start("how=panic-spin watchdog=20", *RESTART)
        self.check(self.vm.wait(), 255, "panic")

    def test_one_that_never_stops_does_not_fill_the_log(self):
        self.start("how=hlt-forever watchdog=0 watchdog-again", "--watchdog", "none")
        vmmtest.wait_until(lambda: self.expirations() > 500, "500 expirations")
        self.assertIn("watchdog", self.vm.err())
        self.assertLess(len(self.vm.err().splitlines()), 250)


if __name__ == "__main__":
    vmmtest.main()
