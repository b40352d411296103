# SPDX-License-Identifier: Apache-2.0
"""What the tests with real Linux guests share: the kernels, the initramfs, and one call that boots them.

Each case is a few lines of shell that the guest runs as /test. The base initramfs is made once in a
process; the case's archive is put behind it, which Linux unpacks in order.
"""

import atexit
import contextlib
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import vmmtest
from usernet import become_nobody

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / 'tools'))
from programs import program_disk  # noqa: E402  pylint: disable=wrong-import-position
from toolkit import Initramfs  # noqa: E402  pylint: disable=wrong-import-position

LONG = os.environ.get('VMM_TEST_TIER') == 'long'
MODULES = ('evdev', 'button', 'pvpanic-mmio')


def keep_programs():
    """In the lab: copies of what is tested, since a build on the host takes the files from under it."""
    directory = tempfile.mkdtemp(prefix='linuxtest.', dir='/run')
    os.chmod(directory, 0o755)
    os.chmod('/dev/kvm', 0o666)
    vmmtest.VMM = shutil.copy(vmmtest.VMM, directory)
    shutil.copy(f'{vmmtest.GUESTS}/vmm-exit', directory)
    vmmtest.GUESTS = directory


if 'LAB' in os.environ:
    keep_programs()


@functools.cache
def kernels(flavour):
    listing = subprocess.run([REPO / 'tools/guest-kernel', '--flavour', flavour], check=True, stdout=subprocess.PIPE,
                             text=True).stdout
    return dict(line.split(' ', 1) for line in listing.splitlines())


def kernel(kind, flavour='cloud'):
    """Of Debian's kernel: the path of 'bzImage', 'vmlinux' or 'modules', or its 'version'."""
    return kernels(flavour)[kind]


@functools.cache
def programs():
    """Path of the disk image that a guest gets as its last disk and mounts by `mount_programs`."""
    return str(program_disk())


@functools.cache
def base(modules, flavour='cloud'):
    """The archive that is the same for all guests with these modules of that kernel."""
    initramfs = Initramfs()
    for path in ('/dev', '/proc', '/sys', '/tmp', '/root', '/run', '/mnt', '/programs'):
        initramfs.directory(path)
    initramfs.busybox()
    initramfs.copy(REPO / 'tests/linux/guest-init', '/init', executable=True)
    initramfs.copy(f'{vmmtest.GUESTS}/vmm-exit', '/bin/vmm-exit', executable=True)
    initramfs.program('/usr/bin/lscpu')
    initramfs.modules(kernel('modules', flavour), kernel('version', flavour), modules)
    return initramfs


@functools.cache
def base_initramfs():
    return base(MODULES).compressed()


def with_script(script, modules=None, flavour='cloud'):
    """The initramfs whose guest runs script. One with modules of its own is not compressed: that takes the lab, and its
    guest's start, longer than the bytes do."""
    extra = Initramfs()
    extra.file('/test', script.encode() + b'\n')
    return (base(modules, flavour).archive() if modules else base_initramfs()) + extra.archive()


def line(run, word):
    """What follows `word ` on the first line of the console that begins with it."""
    for text in run.text.splitlines():
        if text.startswith(word + ' '):
            return text[len(word) + 1:].strip()
    return None


def block(run, name):
    """The lines of the console between `[NAME` and `NAME]`."""
    lines = run.text.replace('\r', '').splitlines()
    try:
        return lines[lines.index(f'[{name}') + 1:lines.index(f'{name}]')]
    except ValueError:
        return []


@contextlib.contextmanager
def initrd_file(data):
    """Its path, which everybody can read."""
    with tempfile.NamedTemporaryFile(prefix='vmm-initrd.') as file:
        file.write(data)
        file.flush()
        os.chmod(file.name, 0o644)
        yield file.name


@contextlib.contextmanager
def linux_guest(script, *options, image='bzImage', memory='256M', append='', initrd=None, modules=None, ordinary=False,
                flavour='cloud', **named):
    """A running vmmtest.Vmm whose guest runs script; initrd replaces the whole initramfs. ordinary: it is the process of
    a user without rights, and writes no result. flavour: of tools/guest-kernel; the other than cloud needs modules of its
    own."""
    image = kernel(image, flavour)
    if ordinary:
        image = public(image)
        named.update(program=public(vmmtest.VMM), result=False, preexec=become_kvm_user)
    with initrd_file(with_script(script, modules, flavour) if initrd is None else initrd) as path:
        with vmmtest.Vmm('-k', image, '-i', path, '-m', memory, '-a', f'quiet {append}'.strip(), *options, **named) as vm:
            yield vm


@contextlib.contextmanager
def qemu_guest(script, *options, modules):
    """The same under QEMU, with these options of its own."""
    with initrd_file(with_script(script, modules)) as path:
        with vmmtest.Vmm('-no-user-config', '-nodefaults', '-display', 'none',
                         '-M', 'microvm,accel=kvm,pit=off,pic=off,rtc=off', '-cpu', 'host', '-m', '256M',
                         '-serial', 'stdio', '-kernel', kernel('vmlinux'), '-initrd', path,
                         '-append', 'console=ttyS0 quiet', *options,
                         program='qemu-system-x86_64', command=None, result=False) as vm:
            yield vm


def become_kvm_user():
    """Nobody, in the group of /dev/kvm."""
    become_nobody(os.stat('/dev/kvm').st_gid)


@functools.cache
def public_directory():
    directory = tempfile.mkdtemp(prefix='linuxtest.')
    os.chmod(directory, 0o755)
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


@functools.cache
def public(path):
    """A copy that everybody can read: our cache and our build may be nobody else's business."""
    copy = shutil.copy(path, public_directory())
    os.chmod(copy, 0o755)
    return copy


def run_linux(script, *options, **named):
    """The vmmtest.Finished of a guest that gets no input."""
    with linux_guest(script, *options, stdin=subprocess.DEVNULL, **named) as vm:
        return vm.wait()


class LinuxTest(vmmtest.GuestTest):
    """A case with Linux guests.

    In the lab a guest of a guest hangs now and then, and once the lab's own kernel was seen to crash in kvm_amd at such
    a moment: QEMU's software CPU under load. There a test whose guest hung is told in full and done once more; on a
    real CPU it is a failure.
    """

    def _callTestMethod(self, method):
        try:
            method()
            return
        except vmmtest.Hung as hang:
            if 'LAB' not in os.environ:
                raise
            print('# a guest hung in the lab, the test is done once more:', *str(hang).splitlines(), sep='\n# ',
                  flush=True)
        self.doCleanups()
        method()
