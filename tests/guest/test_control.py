# SPDX-License-Identifier: Apache-2.0
"""The control socket of a running VM: each endpoint by curl, several clients, clients that misbehave."""

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
import unittest

import vmmtest
from controltest import Place, receive_until, request, stream
from vmmtest import GuestTest

LONG = os.environ.get("VMM_TEST_TIER") == "long"


class ControlTest(GuestTest):
    """Each test has a place of its own."""

    def setUp(self):
        self.place = Place()
        self.place.__enter__()
        self.addCleanup(self.place.__exit__)
        self.vm = None

    def start(self, guest="exit", append="how=spin", *args, name="t", ready="ready"):
        self.vm = self.place.start(name, guest, append, *args)
        self.addCleanup(self.vm.__exit__)
        if ready:
            self.vm.wait_for(ready)
        return self.vm

    def get(self, path, *args, **kw):
        return self.place.json("t", path, *args, **kw)

    def post(self, path, body=None, **kw):
        return self.place.post("t", path, body, **kw)

    def put(self, path, body, **kw):
        return self.place.put("t", path, body, **kw)

    def event_names(self):
        return [event["event"] for event in self.place.events("t")]


class Endpoints(ControlTest):
    def test_index_lists_endpoints_that_exist(self):
        self.start()
        index = self.get("/v1")
        self.assertEqual(index["api"], 1)
        for endpoint in index["endpoints"]:
            if endpoint["method"] == "GET" and endpoint["path"] not in ("/v1/console", "/v1/events"):
                status, body = self.place.curl("t", endpoint["path"])
                self.assertEqual(status, 200, body)

    def test_info(self):
        self.start("exit", "how=spin", "-c", "2")
        info = self.get("/v1/info")
        self.assertEqual((info["name"], info["pid"], info["state"], info["cpus"], info["memory"], info["resets"],
                          info["detached"]), ("t", self.vm.pid, "running", 2, 32 << 20, 0, False))
        self.assertGreaterEqual(info["uptime_ms"], info["guest_uptime_ms"])
        self.assertLess(abs(info["started_unix_ms"] + info["uptime_ms"] - time.time() * 1000), 60000)

    def test_config_is_what_print_config_says(self):
        self.start()
        shown = self.place.vmm("run", "--print-config", "--name", "t", "-k", vmmtest.guest("exit"), "-m", "32M", "-a",
                               "how=spin", "--result", self.vm._result)
        self.assertEqual(self.get("/v1/config"), json.loads(shown.stdout))

    def test_stats_count_what_the_guest_does(self):
        self.start("exit", "how=echo")
        before = self.get("/v1/stats")
        self.vm.send(b"hello")
        self.vm.wait_for("hello")
        after = self.get("/v1/stats")
        self.assertGreater(after["vcpus"][0]["exits"]["io"], before["vcpus"][0]["exits"]["io"])
        serial = {key: after["devices"]["serial0"][key] - before["devices"]["serial0"][key]
                  for key in ("rx_bytes", "tx_bytes")}
        self.assertEqual(serial, {"rx_bytes": 5, "tx_bytes": 5})
        self.assertEqual(after["console"]["received"] - before["console"]["received"], 5)

    def test_pause_stops_the_guest_and_resume_lets_it_run(self):
        self.start("exit", "how=noisy", ready="")
        self.assertEqual(self.post("/v1/pause"), {"state": "paused"})
        exits = self.get("/v1/stats")["vcpus"]
        self.assertEqual(self.get("/v1/stats")["vcpus"], exits, "a paused guest goes on")
        self.assertEqual(self.post("/v1/pause"), {"state": "paused"})
        self.assertEqual(self.post("/v1/resume"), {"state": "running"})
        vmmtest.wait_until(lambda: self.get("/v1/stats")["vcpus"] != exits, "the guest going on")
        self.assertEqual([e for e in self.event_names() if e in ("paused", "resumed")], ["paused", "resumed"])

    def test_power_button(self):
        self.start("exit", "how=wait-button")
        self.post("/v1/power-button")
        self.check(self.vm.wait(), 0, "poweroff")

    def test_reset_starts_the_guest_anew(self):
        self.start("exit", "how=ask")
        self.assertEqual(self.post("/v1/reset"), {"state": "running"})
        self.vm.wait_for("ready")
        self.assertEqual(self.get("/v1/info")["resets"], 1)
        self.vm.send(b"7")
        self.check(self.vm.wait(), 7, "exit")

    def test_reset_of_a_paused_machine_stays_paused(self):
        self.start("exit", "how=ask")
        self.post("/v1/pause")
        self.assertEqual(self.post("/v1/reset"), {"state": "paused"})
        self.post("/v1/resume")
        self.vm.wait_for("ready")
        self.vm.send(b"3")
        self.check(self.vm.wait(), 3, "exit")

    def test_nmi_reaches_the_guest(self):
        self.start("exit", "how=wait-nmi")
        self.post("/v1/nmi")
        self.check(self.vm.wait(), 0, "exit")

    def test_stop_presses_the_button(self):
        self.start("exit", "how=wait-button")
        self.assertIn(self.post("/v1/stop")["state"], ("stopping", "ended"))
        self.check(self.vm.wait(), 0, "poweroff")

    def test_stop_tells_what_it_does(self):
        self.start("exit", "how=ignore-button")
        self.post("/v1/stop", {"timeout": 600})
        self.assertEqual(self.event_names(), ["started", "running", "stopping", "power_button"])
        self.post("/v1/kill")
        self.vm.wait()

    def test_stop_has_a_deadline(self):
        self.start("exit", "how=ignore-button")
        self.post("/v1/stop", {"timeout": "600s"})
        self.assertEqual(self.get("/v1/info")["state"], "stopping")
        self.post("/v1/stop", {"timeout": "50ms"})
        run = self.vm.wait()
        self.assertEqual(run.reason, "killed", str(run))

    def test_stop_lets_a_paused_machine_run(self):
        self.start("exit", "how=wait-button")
        self.post("/v1/pause")
        self.post("/v1/stop")
        self.check(self.vm.wait(), 0, "poweroff")

    def test_kill(self):
        self.start("exit", "how=ignore-button")
        self.post("/v1/kill")
        self.assertEqual(self.vm.wait().reason, "killed")

    def test_devices_say_what_they_know(self):
        self.start()
        devices = {device["id"]: device for device in self.get("/v1/devices")}
        self.assertIn("send", [verb["name"] for verb in devices["serial0"]["verbs"]])
        stats = self.get("/v1/stats")["devices"]
        for name, device in devices.items():
            self.assertEqual([stat["name"] for stat in device["stats"]], list(stats.get(name, {})), name)

    def test_device_verbs(self):
        self.start("exit", "how=echo")
        self.post("/v1/devices/serial0/send", {"text": "typed"})
        self.vm.wait_for("typed")
        for path, body, status, words in (
                ("/v1/devices/serial0/send", {}, 400, "missing"),
                ("/v1/devices/serial0/send", {"text": 3}, 400, "string"),
                ("/v1/devices/serial0/send", {"text": ""}, 400, "bytes"),
                ("/v1/devices/serial0/send", {"text": "a", "txet": "b"}, 400, "did you mean"),
                ("/v1/devices/serial0/sing", {}, 404, "it knows"),
                ("/v1/devices/serail0/send", {}, 404, 'did you mean "serial0"')):
            answer = self.post(path, body, status=status)
            self.assertIn(words, answer["message"], path)

    def test_log_level_and_file(self):
        self.start()
        self.assertEqual(self.get("/v1/log"), {"level": "warn"})
        self.assertEqual(self.put("/v1/log", {"level": "debug"}), {"level": "debug"})
        self.assertEqual(self.put("/v1/log", {"level": "loud"}, status=400)["where"], "/level")
        with open(self.place.path("..", "log"), "ab") as log:
            self.assertEqual(self.place.leave_fd("t", "log", log.fileno()), {"fd": "log"})
        self.assertEqual(self.get("/v1/fds"), {"fds": ["log"]})
        self.assertEqual(self.put("/v1/log", {"fd": "fd:log", "level": "info"}), {"level": "info"})
        self.assertEqual(self.get("/v1/fds"), {"fds": []})
        self.post("/v1/reset")
        with open(self.place.path("..", "log"), encoding="utf-8") as log:
            self.assertIn("reset", log.read())
        reader, writer = os.pipe()
        self.place.leave_fd("t", "pipe", writer)
        self.assertIn("regular file", self.put("/v1/log", {"fd": "fd:pipe"}, status=400)["message"])
        os.close(reader)
        os.close(writer)
        self.assertEqual(self.put("/v1/log", {"fd": "fd:nothing"}, status=404)["code"], "not_found")

    def test_events_are_numbered_and_in_order(self):
        self.start("exit", "how=ask")
        self.post("/v1/pause")
        self.post("/v1/resume")
        self.post("/v1/reset")
        events = self.place.events("t")
        self.assertEqual([event["seq"] for event in events], list(range(1, len(events) + 1)))
        self.assertEqual([event["event"] for event in events], ["started", "running", "paused", "resumed", "reset"])
        self.assertEqual(sorted(event["monotonic_ns"] for event in events), [event["monotonic_ns"] for event in events])
        for event in events:
            self.assertRegex(event["time"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
        self.assertEqual((events[-1]["by"], events[-1]["number"]), ("api", 1))
        status, body = self.place.curl("t", "/v1/events?follow=0&since=4")
        self.assertEqual([json.loads(line)["seq"] for line in body.splitlines()], [4, 5], status)

    def test_the_end_is_the_last_event(self):
        self.start("exit", "how=ask")
        with stream(self.place, "t", "/v1/events") as (sock, rest):
            self.vm.send(b"9")
            while piece := sock.recv(65536):
                rest += piece
        last = json.loads(rest.splitlines()[-1])
        self.assertEqual((last["event"], last["reason"], last["exit_code"]), ("ended", "exit", 9))
        self.check(self.vm.wait(), 9, "exit")

    def test_console_tail(self):
        self.start("exit", "how=echo")
        status, body = self.place.curl("t", "/v1/console/tail")
        self.assertEqual((status, body.rstrip().splitlines()[-1]), (200, "ready"))

    def test_every_endpoint_is_called_by_some_test(self):
        self.start()
        known = {(e["method"], e["path"]) for e in self.get("/v1")["endpoints"]}
        source = open(__file__, encoding="utf-8").read()
        for _, path in known:
            plain = path.replace("/*/*", "/serial0/send")
            self.assertIn('"%s' % plain, source, "no test calls " + path)


class Errors(ControlTest):
    def test_wrong_requests_say_what_is_wrong(self):
        self.start()
        for args, status, code, words in (
                (("/v1/inof",), 404, "not_found", "/v1/inof"),
                (("/v2/info",), 404, "not_found", "there is no"),
                (("/v1/pause",), 405, "method_not_allowed", "method"),
                (("/v1/pause", "-X", "POST", "-d", "{"), 400, "bad_request", "line 1"),
                (("/v1/pause", "-X", "POST", "-d", "[]"), 400, "bad_request", "an array"),
                (("/v1/pause", "-X", "POST", "-d", '{"a":1}'), 400, "bad_request", "unknown key"),
                (("/v1/stop", "-X", "POST", "-d", '{"timeout":"soon"}'), 400, "bad_request", "no time"),
                (("/v1/stop", "-X", "POST", "-d", '{"timeout":"1s","timeout":"2s"}'), 400, "bad_request", "duplicate"),
                (("/v1/console/attach", "-X", "POST", "-d", "{}"), 400, "bad_request", "fd"),
                (("/v1/events?since=x",), 400, "bad_request", "since")):
            with self.subTest(args=args):
                answer = self.place.json("t", *args, status=status)
                self.assertEqual(answer["code"], code)
                self.assertIn(words, answer["message"])
                self.assertEqual(set(answer), {"code", "message", "where", "hint"})
        self.assertIn("/v1/info", self.place.json("t", "/v1/inof", status=404)["hint"])

    def test_too_much_is_refused(self):
        self.start()
        big = os.path.join(self.place.path(".."), "big")
        with open(big, "wb") as file:
            file.write(b" " * (1 << 20))
        status, body = self.place.curl("t", "/v1/pause", "-X", "POST", "--data-binary", "@" + big)
        self.assertEqual((status, json.loads(body)["code"]), (413, "too_large"))
        status, _ = self.place.curl("t", "/v1/" + "x" * 5000)
        self.assertEqual(status, 414)
        status, _ = self.place.curl("t", "/v1/info", "-H", "X: " + "y" * 60000)
        self.assertEqual(status, 431)
        self.assertEqual(self.get("/v1/info")["state"], "running")

    def test_wrong_states_are_conflicts(self):
        self.start("exit", "how=ignore-button")
        self.post("/v1/stop", {"timeout": "600s"})
        for path in ("/v1/pause", "/v1/reset"):
            self.assertEqual(self.post(path, status=409)["code"], "conflict")


class Clients(ControlTest):
    def test_two_at_once(self):
        self.start()
        with self.place.connect("t") as one, self.place.connect("t") as two:
            request(one, "GET /v1/info HTTP/1.1\nHost: v")  # half of it
            request(two, "GET /v1/info HTTP/1.1\nHost: vm\n\n")
            self.assertIn(b'"state":"running"', receive_until(two, b"}\n"))
            request(one, "m\n\n")
            self.assertIn(b'"state":"running"', receive_until(one, b"}\n"))

    def test_requests_on_one_connection_are_answered_in_order(self):
        self.start()
        with self.place.connect("t") as sock:
            request(sock, "GET /v1/log HTTP/1.1\nHost: vm\n\n" * 3 + "GET /v1/fds HTTP/1.1\nHost: vm\n\n")
            data = receive_until(sock, b'{"fds":[]}\n')
        self.assertEqual(data.count(b'{"level":"warn"}\n'), 3)

    def test_one_that_stops_reading_costs_nobody_else(self):
        self.start("exit", "how=flood n=1000000000", ready="")
        with stream(self.place, "t", "/v1/console"), stream(self.place, "t", "/v1/events"), \
                self.place.connect("t") as deaf:
            for _ in range(2000):  # answers pile up until the VM takes no more requests of this one
                try:
                    deaf.send(b"GET /v1/devices HTTP/1.1\r\nHost: vm\r\n\r\n", socket.MSG_DONTWAIT)
                except OSError:  # full, or the VM has given this client up
                    break
            for _ in range(20):
                self.post("/v1/pause")
                self.post("/v1/resume")
            client = self.get("/v1/stats")["console"]["clients"][0]
            vmmtest.wait_until(lambda: self.get("/v1/stats")["console"]["clients"][0]["dropped"] > client["dropped"],
                               "bytes dropped for the one that does not read")

    def test_too_many_are_turned_away_and_the_next_is_served(self):
        self.start()
        crowd = [self.place.connect("t") for _ in range(40)]
        turned_away = 0
        for sock in crowd:
            try:
                request(sock, "GET /v1/log HTTP/1.1\nHost: vm\n\n")
                turned_away += b"503" in receive_until(sock, b"\r\n")
            except (BrokenPipeError, ConnectionResetError, AssertionError):
                turned_away += 1
        for sock in crowd:
            sock.close()
        self.assertEqual(turned_away, 40 - 32)
        vmmtest.wait_until(lambda: self.place.curl("t", "/v1/log")[0] == 200, "an answer")

    def test_watchers_leave_room_for_who_steers(self):
        self.start()
        watchers = [self.place.connect("t") for _ in range(40)]
        for sock in watchers:
            with contextlib.suppress(OSError):
                request(sock, "GET /v1/events HTTP/1.1\nHost: vm\n\n")
                if b" 503 " in sock.recv(100):
                    sock.close()
        self.assertEqual(self.post("/v1/pause"), {"state": "paused"})
        for sock in watchers:
            sock.close()

    @unittest.skipUnless(os.geteuid() == 0, "only root can become somebody else")
    def test_another_user_is_refused(self):
        self.start()
        os.chmod(self.place.path(".."), 0o755)
        os.chmod(self.place.base, 0o755)
        os.chmod(self.place.path("t"), 0o755)
        os.chmod(self.place.path("t", "control.sock"), 0o666)
        code = ("import os, socket; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
                "s.connect(%r); s.sendall(b'GET /v1/info HTTP/1.1\\r\\nHost: v\\r\\n\\r\\n'); print(s.recv(4096))"
                % self.place.path("t", "control.sock"))
        done = subprocess.run(["python3", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertIn(b"403", done.stdout)

    def test_sockets_are_for_their_owner_only(self):
        self.start()
        for file in ("control.sock", "fd.sock"):
            self.assertEqual(os.stat(self.place.path("t", file)).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(self.place.path("t")).st_mode & 0o777, 0o700)


class Console(ControlTest):
    LINES = 500 if not LONG else 4000

    def test_attached_both_ways(self):
        self.start("exit", "how=echo")
        with stream(self.place, "t", "/v1/console", upgrade=True) as (sock, _):
            vmmtest.wait_until(lambda: self.get("/v1/stats")["console"]["clients"], "the client")
            sock.sendall(b"over the socket")
            receive_until(sock, b"over the socket")
            self.vm.wait_for("over the socket")
            self.vm.send(b"from stdin")
            receive_until(sock, b"from stdin")
        vmmtest.wait_until(lambda: not self.get("/v1/stats")["console"]["clients"], "the client's end")
        self.vm.send(b"still there")  # the end of a client is not the end of the input
        self.vm.wait_for("still there")
        self.assertEqual([e for e in self.event_names() if e.startswith("console_")],
                         ["console_attached", "console_detached"])

    def test_descriptor_of_ones_own(self):
        self.start("exit", "how=echo")
        ours, theirs = socket.socketpair()
        self.place.leave_fd("t", "term", theirs.fileno())
        theirs.close()
        self.post("/v1/console/attach", {"fd": "fd:term", "input": True})
        ours.settimeout(vmmtest.PATIENCE)
        ours.sendall(b"by descriptor")
        receive_until(ours, b"by descriptor")
        ours.close()
        vmmtest.wait_until(lambda: not self.get("/v1/stats")["console"]["clients"], "its end")

    def test_coming_and_going_under_output(self):
        """One reader stays while others come and go; the numbered lines that it gets have no gap."""
        total = 64 * self.LINES
        self.place.detach("t", "exit", "how=echo")
        with stream(self.place, "t", "/v1/console", upgrade=True) as (stays, data):
            vmmtest.wait_until(lambda: len(self.get("/v1/stats")["console"]["clients"]) == 1, "the client")
            stop = threading.Event()

            def come_and_go():
                while not stop.is_set():
                    with stream(self.place, "t", "/v1/console") as (sock, rest):
                        while len(rest) < 512 and not stop.is_set():
                            rest += sock.recv(512)

            others = [threading.Thread(target=come_and_go) for _ in range(2)]
            for thread in others:
                thread.start()
            lines = [b"%062d\r\n" % i for i in range(total // 64)]
            try:
                sent = 0
                while len(data) < total:
                    if sent < len(lines) and sent * 64 - len(data) < 8192:
                        stays.sendall(lines[sent])
                        sent += 1
                    else:
                        data += stays.recv(65536)
            finally:
                stop.set()
            stays.sendall(b"#" * 600)  # lets the others see their last bytes
            for thread in others:
                thread.join()
        self.assertEqual(data[:total], b"".join(lines))
        self.assertGreater(sum(e == "console_detached" for e in self.event_names()), 2)


class Clock(ControlTest):
    def tick(self):
        """(host's clock, guest's counter), both in this order of events."""
        self.vm.send(b"?")
        self.vm.wait_for("tsc ")
        self.vm.wait_for("\n")
        return time.monotonic(), int(bytes(self.vm.out).rpartition(b"tsc ")[2])

    def test_paused_and_resumed_many_times(self):
        """The guest answers after each, and its clock goes on as the host's does."""
        self.start("exit", "how=clock")
        begin = self.tick()
        vmmtest.wait_until(lambda: time.monotonic() > begin[0] + 1, "a second")
        middle = self.tick()
        for _ in range(200 if LONG else 50):
            self.post("/v1/pause")
            self.post("/v1/resume")
            end = self.tick()
        rates = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in ((begin, middle), (middle, end))]
        self.assertAlmostEqual(rates[1] / rates[0], 1, delta=0.05)


if __name__ == "__main__":
    vmmtest.main()
