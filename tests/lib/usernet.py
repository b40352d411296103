# SPDX-License-Identifier: Apache-2.0
"""What tests of --net user share: an ordinary user, a network in which passt finds what it wants, and a passt that a
test can hold back."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import unittest

from vmmtest import wait_until

NOBODY = 65534
ADDRESS, GATEWAY = "192.0.2.10", "192.0.2.1"
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
PASST = shutil.which("passt")


def need_root_and_passt():
    if os.geteuid() != 0:
        raise unittest.SkipTest("only root can make a network namespace with an interface")
    if not PASST:
        raise unittest.SkipTest("passt is not installed")


# ---- the network ----


def _ip(*args):
    return subprocess.run(["ip", *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)


def must(done):
    if done.returncode != 0:
        raise unittest.SkipTest("no network for the test: %r" % done)


def ip(*args):
    must(_ip(*args))


def unshare(flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise unittest.SkipTest("no namespaces: " + os.strerror(ctypes.get_errno()))


def make_network():
    """An interface whose frames nobody gets: only its address and route matter."""
    if not any(_ip("link", "add", "up0", "type", kind).returncode == 0 for kind in ("dummy", "bridge", "ifb")):
        raise unittest.SkipTest("this kernel makes no dummy interface, no bridge and no ifb")
    ip("addr", "add", ADDRESS + "/24", "dev", "up0")
    ip("link", "set", "up0", "up")
    ip("link", "set", "lo", "up")
    ip("route", "add", "default", "via", GATEWAY)


@contextlib.contextmanager
def own_network():
    """Has this thread, and what it starts, in a network namespace where every port is free."""
    with open("/proc/thread-self/ns/net", "rb") as before:
        unshare(CLONE_NEWNET)
        try:
            make_network()
            yield
        finally:
            if ctypes.CDLL(None).setns(before.fileno(), CLONE_NEWNET) != 0:
                raise AssertionError("no way back out of the network namespace")


# ---- processes ----


def become_nobody(*groups):
    os.setgroups(groups)
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def helpers():
    """{pid: name} of the brokers and helpers in this network namespace."""
    here, found = os.readlink("/proc/self/ns/net"), {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink("/proc/%s/ns/net" % pid) == here:
                with open("/proc/%s/comm" % pid, encoding="ascii") as f:
                    name = f.read().strip()
                if name.startswith("passt") or name == "vmm-broker":
                    found[int(pid)] = name
    return found


def helper_pid(name):
    """Of the only process whose name begins so."""
    pids = wait_until(lambda: [pid for pid, its in helpers().items() if its.startswith(name)], name)
    if len(pids) != 1:
        raise AssertionError(helpers())
    return pids[0]


def status_of(pid, key):
    """The words of a line of /proc/PID/status."""
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        return next(line.split()[1:] for line in f if line.startswith(key + ":"))


def uid_of(pid):
    return {int(u) for u in status_of(pid, "Uid")}


# ---- passt ----


class Gate:
    """A program named passt, in a directory for the front of $PATH: the real one starts when the gate is open."""

    def __init__(self, directory):
        self.program = os.path.join(directory, "passt")
        self.path = os.path.join(directory, "gate")
        # A shell has no better way to wait for a file to go.
        self.write("while [ -e %s ]; do sleep 0.02; done" % self.path)

    def write(self, text):
        """What it does before the real one."""
        with open(self.program, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\n" + text + '\nexec %s "$@"\n' % PASST)
        os.chmod(self.program, 0o755)

    def close(self):
        with open(self.path, "w", encoding="ascii"):
            pass

    def open(self):
        os.unlink(self.path)

    def remove(self):
        for path in (self.program, self.path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
