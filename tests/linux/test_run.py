# SPDX-License-Identifier: Apache-2.0
"""Console, standard input, initrd, command line and reset in place, with Linux guests."""

import subprocess
import time

import vmmtest
from controltest import Place, receive_until, request
from linuxtest import LinuxTest, LONG, base_initramfs, block, line, linux_guest, run_linux, with_script
from toolkit import Initramfs

COMMAND_LINE_LIMIT = 2047  # COMMAND_LINE_SIZE of x86 without the final 0


class Console(LinuxTest):
    """What goes through ttyS0 arrives, all of it and in order."""

    def test_output_is_intact(self):
        lines = 20000 if LONG else 4000
        run = run_linux(f'echo "[seq"; seq 1 {lines}; echo "seq]"')
        self.check(run, 0, 'poweroff')
        self.assertEqual(block(run, 'seq'), [str(number) for number in range(1, lines + 1)])

    def test_piped_input_reaches_the_guest_with_its_end(self):
        text = ''.join(f'line {number} of what the host pipes in\n' for number in range(600 if LONG else 120))
        script = 'stty -echo; echo ready; cat > /tmp/in; echo "got $(wc -c < /tmp/in)"; echo "sum $(md5sum < /tmp/in)"'
        expected = subprocess.run(['md5sum'], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout.decode()
        with linux_guest(script) as vm:
            vm.wait_for('ready')
            vm.send(text.encode())
            vm.close_stdin()
            run = vm.wait()
        self.check(run, 0, 'poweroff')
        self.assertEqual(line(run, 'got'), str(len(text)), str(run))
        self.assertEqual(line(run, 'sum'), expected.strip(), str(run))

    def test_input_piped_from_the_start_is_kept_for_the_reader(self):
        text = 'typed before anybody listened\n'
        with linux_guest('read -r line; echo "read $line"; read -r line || echo "end reached"') as vm:
            vm.send(text.encode())
            vm.close_stdin()
            run = vm.wait()
        self.check(run, 0, 'poweroff')
        self.assertIn('read ' + text.strip(), run.text)
        self.assertIn('end reached', run.text)


class Initrd(LinuxTest):
    """The initrd reaches the guest to its last byte."""

    def test_odd_size_keeps_the_last_byte(self):
        content = b'x' * 4094 + b'END'
        last = Initramfs()
        last.file('/zz', content)
        # Cut right behind the file's data, so that the last byte of the initrd is the last of the file.
        archive = last.archive()
        archive = archive[:archive.index(content) + len(content)]
        initrd = with_script('echo "size $(wc -c < /zz)"; echo "tail $(tail -c 3 /zz)"')
        initrd += bytes(-len(initrd) % 4) + archive
        self.assertEqual(len(initrd) % 2, 1)
        run = run_linux('', initrd=initrd)
        self.check(run, 0, 'poweroff')
        self.assertEqual((line(run, 'size'), line(run, 'tail')), (str(len(content)), 'END'), str(run))

    def test_large_initrd(self):
        blob = Initramfs()
        blob.file('/blob', bytes(range(256)) * (40 << 12))
        run = run_linux('', memory='512M', initrd=base_initramfs() + self.script_and(blob))
        self.check(run, 0, 'poweroff')
        expected = subprocess.run(['md5sum'], input=bytes(range(256)) * (40 << 12), stdout=subprocess.PIPE,
                                  check=True).stdout.decode()
        self.assertEqual(line(run, 'sum'), expected.strip(), str(run))

    @staticmethod
    def script_and(initramfs):
        initramfs.file('/test', b'echo "sum $(md5sum < /blob)"\n')
        return initramfs.archive()


class CommandLine(LinuxTest):
    """The kernel command line and init's arguments."""

    def test_init_gets_its_arguments_in_order(self):
        run = run_linux('echo "count $#"; for word in "$@"; do echo "argument <$word>"; done',
                                 append='guestword=1 -- one two=2 "three four" -5')
        self.check(run, 0, 'poweroff')
        found = [line[len('argument '):] for line in run.text.replace('\r', '').splitlines()
                 if line.startswith('argument ')]
        self.assertEqual(found, ['<one>', '<two=2>', '<three four>', '<-5>'], str(run))

    def at_length(self, length, image, *options):
        words = 'console=ttyS0 panic=-1 quiet end='
        # `quiet` is put in front by run_guest().
        rest = words.replace(' quiet', '')
        pad = 'p' * (length - len('quiet ') - len(rest))
        return run_linux('echo "cmdline $(cat /proc/cmdline)"', '--set', 'kernel.defaults=false', *options,
                              append=rest + pad, image=image)

    def test_command_line_at_the_limit(self):
        for image, protocol in (('bzImage', 'auto'), ('vmlinux', 'pvh'), ('vmlinux', 'linux64')):
            run = self.at_length(COMMAND_LINE_LIMIT, image, '--set', f'kernel.protocol={protocol}')
            self.check(run, 0, 'poweroff')
            self.assertEqual(len(line(run, 'cmdline')), COMMAND_LINE_LIMIT, str(run))
            self.assertTrue(line(run, 'cmdline').endswith('p'))

    def test_command_line_one_too_long_is_refused(self):
        run = self.at_length(COMMAND_LINE_LIMIT + 1, 'bzImage')
        self.assertEqual(run.rc, 125, str(run))
        self.assertRegex(run.err, r'(?i)command line.*2047|2047.*command line')


class Restart(LinuxTest):
    """--on-reboot restart: reset in place."""

    def test_restarts_in_a_row(self):
        times = 20 if LONG else 5
        script = 'echo "memory $(awk \'/MemTotal/ { print $2 }\' /proc/meminfo)"; echo ready; read -r word; ' \
                 'case $word in again) reboot -f ;; esac; vmm-exit 7'
        with linux_guest(script, '--on-reboot', 'restart', '-c', '2') as vm:
            for _ in range(times):
                vm.wait_for('ready')
                vm.send(b'again\n')
            vm.wait_for('ready')
            vm.send(b'done\n')
            vm.close_stdin()
            run = vm.wait()
        self.check(run, 7, 'exit')
        memory = {line for line in run.text.replace('\r', '').splitlines() if line.startswith('memory ')}
        self.assertEqual(len(memory), 1, f'the machine changed: {memory}')
        self.assertEqual(run.text.count('ready'), times + 1, str(run))


class Pause(LinuxTest):
    """Pause and resume over the control socket."""

    def tick(self, vm):
        """(the host's clock, the guest's uptime and wall clock)."""
        vm.send(b'\n')
        vm.wait_for('uptime ')
        vm.wait_for(' end')
        words = bytes(vm.out).decode().rpartition('uptime ')[2].split()
        return time.monotonic(), float(words[0]), int(words[1]) - time.time()

    @staticmethod
    def ask(sock, what, state):
        request(sock, f'POST /v1/{what} HTTP/1.1\nHost: vm\nContent-Length: 0\n\n')
        receive_until(sock, b'{"state":"%s"}' % state.encode())

    def test_clock_is_right_after_pauses(self):
        script = 'echo ready; while read -r line; do [ "$line" = q ] && break; ' \
                 'echo "uptime $(cut -d" " -f1 /proc/uptime) $(date +%s) end"; done; dmesg > /dev/console; vmm-exit 3'
        with Place() as place, linux_guest(script, '--name', 't', '-c', '2', env=place.env) as vm:
            vm.wait_for('ready')
            first = self.tick(vm)
            with place.connect('t') as sock:
                for _ in range(200 if LONG else 50):
                    self.ask(sock, 'pause', 'paused')
                    self.ask(sock, 'resume', 'running')
                # A long pause is what watchdogs would complain of.
                self.ask(sock, 'pause', 'paused')
                time.sleep(25 if LONG else 12)
                self.ask(sock, 'resume', 'running')
            last = self.tick(vm)
            vm.send(b'q\n')
            run = self.check(vm.wait(), 3, 'exit')
        host, guest = last[0] - first[0], last[1] - first[1]
        self.assertAlmostEqual(guest / host, 1, delta=0.05, msg=f'{first} {last}')
        self.assertLess(abs(last[2] - first[2]), 2, f'the wall clock drifted: {first} {last}')
        for words in ('soft lockup', 'detected stalls', 'clocksource: Marking', 'blocked for more'):
            self.assertFalse(words in run.text, words)


if __name__ == '__main__':
    vmmtest.main()
