# SPDX-License-Identifier: GPL-2.0-or-later
"""Hand frames over during a live migration, as the documentation says.

What is run is what docs/system/netdev-handover.rst has in its steps, as it is
written there: QMP commands and shell commands.
"""

import contextlib
import json
import re
import shlex
import textwrap

import lab

PAGE = lab.REPOSITORY / "tree/docs/system/netdev-handover.rst"
TAP = "tap0"

# What the page calls things, and what they are called for a second card
SECOND = {"tap0": "tap1", '"guest"': '"guest1"', '"handover': '"second',
          "4445": "4446"}


def prepare_tap():
    """Make a new tap in this namespace ready for what a migration brings."""
    Page().run_shell("The taps")


class Handover:
    """From a QEMU whose guest leaves to one that it comes to.

    Each side has the attributes qemu and namespace; the destination's address
    is where the source can connect to.  A guest with two cards has two of
    these; the first is prepared last, as it prepares the migration, too.
    """

    def __init__(self, source, destination, is_second=False):
        self.source, self.destination = source, destination
        self.is_second = is_second
        self.tap, self.name = ("tap1", "second") if is_second else \
            (TAP, "handover")
        self.page = Page({"DESTINATION": destination.address,
                          **(SECOND if is_second else {})})

    def prepare(self):
        """Before the migration: lead from the source to the destination."""
        *commands, incoming = self.page.qmp("1.")
        self.run_shell("1.", self.destination)
        self.run(commands, self.destination)
        if not self.is_second:
            self.run([incoming], self.destination)
        *commands, self.migrate = self.page.qmp("2.")
        self.run(commands, self.source)

    def start_migration(self):
        """Start the migration."""
        self.run([self.migrate], self.source)

    def flood(self):
        """The destination has announced the guest."""
        self.run_shell("3.", self.destination)

    def remove(self):
        """Remove everything from the source."""
        self.run(self.page.qmp("4.")[:2], self.source)

    def remove_from_destination(self):
        """Remove everything from the destination, too."""
        self.run(self.page.qmp("4.")[2:], self.destination)

    def statistics(self, host):
        """Return the counters of a side's object."""
        return host.qemu.command("qom-get", path=f"/objects/{self.name}",
                                 property="stats")

    def run(self, commands, host):
        """Run QMP commands."""
        for command in commands:
            with contextlib.ExitStack() as passed:
                descriptors = []
                if command["execute"] == "getfd":
                    with lab.inside(host.namespace):
                        descriptors = [lab.inject_socket(
                            passed, self.tap, vnet_hdr=True).fileno()]
                host.qemu.execute(command["execute"], command["arguments"],
                                  descriptors)

    def run_shell(self, step, host):
        """Run the shell commands of a step."""
        with lab.inside(host.namespace):
            self.page.run_shell(step)


class Page:
    """What the documentation has to run, by the words that a part starts with.

    Words that stand for something are replaced.
    """

    PART = r"(?m)^(?=\d\. \*\*|\*\*If|[A-Z].*\n~~~)"
    # A literal block: what is indented by more than the line that ends in "::"
    BLOCK = r"(?m)^( *)\S.*::$\n\n((?:\1 +.*\n|\n)+)"

    def __init__(self, words=None):
        text = PAGE.read_text()
        for word, value in (words or {}).items():
            text = text.replace(word, value)
        self.parts = re.split(self.PART, text)

    def blocks(self, start):
        """Return the literal blocks of a part."""
        part, = (part for part in self.parts if part.startswith(start))
        return [textwrap.dedent(block).strip()
                for _, block in re.findall(self.BLOCK, part)]

    def qmp(self, start):
        """Return the QMP commands of a part."""
        decoder, commands = json.JSONDecoder(), []
        for block in self.blocks(start):
            while block.startswith("{"):
                command, end = decoder.raw_decode(block)
                commands.append(command)
                block = block[end:].strip()
        return commands

    def shell(self, start):
        """Return the shell commands of a part."""
        return [line for block in self.blocks(start)
                for line in block.splitlines() if is_shell(block)]

    def run_shell(self, start):
        """Run the shell commands of a part, in this namespace."""
        for line in self.shell(start):
            lab.run(shlex.split(line))


def is_shell(block):
    """Tell whether a block has shell commands."""
    return block.startswith(("ip ", "bridge "))
