# SPDX-License-Identifier: GPL-2.0-or-later
"""The command lines in QEMU's manual, to be run as they are written there."""

import contextlib
import functools
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import textwrap

import lab

PAGE = lab.REPOSITORY / "tree/docs/system/af-packet-recipes.rst"
PROGRAMS = (lab.QEMU,
            lab.REPOSITORY / "build/contrib/af-packet-exec/af-packet-exec")
SECONDS = 120
IS_ROOT = os.geteuid() == 0     # before there are namespaces

# Before a command: whatever it starts ends with it, and it ends with the demo.
AS_ONE = ["setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--fork",
          "--kill-child"]


def text(name):
    """Return the block of the page that has this name.

    Root of a user namespace can't become somebody else.
    """
    match = re.search(rf"\n +:name: {name}\n\n((?: +.*\n|\n)+)",
                      PAGE.read_text())
    if not match:
        raise lab.Trouble(f"{PAGE} has no block {name}")
    block = textwrap.dedent(match[1]).strip()
    return block if IS_ROOT else block.replace("--user nobody ", "")


@functools.cache
def programs_folder():
    """Return a folder with QEMU and the launcher, for everybody.

    The user whom QEMU becomes may not reach the repository.
    """
    folder = tempfile.TemporaryDirectory(prefix="af-packet-programs.")
    os.chmod(folder.name, 0o755)
    for program in PROGRAMS:
        shutil.copy(program, folder.name)
    return folder


def environment():
    """Return the environment in which a shell finds QEMU and the launcher."""
    return {**os.environ,
            "PATH": f"{programs_folder().name}:{os.environ['PATH']}"}


def run(name, namespace, folder):
    """Run a block's commands to their end; return what they print."""
    show(name)
    with lab.inside(namespace):
        return lab.run(["sh", "-euc", text(name)], cwd=folder,
                       env=environment())


def show(name):
    """Print a block."""
    print(f"{name}:\n\n{textwrap.indent(text(name), '    ')}\n")


class Running:
    """A block whose command runs until the demo ends it."""

    def __init__(self, cleanup, name, namespace, folder):
        show(name)
        self.name = name
        self.output = cleanup.enter_context(
            tempfile.NamedTemporaryFile("w+", errors="replace"))
        with lab.inside(namespace):
            self.process = subprocess.Popen(
                [*AS_ONE, "sh", "-euc", text(name)],
                cwd=folder, env=environment(), stdin=subprocess.DEVNULL,
                stdout=self.output, stderr=subprocess.STDOUT)
        cleanup.callback(end_as_one, self.process)
        self.wait_until(self.is_qemu_there, "there is no QEMU")

    def is_qemu_there(self):
        """Tell whether QEMU waits for events: all that it is to make is there.

        What a packet socket received before is gone when QEMU makes its ring.
        """
        return any(read(pid, "comm").startswith("qemu-system") and
                   "poll" in read(pid, "wchan")
                   for pid in family(self.process.pid))

    def printed(self):
        """Return what was printed until now."""
        return pathlib.Path(self.output.name).read_text(errors="replace")

    def wait_until(self, condition, otherwise):
        """Wait until a function returns something true."""
        try:
            lab.wait_until(self.still_runs_and(condition), otherwise, SECONDS)
        except lab.Trouble as trouble:
            raise lab.Trouble(f"{self.name}: {trouble}\n"
                              f"{self.printed()}") from trouble

    def still_runs_and(self, condition):
        """Return a condition that fails at once when the command has ended."""
        def both():
            if self.process.poll() is not None:
                raise lab.Trouble(f"ended: {self.process.returncode}")
            return condition()
        return both


def end_as_one(process):
    """End a command that was started AS_ONE, and wait until all has ended.

    The first process in a PID namespace ends after all others in it, and
    unshare ends after that one.
    """
    for pid in children(process.pid) or [process.pid]:
        os.kill(pid, signal.SIGKILL)
    process.wait(10)


def family(pid):
    """Return the numbers of a process and of all below it."""
    return [pid, *(one for child in children(pid) for one in family(child))]


def children(pid):
    """Return the numbers of a process's children."""
    return [int(child) for child in read(pid, f"task/{pid}/children").split()]


def read(pid, name):
    """Return a file of a process in /proc; nothing if that has ended."""
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/{name}").read_text()
    return ""
