# SPDX-License-Identifier: Apache-2.0
"""The other devices under Linux: vsock, balloon, rng, console and ports, persistent memory, memory hot-plug; watchdog."""

import contextlib
import hashlib
import os
import re
import socket
import subprocess
import threading

import vmmtest
from guestshell import Shell, ShellTest, scratch_directory
from linuxtest import LinuxTest, LONG, linux_guest
from test_watchdog import Watchdog, WatchdogDriver  # noqa: F401  pylint: disable=unused-import  # run from here

MIB = 1 << 20
MODULES = ('virtio_pci', 'virtio_mmio', 'virtio_blk', 'vmw_vsock_virtio_transport', 'virtio_balloon', 'virtio-rng',
           'virtio_console', 'virtio_pmem', 'nd_pmem', 'virtio_mem')
CONNECTIONS = 50 if LONG else 10
TRANSFER = 20 * MIB if LONG else 256 << 10
REBINDS = 100 if LONG else 5
HOST_PORT, ECHO_PORT = 5000, 6000


def md5(data):
    return hashlib.md5(data).hexdigest()


def pattern(size, seed=0):
    """Bytes that are like nothing else and the same each time."""
    block = b''.join(hashlib.sha256(b'%d.%d' % (seed, number)).digest() for number in range(2048))
    return (block * (size // len(block) + 1))[:size]


def read_all(connection):
    data = bytearray()
    while part := connection.recv(1 << 16):
        data += part
    return bytes(data)


def send_file(path, ending=''):
    return f'socat -u FILE:{path} VSOCK-CONNECT:2:{HOST_PORT}{ending}'


def at_once(work, arguments):
    """Calls work(argument) for each in a thread of its own; what they returned."""
    results = {}

    def one(number, argument):
        try:
            results[number] = work(argument)
        except BaseException as error:  # pylint: disable=broad-except
            results[number] = error

    threads = [threading.Thread(target=one, args=pair, daemon=True) for pair in enumerate(arguments)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(vmmtest.PATIENCE)
    return [results.get(number, 'hangs') for number in range(len(threads))]


@contextlib.contextmanager
def listener(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(128)
        server.settimeout(vmmtest.PATIENCE)
        try:
            yield server
        finally:
            os.unlink(path)


def accept(server):
    connection = server.accept()[0]
    connection.settimeout(vmmtest.PATIENCE)
    return connection


def resident(guest):
    """Bytes of vmm's memory that the host has to keep."""
    with open(f'/proc/{guest.vm.pid}/status', encoding='ascii') as file:
        return int(re.search(r'VmRSS:\s+(\d+) kB', file.read()).group(1)) << 10


def wait_for_resident(guest, condition, what):
    try:
        vmmtest.wait_until(lambda: condition(resident(guest)), what)
    except BaseException:
        print(f'# resident: {resident(guest) >> 20} MiB', guest.stats('balloon0'), flush=True)
        raise


class Vsock:
    """The tests of vsock for a guest whose socket of the host is self.uds()."""

    def uds(self):
        return f'{type(self).place}/vsock'

    def connect(self, port=ECHO_PORT):
        """A connection to the guest, or None if it does not listen."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(vmmtest.PATIENCE)
            connection.connect(self.uds())
            connection.sendall(b'CONNECT %d\n' % port)
            answer = b''
            while not answer.endswith(b'\n'):
                part = connection.recv(1)
                if not part:
                    break
                answer += part
        except OSError as error:
            connection.close()
            raise AssertionError(f'no answer: {self.guest.stats("vsock0")}') from error
        if not answer.startswith(b'OK '):
            connection.close()
            return None
        return connection

    def listen_in_guest(self):
        """Has the guest send back what comes on ECHO_PORT; for as long as it lives."""
        if self.connects():
            return
        self.guest.sh(f'socat -t 300 VSOCK-LISTEN:{ECHO_PORT},fork,backlog=128 EXEC:cat >/tmp/echo.log 2>&1 &')
        vmmtest.wait_until(self.connects, 'the guest listens')

    def connects(self):
        connection = self.guest and self.connect()
        if connection:
            connection.close()
        return bool(connection)

    def echo(self, data):
        """Sends data to the guest; what came back."""
        with self.connect() as connection:
            sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)),
                                      daemon=True)
            sender.start()
            back = read_all(connection)
            sender.join(vmmtest.PATIENCE)
        return back

    def check_echo(self, size=4096, seed=0):
        data = pattern(size, seed)
        self.assertEqual(md5(self.echo(data)), md5(data))

    def test_vsock_nobody_listens(self):
        self.assertIsNone(self.guest and self.connect(ECHO_PORT + 1))
        self.guest.sh(f'socat -u FILE:/init VSOCK-CONNECT:2:{HOST_PORT + 1}', rc=1)

    def test_vsock_host_to_guest(self):
        self.listen_in_guest()
        datas = [pattern(TRANSFER, number) for number in range(CONNECTIONS)]
        self.assertEqual([part if isinstance(part, (str, Exception)) else md5(part) for part in at_once(self.echo, datas)],
                         [md5(data) for data in datas])

    def test_vsock_guest_to_host(self):
        self.assertTrue(self.guest)
        with listener(f'{self.uds()}_{HOST_PORT}') as server:
            self.guest.start(f'''(
                for i in $(seq {CONNECTIONS}); do
                    (head -c {TRANSFER} /dev/urandom > /tmp/sent.$i; {send_file("/tmp/sent.$i")} || echo failed $i) &
                done; wait; md5sum /tmp/sent.*; rm -f /tmp/sent.*)''')
            came = at_once(lambda _: md5(read_all(accept(server))), range(CONNECTIONS))
            sent = self.guest.finish()
        self.assertEqual(sorted(map(str, came)), sorted(re.findall(r'^([0-9a-f]{32}) ', sent, re.M)), sent)
        self.assertNotIn('failed', sent)

    def test_vsock_host_leaves_in_the_middle(self):
        self.listen_in_guest()
        data = pattern(TRANSFER)
        connections = [self.connect() for _ in range(CONNECTIONS)]
        for connection in connections:
            connection.sendall(data[:TRANSFER // 2])
        for connection in connections[::2]:
            connection.close()  # with what the guest sent back still unread

        def rest(connection):
            with connection:
                sender = threading.Thread(target=lambda: (connection.sendall(data[TRANSFER // 2:]),
                                                          connection.shutdown(socket.SHUT_WR)), daemon=True)
                sender.start()
                return md5(read_all(connection))

        if not LONG:  # more than the buffers on the way hold would have blocked above
            self.assertEqual(at_once(rest, connections[1::2]), [md5(data)] * (CONNECTIONS // 2))
        for connection in connections:
            connection.close()
        self.check_echo(TRANSFER)

    def test_vsock_host_stops_listening_in_the_middle(self):
        self.assertTrue(self.guest)
        with listener(f'{self.uds()}_{HOST_PORT}') as server:
            self.guest.start(f'''(
                for i in $(seq {CONNECTIONS}); do
                    (head -c {4 * MIB} /dev/zero | socat -u - VSOCK-CONNECT:2:{HOST_PORT} 2>/dev/null; echo ended $?) &
                done; wait)''')
            connections = [accept(server) for _ in range(CONNECTIONS)]
            for connection in connections[::2]:
                connection.recv(1)
                connection.close()
            sizes = at_once(lambda one: len(read_all(one)), connections[1::2])
            for connection in connections[1::2]:
                connection.close()
            out = self.guest.finish()
            self.assertEqual(sizes, [4 * MIB] * (CONNECTIONS // 2))
            self.assertEqual(out.count('ended'), CONNECTIONS, out)
            self.assertEqual(out.count('ended 0'), CONNECTIONS // 2, out)
            # and takes new ones
            self.guest.start(f'seq 1000 > /tmp/seq; {send_file("/tmp/seq")}')
            with accept(server) as connection:
                self.assertEqual(read_all(connection).split()[-1:], [b'1000'])
            self.guest.finish()


class Devices(Vsock, ShellTest):
    """A guest with one of each."""

    TRANSPORT = 'pci'

    def prepare(self):
        cls = type(self)
        cls.place = self.keep(scratch_directory())
        with open(f'{cls.place}/pmem', 'wb') as file:
            file.truncate(64 * MIB)

    def boot(self):
        place = type(self).place
        return Shell('--vsock', f'7,uds={place}/vsock', '--balloon', '--rng', '--port', f'data,stream=unix={place}/port',
                     '--pmem', f'{place}/pmem', '--transport', self.TRANSPORT, modules=MODULES,
                     append='memhp_default_state=online_movable', memory='512M,max=1536M')

    def vport(self, name):
        """The guest's device of a named port: there is no udev that would make the link."""
        found = self.guest.sh(f'grep -lx {name} /sys/class/virtio-ports/*/name')
        return f'/dev/{found.split("/")[-2]}'

    def memory(self):
        """Bytes that the guest's Linux says it has."""
        return self.guest.number("sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo") << 10

    def look_at_rng(self):
        self.assertRegex(self.guest.sh('cat /sys/class/misc/hw_random/rng_current'), r'^virtio_rng')
        sums = self.guest.sh('for i in 1 2; do dd if=/dev/hwrng bs=512 count=4 2>/dev/null | md5sum; done').splitlines()
        self.assertEqual(len(set(sums)), 2)
        self.assertEqual(self.guest.number('dd if=/dev/hwrng bs=512 count=4 2>/dev/null | wc -c'), 2048)

    def look_at_port(self, size=64 << 10):
        """Both ways, and once more for the next client."""
        port, data = self.vport('data'), pattern(size)
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(vmmtest.PATIENCE)
                client.connect(f'{type(self).place}/port')
                self.guest.start(f'exec 3<>{port}; echo ready >&3; head -c {size} <&3 | tee /tmp/port | md5sum; '
                                 'cat /tmp/port >&3; echo end >&3; exec 3>&-')
                came = b''
                while not came.endswith(b'ready\n'):
                    came += client.recv(1)
                client.sendall(data)
                back = b''
                while len(back) < size + 4:
                    back += client.recv(1 << 16)
                self.assertEqual(self.guest.finish().split()[0], md5(data))
                self.assertEqual(md5(back), md5(data + b'end\n'))

    def test_rng(self):
        chains = self.guest.stats('rng0')['chains']
        self.look_at_rng()
        self.assertGreater(self.guest.stats('rng0')['chains'], chains)

    def test_named_port_carries_both_ways(self):
        self.assertTrue(self.guest)
        self.look_at_port()

    def test_pmem_file_has_what_the_guest_wrote(self):
        self.guest.sh('mkfs.ext4 -q -F -b 4096 /dev/pmem0 && mount -t ext4 -o dax /dev/pmem0 /mnt')
        self.assertRegex(self.guest.sh('grep /mnt /proc/mounts'), 'dax')
        self.guest.sh('seq 1 20000 > /mnt/numbers && sync && umount /mnt')
        found = subprocess.run(['debugfs', '-R', 'cat /numbers', f'{type(self).place}/pmem'], check=True,
                               capture_output=True).stdout
        self.assertEqual(found.decode(), ''.join(f'{number}\n' for number in range(1, 20001)))

    def test_freed_pages_go_back_to_the_host(self):
        self.guest.sh(f'head -c {48 * MIB} /dev/zero > /tmp/large')
        full = resident(self.guest)
        self.guest.sh('rm /tmp/large')
        wait_for_resident(self.guest, lambda now: now < full - 32 * MIB, 'reported pages are gone')

    def test_memory_is_plugged_and_unplugged(self):
        before = self.memory()
        self.guest.ctl('device', 'mem0', 'set', 'size=512M')
        vmmtest.wait_until(lambda: self.memory() >= before + 500 * MIB, 'the plugged memory')
        # Linux takes movable pages from there first.
        self.guest.sh(f'mount -t tmpfs tmpfs /mnt && head -c {32 * MIB} /dev/urandom > /mnt/large && md5sum < /mnt/large && umount /mnt')
        self.guest.ctl('device', 'mem0', 'set', 'size=0')
        vmmtest.wait_until(lambda: self.memory() <= before, 'the memory to be unplugged')

    def look_at_pmem(self):
        """Its block device comes some time after the driver."""
        self.guest.sh('until [ -b /dev/pmem0 ]; do usleep 50000; done; dd if=/dev/pmem0 of=/dev/null bs=4096 count=16')

    def test_drivers_come_and_go(self):
        self.listen_in_guest()
        for driver, check in (('virtio_rng', self.look_at_rng),
                              ('virtio_balloon', lambda: None), ('vmw_vsock_virtio_transport', self.check_echo),
                              ('virtio_pmem', self.look_at_pmem),
                              ('virtio_mem', lambda: None)):
            with self.subTest(driver):
                self.guest.sh(f'''
                    cd /sys/bus/virtio/drivers/{driver}
                    name=$(echo virtio*)
                    for i in $(seq {REBINDS}); do
                        echo $name > unbind && [ ! -e $name ] || return 1
                        echo $name > bind && [ -e $name ] || return 2
                    done
                    cd /''')
                check()
        for name in ('rng0', 'balloon0', 'vsock0', 'pmem0', 'mem0'):
            stats = self.guest.stats(name)
            self.assertGreaterEqual(stats['resets'], REBINDS, name)
            self.assertEqual(stats['guest_errors'], 0, name)

    def test_console_driver_comes_and_goes(self):
        """Its ports come some time after it. When it goes, it breaks its queues before it has done with the last
        control message (virtcons_remove() of Linux 6.1), and complains if it finds one."""
        self.guest.sh(f'''
            cd /sys/bus/virtio/drivers/virtio_console
            name=$(echo virtio*)
            for i in $(seq {REBINDS}); do
                echo $name > unbind && [ ! -e $name ] || return 1
                echo $name > bind && [ -e $name ] || return 2
                until grep -qs . /sys/class/virtio-ports/*/name; do usleep 20000; done
            done
            cd /''')
        self.assertEqual(self.guest.complaints(but='Error adding buffer to queue|Error allocating inbufs'), '')
        self.look_at_port()
        stats = self.guest.stats('console0')
        self.assertGreaterEqual(stats['resets'], REBINDS)
        self.assertEqual(stats['guest_errors'], 0)

    def test_pause_with_open_connections(self):
        self.listen_in_guest()
        datas = [pattern(4 * TRANSFER, number) for number in range(4)]
        came = []
        work = threading.Thread(target=lambda: came.extend(at_once(self.echo, datas)), daemon=True)
        work.start()
        for _ in range(50 if LONG else 5):
            self.guest.ctl('pause')
            self.guest.ctl('resume')
        work.join(vmmtest.PATIENCE)
        self.assertEqual([part if isinstance(part, (str, Exception)) else md5(part) for part in came],
                         [md5(data) for data in datas])


class Mmio(Devices):
    """The same by the other transport."""

    TRANSPORT = 'mmio'


class Balloon(ShellTest):
    """A balloon that reports nothing by itself."""

    def boot(self):
        return Shell('--balloon', 'reporting=off', modules=('virtio_pci', 'virtio_balloon'), with_programs=False,
                     memory='192M')

    def test_balloon_takes_and_gives_back(self):
        self.guest.sh(f'head -c {32 * MIB} /dev/zero > /tmp/large; rm /tmp/large')
        full = resident(self.guest)
        free = "awk '/^MemFree/ {print $2}' /proc/meminfo"
        before = self.guest.number(free)
        self.guest.ctl('device', 'balloon0', 'set', f'size={(before >> 10) - 24}M')  # nearly all that is free
        wait_for_resident(self.guest, lambda now: now < full - 16 * MIB, 'what is in the balloon is gone')
        self.guest.wait_until(f'[ $({free}) -lt {40 << 10} ]', 'a full balloon')
        self.guest.ctl('device', 'balloon0', 'set', 'size=0')
        self.guest.wait_until(f'[ $({free}) -gt {before - (16 << 10)} ]', 'an empty balloon')
        low = resident(self.guest)
        self.guest.sh(f'head -c {32 * MIB} /dev/zero > /tmp/large')
        self.assertGreater(resident(self.guest), low + 24 * MIB)


class Console(LinuxTest):
    """hvc0 in the serial port's place."""

    def test_hvc0_is_the_console(self):
        # Until its driver is loaded the guest has no console, and /init none of its files.
        script = '''load_all
            until [ -c /dev/hvc0 ] && (: </dev/hvc0); do usleep 50000; done
            exec </dev/hvc0 >/dev/hvc0 2>&1
            stty -echo
            echo consoles $(cat /sys/class/tty/console/active) end
            read -r word
            echo "got $word"
            i=0; while [ $i -lt 2000 ]; do echo "line $i of many"; i=$((i + 1)); done
            echo said'''
        with linux_guest(script, '--hvc', 'console', modules=('virtio_pci', 'virtio_console')) as vm:
            vm.wait_for('consoles ')
            self.assertEqual(vm.wait_for(' end').strip(), b'hvc0')
            vm.send(b'word\n')
            vm.wait_for('got word')
            lines = vm.wait_for('said').decode().replace('\r', '').splitlines()
            self.assertEqual([line for line in lines if line], [f'line {i} of many' for i in range(2000)])
            self.check(vm.wait(), 0, 'poweroff')


if __name__ == '__main__':
    vmmtest.main()
