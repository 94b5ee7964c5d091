# SPDX-License-Identifier: GPL-2.0-or-later
"""Do what a manual tells to type, and expect what it says one gets.

In the literal blocks of a reST file, a line that starts with

    $       is run by bash;
    ->      is sent to the monitor that listens on qmp.sock;
    <-      is what comes back from there;
    (qemu)  is sent to the monitor that listens on hmp.sock.

The lines below go on with it, or are what a command of HMP prints.  In what
is expected, "..." stands for anything: further members, elements, or lines.
Questions are asked again until the answer is as expected.
"""

import json
import re
import socket
import subprocess
import time

SECONDS = 30
INDENT = "    "
PROMPTS = SHELL, ASK, EXPECT, HMP = "$ ", "-> ", "<- ", "(qemu) "
NEEDS_MONITOR = re.compile(r"\.sock|af-packet-exec")
QUESTION = re.compile(r'"query-|"qom-get"|^info |^qom-get ')


def steps(text):
    """Return what is to be done, as pairs of a prompt and lines."""
    found = []
    inside = False
    for line in text.splitlines():
        code = line.removeprefix(INDENT)
        prompt = next(filter(code.startswith, PROMPTS), None)
        if line.startswith(INDENT) and prompt:
            inside = True
            found.append((prompt, [code.removeprefix(prompt)]))
        elif line.startswith(INDENT) and inside:
            found[-1][1].append(code)
        else:
            inside = False
    return found


def play(text, folder, environment):
    """Do all steps in a folder; an AssertionError names what went wrong."""
    player = Player(folder, environment)
    try:
        for prompt, lines in steps(text):
            try:
                player.do(prompt, lines)
            except Exception as error:
                done = prompt + "\n".join(lines)
                raise AssertionError(f"{done}\n{error}") from error
    finally:
        player.leave()


class Player:
    """Does one step after the other."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.environment = environment
        self.session = None
        self.request = None
        self.reply = None

    def do(self, prompt, lines):
        """Do a step."""
        text = "\n".join(lines)
        if prompt == SHELL:
            if NEEDS_MONITOR.search(text):
                self.leave()    # it has one client at a time
            self.run(text)
        elif prompt == ASK:
            self.request = text
            self.ask()
        elif prompt == EXPECT:
            expected = parse(text)
            self.wait_until(lambda: agrees(expected, self.reply))
        elif prompt == HMP:
            self.request = lines[0]
            self.ask_hmp()
            self.wait_until(lambda: agrees(lines[1:], self.reply),
                            self.ask_hmp)

    def leave(self):
        """End the session with a monitor."""
        if self.session:
            self.session.close()
        self.session = None

    def run(self, command):
        """Have bash run a command, which has to succeed."""
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment,
            timeout=SECONDS, check=False, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert not done.returncode, done.stdout

    def wait_until(self, is_right, ask_again=None):
        """Wait until a reply is right, if asking again can change it."""
        end = time.monotonic() + SECONDS
        while not is_right():
            if not QUESTION.search(self.request) or time.monotonic() > end:
                raise AssertionError(f"gives\n{self.reply}")
            (ask_again or self.ask)()

    def enter(self, name):
        """Start a session with a monitor."""
        self.session = Session(f"{self.folder}/{name}")

    def ask(self):
        """Send a request to QMP."""
        if not self.session:
            self.enter("qmp.sock")
            self.next_message("QMP")
        self.session.send(json.dumps(json.loads(self.request)) + "\n")
        self.reply = self.next_message("return", "error")

    def next_message(self, *members):
        """Return the next message that has one of these members."""
        while True:
            message = json.loads(self.session.read_until("\n"))
            if any(member in message for member in members):
                return message

    def ask_hmp(self):
        """Send a request to HMP; what comes first is the echo."""
        if not self.session:
            self.enter("hmp.sock")
            self.session.read_until(HMP)
        self.session.send(self.request + "\n")
        self.session.read_until("\r\n")
        printed = self.session.read_until(HMP).removesuffix(HMP)
        self.reply = printed.splitlines()


class Session:
    """A connection to a monitor."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(SECONDS)
        self.socket.connect(path)
        self.received = ""

    def send(self, text):
        """Send text."""
        self.socket.sendall(text.encode())

    def read_until(self, end):
        """Return what is received up to an end, or to that of the session."""
        while end not in self.received:
            data = self.socket.recv(4096)
            if not data:
                break
            self.received += data.decode()
        text, separator, self.received = self.received.partition(end)
        return text + separator

    def close(self):
        """End the session."""
        self.socket.close()


def parse(text):
    """Return what a JSON text with "..." in it means."""
    text = re.sub(r"\.\.\.(?=\s*\})", '"...": 0', text)
    return json.loads(re.sub(r'(?<!")\.\.\.', '"..."', text))


def agrees(expected, found):
    """Tell whether a value is as expected.

    A list with "..." has its elements in any order.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        names = expected.keys() - {"..."}
        return (names <= found.keys() if "..." in expected
                else names == found.keys()) and all(
                    agrees(expected[name], found[name]) for name in names)
    if isinstance(expected, list) and isinstance(found, list):
        if "..." in expected:
            return all(any(agrees(value, other) for other in found)
                       for value in expected if value != "...")
        return len(expected) == len(found) and all(map(agrees, expected, found))
    return expected == found
