# SPDX-License-Identifier: Apache-2.0
"""A running Linux guest that does what a test tells it, and tests that share one such guest."""

import contextlib
import json
import os
import shutil
import tempfile
import time
import unittest

import vmmtest
from controltest import Place
from linuxtest import LinuxTest, linux_guest, programs, public, qemu_guest
from usernet import NOBODY

TROUBLE = 'Call Trace|WARNING:|BUG:|not a head|blocked for more|NETDEV WATCHDOG|virtio.*([Ff]ail|[Ee]rror|[Ii]nvalid|[Bb]ad)'
START = 'load_all\n{mount}\nshell'


class CommandFailed(AssertionError):
    """A command of the guest ended with a code that the test did not want."""


class Shell:
    """A guest with a shell on its console, and the control socket of its VM. Use as a context manager.

    options are those of `vmm run`. with_programs puts the disk of linuxtest.programs() behind the others.
    """

    NAME = 't'

    def __init__(self, *options, **named):
        self._stack = contextlib.ExitStack()
        try:
            self.vm = self._boot(*options, **named)
            self.vm.wait_for('[shell]')
        except BaseException:
            self._stack.close()
            raise

    def _boot(self, *options, modules, with_programs=True, **named):
        self.place = self._stack.enter_context(Place())
        disk, mount = [], ''
        if named.get('ordinary'):
            self.place.give_to(NOBODY)
        if with_programs:
            image = public(programs()) if named.get('ordinary') else programs()
            disk, mount = ['-d', f'{image},ro,serial=programs,id=programs'], 'mount_programs'
        return self._stack.enter_context(linux_guest(
            START.format(mount=mount), '--name', self.NAME, *options, *disk, modules=modules, env=self.place.env,
            **{'image': 'vmlinux', **named}))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def start(self, command):
        """Tells the guest without waiting; finish() does."""
        text = command.replace('\\', '\\\\').replace('\n', '\\n')
        self.vm.send(text.encode() + b'\n')

    def finish(self, rc=0, timeout=vmmtest.PATIENCE):
        """What the command printed. rc is what its exit code must be; None: any."""
        out = self.vm.wait_for('[done ', timeout).decode('utf-8', 'replace').replace('\r', '').strip()
        code = int(self.vm.wait_for(']', timeout))
        if rc is not None and code != rc:
            raise CommandFailed(f'the guest\'s command ended with {code}:\n{out}')
        return out

    def sh(self, command, rc=0, timeout=vmmtest.PATIENCE):
        """Has the guest do something; what it printed, its errors included."""
        self.start(command)
        try:
            return self.finish(rc, timeout)
        except CommandFailed as failure:
            raise CommandFailed(f'{command}\n{failure}') from None

    def number(self, command):
        return int(self.sh(command))

    def wait_until(self, command, what, timeout=vmmtest.PATIENCE):
        """Has the guest try until it works."""
        vmmtest.wait_until(lambda: self.vm.process.poll() is not None or self.sh(f'{command} >/dev/null 2>&1; echo $?') == '0',
                           what, timeout)

    def complaints(self, but='^$'):
        """What the guest's kernel has said about its devices since the last look, but for lines that match."""
        return self.sh(f'dmesg -c | grep -E "{TROUBLE}" | grep -vE "{but}"', rc=None)

    def ctl(self, command, *args, rc=0):
        """`vmm COMMAND t ARGS`; what it printed."""
        done = self.place.vmm(command, self.NAME, *args)
        if done.returncode != rc:
            raise AssertionError(f'vmm {command} {args}: {done}')
        return done.stdout if rc == 0 else done.stderr

    def stats(self, device):
        """Counters of a device."""
        everything = json.loads(self.ctl('stats', '--json'))
        return everything['devices'][device]

    def restart(self):
        """Reboots the guest, whose VM has --on-reboot restart."""
        self.vm.send(b'reboot -f\n')
        self.vm.wait_for('[shell]')

    def power_off(self):
        self.vm.send(b'poweroff -f\n')
        return self.vm.wait()


class QemuShell(Shell):
    """A guest of QEMU's with the same shell, and without a control socket."""

    def _boot(self, *options, modules):
        disk = ['-drive', f'if=none,id=programs,format=raw,readonly=on,file.locking=off,file={programs()}',
                '-device', 'virtio-blk-device,drive=programs,serial=programs']
        return self._stack.enter_context(qemu_guest(START.format(mount='mount_programs'), *options, *disk, modules=modules))


class ShellTest(LinuxTest):
    """Tests that share a guest: booted for the first of them, and again after one that failed.

    A class says in boot() what it boots; self.guest is the Shell, self.directory a place for images that lasts as long.
    """

    _shell = None
    _stack = contextlib.ExitStack()

    def boot(self):
        raise NotImplementedError

    @property
    def guest(self):
        cls = type(self)
        if cls._shell is None:
            cls._stack = contextlib.ExitStack()
            self.prepare()
            start = time.monotonic()
            cls._shell = cls._stack.enter_context(self.boot())
            print(f'# the guest of {cls.__name__} was up after {time.monotonic() - start:.1f} s', flush=True)
        return cls._shell

    def prepare(self):
        """What the class does before a boot; keep() what must end with it."""

    @classmethod
    def keep(cls, manager):
        return cls._stack.enter_context(manager)

    @classmethod
    def drop(cls):
        cls._shell = None
        cls._stack.close()

    @classmethod
    def tearDownClass(cls):
        cls.drop()
        super().tearDownClass()

    def _callTestMethod(self, method):
        def guarded():
            start = time.monotonic()
            try:
                method()
                if self._shell:
                    self.assertEqual(self._shell.complaints(), '', 'the kernel log')
            except unittest.SkipTest:
                raise
            except BaseException:
                self.drop()  # nobody knows what state the guest is in
                raise
            print(f'# {self.id()}: {time.monotonic() - start:.1f} s', flush=True)

        super()._callTestMethod(guarded)


@contextlib.contextmanager
def scratch_directory():
    """A directory for disk images, of the lab's scratch disk if there is one: it takes O_DIRECT."""
    directory = tempfile.mkdtemp(prefix='images.', dir=os.environ.get('LAB_SCRATCH', '/var/tmp'))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
