# SPDX-License-Identifier: Apache-2.0
"""A disk image with programs of this host for guests: what is too large for an initramfs."""

import hashlib
import os
import pathlib
import re
import shutil
import tempfile
import time

from toolkit import ToolError, cache_dir, libraries_of, locked, run

GUEST_PROGRAMS = ('blkdiscard', 'fio', 'iperf3', 'mkfs.ext4', 'socat')
UNUSED_AFTER = 24 * 3600  # seconds

# Debian's fio is linked with clients of storage services, 90 MB in all that take seconds to load in the lab. Guests get
# empty libraries in their place: the rest of fio works, and a call of one of them kills it.
HOLLOW = {'fio': ('libgfapi', 'libnbd', 'libibverbs', 'librdmacm', 'librados', 'librbd', 'libpmemblk', 'libpmem')}


def program_disk():
    """Path of an ext4 image in the cache: GUEST_PROGRAMS in /bin, their libraries in /lib. Made anew when one of them
    has changed."""
    programs = {name: shutil.which(name) for name in GUEST_PROGRAMS}
    for name, path in programs.items():
        if not path:
            raise ToolError(f'{name} is not installed: run tools/setup lab')
    digest = hashlib.sha256(pathlib.Path(__file__).read_bytes())
    for path in programs.values():
        status = os.stat(path)
        digest.update(f'{path} {status.st_size} {status.st_mtime_ns}\n'.encode())
    image = cache_dir() / f'programs-{digest.hexdigest()[:16]}.img'
    with locked('programs'):
        for old in cache_dir().glob('programs-*.img'):
            if time.time() - old.stat().st_mtime > UNUSED_AFTER:
                old.unlink()
        if image.exists():
            os.utime(image)
        else:
            _make_disk(image, programs)
    return image


def _make_disk(image, programs):
    with tempfile.TemporaryDirectory(dir=image.parent, prefix='.programs.') as temporary:
        tree, unfinished = pathlib.Path(temporary) / 'tree', pathlib.Path(temporary) / 'image'
        (tree / 'bin').mkdir(parents=True)
        (tree / 'lib').mkdir()
        for name, path in programs.items():
            shutil.copy(path, tree / 'bin' / name)
            _copy_libraries(path, HOLLOW.get(name, ()), tree / 'lib')
        size = sum(file.stat().st_size for file in tree.rglob('*'))
        run('mke2fs', '-q', '-t', 'ext4', '-m', '0', '-O', '^has_journal', '-d', str(tree), str(unfinished),
            f'{(size >> 20) + 16}M')
        unfinished.rename(image)


def _copy_libraries(program, hollow, directory):
    """What the program itself names and is not hollow, with what that needs; then the hollow ones."""
    named = re.findall(r'NEEDED.*\[(.*)\]', run('readelf', '-d', program, text=True))
    where = {os.path.basename(path): path for path in libraries_of(program)}
    empty = [name for name in named if name.startswith(tuple(f'{stem}.so' for stem in hollow))]
    kept = {path for name in named if name not in empty for path in (where[name], *libraries_of(where[name]))}
    for path in kept:
        shutil.copy(path, directory)
    if empty:
        _make_hollow(program, kept, [directory / name for name in empty])


def _make_hollow(program, libraries, targets):
    """One library that has all that the program wants and the others have not, under each of these names."""
    def symbols(path, kind):
        return [line.split()[-1] for line in run('nm', '-D', kind, str(path), text=True).splitlines()]

    present = {name.partition('@')[0] for path in libraries for name in symbols(path, '--defined-only')}
    missing = [name.partition('@')[::2] for name in symbols(program, '--undefined-only')]
    missing = [(name, version) for name, version in missing if name not in present and name[0] != '_']
    source = ['.text', 'dead: ud2']
    for number, (name, version) in enumerate(missing):
        symbol = f'dead{number}' if version else name
        source.append(f'.globl {symbol}\n.type {symbol}, @function\n.set {symbol}, dead')
        if version:
            source.append(f'.symver {symbol}, {name}@@{version}')
    with tempfile.TemporaryDirectory() as temporary:
        place = pathlib.Path(temporary)
        (place / 'hollow.s').write_text('\n'.join(source) + '\n', encoding='ascii')
        versions = sorted({version for _, version in missing if version})
        (place / 'versions').write_text(''.join(f'{version} {{}};\n' for version in versions), encoding='ascii')
        run('gcc', '-shared', '-nostdlib', f'-Wl,--version-script={place}/versions', '-o', str(place / 'hollow.so'),
            str(place / 'hollow.s'))
        for target in targets:
            shutil.copy(place / 'hollow.so', target)
