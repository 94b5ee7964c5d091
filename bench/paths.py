# SPDX-License-Identifier: GPL-2.0-or-later
"""The paths that frames take: from where, through what, to where.

A path is named after its two ends.  "capture" and "inject" are chardevs with
af-packet-mode, "unix" is a chardev on a unix socket that a test program feeds
or reads, "relay" one with a relay process between it and a packet socket, and
"null" is nowhere: behind the filter nobody is interested.  Two filters join the
chardevs, or QEMU's packet-relay where a name ends with ".object", or with
".iothread" if it runs in one.  "recvmmsg-", "ring-" and "-sendmmsg" are relays
without QEMU between a unix socket and a packet socket, as somebody writes them who
cares: in batches.  The other names are those of bare loops on a packet socket.
"""

import collections
import contextlib
import io
import os
import socket
import time

import lab
from link_counters import LinkCounters
from traffic_program import Traffic

OUTPUT = lab.REPOSITORY / "build/bench"

# As a host's TCP makes them; its frames have a vnet header.
GSO_SIZE = 65226
SIZES = {"64": 64, "512": 512, "1514": 1514, "GSO": GSO_SIZE}
COUNTS = {"64": 150_000, "512": 100_000, "1514": 100_000, "GSO": 3_000}
PATIENCE = 2

# Without a second port, a hub lets QEMU queue 10,000 frames for one to come.
DISCARD = "-netdev hubport,id=discard0,hubid=0"

# The generator shares a CPU with the process that reads its frames; see
# pass_bursts() in traffic/.  What feeds or reads the records of that process
# stays away from it, and what is measured beside it runs where the kernel likes.
CPUS = sorted(os.sched_getaffinity(0))
FIRST_CPU = CPUS[-1:]
OTHER_CPUS = CPUS[:-1] or CPUS

# frames: how many were delivered, of how many; cost: CPU ns of each of them
Sample = collections.namedtuple("Sample", "cost delivered sent")


def make_interfaces():
    """Make the two veth pairs of the namespace."""
    for pair in (("gen0", "cap0"), ("inj0", "out0")):
        lab.ip("link add name {} type veth peer name {}".format(*pair))
        for interface in pair:
            lab.bring_up(interface)
        for interface in pair:
            lab.wait_for_carrier(interface)


@contextlib.contextmanager
def placed(cpus, priority=1):
    """Start the block's processes on these CPUs, before all other work.

    What else the machine does then hardly shows in the figures.  With priority 0
    they get their share as any other process.
    """
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    if priority:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, before)


def cpu_time(pid):
    """Return the CPU time of a process in nanoseconds.

    The clock's number is what clock_getcpuclockid() gives.
    """
    return time.clock_gettime_ns(~pid << 3 | 2)


def settle(counter, expected):
    """Wait until a counter gets there, or stands still; return it."""
    last, since = counter(), time.monotonic()
    while last < expected and time.monotonic() - since < PATIENCE:
        time.sleep(0.01)
        value = counter()
        if value != last:
            last, since = value, time.monotonic()
    return last


