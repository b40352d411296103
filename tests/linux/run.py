#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one group of Linux tests where Linux guests can run, and says where that is.

usage: tests/linux/run.py GROUP [TEST...]      (tests/linux/run.py --list names the groups)

On a host whose CPU has VT-x or AMD-V and that has /dev/kvm: right here. Else in tools/lab: Debian's kernel with
kvm_amd under QEMU's software CPU. Environment as for tests/lib/vmmtest.py.
"""

import itertools
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parents[1]
sys.path.insert(0, str(REPO / 'tools'))
import programs  # noqa: E402  pylint: disable=wrong-import-position
import toolkit  # noqa: E402  pylint: disable=wrong-import-position

LAB_FAILED = 99  # tools/lab: no result
TAP_RESULT = re.compile(r'(ok|not ok) [0-9]+ - (\S+)(.*)')

# group: what it shows, and the lab's memory. One group is one boot of the lab.
GROUPS = {
    'boot': ("Debian's kernel as bzImage and ELF, CPU counts, memory sizes, kernel log", '8G'),
    'exit': ('exit codes and --result: power-off, reboot, exit port, panic, signals, timeouts', '3G'),
    'run': ('console, standard input, initrd, command line, reset in place', '3G'),
    'blk': ('disks: file systems, fio, discard, resize, faults, pci and mmio, both rings, both engines', '4G'),
    'net': ('network cards: taps, offloads, queues, a wire between VMs and to QEMU, passt, faults, the same matrix', '4G'),
    'dev': ('vsock, balloon, rng, console, persistent memory, memory hot-plug, watchdog', '4G'),
}
DEVICES = ('blk', 'net', 'dev')  # groups whose guests have the disk of programs
FULL_KERNEL = ('dev',)  # and those with guests that have Debian's full kernel


def main():
    words = sys.argv[1:]
    if words == ['--list']:
        for name, (what, _) in GROUPS.items():
            print(f'{name:<10}  {what}')
        return 0
    if not words or words[0] not in GROUPS:
        print(__doc__, file=sys.stderr)
        return 2
    group, rest = words[0], words[1:]
    tests = [sys.executable, '-B', str(HERE / f'test_{group}.py'), *rest]
    kvm = toolkit.host_kvm()
    os.environ['PYTHONPATH'] = f'{REPO}/tests/lib:{HERE}'
    os.environ.setdefault('VMM_TEST_PATIENCE', '400')
    if kvm == 'hardware' and os.access('/dev/kvm', os.R_OK | os.W_OK):
        toolkit.say(f"linux tests, group {group}: on this host's own KVM")
        os.execv(tests[0], tests)
    why = {'none': 'this host has no /dev/kvm', 'software': "this host's KVM is software and cannot run Linux",
           'hardware': 'this user may not open /dev/kvm'}[kvm]
    toolkit.say(f'linux tests, group {group}: in tools/lab, since {why}')
    # While the cache is the host's: a lab forgets what it writes.
    if group in DEVICES:
        programs.program_disk()
    if group in FULL_KERNEL:
        full_kernel()
    if os.geteuid() != 0 and not any(os.access(f'{place}/sudo', os.X_OK) for place in os.environ['PATH'].split(':')):
        print(f'1..0 # SKIP {why}, and the lab needs root')
        return 0
    lab = [str(REPO / 'tools/lab'), '--silence', '90', '--mem', GROUPS[group][1], '--env', 'PYTHONPATH',
           '--timeout', '3h' if os.environ.get('VMM_TEST_TIER') == 'long' else '40m', '--', *tests]
    return run_in_labs(group, lab)


def full_kernel():
    """Gets it if it is not there; what that takes is shown."""
    if subprocess.run([REPO / 'tools/guest-kernel', '--flavour', 'full'], check=False,
                      stdout=subprocess.DEVNULL).returncode:
        raise toolkit.ToolError("no full kernel for the lab's guests (see above)")


def run_in_labs(group, lab):
    """A lab that crashes or freezes, as QEMU's software SVM does now and then, is followed by another one for the
    tests that have no result yet, as long as each brings at least one. Prints the results as one TAP report."""
    results, done, idle = [], [], 0
    while True:
        os.environ['VMM_TEST_DONE'] = ' '.join(done)
        code, output = listen(lab)
        found = [line for line in output if TAP_RESULT.match(line)]
        done += [TAP_RESULT.match(line).group(2) for line in found]
        results += [line for line in output if not line.startswith('1..')]
        idle = 0 if found else idle + 1
        if code != LAB_FAILED or idle == 3:
            break
        toolkit.say(f'linux tests, group {group}: the lab failed after {len(found)} tests; a new one for the others')
    numbers = itertools.count(1)
    print(f'1..{len(done)}')
    for line in results:
        match = TAP_RESULT.match(line)
        print(f'{match.group(1)} {next(numbers)} - {match.group(2)}{match.group(3)}' if match else line)
    return code


def listen(argv):
    """(exit code, lines of output); the lines are shown on stderr as they come, since a failed run's are no TAP."""
    output = []
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors='replace') as child:
        for line in child.stdout:
            output.append(line.rstrip('\n'))
            print(output[-1], file=sys.stderr, flush=True)
    return child.returncode, output


toolkit.main_guard(main)
