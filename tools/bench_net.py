# SPDX-License-Identifier: Apache-2.0
"""The tap rows of tools/bench: a guest that sends or receives frames of 60 bytes, under vmm and under QEMU's own virtio-net.

Each run has a network namespace with a tap of its own. What the guest sends ends in the host's stack, which knows nobody
for it; what it receives comes from a program that floods the tap.
"""

import contextlib
import os
import statistics
import subprocess
import time

from bench_guest import qemu_argv, run_guest, vmm_argv

SIZE = 60
TAP = 'bench0'
CASES = [('tx', 400_000), ('rx', 400_000)]


@contextlib.contextmanager
def namespace():
    name = f'vmm-bench.{os.getpid()}'
    inside = ['ip', 'netns', 'exec', name]
    subprocess.run(['ip', 'netns', 'add', name], check=True)
    try:
        subprocess.run([*inside, 'ip', 'tuntap', 'add', 'dev', TAP, 'mode', 'tap', 'vnet_hdr'], check=True)
        subprocess.run([*inside, 'ip', 'link', 'set', TAP, 'up'], check=True)
        yield inside
    finally:
        subprocess.run(['ip', 'netns', 'delete', name], check=True)


@contextlib.contextmanager
def flood(inside, program, wanted):
    """Frames to the tap for as long as it lasts, if they are wanted."""
    if not wanted:
        yield
        return
    with subprocess.Popen([*inside, program, TAP, str(SIZE)]) as sender:
        try:
            yield
        finally:
            sender.kill()


def one(inside, argv, program, kind, frames):
    time.sleep(0.5)  # the kernel may hold the tap of a program that has ended a little longer, by its io_uring
    with flood(inside, program, kind == 'rx'):
        return run_guest([*inside, *argv], frames)


def measure(vmm, guest, program, count):
    """For each case the medians of alternating runs: {case: (vmm's cpu, its rate, QEMU's cpu, its rate)}."""
    figures = {}
    with namespace() as inside:
        for kind, frames in CASES:
            words = f'rx={int(kind == "rx")} frames={frames} size={SIZE}'
            ours = vmm_argv(vmm, guest, words, '--net', f'tap={TAP}')
            theirs = qemu_argv(guest, words, '-netdev', f'tap,id=n,ifname={TAP},script=no,downscript=no,vhost=off',
                               '-device', 'virtio-net-pci,netdev=n,disable-legacy=on')
            rows = []
            for turn in range(count + 1):
                row = (*one(inside, ours, program, kind, frames), *one(inside, theirs, program, kind, frames))
                if turn:
                    rows.append(row)
            figures[kind] = [statistics.median(column) for column in zip(*rows)]
    return figures