class Run:
    """One measurement: its sockets, and who takes part.

    Frames for cap0 come in bursts, or at a rate.  Then the generator has a CPU
    of its own, and all others share the other one.
    """

    def __init__(self, cleanup, size, count, rate=None):
        self.cleanup, self.size, self.count = cleanup, size, count
        self.rate = rate
        self.links = LinkCounters(cleanup)
        self.measured = []
        self.before = None

    # ---- sockets

    def outlet(self, interface):
        """Open a socket that sends."""
        return lab.inject_socket(self.cleanup, interface, self.is_gso())

    def inlet(self, interface="cap0", long_queue=True):
        """Open a socket that hears what comes in by an interface."""
        return lab.capture_socket(self.cleanup, interface, sent_too=False,
                                  vnet_hdr=self.is_gso(),
                                  long_queue=long_queue)

    def is_gso(self):
        """Tell whether frames have vnet headers."""
        return self.size == GSO_SIZE

    def dup(self, packet_socket):
        """Return another descriptor of a socket."""
        return self.cleanup.enter_context(packet_socket.dup())

    def stream(self):
        """Make both ends of a unix socket."""
        return map(self.cleanup.enter_context, socket.socketpair())

    def arrived(self):
        """Return how many frames have come out of inj0's other end."""
        return self.links.total("out0")["rx_packets"]

    # ---- processes

    def helper(self, cpus, source, sink, *extra, priority=1):
        """Start what passes frames on, and is not measured.

        An end is a list: its name, and its socket if it has one.
        """
        with placed(cpus, priority):
            return Traffic(self.cleanup, *source, *sink,
                           self.size, self.count, *extra)

    def measured_helper(self, cpus, source, sink):
        """Start what is part of what is measured."""
        helper = self.helper(cpus, source, sink)
        self.measured.append(helper.process.pid)
        return helper

    def peer(self, source, sink):
        """Start what writes or reads the records, and is not measured."""
        return self.helper(FIRST_CPU if self.rate else OTHER_CPUS, source, sink)

    def frames(self, *readers):
        """Start the generator of frames for those who read cap0."""
        if self.rate:
            return self.helper(OTHER_CPUS, ["steady"],
                               ["send", self.outlet("gen0")], self.rate)
        return self.helper(FIRST_CPU, ["bursts"],
                           ["send", self.outlet("gen0")], *readers, priority=2)

    def qemu(self, source, sink, joint="filters"):
        """Start QEMU with filters or packet-relay, from a source to a sink.

        Where it reads the generator's frames itself, it has its CPU.
        """
        cpus = FIRST_CPU if source.is_read_by_qemu else CPUS
        ends = [end for end in (source, sink) if end.chardev]
        joints = (self.filters(len(ends)) if joint == "filters"
                  else self.relay_object(joint == "iothread"))
        options = ["-machine none -nodefaults -no-user-config -display none",
                   *(end.chardev for end in ends), *joints]
        with placed(cpus), \
                contextlib.redirect_stdout(io.StringIO()) as log:
            qemu = lab.Qemu(self.cleanup, options,
                            [end.socket for end in ends if end.socket],
                            privileged=True)
        (OUTPUT / "qemu-command").write_text(log.getvalue())
        self.measured.append(qemu.process.pid)
        return qemu

    def filters(self, count):
        """Return the options of so many filters, and of what they need."""
        return [lab.netdev_pair("hub0", "net0"), DISCARD,
                *lab.redirect("net0", "source", "sink", self.is_gso())[:count]]

    def relay_object(self, in_iothread):
        """Return the options of QEMU's own relay."""
        return ["-object iothread,id=iothread0",
                "-object packet-relay,id=relay0,indev=source,outdev=sink,"
                f"vnet-hdr={'on' if self.is_gso() else 'off'}"
                + ",iothread=iothread0" * in_iothread]

    # ---- the clock

    def go(self, *parts):
        """Start to measure, then the parts."""
        self.before = self.cpu_time()
        for part in parts:
            part.go()

    def cpu_time(self):
        """Return the CPU time of all that is measured."""
        return sum(map(cpu_time, self.measured))

    def spent(self):
        """Return the CPU time since then."""
        return self.cpu_time() - self.before


class End:
    """An end of a path through QEMU, with a chardev or without."""

    chardev = None
    readers = ()        # what is empty when nothing is on its way to this end
    is_read_by_qemu = False     # the generator's frames

    def go(self):
        """Start what is not QEMU, where there is such."""


# ---- where QEMU's records come from

class Capture(End):
    """A capture chardev."""

    is_read_by_qemu = True

    def __init__(self, run):
        self.socket = run.inlet(long_queue=False)
        self.chardev = lab.chardev("source", self.socket, "capture")
        self.reader = run.dup(self.socket)

    def feeder(self, run, readers):
        """Return what sends frames as fast as they are read."""
        return run.frames(self.reader, *readers)

    def taken(self, qemu, expected):
        """Return how many frames QEMU took.

        A QEMU without such counters leaves the kernel's to us.
        """
        try:
            return settle(lambda: qemu.statistics("source")["frames"],
                          expected)
        except lab.Trouble:
            packets, drops = lab.packet_statistics(self.reader)
            return packets - drops


class RelayCapture(Capture):
    """A relay that captures, and the chardev that it writes to."""

    is_read_by_qemu = False

    def __init__(self, run):
        self.reader = run.inlet()
        self.socket, theirs = run.stream()
        self.chardev = lab.chardev("source", self.socket)
        self.relay = run.measured_helper(FIRST_CPU, ["recv", self.reader],
                                         ["records", theirs])
        self.go = self.relay.go

    def taken(self, _, __):
        """Return how many frames the relay wrote, and QEMU read."""
        return self.relay.passed()


class UnixSource(End):
    """A chardev that somebody writes records to."""

    def __init__(self, run):
        self.socket, self.theirs = run.stream()
        self.chardev = lab.chardev("source", self.socket)
        self.reader = run.dup(self.socket)

    def feeder(self, run, readers):
        """Return what writes records as fast as they are read."""
        return run.helper(OTHER_CPUS, ["bursts"], ["records", self.theirs],
                          self.reader, *readers)


# ---- where they go

class Null(End):
    """Nowhere: behind the first filter nobody is interested."""

    def __init__(self, _):
        pass

    def delivered(self, source, qemu, expected):
        """Return how many frames came this far."""
        return source.taken(qemu, expected)


class UnixSink(End):
    """A chardev that somebody reads records from."""

    def __init__(self, run):
        self.socket, theirs = run.stream()
        self.chardev = lab.chardev("sink", self.socket)
        self.sink = run.peer(["records", theirs], ["check"])
        self.readers = [theirs]
        self.go = self.sink.go

    def delivered(self, *_):
        """Return how many records came."""
        return self.sink.passed()


