#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""af-packet-exec: how it hands sockets to a QEMU that runs."""

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import unittest

import lab
from launcher import LAUNCHER, OWN_FAILURE, needs_root

OTHER = 4242                # a user


class Monitor(unittest.TestCase):
    """The other side, which is the test's own."""

    GREETING = {"QMP": {"version": {}, "capabilities": []}}
    EVENT = {"event": "RESUME", "timestamp": {}}

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = f"{folder.name}/qmp"
        self.server = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.server.close)
        self.server.settimeout(lab.SECONDS)
        self.server.bind(self.path)
        self.server.listen(1)

    @contextlib.contextmanager
    def handing_over(self, *names, options=()):
        """Start the launcher; its Popen is what the block gets."""
        arguments = [argument for name in names for argument in
                     ("--socket=ifname=lo", f"--fdname={name}")]
        with subprocess.Popen([LAUNCHER, *arguments, f"--qmp={self.path}",
                               *options],
                              text=True, stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as launcher:
            try:
                yield launcher
            finally:
                launcher.kill()

    def finish(self, launcher):
        """Return the launcher's exit status and what it says."""
        complaints = launcher.communicate(timeout=lab.SECONDS)[1]
        return launcher.returncode, complaints

    def write(self, client, *messages):
        client.sendall(b"".join(json.dumps(message).encode() + b"\r\n"
                                for message in messages))

    def accept(self):
        client, _ = self.server.accept()
        self.addCleanup(client.close)
        client.settimeout(lab.SECONDS)
        return client

    def expect(self, client, command, **arguments):
        """Receive a command; return the descriptors that come with it."""
        data, fds, _, _ = socket.recv_fds(client, 4096, 10)
        expected = {"execute": command}
        if arguments:
            expected["arguments"] = arguments
        self.assertEqual(json.loads(data), expected)
        return fds

    def negotiate(self):
        client = self.accept()
        self.write(client, self.GREETING)
        self.assertEqual(self.expect(client, "qmp_capabilities"), [])
        self.write(client, {"return": {}})
        return client

    def check_trouble(self, launcher, says):
        status, complaints = self.finish(launcher)
        self.assertEqual(status, OWN_FAILURE)
        self.assertRegex(complaints, "^af-packet-exec: [^\n]*\n$")
        self.assertIn(says, complaints)


class Qmp(Monitor):
    """Hand a socket over."""

    def test_sockets_arrive(self):
        with self.handing_over("one", "two") as launcher:
            client = self.negotiate()
            for name in ("one", "two"):
                fd, = self.expect(client, "getfd", fdname=name)
                with socket.socket(fileno=fd) as opened:
                    self.assertEqual(opened.getsockname()[:2],
                                     ("lo", lab.ETH_P_ALL))
                # events come at any time, and may come in pieces
                self.write(client, self.EVENT)
                client.sendall(b'{"event": "RE')
                client.sendall(b'SUME"}\n{"return": {}}\n')
            self.assertEqual(self.finish(launcher), (0, ""))

    def test_refusal(self):
        with self.handing_over("7up") as launcher:
            client = self.negotiate()
            self.expect(client, "getfd", fdname="7up")
            self.write(client, {"error": {"class": "GenericError",
                                          "desc": "no such luck"}})
            self.check_trouble(launcher, "QEMU refuses: no such luck")

    def test_refusal_without_words(self):
        for reason in ("no", None, 17, [], {}, {"desc": None}):
            with self.handing_over("one") as launcher:
                client = self.negotiate()
                self.expect(client, "getfd", fdname="one")
                self.write(client, {"error": reason})
                self.check_trouble(launcher, "QEMU refuses: no reason given")

    def test_refusal_of_capabilities(self):
        with self.handing_over("one") as launcher:
            client = self.accept()
            self.write(client, self.GREETING)
            self.expect(client, "qmp_capabilities")
            self.write(client, {"error": "no"})
            self.check_trouble(launcher, "QEMU refuses: no reason given")

    def test_refusal_that_controls_terminals(self):
        """What others say is neither a second message nor a colour."""
        with self.handing_over("one") as launcher:
            client = self.negotiate()
            self.expect(client, "getfd", fdname="one")
            self.write(client, {"error": {
                "desc": "a\x1b[31m\naf-packet-exec: all is well\r\x07\x9b1m"}})
            self.check_trouble(launcher, r"QEMU refuses: a\033[31m\n")

    def test_refusal_that_is_long(self):
        with self.handing_over("one") as launcher:
            client = self.negotiate()
            self.expect(client, "getfd", fdname="one")
            self.write(client, {"error": {"desc": "x" * 100000}})
            _, complaints = self.finish(launcher)
            self.assertLess(len(complaints), 1000)

    def test_refusal_of_the_second(self):
        """Nothing stays behind in QEMU, and nothing of others is closed."""
        with self.handing_over("one", "two", "three") as launcher:
            client = self.negotiate()
            self.expect(client, "getfd", fdname="one")
            self.write(client, {"return": {}})
            self.expect(client, "getfd", fdname="two")
            self.write(client, {"error": {"desc": "no such luck"}})
            self.expect(client, "closefd", fdname="one")
            self.write(client, {"return": {}})
            self.assertEqual(client.recv(4096), b"")
            self.check_trouble(launcher, "QEMU refuses: no such luck")

    def test_silence_after_the_first(self):
        """What is taken after all, later, is closed as well."""
        with self.handing_over("one", "two") as launcher:
            client = self.negotiate()
            self.expect(client, "getfd", fdname="one")
            self.write(client, {"return": {}})
            self.expect(client, "getfd", fdname="two")
            data = b"".join(iter(lambda: client.recv(4096), b""))
            self.assertEqual(
                [json.loads(line) for line in data.splitlines()],
                [{"execute": "closefd", "arguments": {"fdname": name}}
                 for name in ("one", "two")])
            self.check_trouble(launcher, "does not answer")

    def test_endless_talk(self):
        """Ten seconds are all that is spent, whatever comes meanwhile."""
        begin = time.monotonic()
        with self.handing_over("one") as launcher:
            client = self.negotiate()
            self.expect(client, "getfd", fdname="one")
            while True:
                try:
                    launcher.wait(0.1)
                    break
                except subprocess.TimeoutExpired:
                    with contextlib.suppress(BrokenPipeError):
                        self.write(client, self.EVENT)
            self.check_trouble(launcher, "/qmp' ")
        self.assertLess(time.monotonic() - begin, 15)

    def test_nobody_there(self):
        self.server.close()
        with self.handing_over("one") as launcher:
            self.check_trouble(launcher, "Connection refused")

    def test_no_socket_there(self):
        os.unlink(self.path)
        with self.handing_over("one") as launcher:
            self.check_trouble(launcher, "No such file")

    def test_path_that_is_too_long(self):
        self.path = "/" + "x" * 200
        with self.handing_over("one") as launcher:
            self.check_trouble(launcher, "use at most 107 bytes")

    def test_something_else(self):
        with self.handing_over("one") as launcher:
            self.accept().sendall(b"220 smtp.example.org at your service\r\n")
            self.check_trouble(launcher, "is not a QMP monitor")

    def test_end(self):
        with self.handing_over("one") as launcher:
            self.accept().close()
            self.check_trouble(launcher, "was closed by the other side")

    def test_busy(self):
        with self.handing_over("one") as launcher:
            # connected, by the kernel, but nobody greets
            self.check_trouble(launcher, "one client at a time")

    @needs_root
    def test_the_monitor_is_opened_as_the_user(self):
        os.chmod(os.path.dirname(self.path), 0o755)
        os.chmod(self.path, 0o755)      # to connect takes permission to write
        with self.handing_over("one") as launcher:
            self.negotiate()
        with self.handing_over("one", options=["--user=nobody"]) as launcher:
            self.check_trouble(launcher, "Permission denied")


@needs_root
class Peer(Monitor):
    """It is not for whoever listens."""

    def listen_as(self, uid):
        """Be another user while the server begins to listen."""
        os.chmod(os.path.dirname(self.path), 0o755)
        os.chmod(self.path, 0o777)
        os.seteuid(uid)         # the kernel remembers who called listen()
        try:
            self.server.listen(2)
        finally:
            os.seteuid(0)

    def check_refused(self, *options):
        """Expect that the server is told nothing."""
        with self.handing_over("one", options=options) as launcher:
            client = self.accept()
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                self.write(client, self.GREETING)
                self.assertEqual(client.recv(4096), b"")
            self.check_trouble(launcher, "specify it (--qmp-user)")

    def check_taken(self, *options):
        """Expect that the server gets a socket."""
        with self.handing_over("one", options=options) as launcher:
            client = self.negotiate()
            fd, = self.expect(client, "getfd", fdname="one")
            os.close(fd)
            self.write(client, {"return": {}})
            self.assertEqual(self.finish(launcher), (0, ""))

    def test_somebody_elses(self):
        self.listen_as(OTHER)
        self.check_refused()
        self.check_refused("--user=nobody")
        self.check_refused("--qmp-user=nobody")

    def test_roots(self):
        self.listen_as(0)
        self.check_taken()
        self.check_taken("--user=nobody")
        self.check_taken("--qmp-user=nobody")

    def test_ones_own(self):
        self.listen_as(lab.NOBODY)
        self.check_taken("--user=nobody")

    def test_named(self):
        self.listen_as(OTHER)
        self.check_taken(f"--qmp-user={OTHER}")
        self.listen_as(lab.NOBODY)
        self.check_taken("--qmp-user=nobody")

    def test_names_that_are_none(self):
        for name in "no-such", "-1", f"-{2 ** 32 - 1}", "1:1", "":
            with self.handing_over("one", options=[f"--qmp-user={name}"]
                                   ) as launcher:
                self.check_trouble(launcher, "name of an account, or a UID")


if __name__ == "__main__":
    lab.main()
