# SPDX-License-Identifier: Apache-2.0
"""The block rows of tools/bench: a guest that polls its virtio disk, under vmm and under QEMU, the same file."""

import os
import statistics
import subprocess
import sys
import tempfile

from bench_guest import qemu_argv, run_guest, vmm_argv

IMAGE_MIB = 256
CASES = [('read', 1, 50_000), ('write', 1, 20_000), ('read', 32, 400_000), ('write', 32, 100_000)]


def vmm_disk(image):
    return ('--disk', f'{image},lock=off', '--iothreads', '1,poll=50us')


def qemu_disk(image):
    """Its I/O thread polls for 32 us by default."""
    return ('-object', 'iothread,id=io', '-drive', f'if=none,id=d,format=raw,file={image},aio=io_uring,cache=writeback',
            '-device', 'virtio-blk-pci,drive=d,iothread=io,disable-legacy=on,num-queues=1')


def plain(program, image, kind, depth, requests):
    """Requests a second of a plain io_uring program."""
    out = subprocess.run([program, image, kind, str(depth), str(requests)], check=True, stdout=subprocess.PIPE).stdout
    return requests / float(out)


def plain_beside(*args):
    """The same while a processor is busy, as the guest's is."""
    with subprocess.Popen([sys.executable, '-c', 'while True: pass']) as spinner:
        try:
            return plain(*args)
        finally:
            spinner.kill()


def measure(vmm, guest, program, count):
    """For each case the medians of alternating runs: {case: (vmm's I/O CPU and rate, QEMU's, the plain program's rate alone and
    beside a busy processor)}."""
    figures = {}
    with tempfile.NamedTemporaryFile(prefix='vmm-bench.', dir='/var/tmp') as image:
        image.write(os.urandom(1 << 20) * IMAGE_MIB)  # in the page cache, all blocks allocated
        image.flush()
        os.fsync(image.fileno())
        for kind, depth, requests in CASES:
            words = f'depth={depth} write={int(kind == "write")} requests={requests}'
            rows = []
            for turn in range(count + 1):
                row = (*run_guest(vmm_argv(vmm, guest, words, *vmm_disk(image.name)), requests),
                       *run_guest(qemu_argv(guest, words, *qemu_disk(image.name)), requests),
                       plain(program, image.name, kind, depth, requests),
                       plain_beside(program, image.name, kind, depth, requests))
                if turn:  # the first one warms the caches
                    rows.append(row)
            figures[kind, depth] = [statistics.median(column) for column in zip(*rows)]
    return figures
