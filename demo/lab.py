# SPDX-License-Identifier: GPL-2.0-or-later
"""What the demos share: namespaces, interfaces, packet sockets, QEMU, ping.

Everything here works in the network namespace that the process is in at that
moment; `with inside(namespace):` changes it for a block.  The namespaces have
no names, only descriptors: however a demo ends, the kernel removes them and
what is in them together with the last process.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
OWN_NAMESPACE = "/proc/self/ns/net"
PINGS = 5
QEMU = os.environ.get("QEMU", str(REPOSITORY / "build/qemu-system-x86_64"))

sys.path.append(str(REPOSITORY / "tests/af-packet"))
from netns import (CLONE_NEWNET, call,  # noqa: E402
                   enter_network_namespace, libc)

# asm/socket.h, linux/if_packet.h, linux/if_ether.h, linux/sockios.h,
# linux/ethtool.h
SO_RCVBUFFORCE = 33
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
ETH_P_ALL = 3
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17
ETHTOOL_SGRO = 0x2c


class Trouble(Exception):
    """What is off, in words for whoever runs the demo."""


# How a demo may fail; anything else is a mistake in it.
TROUBLES = (Trouble, OSError, subprocess.TimeoutExpired)


# ---- the demo as a process

def run_demo(main):
    """Call main(cleanup), an ExitStack, in an empty network namespace."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    sys.stdout.reconfigure(line_buffering=True)
    try:
        leave_the_hosts_network()
        with contextlib.ExitStack() as cleanup:
            main(cleanup)
    except TROUBLES as trouble:
        sys.exit(f"{sys.argv[0]}: FAILED: {trouble}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def leave_the_hosts_network():
    """Move to an empty network namespace, which this process may configure."""
    try:
        enter_network_namespace()
    except OSError as error:
        raise Trouble(f"can't make a namespace ({error.strerror}): run as "
                      "root, or where user namespaces are allowed") from error


def print_setup(docstring):
    """Print what a demo sets up: its docstring's paragraphs 2 and 3."""
    print(*docstring.split("\n\n")[1:3], sep="\n\n", end="\n\n")


def run(argv, env=None, **keywords):
    """Run a program to its end; return what it printed."""
    try:
        done = subprocess.run(argv, timeout=30, text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
                              env={**(env or os.environ), "LC_ALL": "C"},
                              **keywords)
    except FileNotFoundError as error:
        raise Trouble(f"the program '{argv[0]}' is missing") from error
    if done.returncode:
        raise Trouble(f"{shlex.join(argv)}:\n{done.stdout}")
    return done.stdout


def start(cleanup, argv, stdin=subprocess.DEVNULL, **keywords):
    """Start a program that ends with the demo; return its process."""
    process = cleanup.enter_context(subprocess.Popen(
        ["setpriv", "--pdeathsig=KILL", *argv], stdin=stdin, **keywords))
    cleanup.callback(process.kill)
    return process


def folder(cleanup, prefix):
    """Make a folder that goes with the demo; return its path."""
    return pathlib.Path(cleanup.enter_context(
        tempfile.TemporaryDirectory(prefix=prefix)))


def wait_until(condition, otherwise, seconds=10):
    """Wait until a function returns something true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Trouble(f"{otherwise} after {seconds} s")
        time.sleep(0.01)


@contextlib.contextmanager
def in_background(function, *arguments):
    """Run a function in a thread beside the block, and wait for its end."""
    failures = []

    def body():
        try:
            function(*arguments)
        except TROUBLES as trouble:
            failures.append(trouble)

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    yield
    thread.join(10)
    if thread.is_alive():
        raise Trouble(f"{function.__name__} does not come to an end")
    if failures:
        raise failures[0]


# ---- networks

@contextlib.contextmanager
def coming_back():
    """After the block be in the same namespace as before it."""
    with open(OWN_NAMESPACE) as home:
        try:
            yield
        finally:
            call(libc.setns, home.fileno(), CLONE_NEWNET)


@contextlib.contextmanager
def inside(namespace):
    """Let the sockets and children that the block makes be in a namespace."""
    with coming_back():
        call(libc.setns, namespace.fileno(), CLONE_NEWNET)
        yield


def new_namespace(cleanup):
    """Make a network namespace; return the file that stands for it."""
    with coming_back():
        call(libc.unshare, CLONE_NEWNET)
        return cleanup.enter_context(open(OWN_NAMESPACE))


def ip(arguments):
    """Run the program ip."""
    run(["ip", *arguments.split()])


def bring_up(interface):
    """Set an interface up, without IPv6, which would send frames by itself."""
    with contextlib.suppress(Trouble):  # a kernel without IPv6
        ip(f"link set dev {interface} addrgenmode none")
    ip(f"link set dev {interface} up")


def wait_for_carrier(interface):
    """Wait until the kernel has activated an interface with a carrier.

    It does so up to a second after the peer is up; frames that are sent before
    are lost.
    """
    wait_until(lambda: " state UP " in run(["ip", "link", "show", interface]),
               f"{interface} has no carrier")


def veth(here, there, namespace):
    """Make a veth pair, with one end in another namespace; that is up."""
    place = f"/proc/{os.getpid()}/fd/{namespace.fileno()}"
    ip(f"link add name {here} type veth peer name {there} netns {place}")
    with inside(namespace):
        ip(f"link set dev {there} up")


def add_host(cleanup, interface, address, mac=None):
    """Make a namespace behind an interface, up at both ends; return it."""
    host = new_namespace(cleanup)
    veth(interface, "eth0", host)
    ip(f"link set {interface} up")
    with inside(host):
        if mac:
            ip(f"link set eth0 address {mac}")
        ip(f"address add {address}/24 dev eth0")
    return host


def checksums_in_software(interface):
    """Let an interface send only complete frames: checksummed, not over MTU.

    Segmentation offload goes off by itself, as it needs checksum offload.
    """
    switch(interface, ETHTOOL_STXCSUM, False)


def join_received(interface):
    """Have an interface join the frames it receives, as network cards do."""
    switch(interface, ETHTOOL_SGRO, True)


def switch(interface, what, on):
    """Switch an offload of an interface."""
    value = ctypes.create_string_buffer(struct.pack("II", what, on))
    request = struct.pack("16sP16x", interface.encode(),
                          ctypes.addressof(value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCETHTOOL, request)


def packet_socket(cleanup, vnet_hdr=False):
    """Open a packet socket, to be bound yet.

    With vnet_hdr, a header before each frame tells what a network card is to
    do with it: segmentation, checksum.
    """
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    cleanup.enter_context(opened)
    opened.setsockopt(SOL_PACKET, PACKET_VNET_HDR, vnet_hdr)
    return opened


def capture_socket(cleanup, interface, sent_too, vnet_hdr=False,
                   long_queue=True):
    """Open the socket behind a chardev with af-packet-mode=capture.

    Unless sent_too, it does not hear what this host sends out of the
    interface; that is what keeps it from hearing an inject socket beside it.
    The protocol comes with bind(): a socket opened with one would hear every
    interface until then.  A long queue is one for TCP's bursts, which takes
    root's own privilege, not that of a user namespace; without it QEMU makes
    a ring.
    """
    capture = packet_socket(cleanup, vnet_hdr)
    capture.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, not sent_too)
    if long_queue:
        with contextlib.suppress(PermissionError):
            capture.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE,
                               4 * 1024 * 1024)
    capture.bind((interface, ETH_P_ALL))
    return capture


def inject_socket(cleanup, interface, vnet_hdr=False):
    """Open the socket behind a chardev with af-packet-mode=inject.

    Protocol 0: it hears nothing.
    """
    inject = packet_socket(cleanup, vnet_hdr)
    inject.bind((interface, 0))
    return inject


def packet_statistics(opened):
    """Return how many frames came to a packet socket since the last time.

    The second number is of those that it had no room for.
    """
    packets, drops = struct.unpack(
        "II", opened.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
    return packets, drops


def ping(address):
    """Ping an address PINGS times; return the statistics.

    Neither a lost nor a duplicate reply is accepted.
    """
    output = run(["ping", "-q", "-n", "-c", str(PINGS), "-i", "0.2", "-W", "2",
                  address])
    if f" {PINGS} received, 0% packet loss" not in output:
        raise Trouble(f"ping {address}:\n{output}")
    return output.partition("statistics ---\n")[2].strip()


# ---- QEMU's command line, in lines of shell text

COMMON_OPTIONS = "-nodefaults -no-user-config -display none -sandbox on"
NO_CAPABILITIES = "--no-new-privs --inh-caps=-all --bounding-set=-all"


def chardev(name, opened, mode=None):
    """Return the option for a chardev on a socket, with a mode a packet one."""
    return (f"-chardev socket,id={name},fd={opened.fileno()}"
            + (f",af-packet-mode={mode}" if mode else ""))


def netdev_pair(one, other):
    """Return the option for two netdevs that are each other's peer."""
    return (f"-netdev hubport,id={one},hubid=0 "
            f"-netdev hubport,id={other},hubid=1,netdev={one}")


def redirect(netdev, source, sink, vnet_hdr=False):
    """Return the options that lead records from one chardev to another.

    With queue=tx a netdev's filters come in the order of the options.
    """
    redirector = "-object filter-redirector,queue=tx"
    if vnet_hdr:
        redirector += ",vnet_hdr_support=on"
    return [f"{redirector},netdev={netdev},id={netdev}-in,indev={source}",
            f"{redirector},netdev={netdev},id={netdev}-out,outdev={sink}"]


# ---- QEMU's process

class Qemu:
    """A QEMU process, and its monitor on a socket pair.

    Unless privileged, it has no capability.  What is printed is what is run;
    quiet prints nothing.
    """

    def __init__(self, cleanup, options, sockets, privileged, quiet=False):
        if not os.access(QEMU, os.X_OK):
            raise Trouble(f"no QEMU at {QEMU}: run `make qemu`, "
                          "or name one in the environment variable QEMU")
        self.errors = cleanup.enter_context(tempfile.TemporaryFile("w+"))
        self.monitor, theirs = map(cleanup.enter_context, socket.socketpair())
        self.received = b""
        self.events = []
        lines = ["setpriv --pdeathsig=KILL",
                 *([] if privileged else [NO_CAPABILITIES]),
                 shlex.quote(QEMU), *options,
                 f"-chardev socket,id=qmp,fd={theirs.fileno()} "
                 "-mon chardev=qmp,mode=control"]
        if not quiet:
            print("QEMU, which inherits the descriptors:\n")
            print(" \\\n    ".join(lines), end="\n\n")
        self.process = subprocess.Popen(
            shlex.split(" ".join(lines)), stdin=subprocess.DEVNULL,
            stderr=self.errors,
            pass_fds=[s.fileno() for s in (*sockets, theirs)])
        cleanup.push(self.end)
        for inherited in (*sockets, theirs):
            inherited.close()
        self.reply()
        self.command("qmp_capabilities")

    def command(self, name, /, *passed, **arguments):
        """Run a QMP command, passing sockets with it; return its result."""
        return self.execute(name, arguments, [s.fileno() for s in passed])

    def execute(self, name, arguments, descriptors):
        """Run a QMP command, passing descriptors; return its result."""
        request = json.dumps({"execute": name, "arguments": arguments})
        socket.send_fds(self.monitor, [request.encode()], descriptors)
        while True:
            reply = self.reply()
            if "error" in reply:
                raise Trouble(f"{request}: {reply['error']['desc']}")
            if "return" in reply:
                return reply["return"]

    def wait_for_event(self, seconds, name, **data):
        """Return the next event of a name, with that data; it is a dict.

        None stands for one that does not come in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name and \
                        data.items() <= event.get("data", {}).items():
                    return event
            if not self.receive(deadline - time.monotonic()):
                return None

    def reply(self):
        """Return the next message from the monitor that is no event."""
        while True:
            message = self.receive(10)
            if message is None:
                raise Trouble("QEMU's monitor does not answer")
            if "event" not in message:
                return message

    def receive(self, seconds):
        """Return the next message from the monitor; keep it, if an event.

        None stands for one that does not come in time.
        """
        deadline = time.monotonic() + seconds
        while b"\n" not in self.received:
            left = max(deadline - time.monotonic(), 0)
            if not select.select([self.monitor], [], [], left)[0]:
                return None
            piece = self.monitor.recv(65536)
            if not piece:
                raise Trouble("QEMU left the monitor")
            self.received += piece
        line, _, self.received = self.received.partition(b"\n")
        message = json.loads(line)
        if "event" in message:
            self.events.append(message)
        return message

    def statistics(self, name):
        """Return the counters of a chardev on a packet socket."""
        return self.command("qom-get", path=f"/chardevs/{name}",
                            property="af-packet-stats")

    def capabilities(self):
        """Return the effective capabilities, as the kernel prints them."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return status.partition("CapEff:")[2].split()[0]

    def quit(self, complaints=""):
        """Ask QEMU to end; it must not have had any other complaints."""
        self.command("quit")
        if self.process.wait(10) or \
                not re.fullmatch(complaints, self.complaints()):
            raise Trouble("QEMU complains")

    def complaints(self):
        """Return what QEMU wrote to its standard error."""
        self.errors.seek(0)
        return self.errors.read()

    def end(self, _, error, __):
        """End QEMU; if something was off, add what QEMU has to do with it."""
        if isinstance(error, TROUBLES):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        status = self.process.poll()
        self.process.kill()
        self.process.wait()
        if isinstance(error, TROUBLES) and (status or self.complaints()):
            raise Trouble(f"{error}\nQEMU's exit status: {status}\n"
                          f"{self.complaints()[:2000]}".strip()) from error


def print_counters(qemu, chardevs):
    """Print what each chardev carried; none may have carried nothing."""
    print(f"{'chardev':15} {'frames':>9} {'bytes':>12}  dropped")
    idle = []
    for name in chardevs:
        stats = qemu.statistics(name)
        drops = [f"{reason.removeprefix('dropped-')} {number}"
                 for reason, number in stats.items()
                 if reason.startswith("dropped-") and number]
        print(f"{name:15} {stats['frames']:9} {stats['bytes']:12}  "
              f"{', '.join(drops) or 0}")
        if not stats["frames"]:
            idle.append(name)
    if idle:
        raise Trouble(f"nothing passed {', '.join(idle)}")
