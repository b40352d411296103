# SPDX-License-Identifier: Apache-2.0
"""What the Python tools share: messages, the cache directory, locks, and initramfs archives (newc cpio)."""

import contextlib
import fcntl
import gzip
import os
import pathlib
import stat
import subprocess
import sys
import tempfile

REPO = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.path.basename(sys.argv[0])
os.environ['PATH'] = os.environ.get('PATH', '/usr/bin:/bin') + ':/usr/sbin:/sbin'  # modprobe, mke2fs


class ToolError(Exception):
    """Something that a person has to put right; the message says what."""


def say(text):
    """Progress goes to stderr, so that a tool's own output can be piped."""
    print(f'==> {text}', file=sys.stderr, flush=True)


def main_guard(main):
    """Runs main() and turns a ToolError into one line and exit 1, Ctrl-C into 130."""
    try:
        sys.exit(main())
    except ToolError as error:
        print(f'{PROGRAM}: {error}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def cache_dir():
    """Where downloads and what is made of them are kept: $VMM_CACHE, else the user's cache directory."""
    base = os.environ.get('VMM_CACHE')
    if not base:
        base = os.path.join(os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache'), 'vmm')
    path = pathlib.Path(base).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolError(f'cannot make the cache directory {path}: {error.strerror}; set VMM_CACHE') from error
    return path


@contextlib.contextmanager
def locked(name):
    """Holds the cache's lock of that name; others wait."""
    with open(cache_dir() / f'{name}.lock', 'w', encoding='ascii') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(*argv, **options):
    """subprocess.run() that turns failure into a ToolError with the command's own words."""
    try:
        return subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True, **options).stdout
    except FileNotFoundError as error:
        raise ToolError(f'{argv[0]} is not installed: run tools/setup') from error
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors='replace').strip() if error.stderr else ''
        raise ToolError(f'`{" ".join(map(str, argv))}` failed with {error.returncode}\n{words}') from error


def host_kvm():
    """'hardware', 'software' or 'none': what /dev/kvm is backed by, judged by what the CPU offers."""
    if not os.path.exists('/dev/kvm'):
        return 'none'
    with open('/proc/cpuinfo', encoding='ascii', errors='replace') as file:
        for line in file:
            if line.startswith('flags'):
                return 'hardware' if {'vmx', 'svm'} & set(line.split()) else 'software'
    return 'software'


class Initramfs:
    """A newc cpio archive in memory. The same members give the same bytes, whatever the day or the user."""

    def __init__(self):
        self.members = {}

    def directory(self, path):
        path = path.strip('/')
        if path and path not in self.members:
            self.directory(os.path.dirname(path))
            self.members[path] = (stat.S_IFDIR | 0o755, b'')

    def file(self, path, data, mode=0o644):
        self.directory(os.path.dirname(path.strip('/')))
        self.members[path.strip('/')] = (stat.S_IFREG | mode, data)

    def copy(self, source, path, executable=False):
        """A host file; its execute permission comes along."""
        try:
            data = pathlib.Path(source).read_bytes()
        except OSError as error:
            raise ToolError(f'cannot read {source}: {error.strerror}') from error
        self.file(path, data, 0o755 if executable or os.access(source, os.X_OK) else 0o644)

    def link(self, path, target):
        self.directory(os.path.dirname(path.strip('/')))
        self.members[path.strip('/')] = (stat.S_IFLNK | 0o777, target.encode())

    def program(self, source):
        """A dynamic program of the host with the libraries that it needs, at the same paths."""
        self.copy(source, str(source))
        for library in libraries_of(source):
            self.copy(library, library)

    def busybox(self):
        """Debian's static busybox and a link for each of its applets."""
        binary = '/bin/busybox'
        if not os.path.exists(binary):
            raise ToolError('/bin/busybox is missing: run tools/setup lab')
        self.copy(binary, '/bin/busybox')
        for applet in run(binary, '--list', text=True).split():
            if applet != 'busybox':
                self.link(f'/bin/{applet}', 'busybox')

    def modules(self, tree, version, names):
        """Kernel modules and what they need, flat in /modules; /modules/order is the order to insmod them."""
        lines = run('modprobe', '-D', '-d', str(tree), '-S', version, '-a', *names, text=True).splitlines()
        order = list(dict.fromkeys(line.split()[1] for line in lines if line.startswith('insmod ')))
        for path in order:
            self.copy(path, f'/modules/{os.path.basename(path)}')
        self.file('/modules/order', ''.join(f'{os.path.basename(path)}\n' for path in order).encode())

    def archive(self):
        out = bytearray()
        for inode, (path, (mode, data)) in enumerate(sorted(self.members.items()), 1):
            out += self._member(path, mode, data, inode)
        out += self._member('TRAILER!!!', 0, b'', 0)
        return bytes(out)

    def compressed(self):
        """Padded so that another archive may follow, which Linux wants at a multiple of 4."""
        data = gzip.compress(self.archive(), compresslevel=6, mtime=0)
        return data + bytes(-len(data) % 4)

    @staticmethod
    def _member(path, mode, data, inode):
        name = path.encode() + b'\0'
        links = 2 if stat.S_ISDIR(mode) else 1
        # inode, mode, uid, gid, links, mtime, size, 4 device numbers, name length, check sum
        fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name), 0)
        head = b'070701' + b''.join(b'%08X' % field for field in fields) + name
        return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def libraries_of(program):
    """The shared libraries that a dynamic program of the host needs, its loader included."""
    return [word for word in run('ldd', str(program), text=True).split() if word.startswith('/')]


def write_atomically(path, data):
    """Whoever opens path sees the old file or the whole new one."""
    path = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
