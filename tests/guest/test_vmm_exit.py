# SPDX-License-Identifier: Apache-2.0
"""vmm-exit, the tool for Linux guests: small, static, and plain words for each way it can fail.

Its success needs a Linux guest (tests/linux/). As root on a host it would write to a real port, so here it runs
without the right to.
"""

import os
import subprocess
import unittest

import vmmtest

TOOL = os.environ.get("VMM_EXIT", os.path.join(vmmtest.GUESTS, "vmm-exit"))
NOBODY = 65534


def run(*args):
    def drop():
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    fd = os.open(TOOL, os.O_PATH)  # its directory may be closed to others
    try:
        return subprocess.run(["vmm-exit", *args], executable="/proc/self/fd/%d" % fd, pass_fds=[fd], text=True,
                              stderr=subprocess.PIPE, preexec_fn=drop, timeout=60, check=False)
    finally:
        os.close(fd)


class VmmExit(unittest.TestCase):
    def test_is_at_most_2_kib(self):
        size = os.path.getsize(TOOL)
        print("# vmm-exit has %d bytes" % size)
        self.assertLessEqual(size, 2048)

    def test_is_static(self):
        with open(TOOL, "rb") as f:
            self.assertNotIn(b"/lib64/ld-linux", f.read())

    def test_bad_arguments_give_usage_and_2(self):
        for args in ((), ("",), ("256",), ("-1",), ("7x",), ("0x7",), (" 7",), ("99999999999999999999",), ("1", "2")):
            with self.subTest(args=args):
                done = run(*args)
                self.assertEqual((done.returncode, done.stderr.split(":")[0]), (2, "usage"))

    def test_no_permission_gives_1(self):
        for code in ("0", "7", "255"):
            done = run(code)
            self.assertEqual(done.returncode, 1)
            self.assertIn("permission", done.stderr)


if __name__ == "__main__":
    vmmtest.main()
