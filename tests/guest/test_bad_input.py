# SPDX-License-Identifier: Apache-2.0
"""Wrong input: exit 125, a message that names the cause, nothing started, and the result file says so."""

import json
import os
import struct
import tempfile
import unittest

import vmmtest
from vmmtest import GuestTest, Vmm, guest, need_kvm, run_vmm


def elf_of(name="hello"):
    with open(guest(name), "rb") as f:
        return f.read()


def patched(data, at, fmt, *values):
    copy = bytearray(data)
    struct.pack_into(fmt, copy, at, *values)
    return bytes(copy)


class BadInput(unittest.TestCase):
    """These end before a guest starts, so that most need no KVM."""

    def setUp(self):
        self._dir = tempfile.TemporaryDirectory(prefix="vmmtest-")
        self.addCleanup(self._dir.cleanup)

    def path(self, name, content=None):
        path = os.path.join(self._dir.name, name)
        if content is not None:
            with open(path, "wb") as f:
                f.write(content if isinstance(content, bytes) else content.encode())
        return path

    def refuse(self, args, *causes, result=True):
        """vmm run ARGS is refused, and stderr matches each of causes."""
        run = run_vmm(*args, timeout=30, result=result)
        self.assertEqual(run.rc, 125, str(run))
        self.assertEqual(run.out, b"", "nothing started")
        self.assertTrue(run.err.startswith("vmm: "), run.err)
        for cause in causes:
            self.assertRegex(run.err, "(?i)" + cause)
        self.assertLessEqual(run.err.count("\n"), 4, "one message, and short: " + run.err)
        self.assertNotRegex(run.err, "Sanitizer|runtime error|assert")
        if result:
            self.assertIsNotNone(run.result, "the result file was written")
            self.assertEqual((run.reason, run.result["guest_exit"]), ("vmm_error", None), str(run))
        return run

    def refuse_kernel(self, content, *causes):
        path = self.path("kernel", content)
        self.refuse(["-k", path], "kernel", *causes)

    def refuse_flags(self, flags, *causes):
        self.refuse(["-k", guest("hello"), *flags], *causes)

    def refuse_json(self, content, *causes):
        path = self.path("vm.json", content if isinstance(content, (str, bytes)) else json.dumps(content))
        self.refuse(["--config", path], "vm.json", *causes)


