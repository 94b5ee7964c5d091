# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of af-packet-exec share: ways to start it, what it gives."""

import contextlib
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import unittest

import lab

LAUNCHER = os.environ["AF_PACKET_EXEC"]
HAVE_LIBPCAP = os.environ["HAVE_LIBPCAP"] == "y"
ALLOWED = pathlib.Path(os.environ["QEMU_CONFDIR"], "af-packet.conf")

OWN_FAILURE = 125
NO_CAPABILITIES = "0" * 16
PASS_BACK = ("import socket, sys; "
             "socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b'x'], "
             "map(int, sys.argv[2:]))")

# There is a warning when user 0 stays without being told to.
STAY = ["--user=0:0"] if lab.is_root else []

needs_libpcap = unittest.skipUnless(HAVE_LIBPCAP, "built without libpcap")
needs_root = unittest.skipUnless(lab.is_root, "needs more than one user")


def launch(*arguments, **keywords):
    """Run af-packet-exec; return the CompletedProcess."""
    return lab.run(LAUNCHER, *STAY, *arguments, **keywords)


def as_nobody(*more):
    """Return how to start something as a user who may do nothing."""
    return ["setpriv", f"--reuid={lab.NOBODY}", f"--regid={lab.NOBODY}",
            "--clear-groups", *more]


def with_ambient_capability():
    """Return how to start something as a user who may open packet sockets."""
    return as_nobody("--inh-caps=+net_raw", "--ambient-caps=+net_raw")


def in_user_namespace():
    """Return how to start something as a user who is root in there."""
    return [*as_nobody(), "unshare", "--map-root-user", "--net"]


def sockets(test, *options):
    """Return the sockets that a command inherits, and what the launcher says.

    The command passes them back.
    """
    ours, theirs = socket.socketpair()
    numbers = [str(100 + i) for i in range(len(options))]
    with ours, theirs:
        done = launch(*(f"--socket=fd={number},{option}"
                        for number, option in zip(numbers, options)),
                      f"--keep-fd={theirs.fileno()}", "--",
                      sys.executable, "-c", PASS_BACK,
                      str(theirs.fileno()), *numbers,
                      pass_fds=[theirs.fileno()])
        test.assertEqual(done.returncode, 0, done.stderr)
        _, fds, _, _ = socket.recv_fds(ours, 1, len(options))
    opened = [socket.socket(fileno=fd) for fd in fds]
    for one in opened:
        test.addCleanup(one.close)
        one.settimeout(lab.SECONDS)
    return opened, done.stderr


def received(from_socket, last):
    """Return the payloads that a socket receives, up to a last one."""
    payloads = []
    while not payloads or payloads[-1] != last:
        payloads.append(lab.payload_of(from_socket.recv(2048)))
    return payloads[:-1]


def waiting(from_socket):
    """Return the frames that wait in a socket."""
    frames = []
    from_socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            frames.append(from_socket.recv(2048))
    return frames


class WithLink(unittest.TestCase):
    """A test that has the pair of interfaces."""

    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(lab.veth("tap0", "host0"))

    def open_one(self, options):
        """Return the socket that these options make."""
        (opened,), complaints = sockets(self, options)
        self.assertEqual(complaints, "")
        return opened


class WithCopy(unittest.TestCase):
    """A test that has a launcher which everybody may execute."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.folder.chmod(0o755)

    def copy(self, mode=0o755, capabilities=None):
        """Return a copy of the launcher."""
        program = self.folder / "af-packet-exec"
        shutil.copyfile(LAUNCHER, program)
        program.chmod(mode)
        if capabilities:
            done = lab.run("setcap", capabilities, program)
            self.assertEqual(done.returncode, 0, done.stderr)
        return program

    def allow(self, text):
        """Have text in the file that tells which interfaces are allowed."""
        lab.own_folder(ALLOWED.parent)
        ALLOWED.write_text(text)
        ALLOWED.chmod(0o644)
        self.addCleanup(ALLOWED.unlink, missing_ok=True)

    def ways(self):
        """Return all ways to start it, by name; each may use lo only."""
        if not lab.is_root:
            return {"user namespace": [LAUNCHER]}
        self.allow("allow lo\n")
        capable = self.folder / "capable"
        self.copy(capabilities="cap_net_raw+ep").rename(capable)
        plain = self.copy()
        return {
            "root": [plain],
            "root who becomes a user": [plain, "--user=nobody"],
            "file capability": [*as_nobody(), capable],
            "ambient capability": [*with_ambient_capability(), plain],
            "user namespace": [*in_user_namespace(), plain],
        }


def status_of(path):
    """Return what a file status in /proc says."""
    return {name: values.split() for name, values in
            (line.split(":", 1) for line in
             pathlib.Path(path).read_text().splitlines())}


def threads_of(pid):
    """Return the statuses of all threads of a process, and of its children."""
    process = pathlib.Path("/proc", str(pid))
    statuses = []
    for thread in (process / "task").iterdir():
        statuses.append(status_of(thread / "status"))
        for child in (thread / "children").read_text().split():
            statuses += threads_of(child)
    return statuses
