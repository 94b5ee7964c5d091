#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""af-packet-exec: what it and its command may do, whoever starts it."""

import contextlib
import os
import pathlib
import pty
import socket
import subprocess
import sys
import time

import lab
from launcher import (LAUNCHER, NO_CAPABILITIES, OWN_FAILURE, WithCopy,
                      as_nobody, in_user_namespace, needs_libpcap, needs_root,
                      threads_of, with_ambient_capability)

THREAD = os.environ["AF_PACKET_THREAD"]     # a library that starts one
SHOW_STATUS = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status"

# asm-generic/unistd.h
NR_PIDFD_GETFD = 438

# It takes libpcap seconds
LONG_FILTER = " or ".join(f"host 10.0.{i >> 8}.{i & 255}" for i in range(1000))

TAKE_DESCRIPTOR = f"""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall({NR_PIDFD_GETFD}, os.pidfd_open(int(sys.argv[1])), 3, 0)
print(os.strerror(ctypes.get_errno()))
"""

TYPE = """
import fcntl, termios
try:
    fcntl.ioctl(0, termios.TIOCSTI, b"x")
    print("typed")
except OSError:
    print("refused")
"""


class Threads(WithCopy):
    """No thread keeps a privilege, nor does a process that helps."""

    def check_threads(self, pid, count, way):
        """Expect so many threads, and that none of them can do anything."""
        statuses = threads_of(pid)
        self.assertEqual(len(statuses), count, way)
        for status in statuses:
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(status[name], [NO_CAPABILITIES], (way, name))
            self.assertEqual(status["NoNewPrivs"], ["1"], way)

    @contextlib.contextmanager
    def started(self, *arguments):
        """Start the launcher, for a while."""
        with subprocess.Popen(arguments, stdin=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as launcher:
            try:
                yield launcher
            finally:
                launcher.kill()

    def silent_monitor(self, path, uid):
        """Return a socket where a user listens, but never says anything."""
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.settimeout(lab.SECONDS)
        server.bind(str(path))
        path.chmod(0o777)
        os.seteuid(uid)         # the kernel remembers who calls listen()
        try:
            server.listen(1)
        finally:
            os.seteuid(0)
        return server

    def test_silent_monitor(self):
        for name, start in self.ways().items():
            own = 0 if name == "root" or not lab.is_root else lab.NOBODY
            server = self.silent_monitor(self.folder / name, own)
            with server, self.started(
                    *start, "--socket=ifname=lo", "--fdname=one",
                    f"--qmp={server.getsockname()}") as launcher:
                client, _ = server.accept()
                with client:
                    self.check_threads(launcher.pid, 1, name)

    @needs_libpcap
    def test_filter_that_is_compiled(self):
        for name, start in self.ways().items():
            with self.started(
                    *start, f"--socket=fd=10,ifname=lo,filter={LONG_FILTER}",
                    "true") as launcher:
                self.wait_for_child(launcher)
                self.check_threads(launcher.pid, 2, name)

    def wait_for_child(self, launcher):
        """Wait until a launcher has started the process that compiles."""
        children = pathlib.Path(
            f"/proc/{launcher.pid}/task/{launcher.pid}/children")
        end = time.monotonic() + lab.SECONDS
        while not children.read_text():
            self.assertIsNone(launcher.poll())
            self.assertLess(time.monotonic(), end)

    @needs_root
    @needs_libpcap
    def test_sockets_that_are_not_ready_are_out_of_reach(self):
        """Only the user's processes with the capability may have such a one."""
        with self.started(
                *with_ambient_capability(), self.copy(),
                f"--socket=fd=10,ifname=lo,filter={LONG_FILTER}",
                "true") as launcher:
            self.wait_for_child(launcher)
            for pid in (launcher.pid, *self.children(launcher)):
                done = lab.run(*as_nobody(), sys.executable, "-c",
                               TAKE_DESCRIPTOR, str(pid))
                self.assertEqual(done.stdout, "Operation not permitted\n",
                                 done.stderr)

    @staticmethod
    def children(launcher):
        """Return the numbers of a process's children."""
        return pathlib.Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children"
                            ).read_text().split()

    def test_another_thread_is_refused(self):
        done = lab.run(LAUNCHER, "--socket=fd=10,ifname=lo", "echo", "was run",
                       env=os.environ | {"LD_PRELOAD": THREAD})
        self.assertEqual((done.returncode, done.stdout), (OWN_FAILURE, ""))
        self.assertIn("don't preload libraries that start threads", done.stderr)

    @needs_root
    def test_securebits(self):
        """A user is not changed in one thread after the other."""
        done = lab.run("setpriv", "--securebits=+no_setuid_fixup", LAUNCHER,
                       "--user=nobody", "--socket=fd=10,ifname=lo",
                       "id", "-u")
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class Command(WithCopy):
    """What the command may do, whoever starts the launcher."""

    def status(self, *start):
        """Return /proc/self/status of a command that the launcher executes."""
        done = lab.run(*start, "--socket=fd=10,ifname=lo", "--",
                       "sh", "-c", SHOW_STATUS)
        self.assertEqual(done.returncode, 0, done.stderr)
        return {name: values.split() for name, values in
                (line.split(":") for line in done.stdout.splitlines())}

    def check_powerless(self, status, bounding=NO_CAPABILITIES):
        """Expect no capability, and no way to one."""
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(status[name], [NO_CAPABILITIES], name)
        if bounding is not None:
            self.assertEqual(status["CapBnd"], [bounding])
        self.assertEqual(status["NoNewPrivs"], ["1"])

    def check_gains_nothing(self, *start):
        """Expect that what the command executes can't open a socket."""
        again = self.copy(capabilities="cap_net_raw+p")
        done = lab.run(*start, "--socket=fd=10,ifname=lo", "--",
                       again, "--socket=fd=11,ifname=lo", "true")
        self.assertEqual(done.returncode, OWN_FAILURE, done.stderr)
        self.assertIn("requires CAP_NET_RAW", done.stderr)

    def test_root(self):
        """Be root, of the system or of a user namespace."""
        status = self.status(LAUNCHER)
        self.check_powerless(status)
        self.assertEqual(status["Uid"], ["0"] * 4)

    def warning(self, *start):
        """Return what the launcher says of a user who stays."""
        done = lab.run(*start, "--socket=fd=10,ifname=lo", "true")
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    @needs_root
    def test_warning(self):
        self.assertRegex(self.warning(LAUNCHER),
                         r"^af-packet-exec: warning: 'true' runs as user 0, "
                         r".*\n$")
        for start in ([LAUNCHER, "--user=nobody"], [LAUNCHER, "--user=root"],
                      [*with_ambient_capability(), self.copy()]):
            self.assertEqual(self.warning(*start), "")

    def test_no_warning_in_user_namespace(self):
        start = in_user_namespace() if lab.is_root else []
        self.assertEqual(self.warning(*start, self.copy()), "")

    def test_root_gains_nothing(self):
        self.check_gains_nothing(LAUNCHER)

    @needs_root
    def test_user_by_name(self):
        status = self.status(LAUNCHER, "--user", "nobody")
        self.check_powerless(status)
        account = lab.run("id", "-u", "nobody").stdout.split()
        groups = lab.run("id", "-G", "nobody").stdout.split()
        self.assertEqual(status["Uid"], account * 4)
        self.assertEqual(status["Gid"], groups[:1] * 4)
        self.assertCountEqual(status["Groups"], groups)

    @needs_root
    def test_user_by_number(self):
        status = self.status(LAUNCHER, "--user", "4242:4243")
        self.check_powerless(status)
        self.assertEqual(status["Uid"], ["4242"] * 4)
        self.assertEqual(status["Gid"], ["4243"] * 4)
        self.assertEqual(status["Groups"], ["4243"])

    @needs_root
    def test_user_gains_nothing(self):
        self.check_gains_nothing(LAUNCHER, "--user", "nobody")

    @needs_root
    def test_file_capabilities(self):
        self.allow("allow lo\n")
        for capabilities in ("cap_net_raw+ep", "cap_net_raw+p",
                             "cap_net_raw,cap_net_admin+ep"):
            program = self.copy(capabilities=capabilities)
            status = self.status(*as_nobody(), program)
            # what they could not take away does not help: see the next test
            self.check_powerless(status, bounding=None)
            self.assertEqual(status["Uid"], [str(lab.NOBODY)] * 4)

    @needs_root
    def test_file_capabilities_gain_nothing(self):
        self.allow("allow lo\n")
        program = self.copy(capabilities="cap_net_raw+ep")
        self.check_gains_nothing(*as_nobody(), program)

    @needs_root
    def test_file_capabilities_change_no_user(self):
        program = self.copy(capabilities="cap_net_raw,cap_setuid,cap_setgid+ep")
        # nor do they look for an account, which takes code of the system's
        for user in "root", "no-such":
            done = lab.run(*as_nobody(), program, f"--user={user}",
                           "--socket=fd=10,ifname=lo", "true")
            self.assertEqual(done.returncode, OWN_FAILURE)
            self.assertIn("only user 0 can switch to another user", done.stderr)

    @needs_root
    def test_ambient_capabilities(self):
        program = self.copy()
        status = self.status(*with_ambient_capability(), program)
        self.check_powerless(status, bounding=None)

    @needs_root
    def test_user_namespace(self):
        program = self.copy()
        status = self.status(*in_user_namespace(), program)
        self.check_powerless(status)
        self.assertEqual(status["Uid"], ["0"] * 4)

    @needs_root
    def test_setuid_is_refused(self):
        for mode in (0o4755, 0o2755):
            program = self.copy(mode=mode)
            done = lab.run(*as_nobody(), program,
                           "--socket=fd=10,ifname=lo", "true")
            self.assertEqual(done.returncode, OWN_FAILURE)
            self.assertIn("must not be setuid or setgid", done.stderr)

    @needs_root
    def test_nobody(self):
        done = lab.run(*as_nobody(), self.copy(),
                       "--socket=fd=10,ifname=lo", "true")
        self.assertEqual(done.returncode, OWN_FAILURE)
        self.assertIn("requires CAP_NET_RAW", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)

    @needs_root
    def test_terminal(self):
        """In a session of its own, the command can't type for root."""
        main, end = pty.openpty()
        self.addCleanup(os.close, main)
        with open(end, "r+b", buffering=0) as terminal:
            done = subprocess.run(
                ["setsid", "--ctty", "--wait", "setsid", "--wait", LAUNCHER,
                 "--user=nobody", "--socket=fd=10,ifname=lo",
                 sys.executable, "-c", TYPE],
                stdin=terminal, capture_output=True, text=True, check=False,
                timeout=lab.SECONDS)
        self.assertEqual((done.stdout, done.stderr), ("refused\n", ""))


if __name__ == "__main__":
    lab.main()
