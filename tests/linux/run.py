#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one group of Linux tests where Linux guests can run, and says where that is.

usage: tests/linux/run.py GROUP [TEST...]      (tests/linux/run.py --list names the groups)

On a host whose CPU has VT-x or AMD-V and that has /dev/kvm: right here. Else in tools/lab: Debian's kernel with
kvm_amd under QEMU's software CPU. Environment as for tests/lib/vmmtest.py.
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REPO = HERE.parents[1]
sys.path.insert(0, str(REPO / 'tools'))
import toolkit  # noqa: E402  pylint: disable=wrong-import-position

LAB_FAILED = 99  # tools/lab: no result

# group: what it shows, and the lab's memory. One group is one boot of the lab.
GROUPS = {
    'boot': ("Debian's kernel as bzImage and ELF, CPU counts, memory sizes, kernel log", '8G'),
    'exit': ('exit codes and --result: power-off, reboot, exit port, panic, signals, timeouts', '3G'),
    'run': ('console, standard input, initrd, command line, reset in place', '3G'),
}


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
    if os.geteuid() != 0 and not any(os.access(f'{place}/sudo', os.X_OK) for place in os.environ['PATH'].split(':')):
        print(f'1..0 # SKIP {why}, and the lab needs root')
        return 0
    # A case gives up on its guest after VMM_TEST_PATIENCE, and may try once more, so a longer silence is the lab's own.
    lab = [str(REPO / 'tools/lab'), '--silence', '900', '--mem', GROUPS[group][1], '--env', 'PYTHONPATH',
           '--timeout', '3h' if os.environ.get('VMM_TEST_TIER') == 'long' else '25m', '--', *tests]
    code, output = listen(lab)
    if code == LAB_FAILED:
        print('# the lab failed; its output was:', *output, sep='\n# ')
        toolkit.say(f'linux tests, group {group}: the lab failed, trying once more')
        code, output = listen(lab)
    print(*output, sep='\n')
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
