# SPDX-License-Identifier: Apache-2.0
"""What the rows of tools/bench share that have a polling guest at CPL 3, under vmm and under QEMU."""

import contextlib
import os
import pathlib
import subprocess
import time

from toolkit import ToolError


def thread_times(pid):
    """Nanoseconds on a processor of each thread of a process, with its name."""
    times = {}
    for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
        with contextlib.suppress(OSError):
            name = (task / 'comm').read_text(encoding='ascii', errors='replace').strip()
            times[task.name] = name, int((task / 'schedstat').read_text(encoding='ascii').split()[0])
    return times


def is_vcpu(name):
    return name.startswith('vcpu/') or 'CPU' in name


def wait_for(stream, word):
    while word not in (line := stream.readline()):
        if not line:
            raise ToolError(f'the guest of the bench ended before "{word.decode()}"')


def run_guest(argv, requests):
    """(I/O CPU in us a request, requests a second) of one run of a guest that says "begin" and "end"."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            output = os.fdopen(os.dup(process.stdout.fileno()), 'rb')
            wait_for(output, b'begin')
            before, start = thread_times(process.pid), time.perf_counter()
            process.stdin.write(b'g')
            line = output.readline()
            seconds = time.perf_counter() - start
            after = thread_times(process.pid)
            if not line.startswith(b'end'):
                raise ToolError(f'the guest of the bench said {line!r}')
            process.stdin.write(b'q')
            if process.wait(60) not in (0, 1):  # QEMU's exit port gives 2N+1
                raise ToolError(f'{argv[0]} ended with {process.returncode}')
        finally:
            process.kill()
    used = sum(time - before.get(task, (name, 0))[1] for task, (name, time) in after.items() if not is_vcpu(name))
    return used / requests / 1000, requests / seconds


def vmm_argv(vmm, guest, words, *options):
    return [str(vmm), 'run', '-k', str(guest), '-m', '64', '-c', '1', *options, '-a', words]


def qemu_argv(guest, words, *options):
    return ['qemu-system-x86_64', '-enable-kvm', '-cpu', 'host,-arch-capabilities', '-M', 'q35', '-m', '64',
            '-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio', '-kernel', str(guest), '-append', words,
            *options, '-device', 'isa-debug-exit,iobase=0xf4,iosize=4']