class Kernels(BadInput, GuestTest):
    def test_none_given(self):
        self.refuse([], "kernel")

    def test_missing(self):
        self.refuse(["-k", self.path("missing")], "missing", "no such file")

    def test_empty(self):
        self.refuse_kernel(b"", "empty|too short|too small")

    def test_one_byte(self):
        self.refuse_kernel(b"\x7f")

    def test_text(self):
        self.refuse_kernel(b"#!/bin/sh\n" * 1000, "bzImage|ELF")

    def test_zeros(self):
        self.refuse_kernel(bytes(65536), "bzImage|ELF")

    def test_directory(self):
        self.refuse(["-k", self._dir.name], "directory")

    def test_fifo(self):
        path = self.path("fifo")
        os.mkfifo(path)
        self.refuse(["-k", path], "fifo", "regular file")

    def test_device(self):
        self.refuse(["-k", "/dev/zero"], "/dev/zero", "regular file")

    def test_unreadable(self):
        if os.geteuid() == 0:
            self.skipTest("root may read everything")
        path = self.path("kernel", elf_of())
        os.chmod(path, 0)
        self.refuse(["-k", path], "permission")

    def test_elf_cut_at_every_part(self):
        data = elf_of()
        for n in (4, 16, 40, 63, 64, 100, 200, 4096, 5000, 8192, 20000):
            with self.subTest(bytes=n):
                self.refuse_kernel(data[:n])

    def test_elf_of_another_machine(self):
        self.refuse_kernel(patched(elf_of(), 18, "<H", 183), "x86|machine")

    def test_elf_of_32_bits_without_segments(self):
        self.refuse_kernel(patched(elf_of(), 4, "B", 1))

    def test_elf_big_endian(self):
        self.refuse_kernel(patched(elf_of(), 5, "B", 2))

    def test_elf_program_headers_outside_the_file(self):
        self.refuse_kernel(patched(elf_of(), 32, "<Q", 0xfffffffffffffff0))

    def test_elf_without_program_headers(self):
        self.refuse_kernel(patched(elf_of(), 56, "<H", 0))

    def test_elf_with_odd_program_header_size(self):
        self.refuse_kernel(patched(elf_of(), 54, "<H", 1))

    def segment(self, field, value):
        """The first segment's header with one 8-byte field replaced."""
        return patched(elf_of(), 64 + field, "<Q", value)

    def test_elf_segment_file_offset_outside_the_file(self):
        self.refuse_kernel(self.segment(8, 0x7fffffffffffffff))

    def test_elf_segment_outside_guest_memory(self):
        for address in (1 << 40, 0xc0000000, 0xfffffffffffff000):
            with self.subTest(address=hex(address)):
                self.refuse_kernel(self.segment(24, address))

    def test_elf_segment_longer_than_memory(self):
        self.refuse_kernel(self.segment(40, 1 << 40))

    def test_elf_segment_with_more_file_than_memory(self):
        self.refuse_kernel(self.segment(40, 1))

    def bzimage(self, size=65536, **fields):
        """A boot sector with a plausible header (boot.rst); nothing behind it."""
        paragraphs = max(1, (size - 5 * 512) // 16)
        header = {0x1f1: ("B", 4), 0x1f4: ("<I", paragraphs), 0x1fe: ("<H", 0xaa55), 0x200: ("<H", 0x6aeb),
                  0x202: ("<4s", b"HdrS"), 0x206: ("<H", 0x20f), 0x211: ("B", 1), 0x214: ("<I", 0x100000),
                  0x230: ("<I", 0x200000), 0x236: ("<H", 0x3), 0x238: ("<I", 2047), 0x258: ("<Q", 0x1000000),
                  0x260: ("<I", 0x1000000)}
        data = bytearray(size)
        for at, (fmt, value) in header.items():
            struct.pack_into(fmt, data, at, value)
        for at, (fmt, value) in fields.pop("patch", {}).items():
            struct.pack_into(fmt, data, at, value)
        return bytes(data)

    def test_bzimage_too_old(self):
        self.refuse_kernel(self.bzimage(patch={0x206: ("<H", 0x20b)}), "2\\.12|protocol|old")

    def test_bzimage_without_64_bit_entry(self):
        self.refuse_kernel(self.bzimage(patch={0x236: ("<H", 0)}), "64")

    def test_bzimage_cut_in_its_set_up_sectors(self):
        self.refuse_kernel(self.bzimage(size=0x280))

    def test_bzimage_with_set_up_sectors_past_its_end(self):
        self.refuse_kernel(self.bzimage(size=4096, patch={0x1f1: ("B", 255)}))

    def test_bzimage_larger_than_memory(self):
        self.refuse_kernel(self.bzimage(patch={0x260: ("<I", 0xf0000000)}), "memory")

    def test_pvh_asked_of_a_bzimage(self):
        self.refuse(["-k", self.path("kernel", self.bzimage()), "--protocol", "pvh"], "pvh")


class Initrds(BadInput, GuestTest):
    def refuse_initrd(self, path, *causes):
        self.refuse(["-k", guest("hello"), "-i", path], "initrd", *causes)

    def test_missing(self):
        self.refuse_initrd(self.path("missing"), "no such file")

    def test_directory(self):
        self.refuse_initrd(self._dir.name, "directory")

    def test_fifo(self):
        os.mkfifo(self.path("fifo"))
        self.refuse_initrd(self.path("fifo"), "regular file")

    def test_larger_than_memory(self):
        path = self.path("initrd", b"")
        os.truncate(path, 200 << 20)
        self.refuse(["-k", guest("hello"), "-i", path, "-m", "128M"], "initrd", "memory|-m|--mem")


class Flags(BadInput):
    def test_command_line_too_long(self):
        self.refuse_flags(["-a", "x" * 70000], "-a|append|command line", "65535|long|limit")

    def test_memory_sizes(self):
        for size, cause in (("0", "32"), ("3M", "32"), ("1E", "E|size|64"), ("-1", "size"), ("", "-m"),
                            ("x", "size"), ("99999999999999999999", "large|most"), ("33000001K", "multiple|4"),
                            ("65T", "64|large|most"), ("1.5G", "size"), ("64M,shared=maybe", "shared"),
                            ("64M,hugepages=3M", "hugepages"), ("64M,frobnicate=1", "frobnicate"), ("64M,", "comma")):
            with self.subTest(size=size):
                self.refuse_flags(["-m", size], "-m\\b", cause)

    def test_processor_numbers(self):
        for spec, cause in (("0", "1"), ("9999", "254"), ("255", "254"), ("-1", "number"), ("x", "number"),
                            ("4,cores=3", "cores|sockets|product|topology"), ("4,frob=1", "frob")):
            with self.subTest(spec=spec):
                self.refuse_flags(["-c", spec], "-c\\b|cpus", cause)

    def test_times(self):
        for spec in ("soon", "-1s", "1y", "99999999999999999999s"):
            with self.subTest(spec=spec):
                self.refuse_flags(["--timeout", spec], "timeout")

    def test_choices_are_listed(self):
        for flag, causes in (("--on-reboot", ("exit", "restart")), ("--on-panic", ("exit", "wait")),
                             ("--sandbox", ("strict", "log", "off")), ("--protocol", ("auto", "linux64", "pvh")),
                             ("--console", ("stdio", "pty", "file", "unix", "none"))):
            with self.subTest(flag=flag):
                self.refuse_flags([flag, "frob"], flag, *causes)

    def test_unknown_flag_has_its_nearest_name(self):
        self.refuse_flags(["--kernle", "x"], "--kernle", "--kernel")

    def test_flag_without_its_value(self):
        self.refuse(["-k"], "-k|kernel", result=False)

    def test_word_too_much(self):
        self.refuse_flags(["word"], "word")

    def test_set_of_an_unknown_key(self):
        self.refuse_flags(["--set", "memory.sise=64M"], "sise", "size")

    def test_set_without_a_value(self):
        self.refuse_flags(["--set", "memory.size"], "set")

    def test_stdio_twice(self):
        self.refuse_flags(["--serial", "stdio", "--console", "stdio"], "stdio|console|serial")

    def test_console_paths(self):
        need_kvm()  # streams are opened only when the host can run a guest
        self.refuse_flags(["--console", "file=/nonexistent/dir/file"], "console", "/nonexistent")
        self.refuse_flags(["--console", "unix=/tmp/" + "x" * 200], "console", "socket", "107")

    def test_result_that_cannot_be_written(self):
        self.refuse(["-k", guest("hello"), "--result", "/nonexistent/result"], "result", result=False)


class Devices(BadInput):
    def test_disks(self):
        for value, cause in (("a,queues=65", "-d: queues"), ("a,qsize=100", "-d: qsize.*power of two"),
                             ("a,queue=2", "'queue'.*'queues'"), ("a,cache=writethrough", "-d: cache"),
                             ("a,serial=" + "x" * 21, "-d: serial"), ("a,bw=1", "-d: bw"), ("a,", "comma"),
                             ("a,ro,overlay", "/disks/0/overlay"), ("a,iothread=1", "/disks/0/iothread"),
                             ("a,bw_burst=1M", "/disks/0/bw_burst"), ("a,id=serial0", "/disks/0/id.*serial0")):
            with self.subTest(value=value):
                self.refuse_flags(["-d", value], cause)

    def test_disks_that_clash(self):
        self.refuse_flags(["-d", "a", "-d", "a"], "/disks/1/path", "/disks/0")
        self.refuse_flags(["-d", "a,id=x", "-d", "b,id=x"], "/disks/1/id", "/disks/0")

    def test_nets(self):
        for value, cause in (("tap0", "'tap0'.*'tap'"), ("usr", "'usr'.*'user'"), ("queues=2", "exactly one of"),
                             ("tap=a,fd=3", "exactly one of"), ("tap=" + "x" * 16, "--net: tap"),
                             ("user,mac=ff:ff:ff:ff:ff:ff", "mac"), ("user,mtu=67", "mtu"), ("fd=0", "fd"),
                             ("user,queues=2", "/nets/0/queues"), ("stream=/x", "unix:PATH")):
            with self.subTest(value=value):
                self.refuse_flags(["--net", value], cause)

    def test_nets_that_clash(self):
        self.refuse_flags(["-n", "user", "-n", "user"], "/nets/1/user", "/nets/0")
        self.refuse_flags(["-n", "none", "-n", "user"], "/nets/0", "none")

    def test_published_ports(self):
        for value in ("80", "80:0", "80:80/sctp", "host:80:80", "::1:80:80", "99999:80"):
            with self.subTest(value=value):
                self.refuse_flags(["-n", "user", "--publish", value], "--publish", "HOST:GUEST")
        self.refuse_flags(["--publish", "80:80"], "publish", "--net user")

    def test_others(self):
        for flags, cause in ((["--vsock", "2,uds=x"], "--vsock: 2"), (["--vsock", "3"], "/vsock/uds"),
                             (["--rng", "maybe"], "--rng: 'maybe'"), (["--balloon", "size=64T"], "/balloon/size"),
                             (["--pmem", "p,size=3M"], "--pmem: size"), (["--watchdog", "on"], "--watchdog: 'on'"),
                             (["--port", "a", "--port", "a"], "/ports/1/name"), (["--iothreads", "0"], "--iothreads"),
                             (["--iothreads", "1,pin=x"], "pin: 'x'"), (["--io-engine", "aio"], "--io-engine"),
                             (["--transport", "ccw"], "--transport"), (["-m", "1G,max=1G"], "max=1G"),
                             (["-m", "1G,block=3M"], "block: 3M"),
                             (["--hvc", "console", "--serial", "console"], "--hvc")):
            with self.subTest(flags=flags):
                self.refuse_flags(flags, cause)

    def test_set_of_elements(self):
        self.refuse_flags(["--set", "disks.1.path=x"], "disks.1.path: index 1")
        self.refuse_flags(["--set", "disks.0.pth=x"], "'disks.0.path'")
        self.refuse_flags(["--set", "disks=x"], "is a list")

    def test_file(self):
        kernel = {"path": "/x"}
        for value, pointer in (({"disks": {}}, "/disks: must be an array"), ({"disks": ["x"]}, "/disks/0"),
                               ({"disks": [{"path": "a"}, {"pth": "b"}]}, "/disks/1/pth.*/disks/1/path"),
                               ({"disks": [{"path": "a"}, {}]}, "/disks/1/path"),
                               ({"disks": [{"path": "a"}, {"path": 1}]}, "/disks/1/path: must be a string"),
                               ({"nets": [{}]}, "/nets/0"), ({"publish": [1]}, "/publish/0"),
                               ({"vsock": {"cid": 1, "uds": "x"}}, "/vsock/cid"), ({"rng": 1}, "/rng"),
                               ({"balloon": {"stats": "1.5s"}}, "/balloon/stats")):
            with self.subTest(value=value):
                text = json.dumps(dict({"kernel": kernel}, **value))
                self.refuse(["--config", self.path("vm.json", text)], pointer)


class Json(BadInput):
    KERNEL = {"path": "/x"}

    def test_missing_file(self):
        self.refuse(["--config", self.path("missing.json")], "missing.json", "no such file")

    def test_directory(self):
        self.refuse(["--config", self._dir.name], "directory")

    def test_empty(self):
        self.refuse_json("")

    def test_syntax_errors_have_line_and_column(self):
        for text in ("{", "[", "{\n\"kernel\": }", "{'kernel': 1}", "{} trailing", "{\"a\": 1,}", "nonsense"):
            with self.subTest(text=text):
                self.refuse_json(text, r":\d+:\d+|\d+.*\d+")

    def test_bytes_that_are_no_utf8(self):
        self.refuse_json(b'{"name": "\xff\xfe"}', "vm.json:1:", "utf-?8|decode")

    def test_not_an_object(self):
        for value in ([], 1, "x", None, True):
            with self.subTest(value=value):
                self.refuse_json(value, "object|expected")

    def test_duplicate_key(self):
        self.refuse_json('{"name": "a", "name": "b"}', "duplicate", "name")

    def test_unknown_keys_have_a_pointer_and_the_nearest_name(self):
        self.refuse_json({"kernle": {}}, "/kernle|\"kernle\"", "kernel")
        self.refuse_json({"kernel": {"paht": "x"}}, "/kernel/paht", "path")
        self.refuse_json({"memory": {"zzz": 1}}, "/memory/zzz")

    def test_wrong_types(self):
        for value, pointer in (({"kernel": []}, "/kernel"), ({"kernel": "x"}, "/kernel"),
                               ({"kernel": {"path": 5}}, "/kernel/path"), ({"cpus": {"boot": "many"}}, "/cpus/boot"),
                               ({"cpus": {"boot": 1.5}}, "/cpus/boot"), ({"memory": {"size": {}}}, "/memory/size"),
                               ({"memory": {"prefault": "perhaps"}}, "/memory/prefault"),
                               ({"name": None}, "/name"), ({"on_reboot": True}, "/on_reboot")):
            with self.subTest(value=value):
                self.refuse_json(dict({"kernel": self.KERNEL}, **value), pointer)

    def test_values_out_of_range(self):
        for value, pointer in (({"cpus": {"boot": 0}}, "/cpus/boot"), ({"cpus": {"boot": 255}}, "/cpus/boot"),
                               ({"cpus": {"boot": -1}}, "/cpus/boot"), ({"memory": {"size": "3M"}}, "/memory/size"),
                               ({"memory": {"size": "1E"}}, "/memory/size"),
                               ({"memory": {"size": 0}}, "/memory/size"),
                               ({"name": ""}, "/name"), ({"name": "x" * 300}, "/name"),
                               ({"version": 2}, "/version"), ({"on_reboot": "sometimes"}, "/on_reboot")):
            with self.subTest(value=value):
                self.refuse_json(dict({"kernel": self.KERNEL}, **value), pointer)

    def test_number_past_64_bits(self):
        self.refuse_json('{"memory": {"size": 99999999999999999999999}}', "size|too big|range|integer")

    def test_deep_nesting(self):
        self.refuse_json("[" * 100000)

    def test_text_with_a_zero_byte(self):
        self.refuse_json('{"kernel": {"path": "a\\u0000b"}}', "path|u0000|NUL|\\\\")


class Nothing(BadInput):
    def test_refused_start_leaves_nothing_behind(self):
        with vmmtest.no_leaks(self):
            for flags in (["-m", "0"], ["-c", "0"], ["--console", "file=/nonexistent/x"]):
                self.refuse_flags(flags)

    def test_dry_run_creates_and_cuts_nothing(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "keep")
            with open(path, "w", encoding="ascii") as f:
                f.write("kept")
            with Vmm("-k", vmmtest.guest("hello"), "--console", "file=" + path, "--dry-run", result=False) as vm:
                self.assertEqual(vm.wait().rc, 0)
            with open(path, encoding="ascii") as f:
                self.assertEqual(f.read(), "kept")

    def test_result_is_written_though_the_mistake_comes_first(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "result")
            with Vmm("--kernal", "x", "--result", path, result=False) as vm:
                self.assertEqual(vm.wait().rc, 125)
            with open(path, encoding="utf-8") as f:
                self.assertEqual(json.load(f)["reason"], "vmm_error")

    def test_error_is_on_stderr_though_the_log_is_a_file(self):
        with tempfile.TemporaryDirectory() as d:
            log = os.path.join(d, "log")
            with Vmm("-k", "/nonexistent", "--log", log, result=False) as vm:
                run = vm.wait()
            self.assertEqual(run.rc, 125)
            self.assertIn("/nonexistent", run.err)
            with open(log, encoding="utf-8") as f:
                self.assertIn("/nonexistent", f.read())

    def test_pipe_without_a_reader_is_no_place_for_a_result(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "fifo")
            os.mkfifo(path)
            with Vmm("-k", vmmtest.guest("hello"), "--result", path, result=False) as vm:
                run = vm.wait()
            self.assertEqual(run.rc, 125)
            self.assertIn("--result", run.err)

    def test_unknown_command_is_named(self):
        with Vmm(command="rnu", result=False) as vm:
            run = vm.wait()
        self.assertEqual(run.rc, 125)
        self.assertRegex(run.err, "rnu(.|\n)*run")


if __name__ == "__main__":
    vmmtest.main()
