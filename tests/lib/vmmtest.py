# SPDX-License-Identifier: Apache-2.0
"""What tests of the vmm program share: starting it, talking to its guest, and a TAP report for meson.

Environment: VMM is the vmm program, VMM_GUESTS the directory of the bare-metal guests; without them the tests
take build/ at the top of the source tree. Tests wait for events; the timeouts here only end a test that hangs.
"""

import contextlib
import errno
import fcntl
import itertools
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest

__unittest = True  # keeps the frames of this file out of the tracebacks

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VMM = os.path.abspath(os.environ.get("VMM", os.path.join(TOP, "build/src/vmm")))
GUESTS = os.path.abspath(os.environ.get("VMM_GUESTS", os.path.join(TOP, "build/firmware")))
PATIENCE = float(os.environ.get("VMM_TEST_PATIENCE", "60"))  # seconds until a silent VM counts as hung
SMALL = ("-m", "32M")


def guest(name):
    """The path of a bare-metal guest."""
    return os.path.join(GUESTS, name + ".elf")


def kvm_missing():
    """Why guests can't run here, or None."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as e:
        return "no guest can run here: /dev/kvm: " + e.strerror
    return None


def need_kvm():
    """Raises SkipTest, with the reason, where no guest can run."""
    reason = kvm_missing()
    if reason:
        raise unittest.SkipTest(reason)


def wait_until(condition, what, timeout=PATIENCE):
    """Returns the first true value of condition(). For what can only be asked: files, /proc."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("waited in vain for " + what)
        time.sleep(0.01)


class Hung(AssertionError):
    """A vmm that should have ended and did not; the text says where its threads are."""


