# SPDX-License-Identifier: Apache-2.0
"""What tests of the control socket share: a place for state directories, and curl as the client.

Everything lies below a directory of its own, so that the tests see no VM of the user's.
"""

import contextlib
import json
import os
import socket
import subprocess
import tempfile

import vmmtest

CURL = ["curl", "--silent", "--show-error", "--max-time", "60"]


class Place:
    """$XDG_RUNTIME_DIR of its own. Leaving it kills the VMs that are left there."""

    def __enter__(self):
        self._dir = tempfile.TemporaryDirectory(prefix="ctl-")
        self.base = os.path.join(self._dir.name, "vmm")
        self.env = dict(os.environ, XDG_RUNTIME_DIR=self._dir.name)
        return self

    def __exit__(self, *exc):
        self.vmm("kill", "--all")
        self._dir.cleanup()

    def give_to(self, user):
        """Makes it that user's, by number. `vmm` as another one refuses it, curl does not."""
        os.chown(self._dir.name, user, user)

    def path(self, *parts):
        return os.path.join(self.base, *parts)

    def vmm(self, *args, stdin=subprocess.DEVNULL, timeout=vmmtest.PATIENCE, **kw):
        """Runs a command of vmm; a CompletedProcess with text."""
        return subprocess.run([vmmtest.VMM, *map(str, args)], env=self.env, stdin=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=timeout, check=False, text=True, **kw)

    def start(self, name, guest, append="", *args, **kw):
        """A guest in the foreground: a vmmtest.Vmm whose API answers."""
        vm = vmmtest.start_guest(guest, append, "--name", name, *args, env=self.env, **kw)
        try:
            if "off" not in args:
                vmmtest.wait_until(lambda: os.path.exists(self.path(name, "control.sock")) or vm.process.poll() is not None,
                                   "the control socket")
        except BaseException:
            vm.__exit__(None, None, None)
            raise
        return vm

    def detach(self, name, guest, append="", *args):
        """A guest in the background that has said `ready` when this returns."""
        done = self.vmm("run", "-D", "--name", name, "-k", vmmtest.guest(guest), "-m", "32M", "-a", append, *args)
        if done.returncode != 0 or done.stdout != name + "\n":
            raise AssertionError("run -D: %r" % done)
        vmmtest.wait_until(lambda: "ready" in self.curl(name, "/v1/console/tail")[1], "the guest")

    def curl(self, name, path, *args):
        """(status, body) of a request."""
        done = subprocess.run([*CURL, "--unix-socket", self.path(name, "control.sock"), "--write-out", "\n%{http_code}",
                               *args, "http://vm" + path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise AssertionError("curl %s: %r" % (path, done))
        body, _, status = done.stdout.rpartition(b"\n")
        return int(status), body.decode("utf-8", "replace")

    def json(self, name, path, *args, status=200):
        """The JSON answer, which must have this status."""
        got, body = self.curl(name, path, *args)
        if got != status:
            raise AssertionError("%s: status %d: %s" % (path, got, body))
        return json.loads(body)

    def post(self, name, path, body=None, status=200):
        return self.json(name, path, "--request", "POST", *(["--data", json.dumps(body)] if body is not None else []),
                         status=status)

    def put(self, name, path, body, status=200):
        return self.json(name, path, "--request", "PUT", "--data", json.dumps(body), status=status)

    def events(self, name):
        """All events that are kept, without waiting for more."""
        status, body = self.curl(name, "/v1/events?follow=0")
        if status != 200:
            raise AssertionError(body)
        return [json.loads(line) for line in body.splitlines()]

    def wait_for_state(self, name, state):
        vmmtest.wait_until(lambda: self.json(name, "/v1/info")["state"] == state, "state " + state)

    def connect(self, name, file="control.sock"):
        """A raw connection."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(vmmtest.PATIENCE)
        sock.connect(self.path(name, file))
        return sock

    def leave_fd(self, name, fd_name, fd):
        """Sends a descriptor under a name; the answer."""
        with self.connect(name, "fd.sock") as sock:
            socket.send_fds(sock, [fd_name.encode() + b"\n"], [fd])
            return json.loads(sock.makefile().readline())


def receive_until(sock, text):
    """Reads until text has come; all that was read."""
    data = b""
    while text not in data:
        piece = sock.recv(65536)
        if not piece:
            raise AssertionError("the connection ended after %r" % data[-500:])
        data += piece
    return data


def request(sock, text):
    sock.sendall(text.encode().replace(b"\n", b"\r\n"))


@contextlib.contextmanager
def stream(place, name, path, upgrade=False):
    """(socket, what came after the head) of an answer without end."""
    with place.connect(name) as sock:
        extra = "Connection: Upgrade\nUpgrade: vmm-stream\n" if upgrade else ""
        request(sock, "GET %s HTTP/1.1\nHost: vm\n%s\n" % (path, extra))
        head, _, rest = receive_until(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
        expected = b"101" if upgrade else b"200"
        if head.split()[1] != expected:
            raise AssertionError(head)
        yield sock, rest
