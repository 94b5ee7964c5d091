# SPDX-License-Identifier: GPL-2.0-or-later
"""The program in traffic/: it makes, passes on and checks numbered frames."""

import functools
import os
import shlex
import socket
import subprocess
import tempfile

import lab

FOLDER = tempfile.TemporaryDirectory(prefix="traffic.")


@functools.cache
def program():
    """Compile traffic/; return the program's path.  Guests can run it, too."""
    path = f"{FOLDER.name}/traffic"
    sources = (lab.REPOSITORY / "traffic").glob("*.c")
    lab.run([os.environ.get("CC", "gcc"), "-O2", "-static", "-Wall",
             "-Wextra", "-Werror", "-D_GNU_SOURCE", "-o", path,
             *map(str, sources)])
    return path


class Traffic:
    """A process that passes numbered frames on: see traffic/traffic.c.

    The sockets among its words are passed to it.
    """

    def __init__(self, cleanup, *words):
        sockets = [word for word in words if isinstance(word, socket.socket)]
        self.process = lab.start(
            cleanup, [program(), "pass",
                      *(str(word.fileno() if word in sockets else word)
                        for word in words)],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            pass_fds=[opened.fileno() for opened in sockets])
        self.line()

    def go(self):
        """Let it start."""
        print(file=self.process.stdin, flush=True)

    def counters(self):
        """Return what it has counted so far."""
        self.go()
        return self.results()

    def finish(self):
        """Let it end; return what it has counted."""
        self.process.stdin.close()
        results = self.results()
        self.process.wait()
        return results

    def passed(self):
        """Return how many frames passed in all; each did so once, in order."""
        results = self.results()
        if results["disordered"] or results["corrupt"] or results["foreign"]:
            raise lab.Trouble(f"{shlex.join(self.process.args)}: {results}")
        return results["passed"]

    def results(self):
        """Wait for a line of counters; return them as a dict."""
        counters = (word.split("=") for word in self.line().split())
        return {name: int(value) for name, value in counters}

    def line(self):
        """Return a line that it prints."""
        line = self.process.stdout.readline()
        if not line:
            raise lab.Trouble(f"{shlex.join(self.process.args)} has ended")
        return line