def _text_of(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read().strip()
    except OSError as e:
        return e.strerror


def threads_of(pid):
    """What each thread is doing, as far as this user may know: for the report of a hang."""
    lines = []
    tasks = "/proc/%d/task" % pid
    with contextlib.suppress(OSError):
        for tid in sorted(os.listdir(tasks), key=int):
            place = os.path.join(tasks, tid)
            stat = _text_of(place + "/stat").rpartition(") ")[2].split()
            times = " state %s utime %s stime %s" % (stat[0], stat[11], stat[12]) if len(stat) > 12 else ""
            lines.append("%s:%s, system call %s" % (
                _text_of(place + "/comm"), times, _text_of(place + "/syscall").split(" ")[0]))
            lines += ["    " + line for line in _text_of(place + "/stack").splitlines()]
    return "\n".join(lines)


def look_at_hang(pid, seconds=2):
    """Threads at two moments, so that one that runs can be told from one that waits."""
    first = threads_of(pid)
    time.sleep(seconds)
    return "threads:\n%s\n%d seconds later:\n%s" % (first, seconds, threads_of(pid))


class Finished:
    """A vmm that ended: rc, out (bytes), err (text), result (the object of --result, None when not written)."""

    def __init__(self, rc, out, err, result):
        self.rc, self.out, self.err, self.result = rc, out, err, result

    @property
    def text(self):
        return self.out.decode("utf-8", "replace")

    @property
    def reason(self):
        return self.result["reason"] if self.result else None

    def __str__(self):
        return "rc=%r\n--- stdout\n%s\n--- stderr\n%s\n--- result\n%s" % (
            self.rc, self.text[-4000:], self.err[-4000:], self.result)


def _read_result(path):
    try:
        with open(path, encoding="utf-8") as f:
            text = f.read()
    except FileNotFoundError:
        return None
    return json.loads(text) if text else None


def fresh_terminal_modes():
    """Of a new terminal, which are all alike: that of a program which has been started may be raw already."""
    master, slave = os.openpty()
    try:
        return termios.tcgetattr(slave)
    finally:
        os.close(master)
        os.close(slave)


class Vmm:
    """A running `vmm run`. Use as a context manager: leaving it kills what is left.

    With tty=True its standard input and output are a terminal, whose other side is self.master. program: what is
    started instead of VMM. It inherits fds.
    """

    def __init__(self, *args, tty=False, stdin=subprocess.PIPE, stdout=subprocess.PIPE, result=True,
                 command="run", cwd=None, env=None, preexec=None, program=None, fds=()):
        self._dir = tempfile.TemporaryDirectory(prefix="vmmtest-")
        self._result = os.path.join(self._dir.name, "result.json")
        self._err_path = os.path.join(self._dir.name, "stderr")
        argv = [program or VMM] + ([command] if command else []) + [str(a) for a in args]
        if result:
            argv += ["--result", self._result]
        self.out, self._ended, self.master, self.slave = bytearray(), False, -1, -1
        self._seen = 0
        if tty:
            self.master, self.slave = os.openpty()
            stdin = stdout = self.slave
        with open(self._err_path, "wb") as err:
            self.process = subprocess.Popen(
                argv, stdin=stdin, stdout=stdout, stderr=err, cwd=cwd, env=env,
                start_new_session=tty, preexec_fn=self._take_tty if tty else preexec, pass_fds=fds)
        self._fd = self.master if tty else (self.process.stdout.fileno() if self.process.stdout else -1)

    def _take_tty(self):
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for f in (self.process.stdin, self.process.stdout):
            if f:
                with contextlib.suppress(BrokenPipeError):
                    f.close()
        for fd in (self.master, self.slave):
            if fd >= 0:
                os.close(fd)
        self._dir.cleanup()

    @property
    def pid(self):
        return self.process.pid

    def err(self):
        with open(self._err_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def _read_some(self, timeout):
        """False at the end of output or when nothing came in time."""
        if self._ended or not select.select([self._fd], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError as e:
            if e.errno != errno.EIO:  # a terminal's other side is closed
                raise
            data = b""
        self._ended = not data
        self.out += data
        return bool(data)

    def wait_for(self, text, timeout=PATIENCE):
        """Waits until the guest has said `text` after what earlier calls waited for; what it said in between."""
        text = text.encode() if isinstance(text, str) else text
        deadline = time.monotonic() + timeout
        while True:
            at = self.out.find(text, self._seen)
            if at >= 0:
                between, self._seen = bytes(self.out[self._seen:at]), at + len(text)
                return between
            if not self._read_some(max(0.0, deadline - time.monotonic())):
                if self._ended or self.process.poll() is not None:
                    raise AssertionError("the guest never said %r; it said %r; stderr: %s" % (
                        text, bytes(self.out[-2000:]), self.err()))
                raise Hung("in %d s the guest never said %r; it said %r; stderr: %s; %s" % (
                    timeout, text, bytes(self.out[-2000:]), self.err(), look_at_hang(self.pid)))

    def wait_for_err(self, pattern):
        """Waits for a line on stderr; returns the match."""
        return wait_until(lambda: re.search(pattern, self.err()), "%r on stderr" % pattern)

    def send(self, data):
        os.write(self.master if self.master >= 0 else self.process.stdin.fileno(), data)

    def close_stdin(self):
        self.process.stdin.close()

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=PATIENCE, read=True):
        """Waits for the end, reading the output on the way; a Finished."""
        deadline = time.monotonic() + timeout
        if self.slave >= 0 and self.master >= 0:
            wait_until(lambda: self._drain_tty() or self.process.poll() is not None, "vmm's end", timeout)
            self._drain_tty()
        elif read and self._fd >= 0:
            while self._read_some(max(0.0, deadline - time.monotonic())):
                pass
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Hung("vmm did not end in %d s; the guest said %r; stderr: %s; %s" % (
                timeout, bytes(self.out[-2000:]), self.err(), look_at_hang(self.pid))) from None
        return Finished(self.process.returncode, bytes(self.out), self.err(), _read_result(self._result))

    def _drain_tty(self):
        while self._read_some(0):
            pass
        return self.process.poll() is not None


def run_vmm(*args, stdin=None, timeout=PATIENCE, **kw):
    """Runs `vmm run ARGS --result FILE` to its end; stdin is bytes, then end of file (None: /dev/null)."""
    with Vmm(*args, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL, **kw) as vm:
        if stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                vm.send(stdin)
                vm.close_stdin()
        return vm.wait(timeout)


def run_guest(name, append="", *args, **kw):
    """Runs a bare-metal guest with the words `append` in 32 MiB, unless args say otherwise."""
    memory = () if "-m" in args else SMALL
    return run_vmm("-k", guest(name), "-a", append, *memory, *args, **kw)


def start_guest(name, append="", *args, **kw):
    memory = () if "-m" in args else SMALL
    return Vmm("-k", guest(name), "-a", append, *memory, *args, **kw)


def processes_of(exe):
    """The processes whose program is this file; zombies have none."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink("/proc/%s/exe" % pid) == exe:
                found.add(int(pid))
    return found


def _left_over():
    files = set()
    for place in ("/dev/shm", "/run", tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", "")):
        with contextlib.suppress(OSError):
            files |= {os.path.join(place, name) for name in os.listdir(place) if name != "vmm"}
        with contextlib.suppress(OSError):  # state directories; the place for them stays
            files |= {os.path.join(place, "vmm", name) for name in os.listdir(os.path.join(place, "vmm"))
                      if name != ".lock"}
    return {
        "processes": processes_of(os.path.realpath(VMM)),
        "files": {f for f in files if "vmm" in os.path.basename(f) or "/vmm/" in f},
        "fds": set(os.listdir("/proc/self/fd")),
    }


@contextlib.contextmanager
def no_leaks(test):
    """Nothing may be left behind by what runs inside: no process, no file, no descriptor of ours."""
    before = _left_over()
    yield
    after = _left_over()
    for kind, things in before.items():
        test.assertEqual(after[kind] - things, set(), kind + " left behind")


class GuestTest(unittest.TestCase):
    """A case whose tests run guests: all are skipped, with the reason, where there is no usable KVM."""

    longMessage = True

    @classmethod
    def setUpClass(cls):
        need_kvm()

    def check(self, run, rc, reason):
        self.assertEqual((run.rc, run.reason), (rc, reason), str(run))
        return run


class _TapResult(unittest.TestResult):
    def __init__(self, stream):
        super().__init__()
        self.stream, self.count, self.bad = stream, 0, False
        self._failed_subtests = []

    def _line(self, ok, test, note=""):
        self.count += 1
        name = test.id().split(".", 1)[-1].replace("#", "_")
        print("%s %d - %s%s" % ("ok" if ok else "not ok", self.count, name, note), file=self.stream, flush=True)

    def _details(self, test, err):
        for line in self._exc_info_to_string(err, test).splitlines():
            print("# " + line, file=self.stream)

    def _fail(self, test, err):
        self.bad = True
        self._details(test, err)
        self._line(False, test)

    def startTest(self, test):
        super().startTest(test)
        self._failed_subtests = []

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self._failed_subtests.append(subtest)
            print("# failed with %s" % subtest._subDescription(), file=self.stream)
            self._details(test, err)

    def stopTest(self, test):
        if self._failed_subtests:
            self.bad = True
            self._line(False, test)
        super().stopTest(test)

    def addSuccess(self, test):
        self._line(True, test)

    def addFailure(self, test, err):
        self._fail(test, err)

    def addError(self, test, err):
        self._fail(test, err)

    def addSkip(self, test, reason):
        self._line(True, test, " # SKIP " + reason)

    def addExpectedFailure(self, test, err):
        self._line(False, test, " # TODO")

    def addUnexpectedSuccess(self, test):
        self._line(True, test, " # TODO")


class _ClassSkips(unittest.TestSuite):
    """unittest tells a skipped class once; here each of its tests is told, so that the count stays right."""

    def run(self, result, debug=False):
        for cls, tests in itertools.groupby(self, type):
            reason = kvm_missing() if issubclass(cls, GuestTest) else None
            for test in tests:
                if reason:
                    result.addSkip(test, reason)
                else:
                    test(result)
            cls.tearDownClass()
        return result


def _flat(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _flat(item)
        else:
            yield item


def main():
    """Runs the tests of __main__ and reports as TAP; arguments choose tests by parts of their names."""
    tests = list(_flat(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])))
    wanted = sys.argv[1:]
    if wanted:
        tests = [t for t in tests if any(w in t.id() for w in wanted)]
    done = os.environ.get("VMM_TEST_DONE", "").split()  # by an earlier run that did not come to its end
    tests = [t for t in tests if t.id().split(".", 1)[-1] not in done]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # meson's timeout: leave the with blocks, kill our VMs
    print("1..%d" % len(tests), flush=True)
    result = _TapResult(sys.stdout)
    _ClassSkips(tests).run(result)
    sys.exit(1 if result.bad else 0)
