# SPDX-License-Identifier: Apache-2.0
"""virtio-blk under Linux: what the guest finds on a disk, what the host finds in its image, and faults in between."""

import contextlib
import hashlib
import itertools
import os
import re
import subprocess

import vmmtest
from guestshell import Shell, ShellTest, scratch_directory
from linuxtest import LinuxTest, LONG, kernel, linux_guest

MIB = 1 << 20
MODULES = ('virtio_pci', 'virtio_mmio', 'virtio_blk')
REBINDS = 100 if LONG else 10
FIO_SIZE = '32M' if LONG else '4M'
FIO = 'fio --name=t --ioengine=libaio --direct=1 --verify=crc32c --verify_fatal=1 --rw=randwrite --bs=4k --iodepth=32 ' \
      '--group_reporting --output-format=terse --minimal '


def image(path, size, content=b''):
    """A sparse image whose first bytes are content."""
    with open(path, 'wb') as file:
        file.write(content)
        file.truncate(size)
    return str(path)


def allocated(path):
    """Bytes that the file takes on its file system."""
    return os.stat(path).st_blocks * 512


def pattern(size):
    """Bytes that are like nothing else and the same each time."""
    block = b''.join(hashlib.sha256(b'%d' % number).digest() for number in range(2048))
    return (block * (size // len(block) + 1))[:size]


def md5(data):
    return hashlib.md5(data).hexdigest()


def fio(where, jobs=1, size=FIO_SIZE, more=''):
    """The guest's command that writes in random order, reads back and compares."""
    return f'{FIO} {where} --numjobs={jobs} --size={size} {more}'


# struct virtio_pci_common_cfg (virtio 1.2, 4.1.4.3): offset, width and what a guest gone mad may write.
QUEUE_SELECT = 22
FROZEN = [(24, 16, 2), (28, 16, 0), *((at, 32, 0xdead0000 + at) for at in range(32, 56, 4))]


def read_registers(common):
    """The guest's command that reads them."""
    return '\n'.join(f'devmem {common + at} {width}' for at, width, _ in FROZEN)


def common_configuration(guest, disk):
    """Where the guest has the device's common configuration structure: its capability says the BAR and the offset."""
    place = guest.sh(f'readlink -f /sys/block/{disk}/device/..')
    space = bytes.fromhex(guest.sh(f'xxd -p {place}/config').replace('\n', ''))
    at = space[0x34]
    while at and (space[at] != 9 or space[at + 3] != 1):  # vendor's own; common configuration
        at = space[at + 1]
    bar, offset = space[at + 4], int.from_bytes(space[at + 8:at + 12], 'little')
    return int(guest.sh(f'cat {place}/resource').splitlines()[bar].split()[0], 16) + offset


class Disk(ShellTest):
    """A guest with a disk for each purpose, and one processor for each queue of the first."""

    def prepare(self):
        cls = type(self)
        cls.place = self.keep(scratch_directory())
        cls.image = {name: f'{cls.place}/{name}' for name in
                     ('data', 'ro', 'direct', 'plain', 'overlay', 'grows', 'zeroed', 'kept')}
        for name, path in cls.image.items():
            image(path, 64 * MIB, pattern(MIB))

    def boot(self):
        at = type(self).image
        return Shell('-c', '4', '-d', f'{at["data"]},queues=4,serial=first', '-d', f'{at["ro"]},ro',
                     '-d', f'{at["direct"]},cache=none,queues=2', '-d', at['plain'], '-d', f'{at["overlay"]},overlay',
                     '-d', at['grows'], '-d', at['zeroed'], '-d', at['kept'], modules=MODULES, append='iomem=relaxed', memory='384M')

    def at(self, name):
        """Path of the image, which a guest has by now."""
        return self.guest and type(self).image[name]

    def read_image(self, name, size=MIB):
        with open(self.at(name), 'rb') as file:
            return file.read(size)

    def test_disks_come_in_order_with_size_serial_and_queues(self):
        names = self.guest.sh('cd /sys/block; echo vd?').split()
        self.assertEqual(names, [f'vd{letter}' for letter in 'abcdefghi'])
        self.assertEqual(self.guest.sh('cat /sys/block/vda/serial'), 'first')
        self.assertEqual(self.guest.number('cat /sys/block/vda/size'), 64 * MIB // 512)
        self.assertEqual(self.guest.sh('ls /sys/block/vda/mq').split(), ['0', '1', '2', '3'])
        self.assertEqual(self.guest.sh('ls /sys/block/vdc/mq').split(), ['0', '1'])
        self.assertEqual(self.guest.sh('head -c 1048576 /dev/vda | md5sum').split()[0], md5(pattern(MIB)))

    def test_read_only_disk_takes_no_write(self):
        self.assertEqual(self.guest.sh('cat /sys/block/vd?/ro').split(), list('010000001'))
        self.guest.sh('dd if=/dev/zero of=/dev/vdb bs=4096 count=1 oflag=direct', rc=1)
        self.assertEqual(self.guest.sh('head -c 1048576 /dev/vdb | md5sum').split()[0], md5(pattern(MIB)))

    def test_host_finds_the_files_that_the_guest_wrote(self):
        self.guest.sh('mkfs.ext4 -q -F /dev/vda && mount -t ext4 /dev/vda /mnt')
        self.guest.sh('mkdir /mnt/a && seq 1 20000 > /mnt/a/numbers && sync && umount /mnt')
        at = self.at('data')
        checked = subprocess.run(['e2fsck', '-fn', at], check=False, capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked)
        found = subprocess.run(['debugfs', '-R', 'cat /a/numbers', at], check=True, capture_output=True).stdout
        self.assertEqual(found.decode(), ''.join(f'{number}\n' for number in range(1, 20001)))
        self.assertGreater(self.guest.stats('disk0')['flushes'], 0)

    def test_fio_verifies_through_a_file_system_with_four_queues(self):
        self.guest.sh('mkfs.ext4 -q -F /dev/vda && mount -t ext4 /dev/vda /mnt')
        before = self.guest.stats('disk0')['writes']
        self.guest.sh(fio('--directory=/mnt', jobs=4, size='12M' if LONG else '2M'))
        self.guest.sh('umount /mnt && mount -t ext4 /dev/vda /mnt && ls /mnt && umount /mnt')
        self.assertGreater(self.guest.stats('disk0')['writes'], before)

    def test_fio_verifies_past_the_page_cache(self):
        self.guest.sh(fio('--filename=/dev/vdc'))

    def test_odd_sizes_past_the_page_cache(self):
        # Down to the block that the disk reports, which may be less than O_DIRECT on the image's file system wants.
        block = self.guest.number('cat /sys/block/vdc/queue/logical_block_size')
        self.guest.sh(fio('--filename=/dev/vdc', size='512K', more=f'--bsrange={block}-64k'))

    def test_discard_gives_space_back(self):
        at = self.at('plain')
        before, discards = allocated(at), self.guest.stats('disk3')['discards']
        self.assertGreaterEqual(before, MIB)
        self.guest.sh('/programs/bin/blkdiscard -o 0 -l 524288 /dev/vdd')
        self.assertLessEqual(allocated(at), before - MIB // 2)
        self.assertGreater(self.guest.stats('disk3')['discards'], discards)
        self.assertEqual(self.read_image('plain'), bytes(MIB // 2) + pattern(MIB)[MIB // 2:])

    def test_zeroes_are_written_where_they_shall_be(self):
        data = pattern(MIB)
        with open(self.at('zeroed'), 'r+b') as file:
            file.write(data)
        self.guest.sh('/programs/bin/blkdiscard -z -o 65536 -l 131072 /dev/vdg')
        self.assertEqual(self.guest.sh('head -c 1048576 /dev/vdg | md5sum').split()[0],
                         md5(data[:65536] + bytes(131072) + data[65536 + 131072:]))
        self.assertEqual(self.read_image('zeroed'), data[:65536] + bytes(131072) + data[65536 + 131072:])
        self.assertGreater(self.guest.stats('disk6')['write_zeroes'], 0)

    def test_resize_is_seen_by_the_guest(self):
        at, size = self.at('grows'), '/sys/block/vdf/size'
        self.guest.ctl('device', 'disk5', 'resize', 'size=96M')
        self.guest.wait_until(f'[ $(cat {size}) = {96 * MIB // 512} ]', 'the new size')
        self.assertEqual(os.stat(at).st_size, 96 * MIB)
        self.guest.sh('head -c 1048576 /dev/vdf | dd of=/dev/vdf bs=1M seek=95 oflag=direct')
        with open(at, 'rb') as file:
            file.seek(95 * MIB)
            self.assertEqual(file.read(), pattern(MIB))
        os.truncate(at, 128 * MIB)  # as `qemu-img resize` or `truncate` would
        self.guest.ctl('device', 'disk5', 'resize')
        self.guest.wait_until(f'[ $(cat {size}) = {128 * MIB // 512} ]', 'the size that the image was given')
        self.guest.ctl('device', 'disk5', 'resize', 'size=64M', rc=125)  # never smaller
        self.assertEqual(os.stat(at).st_size, 128 * MIB)

    def test_driver_comes_and_goes_with_data_intact(self):
        self.guest.sh(f'''
            name=$(basename $(readlink -f /sys/block/vdh/device))
            cd /sys/bus/virtio/drivers/virtio_blk
            for i in $(seq {REBINDS}); do
                echo $name > unbind && [ ! -e /sys/block/vdh ] || return 1
                echo $name > bind && head -c 65536 /dev/vdh | md5sum
            done > /tmp/sums''')
        sums = self.guest.sh('sort /tmp/sums | uniq -c').split()
        self.assertEqual(sums[:2], [str(REBINDS), md5(pattern(65536))])
        self.assertGreaterEqual(self.guest.stats('disk7')['resets'], REBINDS)

    def test_transport_driver_comes_and_goes_with_data_intact(self):
        times = REBINDS // 5
        self.guest.sh(f'''
            place=$(readlink -f /sys/block/vdh/device/..)
            cd $place/driver
            for i in $(seq {times}); do
                echo ${{place##*/}} > unbind && [ ! -e /sys/block/vdh ] || return 1
                echo ${{place##*/}} > bind && head -c 65536 /dev/vdh | md5sum
            done > /tmp/sums''')
        sums = self.guest.sh('sort /tmp/sums | uniq -c').split()
        self.assertEqual(sums[:2], [str(times), md5(pattern(65536))])

    def test_queue_configuration_is_frozen(self):
        common = common_configuration(self.guest, 'vdd')
        self.guest.sh(f'devmem {common + QUEUE_SELECT} 16 0')
        before = self.guest.sh(read_registers(common))
        self.guest.sh('\n'.join(f'devmem {common + at} {width} {poison:#x}' for at, width, poison in FROZEN))
        self.assertEqual(self.guest.sh(read_registers(common)), before)
        self.guest.sh('dd if=/dev/vdd of=/dev/null bs=64k count=4 iflag=direct')

    def test_overlay_leaves_the_image_alone(self):
        before = md5(self.read_image('overlay', 64 * MIB))
        self.guest.sh('mkfs.ext4 -q -F /dev/vde && mount -t ext4 /dev/vde /mnt && seq 1 20000 > /mnt/f && umount /mnt')
        found = self.guest.sh('echo 3 > /proc/sys/vm/drop_caches; mount -t ext4 /dev/vde /mnt; md5sum < /mnt/f; umount /mnt')
        self.assertEqual(found.split()[0], md5(''.join(f'{number}\n' for number in range(1, 20001)).encode()))
        self.assertEqual(md5(self.read_image('overlay', 64 * MIB)), before)

    def test_rate_limit_holds_requests_back(self):
        self.guest.ctl('device', 'disk7', 'limit', 'bw=4M', 'bw_burst=64K')
        self.guest.sh('dd if=/dev/vdh of=/dev/null bs=64k count=8 iflag=direct')
        self.guest.ctl('device', 'disk7', 'limit', 'bw=0')
        held = self.guest.stats('disk7')['throttled']
        self.assertGreater(held, 0)
        self.guest.sh('dd if=/dev/vdh of=/dev/null bs=64k count=8 iflag=direct')
        self.assertEqual(self.guest.stats('disk7')['throttled'], held)

    def test_image_of_another_vm_is_refused(self):
        for keys in ('', ',ro'):
            refused = vmmtest.run_vmm('-k', kernel('vmlinux'), '-d', self.at('data') + keys)
            self.assertEqual(refused.rc, 125, str(refused))
            self.assertRegex(refused.err, r'--disk.*data.*(in use|lock)')
        # But who knows better may, and two may read.
        with linux_guest('echo up', '-d', self.at('data') + ',lock=off', '-d', self.at('ro') + ',ro') as vm:
            vm.wait_for('up')

    def test_pause_and_resume_under_load(self):
        self.guest.start(fio('--filename=/dev/vdc'))
        for _ in range(50 if LONG else 10):
            self.guest.ctl('pause')
            self.guest.ctl('resume')
        self.guest.finish()


@contextlib.contextmanager
def small_file_system(path, size):
    os.mkdir(path)
    subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', path], check=True)
    try:
        yield path
    finally:
        subprocess.run(['umount', '-l', path], check=True)


class Flakey:
    """A block device that fails on demand: dm-flakey over a loop device."""

    def __init__(self, path):
        subprocess.run(['modprobe', '-a', 'loop', 'dm-flakey'], check=True)
        done = subprocess.run(['losetup', '--show', '-f', path], check=True, stdout=subprocess.PIPE, text=True)
        self.loop, self.name = done.stdout.strip(), f'vmmtest{os.getpid()}'
        self.sectors = os.stat(path).st_size // 512
        self.dm('create', self.name, '--table', f'0 {self.sectors} linear {self.loop} 0')
        self.dm('mknodes', self.name)  # where there is no udev
        self.path = f'/dev/mapper/{self.name}'

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        # A kernel thread lets go of what an io_uring had open, after the process has ended.
        vmmtest.wait_until(self.remove, f'nobody to use {self.path}')
        subprocess.run(['losetup', '-d', self.loop], check=True)

    def remove(self):
        return subprocess.run(['dmsetup', '--noudevsync', '--noudevrules', 'remove', '--force', self.name],
                              stdout=subprocess.DEVNULL).returncode == 0

    @staticmethod
    def dm(*words):
        subprocess.run(['dmsetup', '--noudevsync', '--noudevrules', *words], check=True, stdout=subprocess.DEVNULL)

    def switch(self, table):
        self.dm('load', self.name, '--table', f'0 {self.sectors} {table}')
        self.dm('resume', self.name)

    def stall(self):
        """From now on requests neither end nor fail, until work() or fail()."""
        self.dm('suspend', '--noflush', '--nolockfs', self.name)

    def fail(self):
        self.switch(f'flakey {self.loop} 0 0 3600')

    def work(self):
        self.switch(f'linear {self.loop} 0')


class Faults(ShellTest):
    """The host's side fails: the guest gets an error, the VM lives, and works again when the host does."""

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest('only root can mount and make block devices')

    def prepare(self):
        cls = type(self)
        place = self.keep(scratch_directory())
        cls.short = image(f'{place}/short', 64 * MIB, pattern(MIB))
        small = self.keep(small_file_system(f'{place}/small', '8M'))
        cls.full = image(f'{small}/full', 64 * MIB)
        cls.flakey = self.keep(Flakey(image(f'{place}/backing', 64 * MIB, pattern(MIB))))

    def boot(self):
        return Shell('-d', type(self).short, '-d', type(self).full, '-d', type(self).flakey.path, modules=MODULES)

    def look_at(self, disk, errors):
        """The VM lives, the disk's errors were counted, and those of the others were none."""
        self.assertEqual(self.guest.ctl('status').split()[:1], ['t:'])
        self.assertGreater(self.guest.stats(disk)['errors'], errors)
        self.assertEqual(self.guest.stats('programs')['errors'], 0)

    def test_truncated_image_is_an_error_of_what_is_missing(self):
        errors = self.guest.stats('disk0')['errors']
        os.truncate(type(self).short, 32 * MIB)
        self.guest.sh('dd if=/dev/vda of=/dev/null bs=64k skip=768 count=1 iflag=direct', rc=1)
        self.look_at('disk0', errors)
        self.guest.sh('dd if=/dev/vda of=/dev/null bs=64k count=1 iflag=direct')
        os.truncate(type(self).short, 64 * MIB)
        self.guest.sh('dd if=/dev/vda of=/dev/null bs=64k skip=768 count=1 iflag=direct')

    def test_full_file_system_is_an_error_until_there_is_room(self):
        errors = self.guest.stats('disk1')['errors']
        write = 'dd if=/dev/urandom of=/dev/vdb bs=1M count=16 oflag=direct'
        self.guest.sh(write, rc=1)
        self.look_at('disk1', errors)
        subprocess.run(['mount', '-o', 'remount,size=32M', os.path.dirname(type(self).full)], check=True)
        self.guest.sh(write)

    def test_broken_block_device_is_an_error_until_it_works(self):
        errors = self.guest.stats('disk2')['errors']
        flakey = type(self).flakey
        read = 'dd if=/dev/vdc of=/dev/null bs=64k count=1 iflag=direct'
        write = 'dd if=/dev/zero of=/dev/vdc bs=64k seek=16 count=1 oflag=direct conv=fsync'
        self.guest.sh(f'{read} && {write}')
        flakey.fail()
        # What the host has in its page cache it can still give, and take.
        self.guest.sh('dd if=/dev/vdc of=/dev/null bs=64k skip=512 count=1 iflag=direct', rc=1)
        self.guest.sh(write, rc=1)
        self.look_at('disk2', errors)
        flakey.work()
        self.guest.sh(f'{read} && {write}')


class Stalled(ShellTest):
    """A disk of the host's that answers nothing: what waits for it is the device alone."""

    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest('only root can make block devices')

    def prepare(self):
        place = self.keep(scratch_directory())
        type(self).disk = self.keep(Flakey(image(f'{place}/backing', 64 * MIB, pattern(MIB))))

    def boot(self):
        return Shell('-d', type(self).disk.path, '--on-reboot', 'restart', modules=MODULES, with_programs=False)

    def state(self):
        return self.guest.ctl('status').split()[1]

    def test_reset_waits_for_requests_and_pause_gives_up(self):
        guest, disk = self.guest, type(self).disk
        before = guest.stats('disk0')['chains']
        disk.stall()
        try:
            guest.start('dd if=/dev/vda of=/dev/null bs=64k skip=512 count=1 iflag=direct')
            vmmtest.wait_until(lambda: guest.stats('disk0')['chains'] > before, 'a request')
            self.assertIn('disk0: requests to the host do not come back', guest.ctl('pause', rc=125))
            self.assertEqual(self.state(), 'running')
            guest.ctl('reset')
            self.assertEqual(self.state(), 'resetting')
            self.assertIn('it is being reset', guest.ctl('pause', rc=125))
            guest.ctl('reset')
            self.assertEqual(self.state(), 'resetting')
        finally:
            disk.work()
        guest.vm.wait_for('[shell]')
        self.assertEqual(self.state(), 'running')
        self.assertEqual(guest.sh('head -c 1048576 /dev/vda | md5sum').split()[0], md5(pattern(MIB)))


class Matrix(LinuxTest):
    """Each transport with each kind of ring and each engine of the I/O threads."""

    def look(self, transport, packed, engine):
        with scratch_directory() as place:
            disk = image(f'{place}/disk', 64 * MIB, pattern(MIB))
            options = ['--transport', transport, '--io-engine', engine, '--iothreads', '2', '--on-reboot', 'restart']
            with Shell('-c', '2', '-d', f'{disk},packed={packed}', *options, modules=MODULES) as guest:
                self.assertIn('/LNRO0005' if transport == 'mmio' else '/pci0000:00/',
                              guest.sh('readlink -f /sys/block/vda/device'))
                self.assertEqual(guest.sh('cut -c35 /sys/block/vda/device/features'), '1' if packed == 'on' else '0')
                files = [os.readlink(f'/proc/{guest.vm.pid}/fd/{fd}') for fd in os.listdir(f'/proc/{guest.vm.pid}/fd')]
                self.assertEqual(any('io_uring' in name for name in files), engine == 'uring')
                guest.sh(fio('--filename=/dev/vda', size='2M', more='--offset=16M'))
                for _ in range(20 if LONG else 1):
                    guest.restart()
                    self.assertEqual(guest.sh('head -c 1048576 /dev/vda | md5sum').split()[0], md5(pattern(MIB)))
                guest.sh(fio('--filename=/dev/vda', size='1M'))


def add_case(transport, packed, engine):
    ring = 'packed' if packed == 'on' else 'split'
    setattr(Matrix, f'test_{transport}_{ring}_{engine}', lambda self: self.look(transport, packed, engine))


# CI: each value of two with each of the third; the class Disk has pci, packed, uring.
for case in itertools.product(('pci', 'mmio'), ('on', 'off'), ('uring', 'epoll')):
    if LONG or case in (('pci', 'off', 'epoll'), ('mmio', 'on', 'epoll'), ('mmio', 'off', 'uring')):
        add_case(*case)


class Many(LinuxTest):
    """As many disks as a transport has places for, and one more."""

    def boot(self, transport, number):
        with scratch_directory() as place:
            disks = [image(f'{place}/{i}', (i + 1) << 16, b'%04d' % i) for i in range(number + 1)]
            options = [word for disk in disks for word in ('-d', disk)] + ['--transport', transport]
            refused = vmmtest.run_vmm('-k', kernel('vmlinux'), *options)
            self.assertEqual(refused.rc, 125, str(refused))
            self.assertRegex(refused.err, f'disk{number}: .*{number}')
            with Shell(*options[2:], modules=MODULES, with_programs=False) as guest:
                found = guest.sh('cd /sys/block; for i in vd*; do echo $(cat $i/size) $(head -c 4 /dev/$i); done')
        self.assertEqual({int(size) >> 7: int(content) for size, content in map(str.split, found.splitlines())},
                         {i + 1: i for i in range(1, number + 1)})

    def test_31_on_pci(self):
        self.boot('pci', 31)

    def test_as_many_as_there_are_lines_on_mmio(self):
        with scratch_directory() as place:
            disks = [word for i in range(64) for word in ('-d', image(f'{place}/{i}', MIB))]
            refused = vmmtest.run_vmm('-k', kernel('vmlinux'), *disks, '--transport', 'mmio')
        self.assertEqual(refused.rc, 125, str(refused))
        number = int(re.search(r'lines for (\d+) devices', refused.err).group(1))
        self.assertGreaterEqual(number, 16)
        self.boot('mmio', number)


if __name__ == '__main__':
    vmmtest.main()
