# SPDX-License-Identifier: Apache-2.0
"""The other devices under Linux: vsock, balloon, rng, console and ports, persistent memory, memory hot-plug; watchdog."""

import contextlib
import functools
import hashlib
import math
import os
import random
import re
import select
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
TRANSFER = (20 if LONG else 2) * MIB  # what is on the way at most is well below half of it
CHUNK = 64 << 10
REBINDS = 100 if LONG else 5
HOST_PORT, ECHO_PORT, SUM_PORT = 5000, 6000, 6001


def md5(data):
    return hashlib.md5(data).hexdigest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def pattern(size, seed=0):
    """Bytes that are like nothing else and the same each time."""
    return random.Random(seed).randbytes(size)


STEP = 4099  # bytes that the data of one connection is ahead of that of the one before


@functools.cache
def material():
    """What all connections carry, each from another place on: twice, so that none needs a copy of its own."""
    return memoryview(pattern(TRANSFER) * 2)


def data_of(number):
    """The TRANSFER bytes of connection `number`."""
    return material()[number * STEP:number * STEP + TRANSFER]


def send_data_of(number, first=''):
    """The guest's command that makes the same of the file /tmp/material, and sends it; connected, it does `first`."""
    ahead = f'$(({number} * {STEP}))'
    return f'{{ {first} tail -c +$(({ahead} + 1)) /tmp/material; head -c {ahead} /tmp/material; }} | ' \
           f'socat -b {CHUNK} -u - VSOCK-CONNECT:2:{HOST_PORT}'


def exchange(connection, data=b'', enough=math.inf):
    """Sends data and reads at the same time, until enough has come or the other side has no more: how much was sent and
    how much came, and the SHA-256 of that."""
    sent, came, digest = 0, 0, hashlib.sha256()
    while came < enough:
        wants = [connection] if sent < len(data) else []
        readable, writable, _ = select.select([connection], wants, [], vmmtest.PATIENCE)
        if not readable and not writable:
            raise AssertionError(f'stuck after {sent} bytes there and {came} back')
        if writable:
            sent += connection.send(data[sent:sent + CHUNK])
        if readable:
            part = connection.recv(CHUNK)
            if not part:
                break
            came += len(part)
            digest.update(part)
    return sent, came, digest.hexdigest()


def read_all(connection):
    data = bytearray()
    while part := connection.recv(CHUNK):
        data += part
    return bytes(data)


def send_file(path, ending=''):
    return f'socat -u FILE:{path} VSOCK-CONNECT:2:{HOST_PORT}{ending}'


def begin(work, arguments):
    """Calls work(argument) for each in a thread of its own; a function that waits for what they return."""
    results = {}

    def one(number, argument):
        try:
            results[number] = work(argument)
        except BaseException as error:  # pylint: disable=broad-except
            results[number] = error

    threads = [threading.Thread(target=one, args=pair, daemon=True) for pair in enumerate(arguments)]
    for thread in threads:
        thread.start()

    def finish():
        for thread in threads:
            thread.join(vmmtest.PATIENCE)
        return [results.get(number, 'hangs') for number in range(len(threads))]

    return finish


