# SPDX-License-Identifier: Apache-2.0
"""The exit contract with Linux guests: how each way of ending shows in the exit code and in --result."""

import signal

import vmmtest
from linuxtest import LinuxTest, linux_guest, run_linux

READY = 'echo ready; while :; do sleep 1; done'
BUTTON = 'power_off_on_button; echo ready; while :; do sleep 1; done'
DEAF = 'load evdev button; echo ready; while :; do sleep 1; echo still here; done'


class GuestEnds(LinuxTest):
    """The guest ends by itself."""

    def test_power_off(self):
        self.check(run_linux('poweroff -f'), 0, 'poweroff')

    def test_result_tells_the_whole_run(self):
        run = self.check(run_linux('echo unmistakable; poweroff -f', '-c', '2'), 0, 'poweroff')
        times = run.result['timings_ms']
        order = [times[name] for name in ('first_kvm_run', 'first_console_byte', 'exit')]
        self.assertEqual(order, sorted(order), str(run))
        self.assertGreater(order[0], 0, str(run))
        self.assertIn('unmistakable', run.result['console_tail'])
        self.assertGreater(run.result['cpu_ms']['user'] + run.result['cpu_ms']['system'], 0)
        self.assertGreater(run.result['rss_peak_kib'], 1024)
        self.assertGreater(sum(run.result['exits'].values()), 100)

    def test_reboot(self):
        self.check(run_linux('reboot -f'), 0, 'reboot')

    def test_exit_codes_come_unchanged(self):
        for code in (0, 1, 124, 125, 255):
            run = self.check(run_linux(f'vmm-exit {code}'), code, 'exit')
            self.assertEqual(run.result['guest_exit'], code)

    def test_triple_fault(self):
        # reboot=t makes Linux reboot by loading an empty interrupt table and trapping.
        self.check(run_linux('reboot -f', append='reboot=t'), 255, 'triple_fault')


class Panic(LinuxTest):
    """A panic is known whatever the guest has loaded."""

    def panicked(self, script, **named):
        run = self.check(run_linux(script, **named), 255, 'panic')
        self.assertIn('sysrq triggered crash', run.result['panic_text'])
        self.assertIn(run.result['console_tail'].splitlines()[-1].strip(), run.err, 'the console is not on stderr')

    def test_panic_without_driver(self):
        self.panicked('echo c > /proc/sysrq-trigger')

    def test_panic_that_stays_silent(self):
        self.panicked('echo c > /proc/sysrq-trigger', append='panic=0')

    def test_panic_told_by_pvpanic(self):
        self.panicked('load pvpanic pvpanic-mmio; echo c > /proc/sysrq-trigger', append='panic=0')

    def test_the_words_alone_are_no_panic(self):
        # A guest that prints the line and goes on.
        script = 'echo "Kernel panic - not syncing: only words"; for i in 1 2 3; do echo on; sleep 1; done'
        self.check(run_linux(script), 0, 'poweroff')


class Stop(LinuxTest):
    """vmm is asked to end the guest."""

    def stopped(self, script, *signals, options=()):
        with linux_guest(script, *options) as vm:
            vm.wait_for('ready')
            for number in signals:
                vm.signal(number)
            return vm.wait()

    def test_sigterm_powers_off_a_guest_that_listens(self):
        run = self.check(self.stopped(BUTTON, signal.SIGTERM, options=['--stop-timeout', '120s']), 0, 'poweroff')
        self.assertIn('button pressed', run.text)

    def test_sigint_and_sighup_likewise(self):
        for number in (signal.SIGINT, signal.SIGHUP):
            self.check(self.stopped(BUTTON, number, options=['--stop-timeout', '120s']), 0, 'poweroff')

    def test_sigterm_kills_at_once_before_a_driver_listens(self):
        # Linux builds in the driver of the event device, so a booted one always counts as listening.
        with linux_guest(READY, '--stop-timeout', '600s', append='loglevel=7') as vm:
            vm.wait_for('Linux version')
            vm.signal(signal.SIGTERM)
            self.check(vm.wait(), 128 + signal.SIGTERM, 'killed')

    def test_second_sigterm_kills_at_once(self):
        with linux_guest(DEAF, '--stop-timeout', '600s') as vm:
            vm.wait_for('ready')
            vm.signal(signal.SIGTERM)
            vm.wait_for('still here')  # so that the two don't arrive as one
            vm.wait_for('still here')
            vm.signal(signal.SIGTERM)
            run = vm.wait()
        self.check(run, 128 + signal.SIGTERM, 'killed')

    def test_stop_timeout_ends_a_guest_that_ignores_the_button(self):
        run = self.stopped(DEAF, signal.SIGTERM, options=['--stop-timeout', '1s'])
        self.check(run, 128 + signal.SIGTERM, 'killed')

    def test_timeout_waits_two_seconds_at_most(self):
        self.check(run_linux(READY, '--timeout', '2s', '--stop-timeout', '600s'), 124, 'timeout')

    def test_timeout_gives_the_guest_a_moment_to_power_off(self):
        # Its own power-off within the two seconds of grace; the run still timed out.
        run = self.check(run_linux(BUTTON, '--timeout', '30s'), 124, 'timeout')
        self.assertIn('button pressed', run.text)


if __name__ == '__main__':
    vmmtest.main()
