#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the manual tells to type about AF_PACKET sockets does what it says.

In a network namespace of the test's own, in an empty folder, where the programs
are those of this build.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import tempfile
import time
import unittest

import lab
import transcript

DOCS = pathlib.Path(os.environ["QEMU_DOCS"])
QEMU = pathlib.Path(os.environ["QEMU"])
LAUNCHER = pathlib.Path(os.environ["AF_PACKET_EXEC"])
CONFDIR = pathlib.Path(os.environ["QEMU_CONFDIR"])

ALICE = 4242                # a user whom there is not outside

# What is left out by somebody who is root of a user namespace only
BECOME_NOBODY = "runuser -u nobody -- ", "--user nobody "


class Manual(unittest.TestCase):
    """Each page begins without any interface, and leaves no process."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        if lab.is_root:
            os.chown(self.folder, lab.NOBODY, lab.NOBODY)
            self.folder.chmod(0o755)
        self.programs = self.folder / "programs"
        self.programs.mkdir()
        shutil.copy(LAUNCHER, self.programs)
        self.provide(QEMU)
        self.environment = os.environ | {
            "PATH": f"{self.programs}:{os.environ['PATH']}"}
        self.addCleanup(self.end_processes)
        for name in "tap0", "tap1":
            self.addCleanup(lab.run, "ip", "link", "delete", name)

    def provide(self, program):
        """Have a program where everybody can execute it."""
        here = self.programs / program.name
        if lab.is_root:
            lab.own_folder(CONFDIR)
            here.touch()
            lab.mount("--bind", program, here)
            self.addCleanup(lab.run, "umount", "--lazy", here)
        else:
            here.symlink_to(program)

    def end_processes(self):
        """End what a page that failed has left."""
        for path in self.folder.rglob("*.pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)

    def play(self, page, least):
        """Do what a page tells, which has to be a number of things."""
        text = (DOCS / page).read_text()
        if not lab.is_root:
            for part in BECOME_NOBODY:
                text = text.replace(part, "")
        text = text.replace("/usr/bin/af-packet-exec",
                            str(self.programs / LAUNCHER.name))
        text = text.replace("/etc/qemu", str(CONFDIR))
        self.assertGreaterEqual(len(transcript.steps(text)), least)
        transcript.play(text, self.folder, self.environment)

    def wait_for_the_end(self):
        """Wait for a QEMU that was told to quit."""
        end = time.monotonic() + lab.SECONDS
        while list(self.folder.rglob("*.pid")):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def test_monitors(self):
        self.play("system/af-packet-qmp.rst", least=50)
        self.wait_for_the_end()

    @unittest.skipUnless(lab.is_root, "changes accounts and owners")
    def test_af_packet_exec(self):
        for number in "0", "1":
            lab.ip(f"link add tap{number} type veth peer name host{number}")
        lab.own_folder(pathlib.Path("/etc"))
        with open("/etc/passwd", "a", encoding="ascii") as accounts:
            accounts.write(f"alice:x:{ALICE}:{lab.NOBODY}::/:/bin/sh\n")
        self.play("tools/af-packet-exec.rst", least=11)
        self.wait_for_the_end()
        self.check_who_may_use_it()

    def check_who_may_use_it(self):
        """Expect that the group may, where it is allowed, and nobody else."""
        for user, ifname, says in (
                ("alice", "tap0", ""),
                ("alice", "tap1", "'tap1' is not allowed"),
                ("nobody", "tap0", "Permission denied")):
            done = lab.run("runuser", "-u", user, "--",
                           self.programs / LAUNCHER.name,
                           f"--socket=fd=10,ifname={ifname}", "true")
            self.assertIn(says, done.stderr)
            self.assertEqual(done.returncode == 0, not says, done.stderr)


if __name__ == "__main__":
    lab.main()