def at_once(work, arguments):
    return begin(work, arguments)()


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

    def listen_in_guest(self, port=ECHO_PORT, program='cat', linger=1):
        """Has the guest give what comes on that port to a program, and send back what that says; for as long as the
        guest lives. linger: seconds that are left to the program once the host has ended."""
        if self.connects(port):
            return
        self.guest.sh(f'socat -b {CHUNK} -t {linger} VSOCK-LISTEN:{port},fork,backlog=128 EXEC:{program} '
                      '>/tmp/listen.log 2>&1 &')
        vmmtest.wait_until(lambda: self.connects(port), 'the guest listens')

    def connects(self, port):
        """Whether the guest listens there; its program has seen the end when this returns."""
        connection = self.guest and self.connect(port)
        if connection:
            self.end(connection)
        return bool(connection)

    def end(self, connection):
        """Tells the guest that no more comes; what it still had to say."""
        with connection:
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def echo(self, data):
        """Sends data to the guest; the SHA-256 of what came back."""
        connection = self.connect()
        _, _, digest = exchange(connection, data, len(data))
        self.assertEqual(self.end(connection), b'')
        return digest

    def check_echo(self, size=4096, seed=0):
        data = pattern(size, seed)
        self.assertEqual(self.echo(data), sha256(data))

    def programs_in_guest(self):
        """How many the echo has started that have not ended."""
        return self.guest.number('pidof cat | wc -w')

    def give_material(self, server):
        """Has the guest keep what send_data_of() needs."""
        self.guest.start(f'socat -b {CHUNK} -u VSOCK-CONNECT:2:{HOST_PORT} CREATE:/tmp/material && '
                         'sha256sum /tmp/material')
        with accept(server) as connection:
            connection.sendall(data_of(0))
        self.assertEqual(self.guest.finish().split()[:1], [sha256(data_of(0))])

    def test_vsock_nobody_listens(self):
        self.assertIsNone(self.guest and self.connect(ECHO_PORT + 100))
        self.guest.sh(f'socat -u FILE:/init VSOCK-CONNECT:2:{HOST_PORT + 1}', rc=1)

    def test_vsock_both_ways_at_once(self):
        """The host has all connections before it reads or writes on the first of them."""
        numbers = range(CONNECTIONS)
        sums = [sha256(data_of(number)) for number in numbers]
        self.listen_in_guest(SUM_PORT, 'sha256sum', linger=300)

        def send(connection, data):
            for at in range(0, len(data), CHUNK):  # sendall() has one time limit for all that it is given
                connection.sendall(data[at:at + CHUNK])
            return self.end(connection).decode()

        def receive(connection):
            with connection:
                return exchange(connection)[1:]

        with listener(f'{self.uds()}_{HOST_PORT}') as server:
            self.give_material(server)
            before = self.guest.stats('vsock0')
            there = [self.connect(SUM_PORT) for _ in numbers]
            # Linux gives a connection 2 s, which is little once all the others are busy. They look for the file once a
            # second, since nothing else tells 50 programs to begin, and looking more often would keep the guest busy.
            senders = send_data_of("i", first='until [ -e /tmp/go ]; do sleep 1; done;')
            self.guest.sh(f'''rm -f /tmp/go; (
                for i in $(seq 0 {CONNECTIONS - 1}); do
                    ({senders} || echo failed $i) &
                done; wait) >/tmp/sent 2>&1 &
                senders=$!''')
            back = [accept(server) for _ in numbers]
            self.guest.sh('touch /tmp/go')
            results = at_once(lambda call: call(), [
                *(functools.partial(send, there[number], data_of(number)) for number in numbers),
                *(functools.partial(receive, connection) for connection in back)])
            self.assertEqual(self.guest.sh('wait $senders; cat /tmp/sent'), '')
        answers, received = results[:CONNECTIONS], results[CONNECTIONS:]
        self.assertEqual(answers, [f'{digest}  -\n' for digest in sums])
        self.assertEqual(sorted(map(str, received)), sorted(str((TRANSFER, digest)) for digest in sums))
        after = self.guest.stats('vsock0')
        self.assertEqual(after['rx_bytes'] - before['rx_bytes'], CONNECTIONS * TRANSFER)
        self.assertEqual(after['tx_bytes'] - before['tx_bytes'], CONNECTIONS * TRANSFER + sum(map(len, answers)))

    def test_vsock_host_leaves_in_the_middle(self):
        """Half of the connections of the host, while as much is on its way back; the guest's programs for those come to
        their end, the others go on."""
        self.listen_in_guest()
        vmmtest.wait_until(lambda: self.programs_in_guest() == 0, 'the end of earlier programs')
        connections = [self.connect() for _ in range(CONNECTIONS)]
        have_left = threading.Event()

        def leave(connection):
            with connection:
                sent, came, _ = exchange(connection, data_of(0), TRANSFER // 2)
                return came < sent

        def stay(pair):
            number, connection = pair
            result = exchange(connection, data_of(number), TRANSFER)
            have_left.wait(vmmtest.PATIENCE)
            return *result, self.end(connection)

        staying = list(enumerate(connections))[1::2]
        results = begin(stay, staying)
        self.assertEqual(at_once(leave, connections[::2]), [True] * (CONNECTIONS - len(staying)))
        vmmtest.wait_until(lambda: self.programs_in_guest() <= len(staying), 'the guest to see who left')
        self.assertEqual(self.programs_in_guest(), len(staying))
        have_left.set()
        self.assertEqual(results(), [(TRANSFER, TRANSFER, sha256(data_of(number)), b'') for number, _ in staying])
        vmmtest.wait_until(lambda: self.programs_in_guest() == 0, 'the guest to see the others end')
        self.check_echo(TRANSFER)

    def test_vsock_host_leaves_senders_in_the_middle(self):
        """As above, of the connections of the guest."""
        self.assertTrue(self.guest)

        def leave(connection):
            with connection:
                exchange(connection, enough=TRANSFER // 2)

        def stay(connection):
            with connection:
                return exchange(connection)[2]

        with listener(f'{self.uds()}_{HOST_PORT}') as server:
            self.give_material(server)
            self.guest.start(f'''(
                for i in $(seq 0 {CONNECTIONS - 1}); do
                    ({send_data_of("i")} 2>/dev/null; echo ended $i $?) &
                done; wait) 2>/dev/null''')
            connections = [accept(server) for _ in range(CONNECTIONS)]
            staying = connections[1::2]
            sums = begin(stay, staying)
            at_once(leave, connections[::2])
            sums = sums()
            out = self.guest.finish()
            ended = [tuple(map(int, pair)) for pair in re.findall(r'ended (\d+) (\d+)', out)]
            self.assertEqual(sorted(number for number, _ in ended), list(range(CONNECTIONS)), out)
            whole = [number for number, code in ended if code == 0]
            self.assertEqual(len(whole), len(staying), out)
            self.assertEqual(sorted(map(str, sums)), sorted(sha256(data_of(number)) for number in whole))
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

    def memory(self, kind='MemTotal'):
        """Bytes that the guest's Linux says it has."""
        return self.guest.number(f"sed -n 's/^{kind}: *\\([0-9]*\\).*/\\1/p' /proc/meminfo") << 10

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
        self.assertTrue(self.guest)
        self.look_at_mem(512 * MIB)

    def look_at_pmem(self):
        """Its block device comes some time after the driver."""
        self.guest.sh('until [ -b /dev/pmem0 ]; do usleep 50000; done; dd if=/dev/pmem0 of=/dev/null bs=4096 count=16')

    def look_at_mem(self, size=128 * MIB):
        """The guest takes it, uses it and gives it back."""
        def set_size(wanted):
            self.guest.ctl('device', 'mem0', 'set', f'size={wanted >> 20}M')
            vmmtest.wait_until(lambda: self.guest.stats('mem0')['plugged_bytes'] == wanted, f'{wanted} bytes plugged')

        before = self.memory()
        set_size(size)
        vmmtest.wait_until(lambda: self.memory() >= before + size - 12 * MIB, 'the plugged memory')
        # Linux takes movable pages from there first.
        sums = self.guest.sh(f'''
            mount -t tmpfs tmpfs /mnt && head -c {8 * MIB} /dev/urandom | tee /mnt/large | sha256sum
            sha256sum < /mnt/large && umount /mnt''').splitlines()
        self.assertEqual((len(sums), len(set(sums))), (2, 1), sums)
        set_size(0)
        vmmtest.wait_until(lambda: self.memory() <= before, 'the memory to be unplugged')

    def look_at_balloon(self, size=32 * MIB):
        """The guest gives up that much, its host gets it, and the guest has it back."""
        def change(wanted, counter):
            before = self.guest.stats('balloon0')
            self.guest.ctl('device', 'balloon0', 'set', f'size={wanted >> 20}M')
            vmmtest.wait_until(lambda: self.guest.stats('balloon0')['actual_bytes'] == wanted, f'{wanted} bytes in it')
            after = self.guest.stats('balloon0')
            self.assertEqual(after[counter] - before[counter], size >> 12)

        def given():
            """Bytes that the host has from balloons: free pages that Linux reports meanwhile go back as well."""
            stats = self.guest.stats('balloon0')
            return stats['discarded_bytes'] - stats['reported_bytes']

        free, before = self.memory('MemFree'), given()
        change(size, 'inflated_pages')
        vmmtest.wait_until(lambda: given() >= before + size, 'the host to have what is in the balloon')
        self.assertLess(self.memory('MemFree'), free - size // 2)
        change(0, 'deflated_pages')
        vmmtest.wait_until(lambda: self.memory('MemFree') > free - size // 2, 'what was in the balloon')

    def test_drivers_come_and_go(self):
        self.listen_in_guest()
        for driver, check in (('virtio_rng', self.look_at_rng),
                              ('virtio_balloon', self.look_at_balloon), ('vmw_vsock_virtio_transport', self.check_echo),
                              ('virtio_pmem', self.look_at_pmem),
                              ('virtio_mem', self.look_at_mem)):
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
        self.assertEqual(came, [sha256(data) for data in datas])


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
