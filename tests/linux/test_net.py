# SPDX-License-Identifier: Apache-2.0
"""virtio-net under Linux: taps with all their offloads and queues, a wire between two VMs or to QEMU, the network of
an ordinary user; and what breaks in between."""

import contextlib
import hashlib
import itertools
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import unittest
from unittest import mock

import usernet
import vmmtest
from guestshell import QemuShell, Shell, ShellTest, scratch_directory
from linuxtest import LinuxTest, LONG, kernel

MODULES = ('virtio_pci', 'virtio_mmio', 'virtio_blk', 'virtio_net')
REBINDS = 100 if LONG else 10
BLOB = hashlib.sha256(b'blob').digest() * ((8 << 20 if LONG else 1 << 20) // 32)
MAC, OTHER_MAC = '52:54:00:0a:0b:0c', '52:54:00:0a:0b:0d'
# virtio 1.2, 5.1.3: bits of Linux's features file
CSUM, GUEST_TSO4, HOST_TSO4, CTRL_VQ, MQ = 0, 7, 11, 17, 22


def need_root():
    if os.geteuid() != 0:
        raise unittest.SkipTest('only root can make taps')


@contextlib.contextmanager
def tap(number, address, *flags):
    """A tap with an address of the host's; its name."""
    need_root()
    name = f'vt{os.getpid()}n{number}'
    subprocess.run(['modprobe', '-q', 'tun'], check=False)
    subprocess.run(['ip', 'tuntap', 'add', 'dev', name, 'mode', 'tap', *flags], check=True)
    subprocess.run(['ip', 'address', 'add', f'{address}/24', 'dev', name], check=True)
    subprocess.run(['ip', 'link', 'set', name, 'up'], check=True)
    try:
        yield name
    finally:
        subprocess.run(['ip', 'link', 'delete', name], check=False, stderr=subprocess.DEVNULL)


def sha(blob):
    return hashlib.sha256(blob).hexdigest()


def read_all(sock):
    """Until its other side has no more."""
    pieces = []
    while data := sock.recv(1 << 16):
        pieces.append(data)
    return b''.join(pieces)


class Peer:
    """A TCP port that sends its blob to who connects, or takes what it sends and keeps it."""

    def __init__(self, address, sends, blob=BLOB):
        self.blob = blob
        self.listener = socket.create_server((address, 0))
        self.listener.settimeout(vmmtest.PATIENCE)
        self.port, self.got = self.listener.getsockname()[1], None
        self.thread = threading.Thread(target=self._send if sends else self._take, daemon=True)
        self.thread.start()

    def _send(self):
        with self.listener.accept()[0] as sock:
            sock.sendall(self.blob)

    def _take(self):
        with self.listener.accept()[0] as sock:
            self.got = read_all(sock)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.thread.join(vmmtest.PATIENCE)
        self.listener.close()


def sha_of(guest, path):
    return guest.sh(f'sha256sum < {path}').split()[0]


def carry(test, guest, address, port_of=None, blob=BLOB):
    """The blob both ways between the guest and an address of the host, or a port that the guest reaches by it."""
    with Peer(port_of or address, True, blob) as peer:
        guest.sh(f'socat -u TCP:{address}:{peer.port} CREATE:/tmp/blob')
        test.assertEqual(sha_of(guest, '/tmp/blob'), sha(blob))
    with Peer(port_of or address, False) as peer:
        guest.sh(f'socat -u FILE:/tmp/blob TCP:{address}:{peer.port}')
    test.assertEqual(sha(peer.got), sha(blob))


@contextlib.contextmanager
def listening(guest, ends):
    """While the guest runs a socat with these ends, of which one listens."""
    guest.start(f'socat -d -d {ends}')
    guest.vm.wait_for('listening on')
    yield
    guest.finish()


def features(guest, interface):
    bits = guest.sh(f'cat /sys/class/net/{interface}/device/features')
    return {number for number, bit in enumerate(bits) if bit == '1'}


def ping(guest, address, count=5, size=56):
    guest.sh(f'ping -q -c {count} -s {size} -i 0.2 -W 30 {address}')


class Tap(ShellTest):
    """A guest with a multi-queue tap and one processor for each pair, and a plain one."""

    def prepare(self):
        cls = type(self)
        cls.name = self.keep(tap(0, '10.9.0.1', 'multi_queue'))
        cls.plain = self.keep(tap(1, '10.9.1.1'))

    def boot(self):
        cls = type(self)
        guest = Shell('-c', '2', '-n', f'tap={cls.name},queues=2,mac={MAC}', '-n', f'tap={cls.plain},offload=off,mtu=1400',
                      modules=MODULES)
        self.configure(guest)
        return guest

    @staticmethod
    def configure(guest):
        guest.sh('for i in 0 1; do ip link set eth$i up; ip address add 10.9.$i.2/24 dev eth$i; done')

    def test_guest_finds_address_mtu_queues_and_offloads(self):
        self.assertEqual(self.guest.sh('cat /sys/class/net/eth0/address'), MAC)
        self.assertEqual(self.guest.sh('ls /sys/class/net/eth0/queues').split(), ['rx-0', 'rx-1', 'tx-0', 'tx-1'])
        self.assertEqual(self.guest.number('cat /sys/class/net/eth0/mtu'), 1500)
        self.assertEqual(self.guest.number('cat /sys/class/net/eth1/mtu'), 1400)
        self.assertRegex(self.guest.sh('cat /sys/class/net/eth1/address'), '^.[26ae]:')  # of its own, locally made
        self.assertLessEqual({CSUM, GUEST_TSO4, HOST_TSO4, CTRL_VQ, MQ}, features(self.guest, 'eth0'))
        self.assertEqual({CSUM, GUEST_TSO4, HOST_TSO4, MQ} & features(self.guest, 'eth1'), set())

    def test_ping_both_ways(self):
        ping(self.guest, '10.9.0.1')
        ping(self.guest, '10.9.0.1', size=9000)
        ping(self.guest, '10.9.1.1')
        done = subprocess.run(['busybox', 'ping', '-q', '-c', '5', '-W', '30', '10.9.0.2'], check=False, stdout=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, done)

    def test_bytes_arrive_as_they_were_sent(self):
        for host in ('10.9.0.1', '10.9.1.1'):
            with self.subTest(host=host):
                carry(self, self.guest, host)

    def test_iperf_both_ways_with_large_segments_on_two_queues(self):
        size = 64 if LONG else 8
        for way, direction in (('', 'tx'), ('-R', 'rx')):
            before = self.guest.stats('net0')
            with subprocess.Popen(['iperf3', '-s', '-1', '--forceflush', '-B', '10.9.0.1'], stdout=subprocess.PIPE,
                                  text=True) as server:
                while 'listening' not in server.stdout.readline():
                    self.assertIsNone(server.poll())
                self.guest.sh(f'iperf3 -c 10.9.0.1 -n {size}M -P 4 {way}')
                server.stdout.read()
            after = self.guest.stats('net0')
            moved = {what: after[f'{direction}_{what}'] - before[f'{direction}_{what}'] for what in ('bytes', 'packets')}
            # The end of what is under way when the client has enough need not come.
            self.assertGreater(moved['bytes'], (size << 20) * 3 / 4, direction)
            self.assertGreater(moved['bytes'] / moved['packets'], 1600, f'{direction}: no large segments: {moved}')
        counts = re.findall(r'^ *\d+:((?: +\d+)+).*virtio\d+-input\.[01]$', self.guest.sh(
            f'grep {self.guest.sh("basename $(readlink -f /sys/class/net/eth0/device)")}-input /proc/interrupts'), re.M)
        self.assertEqual([sum(map(int, words.split())) > 0 for words in counts], [True, True], counts)

    def test_driver_comes_and_goes(self):
        self.guest.sh(f'''
            name=$(basename $(readlink -f /sys/class/net/eth0/device))
            cd /sys/bus/virtio/drivers/virtio_net
            for i in $(seq {REBINDS}); do
                echo $name > unbind && [ ! -e /sys/class/net/eth0 ] && echo $name > bind && ip link set eth0 up || return 1
            done
            ip address add 10.9.0.2/24 dev eth0''')
        self.assertEqual(self.guest.sh('cat /sys/class/net/eth0/address'), MAC)
        ping(self.guest, '10.9.0.1')

    def test_guest_may_change_its_address_and_filters(self):
        before = self.guest.stats('net0')
        self.guest.sh('''
            ip link set eth0 promisc on && ip link set eth0 allmulticast on && ip link set eth0 promisc off
            ip link set eth0 allmulticast off && ip link add link eth0 name eth0.5 type vlan id 5; ip link delete eth0.5
            ip link set eth0 down && ip link set eth0 address 52:54:00:99:99:99 && ip link set eth0 up''')
        ping(self.guest, '10.9.0.1')
        self.guest.sh(f'ip link set eth0 down && ip link set eth0 address {MAC} && ip link set eth0 up')
        ping(self.guest, '10.9.0.1')
        after = self.guest.stats('net0')
        self.assertEqual(after['mac_changes'] - before['mac_changes'], 2)
        self.assertEqual(after['bad_commands'], before['bad_commands'])

    def test_link_goes_down_and_up_by_the_control_socket(self):
        carrier = '[ $(cat /sys/class/net/eth1/carrier) = {} ]'
        self.guest.ctl('device', 'net1', 'link', 'state=down')
        self.guest.wait_until(carrier.format(0), 'no carrier')
        self.guest.ctl('device', 'net1', 'link', 'state=up')
        self.guest.wait_until(carrier.format(1), 'a carrier')
        ping(self.guest, '10.9.1.1')

    def test_rate_limit_holds_packets_back(self):
        self.guest.ctl('device', 'net1', 'limit', 'rx_bw=64K', 'tx_bw=64K')
        carry(self, self.guest, '10.9.1.1', blob=BLOB[:128 << 10])
        self.guest.ctl('device', 'net1', 'limit', 'rx_bw=0', 'tx_bw=0')
        found = self.guest.stats('net1')
        self.assertGreater(found['tx_throttled'], 0)
        self.assertGreater(found['rx_throttled'], 0)

    def test_pause_and_resume_under_load(self):
        with Peer('10.9.0.1', sends=True) as peer:
            self.guest.start(f'socat -u TCP:10.9.0.1:{peer.port} STDOUT | sha256sum')
            for _ in range(50 if LONG else 10):
                self.guest.ctl('pause')
                self.guest.ctl('resume')
            self.assertEqual(self.guest.finish().split()[0], sha(BLOB))

    def test_tap_of_another_vm_is_refused(self):
        refused = self.guest and vmmtest.run_vmm('-k', kernel('vmlinux'), '-n', f'tap={type(self).plain}')
        self.assertEqual(refused.rc, 125, str(refused))
        self.assertRegex(refused.err, f'{type(self).plain}.* in use by another VM')

    def test_tap_that_goes_away_under_load_is_a_link_that_is_down(self):
        before = self.guest.stats('net1')
        self.guest.sh('(while :; do cat /dev/zero | nc 10.9.1.1 9 ; ping -q -c 1 -W 1 10.9.1.1; done) >/dev/null 2>&1 &')
        vmmtest.wait_until(lambda: self.guest.stats('net1')['tx_packets'] > before['tx_packets'] + 5, 'packets')
        subprocess.run(['ip', 'link', 'delete', type(self).plain], check=True)
        self.guest.wait_until('[ $(cat /sys/class/net/eth1/carrier) = 0 ]', 'no carrier')
        self.guest.sh('kill $!')
        self.assertEqual(self.guest.stats('net1')['link_downs'], before['link_downs'] + 1)
        ping(self.guest, '10.9.0.1')
        self.drop()  # the others want their tap


class Wire(ShellTest):
    """Two machines with a unix socket between them. The guest that all tests share listens; the other one comes and
    goes."""

    def prepare(self):
        type(self).path = self.keep(scratch_directory()) + '/wire'

    def boot(self):
        guest = Shell('-n', f'stream=unix:{type(self).path},listen=on,mac={MAC}', modules=MODULES)
        self.plug_in(guest, '10.8.0.1')
        return guest

    @staticmethod
    def plug_in(guest, address):
        guest.sh(f'ip link set eth0 up; ip address add {address}/24 dev eth0')

    @contextlib.contextmanager
    def other(self, shell, *options):
        """Another guest, which boots while ours is paused: a lab freezes now and then when two of them run."""
        self.guest.ctl('pause')
        with shell(*options, modules=MODULES) as other:
            self.guest.ctl('resume')
            self.plug_in(other, '10.8.0.2')
            yield other

    def other_vm(self):
        return self.other(Shell, '-n', f'stream=unix:{type(self).path},mac={OTHER_MAC}')

    def look(self, other):
        self.wait_for_carrier(1)
        ping(other, '10.8.0.1')
        ping(self.guest, '10.8.0.2')
        self.copy(self.guest, '10.8.0.1', other)
        self.copy(other, '10.8.0.2', self.guest)

    def copy(self, source, address, target):
        source.sh(f'head -c {len(BLOB)} /dev/urandom > /tmp/out')
        with listening(source, '-u FILE:/tmp/out TCP-LISTEN:7,reuseaddr'):
            target.sh(f'socat -u TCP:{address}:7 CREATE:/tmp/in')
        self.assertEqual(sha_of(target, '/tmp/in'), sha_of(source, '/tmp/out'))

    def wait_for_carrier(self, value):
        self.guest.wait_until(f'[ $(cat /sys/class/net/eth0/carrier) = {value} ]', f'carrier {value}')

    def test_two_vms_reach_each_other_and_find_each_other_again(self):
        before = self.guest and self.guest.stats('net0')
        with self.other_vm() as other:
            self.look(other)
            self.assertEqual(other.power_off().rc, 0)
            self.wait_for_carrier(0)
        with self.other_vm() as other:
            self.look(other)
            other.vm.process.kill()
            self.wait_for_carrier(0)
        after = self.guest.stats('net0')
        self.assertEqual(after['link_downs'] - before['link_downs'], 2)
        self.assertEqual(after['rx_dropped'], before['rx_dropped'])

    if LONG:  # two more boots; tests/unit/backend/test_net_stream.c has frames go through QEMU
        def test_qemu_is_on_the_wire(self):
            wire = f'stream,id=n0,server=off,addr.type=unix,addr.path={self.guest and type(self).path}'
            with self.other(QemuShell, '-netdev', wire, '-device', f'virtio-net-device,netdev=n0,mac={OTHER_MAC}') as other:
                self.look(other)
            self.wait_for_carrier(0)


class User(ShellTest):
    """The host's network by passt, for a user who is not root."""

    PORT = 8022
    DHCP = '''cat > /tmp/dhcp <<"END"
#!/bin/sh
[ $1 = bound ] && ip link set eth0 mtu $mtu && ip address add $ip/$mask dev eth0 &&
    ip route add default via $router && echo $ip $router
END
chmod +x /tmp/dhcp'''

    def prepare(self):
        usernet.need_root_and_passt()
        directory = self.keep(tempfile.TemporaryDirectory())
        os.chmod(directory, 0o755)
        type(self).gate = usernet.Gate(directory)
        self.keep(mock.patch.dict(os.environ, PATH=f'{directory}:{os.environ["PATH"]}'))
        self.keep(usernet.own_network())

    def boot(self):
        # Without IPv6, whose frames tell passt who the guest is as soon as its link is up.
        guest = Shell('-n', f'user,mac={MAC}', '--publish', f'127.0.0.1:{self.PORT}:2222', modules=MODULES, ordinary=True,
                      append='ipv6.disable=1')
        guest.sh(f'{self.DHCP}; ip link set eth0 up')
        self.ask_for_address(guest)
        return guest

    def ask_for_address(self, guest):
        self.assertEqual(guest.sh('ip address flush dev eth0; udhcpc -n -q -O mtu -t 20 -T 2 -i eth0 -s /tmp/dhcp 2>/dev/null'),
                         f'{usernet.ADDRESS} {usernet.GATEWAY}')

    def stats(self, device):
        return self.guest.place.json(Shell.NAME, '/v1/stats')['devices'][device]

    def look_out(self):
        carry(self, self.guest, usernet.GATEWAY, port_of='127.0.0.1', blob=BLOB * 2)

    def look_in(self):
        """The blob goes in by the published port, and comes back when it is whole."""
        with listening(self.guest, '-t 600 TCP-LISTEN:2222,reuseaddr SYSTEM:"cat > /tmp/blob; cat /tmp/blob"'), \
                socket.create_connection(('127.0.0.1', self.PORT), vmmtest.PATIENCE) as sock:
            sock.sendall(BLOB * 2)
            sock.shutdown(socket.SHUT_WR)
            self.assertEqual(sha(read_all(sock)), sha(BLOB * 2))
        self.assertEqual(sha_of(self.guest, '/tmp/blob'), sha(BLOB * 2))

    def test_nobody_has_rights(self):
        pids = [self.guest.vm.pid, usernet.helper_pid('vmm-broker'), usernet.helper_pid('passt')]
        self.assertEqual([usernet.uid_of(pid) for pid in pids], [{usernet.NOBODY}] * 3)
        self.assertEqual(usernet.status_of(self.guest.vm.pid, 'CapEff'), ['0' * 16])

    def test_guest_reaches_a_port_of_the_host(self):
        self.look_out()

    def test_published_port_leads_to_the_guest(self):
        self.look_in()

    def test_passt_that_is_killed_is_a_link_that_goes_down_and_comes_up(self):
        before = self.guest and self.stats('net0')
        self.gate.close()
        os.kill(usernet.helper_pid('passt'), signal.SIGKILL)
        self.guest.wait_until('[ $(cat /sys/class/net/eth0/carrier) = 0 ]', 'no carrier')
        self.gate.open()
        self.guest.wait_until('[ $(cat /sys/class/net/eth0/carrier) = 1 ]', 'a carrier')
        self.assertEqual(self.guest.sh('cat /sys/class/net/eth0/address'), MAC)
        self.assertEqual(self.stats('net0')['link_downs'], before['link_downs'] + 1)
        self.assertEqual(self.stats('broker0'), {'deaths': 1, 'restarts': 1, 'failed_restarts': 0})
        self.look_in()
        self.ask_for_address(self.guest)
        self.look_out()


class Matrix(LinuxTest):
    """Each transport with each kind of ring and each engine of the I/O threads."""

    def look(self, transport, packed, engine):
        options = ['--transport', transport, '--io-engine', engine, '--iothreads', '2']
        with tap(0, '10.9.0.1', 'multi_queue') as name:
            with Shell('-c', '2', '-n', f'tap={name},queues=2,packed={packed}', *options, modules=MODULES) as guest:
                guest.sh('ip link set eth0 up; ip address add 10.9.0.2/24 dev eth0')
                self.assertEqual(34 in features(guest, 'eth0'), packed == 'on')
                self.assertEqual('pci' in guest.sh('readlink -f /sys/class/net/eth0/device'), transport == 'pci')
                ping(guest, '10.9.0.1')
                carry(self, guest, '10.9.0.1')


def add_case(transport, packed, engine):
    ring = 'packed' if packed == 'on' else 'split'
    setattr(Matrix, f'test_{transport}_{ring}_{engine}', lambda self: self.look(transport, packed, engine))


# CI: each value of two with each of the third; the class Tap has pci, packed, uring.
for case in itertools.product(('pci', 'mmio'), ('on', 'off'), ('uring', 'epoll')):
    if LONG or case in (('pci', 'off', 'epoll'), ('mmio', 'on', 'epoll'), ('mmio', 'off', 'uring')):
        add_case(*case)


if __name__ == '__main__':
    vmmtest.main()
