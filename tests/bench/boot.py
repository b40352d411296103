# SPDX-License-Identifier: Apache-2.0
"""The boot row of tools/bench, run inside `tools/lab --icount`: python3 boot.py COUNT.

Boots the same bzImage, initramfs and command line with vmm and with QEMU's microvm, takes exec to exit, and writes
$LAB_OUT/boot.json. There one instruction is one nanosecond, so seconds are thousands of millions of instructions.
The first run of each is dropped, the minimum of the rest counts.

While the lab waits for the host, as for a file of the shared root, its clock leaps to the next timer. So both
programs run in a root of their own in tmpfs, with all their files.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / 'tools'))
from toolkit import Initramfs  # noqa: E402  pylint: disable=wrong-import-position

VMM = os.path.join(os.environ['VMM_BUILD'], 'src/vmm')
QEMU = '/usr/bin/qemu-system-x86_64'
FIRMWARE = [pathlib.Path('/usr/share/qemu'), pathlib.Path('/usr/share/seabios')]
PLACE = pathlib.Path('/run/bench')
APPEND = 'console=ttyS0 panic=-1 quiet'
# The kernel stamps the line with its uptime; <0> shows it in spite of `quiet`.
INIT = b'''#!/bin/sh
/bin/busybox mount -t devtmpfs dev /dev
echo "<0>user space reached" >/dev/kmsg
/bin/busybox poweroff -f
'''


def install(program):
    """Copies a program and its libraries to the same paths below PLACE."""
    listing = subprocess.run(['ldd', program], check=True, stdout=subprocess.PIPE, text=True).stdout
    for path in [program, *(word for word in listing.split() if word.startswith('/'))]:
        target = PLACE / path.lstrip('/')
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def prepare():
    for name in ('dev', 'proc', 'sys', 'tmp', 'usr/share/qemu'):
        (PLACE / name).mkdir(parents=True, exist_ok=True)
    for name in ('dev', 'proc', 'sys'):
        subprocess.run(['mount', '--rbind', f'/{name}', PLACE / name], check=True)
    initramfs = Initramfs()
    initramfs.directory('/dev')
    initramfs.copy('/bin/busybox', '/bin/busybox')
    initramfs.link('/bin/sh', 'busybox')
    initramfs.file('/init', INIT, 0o755)
    (PLACE / 'initrd').write_bytes(initramfs.compressed())
    kernel = subprocess.run([REPO / 'tools/guest-kernel', 'bzImage'], check=True, stdout=subprocess.PIPE, text=True)
    shutil.copy(kernel.stdout.strip(), PLACE / 'bzImage')
    install(VMM)
    install(QEMU)
    for name in ('bios-microvm.bin', 'linuxboot_dma.bin', 'pvh.bin'):
        shutil.copy(next(path / name for path in FIRMWARE if (path / name).exists()), PLACE / 'usr/share/qemu')


def commands():
    return {
        'vmm': [VMM, 'run', '-k', '/bzImage', '-i', '/initrd', '-m', '256M', '-c', '1',
                '--set', 'kernel.defaults=false', '-a', APPEND],
        'qemu': [QEMU, '-M', 'microvm', '-accel', 'kvm', '-cpu', 'host', '-nodefaults', '-no-user-config',
                 '-display', 'none', '-serial', 'stdio', '-no-reboot', '-m', '256M', '-smp', '1', '-L', '/usr/share/qemu',
                 '-kernel', '/bzImage', '-initrd', '/initrd', '-append', APPEND],
    }


def enter():
    os.chroot(PLACE)
    os.chdir('/')


def measure(argv):
    """(elapsed, elapsed less the guest's uptime at its first line of user space), in seconds."""
    start = time.monotonic_ns()
    ended = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                           preexec_fn=enter)
    elapsed = (time.monotonic_ns() - start) / 1e9
    stamp = re.search(rb'\[ *([0-9]+\.[0-9]+)\] user space reached', ended.stdout)
    if not stamp or ended.returncode:
        sys.exit(f'{argv[0]} ended with {ended.returncode}\n{ended.stdout[-2000:].decode(errors="replace")}')
    return elapsed, elapsed - float(stamp.group(1))


def main():
    count = int(sys.argv[1])
    prepare()
    figures = {}
    for name, argv in commands().items():
        runs = [measure(argv) for _ in range(count + 1)][1:]
        figures[name] = {'elapsed': min(run[0] for run in runs), 'share': min(run[1] for run in runs), 'runs': runs}
        print(f'{name}: ' + ', '.join(f'{elapsed:.3f}' for elapsed, _ in runs), flush=True)
    (pathlib.Path(os.environ['LAB_OUT']) / 'boot.json').write_text(json.dumps(figures), encoding='utf-8')


main()