class DevNull(Null):
    """A chardev that discards what it is given."""

    chardev = "-chardev file,id=sink,path=/dev/null"
    socket = None


class Inject(End):
    """An inject chardev."""

    def __init__(self, run):
        self.socket = run.outlet("inj0")
        self.chardev = lab.chardev("sink", self.socket, "inject")
        self.arrived, self.before = run.arrived, run.arrived()

    def delivered(self, _, __, expected):
        """Return how many frames came out at the other end."""
        return settle(lambda: self.arrived() - self.before, expected)


class RelayInject(Inject):
    """A relay that injects, and the chardev that it reads from."""

    def __init__(self, run):
        super().__init__(run)
        outlet = self.socket
        self.socket, theirs = run.stream()
        self.chardev = lab.chardev("sink", self.socket)
        self.relay = run.measured_helper(CPUS, ["records", theirs],
                                         ["send", outlet])
        self.readers = [theirs]
        self.go = self.relay.go


# ---- the paths

def bare_reader(source):
    """Return the path of a bare loop that receives."""
    def path(run):
        inlet = run.inlet()
        reader = run.measured_helper(FIRST_CPU, [source, inlet], ["check"])
        feeder = run.frames(inlet)
        run.go(reader, feeder)
        sent = feeder.passed()
        return reader.passed(), sent
    return path


def bare_sender(run):
    """The path of a bare loop that sends."""
    before = run.arrived()
    sender = run.measured_helper(FIRST_CPU, ["steady"],
                                 ["send", run.outlet("inj0")])
    run.go(sender)
    sent = sender.passed()
    return settle(lambda: run.arrived() - before, sent), sent


def capturing_relay(source):
    """Return the path of a relay without QEMU from a packet socket."""
    def path(run):
        inlet = run.inlet()
        ours, theirs = run.stream()
        relay = run.measured_helper(FIRST_CPU, [source, inlet],
                                    ["records", ours])
        reader = run.peer(["records", theirs], ["check"])
        feeder = run.frames(inlet, theirs)
        run.go(relay, reader, feeder)
        sent = feeder.passed()
        return reader.passed(), sent
    return path


def injecting_relay(run):
    """The path of a relay without QEMU to a packet socket."""
    before = run.arrived()
    ours, theirs = run.stream()
    relay = run.measured_helper(CPUS, ["records", ours],
                                ["sendmmsg", run.outlet("inj0")])
    feeder = run.helper(OTHER_CPUS, ["bursts"], ["records", theirs], ours)
    run.go(relay, feeder)
    sent = feeder.passed()
    return settle(lambda: run.arrived() - before, sent), sent


def through_qemu(make_source, make_sink, joint="filters"):
    """Return the path through QEMU from a source to a sink."""
    def path(run):
        source, sink = make_source(run), make_sink(run)
        feeder = source.feeder(run, sink.readers)
        qemu = run.qemu(source, sink, joint)
        run.go(source, sink, feeder)
        sent = feeder.passed()
        return sink.delivered(source, qemu, sent), sent
    return path


PATHS = {
    "recv": bare_reader("recv"),
    "recvmmsg": bare_reader("recvmmsg"),
    "tpacket-v2": bare_reader("ring2"),
    "tpacket-v3": bare_reader("ring3"),
    "send": bare_sender,
    "recvmmsg-unix": capturing_relay("recvmmsg"),
    "ring-unix": capturing_relay("ring2"),
    "unix-sendmmsg": injecting_relay,
    "relay-null": through_qemu(RelayCapture, Null),
    "relay-unix": through_qemu(RelayCapture, UnixSink),
    "unix-relay": through_qemu(UnixSource, RelayInject),
    "relay-relay": through_qemu(RelayCapture, RelayInject),
    "capture-null": through_qemu(Capture, Null),
    "capture-unix": through_qemu(Capture, UnixSink),
    "unix-inject": through_qemu(UnixSource, Inject),
    "capture-inject": through_qemu(Capture, Inject),
    "capture-null.object": through_qemu(Capture, DevNull, "object"),
    "capture-unix.object": through_qemu(Capture, UnixSink, "object"),
    "unix-inject.object": through_qemu(UnixSource, Inject, "object"),
    "capture-inject.object": through_qemu(Capture, Inject, "object"),
    "capture-unix.iothread": through_qemu(Capture, UnixSink, "iothread"),
    "unix-inject.iothread": through_qemu(UnixSource, Inject, "iothread"),
}


def measure(path, size, part=1, rate=None):
    """Measure a path once, with a part of the frames, or for a second."""
    with contextlib.ExitStack() as cleanup:
        run = Run(cleanup, SIZES[size], rate or COUNTS[size] // part, rate)
        delivered, sent = PATHS[path](run)
        cost = run.spent() / max(delivered, 1)
    return Sample(cost, delivered, sent)
