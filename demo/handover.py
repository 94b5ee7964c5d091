# SPDX-License-Identifier: GPL-2.0-or-later
"""Hand frames over during a live migration, as the documentation says.

What is run is what docs/system/af-packet-switchover.rst has in its steps, as
it is written there: QMP commands, shell commands and Python.
"""

import contextlib
import json
import re
import shlex
import textwrap
import time

import lab

PAGE = lab.REPOSITORY / "tree/docs/system/af-packet-switchover.rst"
TAP = "tap0"
LONGEST_WAIT_TO_ANNOUNCE = 0.5
QUIET_SECONDS = 0.5
LONGEST_SECONDS = 5


def prepare_tap():
    """Make a new tap in this namespace ready for what a migration brings."""
    Page().run_shell("The taps")


class Handover:
    """From a QEMU whose guest leaves to one that it comes to.

    Each side has the attributes qemu and namespace; the destination's address
    is where the source can connect to.
    """

    def __init__(self, source, destination, mac):
        self.source, self.destination = source, destination
        self.page = Page(DESTINATION=destination.address)
        # Instead of the page's, which looks into the host's own namespace
        self.python = {"guest_mac": mac, "tx_packets": self.tx_packets}
        exec(self.page.python("The sockets"), self.python)
        self.python["tx_packets"] = self.tx_packets
        exec(self.page.python("3."), self.python)

    def tx_packets(self, interface):
        """Return how many frames were taken from the source's tap."""
        with lab.inside(self.source.namespace):
            return lab.tx_packets(interface)

    def prepare(self):
        """Before the migration: lead from the source to the destination."""
        self.run_shell("1.", self.destination)
        self.run_qmp("1.", self.destination)
        *commands, self.migrate = self.page.qmp("2.")
        self.run(commands, self.source)
        self.capture()

    def capture(self):
        """Start to capture what is sent to the source's tap."""
        with lab.inside(self.source.namespace):
            exec(self.page.python("2."), self.python)

    def start_migration(self):
        """Start the migration."""
        self.run([self.migrate], self.source)

    def forget(self):
        """Forget what the guest has got at the source, while it runs there."""
        self.python["forget"]()

    def forward(self):
        """Forward what the guest has not got, as it has stopped."""
        self.forget()
        self.run_qmp("4.", self.source)

    def announce(self):
        """Let the network deliver to the destination, where the guest is."""
        *_, announcement = self.page.qmp("5.")
        end = time.monotonic() + LONGEST_WAIT_TO_ANNOUNCE
        while self.on_their_way() and time.monotonic() < end:
            pass
        self.run([announcement], self.destination)
        self.run_shell("5.", self.destination)

    def on_their_way(self):
        """Return how many frames were captured and not yet injected."""
        captured, injected, _ = self.page.qmp("5.")
        return (self.run([captured], self.source)["frames"] -
                self.run([injected], self.destination)["frames"])

    def forwarded(self):
        """Return how many frames were captured for the destination."""
        captured, _, _ = self.page.qmp("5.")
        return self.run([captured], self.source)["frames"]

    def wait_until_quiet(self):
        """Wait until the network delivers to the source no more."""
        end = time.monotonic() + LONGEST_SECONDS
        frames, since = self.forwarded(), time.monotonic()
        while time.monotonic() < min(since + QUIET_SECONDS, end):
            time.sleep(0.02)
            if self.forwarded() != frames:
                frames, since = self.forwarded(), time.monotonic()

    def remove(self):
        """Remove everything from the source; and close the socket."""
        self.run_qmp("6.", self.source)
        self.python["capture"].close()

    def remove_from_destination(self):
        """Remove everything from the destination, too."""
        commands = json.dumps(self.page.qmp("6."))
        self.run(json.loads(commands.replace("capture", "inject")),
                 self.destination)

    def run_qmp(self, step, host):
        """Run the QMP commands of a step."""
        self.run(self.page.qmp(step), host)

    def run(self, commands, host):
        """Run QMP commands; return what the last returns."""
        result = None
        for command in commands:
            arguments = command["arguments"]
            with contextlib.ExitStack() as passed:
                descriptors = []
                if command["execute"] == "getfd":
                    descriptors = [passed.enter_context(self.socket(
                        arguments["fdname"], host)).fileno()]
                result = host.qemu.execute(command["execute"], arguments,
                                           descriptors)
        return result

    def socket(self, name, host):
        """Return the socket that QEMU is to have under a name."""
        if name == "handover-capture":
            return self.python["capture"]
        with lab.inside(host.namespace):
            return self.python["inject_socket"](TAP)

    def run_shell(self, step, host):
        """Run the shell commands of a step."""
        with lab.inside(host.namespace):
            self.page.run_shell(step)


class Page:
    """What the documentation has to run, by the words that a part starts with.

    Words in capitals that stand for something are replaced.
    """

    PART = r"(?m)^(?=\d\. \*\*|\*\*If|[A-Z].*\n~~~)"
    # A literal block: what is indented by more than the line that ends in "::"
    BLOCK = r"(?m)^( *)\S.*::$\n\n((?:\1 +.*\n|\n)+)"

    def __init__(self, **words):
        text = PAGE.read_text()
        for word, value in words.items():
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

    def python(self, start):
        """Return the Python code of a part."""
        return "\n".join(block for block in self.blocks(start)
                         if not block.startswith("{") and not is_shell(block))


def is_shell(block):
    """Tell whether a block has shell commands."""
    return block.startswith(("ip ", "bridge "))
