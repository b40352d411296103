# SPDX-License-Identifier: Apache-2.0
"""The watchdog under Linux, with Debian's full kernel: its cloud kernel has no driver. Runs in group dev."""

import json

import vmmtest
from guestshell import Shell, ShellTest, scratch_directory
from linuxtest import LinuxTest, LONG

DEVICE = 'watchdog0'
MODULES = ('i6300esb',)
CARD_RESET = 0x20  # WDIOF_CARDRESET of linux/watchdog.h
SHORT = 2  # seconds
AMPLE = 12  # half of it is what a guest has that is fed when the first of the two timers has run out
REBINDS = 100 if LONG else 5


def watched(action, *options):
    """A guest whose watchdog does that. On an old AMD's CPU, such as the lab's, the full kernel would look for an AGP
    bridge early and everywhere; half of its boot goes by with that."""
    return Shell('--watchdog', action, *options, modules=MODULES, with_programs=False, flavour='full',
                 append='pci=noearly')


def arm(timeout):
    """The command that opens the watchdog, which starts it, as descriptor 3 of the guest's shell."""
    return f'rmmod i6300esb && insmod /modules/i6300esb.ko heartbeat={timeout} && exec 3>/dev/watchdog'


def counter(guest, name):
    return guest.stats(DEVICE)[name]


def wait_for_first_stage(guest, number):
    """The first timer has run out for that many times since the VM's start; half of the timeout each."""
    vmmtest.wait_until(lambda: counter(guest, 'first_stages') >= number, f'first stage {number}')


def wait_for_event(guest, name):
    """The first of that name."""
    def found():
        return [event for event in guest.place.events(guest.NAME) if event['event'] == name]

    return vmmtest.wait_until(found, f'event {name}')[0]


class Watchdog(LinuxTest):
    """What happens to a guest that feeds its watchdog, and to one that does not."""

    def test_fed_guest_lives_and_a_starved_one_is_reset(self):
        with watched('reset', '--on-reboot', 'restart') as guest:
            self.assertEqual(guest.number('cat /sys/class/watchdog/watchdog0/bootstatus'), 0)
            guest.sh(arm(AMPLE))
            for number in (1, 2, 3):  # one and a half times the timeout
                wait_for_first_stage(guest, number)
                guest.sh('echo >&3')
            stats = guest.stats(DEVICE)
            self.assertEqual((stats['first_stages'], stats['expirations']), (3, 0))
            self.assertEqual(wait_for_event(guest, 'watchdog')['action'], 'reset')
            reset = wait_for_event(guest, 'reset')
            self.assertEqual((reset['by'], reset['number']), ('watchdog', 1))
            self.assertEqual(counter(guest, 'expirations'), 1)
            guest.vm.wait_for('[shell]')
            self.assertEqual(guest.number('cat /sys/class/watchdog/watchdog0/bootstatus'), CARD_RESET)
            self.check(guest.power_off(), 0, 'poweroff')

    def ends(self, action):
        """A guest that never feeds it ends the run, and the last events say why."""
        with scratch_directory() as place, watched(action, '--events', f'{place}/events') as guest:
            guest.start(arm(SHORT))
            self.check(guest.vm.wait(), 255, 'watchdog')
            with open(f'{place}/events', encoding='ascii') as file:
                events = [json.loads(line) for line in file]
        self.assertEqual([event['event'] for event in events[-2:]], ['watchdog', 'ended'], events)
        self.assertEqual(events[-2]['action'], action)
        self.assertEqual((events[-1]['reason'], events[-1]['exit_code']), ('watchdog', 255))

    def test_reset_ends_the_run_without_on_reboot_restart(self):
        self.ends('reset')

    if LONG:  # each boots the full kernel; tests/guest/test_watchdog.py shows them with a firmware guest
        def test_poweroff_ends_the_run(self):
            self.ends('poweroff')

        def test_pause_keeps_the_guest_as_it_was(self):
            with watched('pause') as guest:
                guest.start(arm(SHORT))
                self.assertEqual(wait_for_event(guest, 'watchdog')['action'], 'pause')
                wait_for_event(guest, 'paused')
                self.assertEqual(guest.place.json(guest.NAME, '/v1/info')['state'], 'paused')
                self.assertEqual(counter(guest, 'expirations'), 1)
                guest.ctl('resume')
                guest.finish()
                self.assertEqual(guest.sh('echo lives'), 'lives')
                self.check(guest.power_off(), 0, 'poweroff')


class WatchdogDriver(ShellTest):
    """A watchdog that only tells. It is on PCI even where everything else is not."""

    DRIVER = '"/sys/bus/pci/drivers/i6300ESB timer"'

    def boot(self):
        return watched('none', '--transport', 'mmio')

    def counts(self):
        """Whether the device says so: bit 1 of the register WDT_LOCK, at 0x68 of its configuration space."""
        lock = self.guest.number(f'hexdump -s 104 -n 1 -e \'"%u"\' {self.DRIVER}/0000*/config')
        return bool(lock & 2)

    def test_closed_without_magic_it_expires_and_the_guest_lives(self):
        before = counter(self.guest, 'expirations')
        self.guest.sh(arm(SHORT))
        self.guest.sh('exec 3>&-')
        vmmtest.wait_until(lambda: counter(self.guest, 'expirations') > before, 'the expiration')
        self.assertEqual(wait_for_event(self.guest, 'watchdog')['action'], 'none')
        self.assertEqual(self.guest.sh('echo lives'), 'lives')
        self.assertTrue(self.counts(), 'the guest had not turned it off')

    def test_magic_close_disarms(self):
        self.guest.sh(arm(SHORT))
        self.assertTrue(self.counts())
        self.guest.sh('printf V >&3; exec 3>&-')
        self.assertFalse(self.counts())
        before = self.guest.stats(DEVICE)
        self.guest.sh(f'sleep {SHORT + 1}')  # that nothing happens takes time to see
        self.assertEqual(self.guest.stats(DEVICE), before)

    def test_driver_comes_and_goes(self):
        self.guest.sh(f'''
            cd {self.DRIVER}
            name=$(echo 0000*)
            for i in $(seq {REBINDS}); do
                echo $name > unbind && [ ! -e $name ] && [ ! -e /dev/watchdog ] || return 1
                echo $name > bind && [ -e $name ] && [ -c /dev/watchdog ] || return 2
            done
            cd /''')
        self.guest.sh('exec 3>/dev/watchdog')
        pings = counter(self.guest, 'pings')
        self.guest.sh('for i in 1 2 3; do echo >&3; done')
        self.assertEqual(counter(self.guest, 'pings'), pings + 3)
        self.guest.sh('printf V >&3; exec 3>&-')
        self.assertFalse(self.counts())


if __name__ == '__main__':
    vmmtest.main()
