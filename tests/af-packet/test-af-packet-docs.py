#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the manual tells to type about AF_PACKET sockets does what it says.

In a network namespace of the test's own, in an empty folder, where the programs
are those of this build.
"""

import contextlib
import os
import pathlib
import signal
import tempfile
import time
import unittest

import lab
import transcript

DOCS = pathlib.Path(os.environ["QEMU_DOCS"])
PROGRAMS = {"qemu-system-x86_64": os.environ["QEMU"],
            "af-packet-exec": os.environ["AF_PACKET_EXEC"]}


class Manual(unittest.TestCase):
    """Each page begins without any interface, and leaves no process."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        programs = self.folder / "programs"
        programs.mkdir()
        for name, path in PROGRAMS.items():
            (programs / name).symlink_to(path)
        self.environment = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}"}
        self.addCleanup(self.end_processes)
        for name in "tap0", "tap1":
            self.addCleanup(lab.run, "ip", "link", "delete", name)

    def end_processes(self):
        """End what a page that failed has left."""
        for path in self.folder.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)

    def play(self, page, least):
        """Do what a page tells, which has to be a number of things."""
        text = (DOCS / page).read_text()
        self.assertGreaterEqual(len(transcript.steps(text)), least)
        transcript.play(text, self.folder, self.environment)

    def wait_for_the_end(self):
        """Wait for a QEMU that was told to quit."""
        end = time.monotonic() + lab.SECONDS
        while list(self.folder.glob("*.pid")):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def test_monitors(self):
        self.play("system/af-packet-qmp.rst", least=50)
        self.wait_for_the_end()

    def test_af_packet_exec(self):
        for number in "0", "1":
            lab.ip(f"link add tap{number} type veth peer name host{number}")
        self.play("tools/af-packet-exec.rst", least=4)
        self.wait_for_the_end()


if __name__ == "__main__":
    lab.main()
