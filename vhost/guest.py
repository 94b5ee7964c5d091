# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest without a CPU: a QEMU with -accel qtest, and its driver here.

The guest's memory is a file that QEMU, vhost-net and this process map.  The
driver of virtio-net reads and writes the rings in it, and kicks through QEMU's
qtest socket.  To the device, whether QEMU or vhost-net, that is a guest as any
other; but each frame is where a test can look at it, nothing waits for a boot,
and the guest does just what it is told.  It can migrate: what the driver
writes, it reports to QEMU, as a processor's writes are logged.
"""

import contextlib
import mmap
import os
import socket
import struct
import threading
import time

import host
import lab

MAC = "52:54:00:12:34:79"
SECONDS = 60                # for anything that has to happen
POLL_SECONDS = 0.001

# Where things are in the guest: its memory, and its first card's registers; the
# next card has its own so much further up
MEGABYTES = 16
PAGE = 4096
PCI_SLOT = 5
REGISTERS = 0xe0000000      # BAR 4: common 0, device 0x2000, notify 0x3000
NOTIFY = 0x3000
CARD_REGISTERS, CARD_MEMORY = 0x10000, 0x800000
RINGS, RING_SIZE = 0x100000, 0x4000
RX_BUFFERS, TX_BUFFERS, CONTROL = 0x400000, 0x600000, 0x700000
AREA = 0x80000              # for the buffers of a queue
AVAILABLE, USED = 0x1000, 0x2000    # in a ring's memory, after descriptors

# linux/virtio_pci.h: struct virtio_pci_common_cfg
FEATURE_SELECT, FEATURES = 0x08, 0x0c
OFFERED_SELECT, OFFERED = 0x00, 0x04
STATUS = 0x14
QUEUE_SELECT, QUEUE_SIZE, QUEUE_ENABLE, QUEUE_ADDRESSES = (
    0x16, 0x18, 0x1c, 0x20)

# linux/virtio_config.h, linux/virtio_ring.h, linux/virtio_net.h
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8
NEXT, WRITE = 1, 2
NO_INTERRUPT = NO_NOTIFY = 1
HEADER_BYTES, NUM_BUFFERS_AT = 12, 10
FEATURE_BITS = {"csum": 0, "guest-csum": 1, "guest-tso4": 7, "guest-tso6": 8,
                "host-tso4": 11, "host-tso6": 12, "mrg-rxbuf": 15,
                "ctrl-vq": 17, "mq": 22, "version-1": 32}
OFFLOADS = ("csum", "guest-csum", "guest-tso4", "guest-tso6", "host-tso4",
            "host-tso6")
CTRL_MQ, CTRL_MQ_PAIRS_SET = 4, 0

BUFFERS = 256               # in a ring: QEMU's rx_queue_size by default
BUFFER_BYTES = 2048


def wait_until(condition, what):
    """Wait until a function returns something true; return that."""
    deadline = time.monotonic() + SECONDS
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise lab.Trouble(f"not within {SECONDS} s: {what}")
        time.sleep(POLL_SECONDS)
    return result


class Machine:
    """A QEMU whose only cards are virtio-net, for drivers here.

    Each has a tap: a list of files, one for each pair of queues.
    """

    quiet = True

    def __init__(self, cleanup, taps, vhost, incoming=False):
        self.lock = threading.Lock()
        self.qtest, theirs = map(cleanup.enter_context, socket.socketpair())
        self.qtest.settimeout(SECONDS)
        memory = os.memfd_create("guest")
        cleanup.callback(os.close, memory)
        os.ftruncate(memory, MEGABYTES << 20)
        self.memory = mmap.mmap(memory, MEGABYTES << 20)
        with contextlib.ExitStack() as passed:
            backend = passed.enter_context(open(os.dup(memory), "r+b"))
            files = [backend, theirs]
            options = [
                f"-machine pc,memory-backend=memory -m {MEGABYTES} "
                f"-accel qtest -vga none {lab.COMMON_OPTIONS}",
                "-object memory-backend-file,id=memory,share=on,"
                f"size={MEGABYTES}M,mem-path=/proc/self/fd/{backend.fileno()}",
                f"-chardev socket,id=qtest,fd={theirs.fileno()} "
                "-qtest chardev:qtest -qtest-log none"]
            for number, tap in enumerate(taps):
                backends = host.open_vhost(passed, len(tap)) if vhost else []
                options += card_options(number, tap, backends)
                files += [*tap, *backends]
            if incoming:
                options.append("-incoming defer")
            self.qemu = lab.Qemu(
                cleanup, options, files, privileged=False, quiet=self.quiet)

    def ask(self, *commands):
        """Run qtest commands; return what the last of them returns."""
        with self.lock:
            self.qtest.sendall("".join(f"{command}\n" for command in commands)
                               .encode())
            answers = b""
            while answers.count(b"\n") < len(commands):
                piece = self.qtest.recv(65536)
                if not piece:
                    raise lab.Trouble("QEMU left the qtest socket")
                answers += piece
        for command, answer in zip(commands, answers.decode().splitlines()):
            state, *values = answer.split()
            if state != "OK":
                raise lab.Trouble(f"{command}: {answer}")
        return int(values[0], 0) if values else None

    def write(self, at, data):
        """Write to the guest's memory, and report its pages to QEMU."""
        self.memory[at:at + len(data)] = data
        pages = range(at & -PAGE, at + len(data), PAGE)
        self.ask(*(f"writeb {page:#x} {self.memory[page]:#x}"
                   for page in pages))

    def read16(self, at):
        """Return 16 bits of the guest's memory."""
        return struct.unpack_from("<H", self.memory, at)[0]

    def stop(self):
        """Stop the guest."""
        self.qemu.command("stop")
        self.expect("STOP")

    def go_on(self):
        """Let the guest go on."""
        self.qemu.command("cont")
        self.expect("RESUME")

    def expect(self, name, **data):
        """Wait for an event of QEMU; return it."""
        event = self.qemu.wait_for_event(SECONDS, name, **data)
        if not event:
            raise lab.Trouble(f"no event {name} within {SECONDS} s")
        return event


def card_options(number, tap, backends):
    """Return the options for a card of the guest and its netdev."""
    name = netdev_of(number)
    netdev = f"-netdev tap,id={name},fds={numbers_of(tap)},vhost="
    netdev += f"on,vhostfds={numbers_of(backends)}" if backends else "off"
    return [netdev, f"-device virtio-net-pci,netdev={name},mac={MAC},romfile=,"
            f"disable-legacy=on,addr={PCI_SLOT + number}"
            + (",mq=on" if len(tap) > 1 else "")]


def netdev_of(number):
    """Return the ID of a card's netdev."""
    return f"guest{number or ''}"


def numbers_of(files):
    """Return the numbers of files' descriptors, for an option of QEMU."""
    return ":".join(str(file.fileno()) for file in files)


class Card:
    """A card of the guest, wherever that is."""

    def __init__(self, machine, number):
        self.machine, self.number = machine, number
        self.registers = REGISTERS + CARD_REGISTERS * number
        self.memory = CARD_MEMORY * number

    def set(self, register, size, value):
        """Write a register of the card."""
        self.machine.ask(f"write{size} {self.registers + register:#x} "
                         f"{value:#x}")

    def get(self, register, size):
        """Read a register of the card."""
        return self.machine.ask(f"read{size} {self.registers + register:#x}")


class Queue:
    """A virtqueue, as its driver sees it; it moves with the guest.

    Descriptors are always used in turn: the one to make available next is
    number `given`, the one to come back next is number `taken`.
    """

    def __init__(self, card, index):
        self.card, self.index = card, index
        self.at = card.memory + RINGS + RING_SIZE * index
        self.given = self.taken = 0
        self.may_kick = True
        card.set(QUEUE_SELECT, "w", index)
        card.set(QUEUE_SIZE, "w", BUFFERS)
        for place, part in enumerate((0, AVAILABLE, USED)):
            card.set(QUEUE_ADDRESSES + 8 * place, "l", self.at + part)
            card.set(QUEUE_ADDRESSES + 8 * place + 4, "l", 0)
        ring = struct.pack(f"<HH{BUFFERS}H", NO_INTERRUPT, 0, *range(BUFFERS))
        self.machine.write(self.at + AVAILABLE, ring)
        card.set(QUEUE_ENABLE, "w", 1)

    @property
    def machine(self):
        """Where the guest is."""
        return self.card.machine

    def describe(self, number, at, size, flags):
        """Say in a descriptor where its buffer is."""
        place = number % BUFFERS
        follower = (place + 1) % BUFFERS
        self.machine.write(self.at + 16 * place,
                           struct.pack("<QIHH", at, size, flags, follower))

    def give(self, count=1):
        """Make this many more descriptors available."""
        self.given += count
        self.machine.ask(f"writew {self.at + AVAILABLE + 2:#x} "
                         f"{self.given & 0xffff:#x}")
        if self.may_kick and \
                not self.machine.read16(self.at + USED) & NO_NOTIFY:
            self.kick()

    def kick(self):
        """Tell the device to look at the ring."""
        self.card.set(NOTIFY + 4 * self.index, "w", self.index)

    def pending(self):
        """Return how many descriptors have come back and weren't taken."""
        return (self.read_used() - self.taken) & 0xffff

    def read_used(self):
        """Return how many have come back since the beginning, modulo 2^16."""
        return self.machine.read16(self.at + USED + 2)

    def is_full(self):
        """Tell whether all descriptors have come back: there is no room."""
        return self.read_used() == self.given & 0xffff

    def take(self):
        """Take a descriptor that has come back; return what it holds."""
        place = self.taken % BUFFERS
        number, size = struct.unpack_from(
            "<II", self.machine.memory, self.at + USED + 4 + 8 * place)
        at, = struct.unpack_from("<Q", self.machine.memory,
                                 self.at + 16 * number)
        if number != place:
            raise lab.Trouble(f"queue {self.index}: descriptor {number} came "
                              f"back, but it was {place}'s turn")
        self.taken += 1
        return self.machine.memory[at:at + size]


class Guest:
    """The guest's driver, with what it has received.

    `received` has a list of frames for each pair of queues, a frame being its
    virtio-net header and its data.
    """

    def __init__(self, machine, pairs=1, offloads=OFFLOADS, number=0):
        self.card = Card(machine, number)
        self.failures = []
        self.thread, self.ended = None, threading.Event()
        self.received = [[] for _ in range(pairs)]
        self.on_received = lambda count: None
        features = {"version-1", "mrg-rxbuf", *offloads}
        if pairs > 1:
            features |= {"ctrl-vq", "mq"}
        self.find_card()
        self.negotiate(features)
        self.rx = [Queue(self.card, 2 * pair) for pair in range(pairs)]
        self.tx = [Queue(self.card, 2 * pair + 1) for pair in range(pairs)]
        self.control = Queue(self.card, 2 * pairs) if pairs > 1 else None
        self.fill()
        self.card.set(STATUS, "b",
                      ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
        if pairs > 1:
            self.use_pairs(pairs)
        for queue in self.rx:
            queue.give(BUFFERS)

    @property
    def machine(self):
        """Where the guest is."""
        return self.card.machine

    def find_card(self):
        """Say where the card's registers are to be."""
        base = 0x80000000 | PCI_SLOT + self.card.number << 11
        for register, value in ((0x20, self.card.registers), (0x24, 0),
                                (0x04, 6)):
            self.machine.ask(f"outl 0xcf8 {base | register:#x}",
                             f"outl 0xcfc {value:#x}")

    def negotiate(self, features):
        """Agree with the device on its features; all of them are needed."""
        card = self.card
        for status in (0, ACKNOWLEDGE, ACKNOWLEDGE | DRIVER):
            card.set(STATUS, "b", status)
        bits = sum(1 << FEATURE_BITS[feature] for feature in features)
        for half in (0, 1):
            card.set(OFFERED_SELECT, "l", half)
            missing = bits >> 32 * half & 0xffffffff & \
                ~card.get(OFFERED, "l")
            if missing:
                raise lab.Trouble(f"virtio-net does not offer {missing:#x} "
                                  f"in half {half} of its features")
            card.set(FEATURE_SELECT, "l", half)
            card.set(FEATURES, "l", bits >> 32 * half & 0xffffffff)
        status = ACKNOWLEDGE | DRIVER | FEATURES_OK
        card.set(STATUS, "b", status)
        if card.get(STATUS, "b") != status:
            raise lab.Trouble(f"virtio-net refuses the features {bits:#x}")

    def fill(self):
        """Put buffers behind the descriptors of what is to be received."""
        for pair, queue in enumerate(self.rx):
            for number in range(BUFFERS):
                at = self.card.memory + RX_BUFFERS + AREA * pair + \
                    BUFFER_BYTES * number
                queue.describe(number, at, BUFFER_BYTES, WRITE)

    def use_pairs(self, pairs):
        """Tell the device on how many pairs of queues the guest receives."""
        command = struct.pack("<BBHB", CTRL_MQ, CTRL_MQ_PAIRS_SET, pairs, 0xff)
        control = self.card.memory + CONTROL
        self.machine.write(control, command)
        for number, (place, size, flags) in enumerate(
                ((0, 2, NEXT), (2, 2, NEXT), (4, 1, WRITE))):
            self.control.describe(number, control + place, size, flags)
        self.control.give()
        wait_until(self.control.pending, "an answer to the number of queues")
        if self.machine.memory[control + 4]:
            raise lab.Trouble(f"virtio-net refuses {pairs} pairs of queues")

    # ---- what is received

    def look(self):
        """Take what has come; give no buffers back.

        Return whether there was any.
        """
        found = False
        for queue, received in zip(self.rx, self.received):
            while queue.pending():
                frame = queue.take()
                parts, = struct.unpack_from("<H", frame, NUM_BUFFERS_AT)
                for _ in range(parts - 1):
                    frame += queue.take()
                received.append(frame)
                found = True
        if found:
            self.on_received(sum(map(len, self.received)))
        return found

    def give_back(self):
        """Give the buffers back that have been looked at."""
        for queue in self.rx:
            if queue.given < queue.taken + BUFFERS:
                queue.give(queue.taken + BUFFERS - queue.given)

    def run(self):
        """Receive from now on, beside whatever else this process does."""
        self.ended.clear()
        self.thread = threading.Thread(target=self.receive, daemon=True)
        self.thread.start()

    def receive(self):
        """Receive until that is ended."""
        try:
            while not self.ended.is_set():
                if self.look():
                    self.give_back()
                else:
                    time.sleep(POLL_SECONDS)
        except lab.TROUBLES as trouble:
            self.failures.append(trouble)

    def pause(self):
        """Receive no more."""
        self.ended.set()
        self.thread.join()
        if self.failures:
            raise self.failures[0]

    def full_queues(self):
        """Return how many queues have no room for a frame."""
        return sum(queue.is_full() for queue in self.rx)

    def frames(self, newest=0):
        """Return what was received by each pair of queues, without headers.

        If a number is given, only so many of the newest frames of each.
        """
        return [[frame[HEADER_BYTES:] for frame in received[-newest:]]
                for received in self.received]

    # ---- what is sent

    def send(self, header, data, pair=0):
        """Send a frame with a virtio-net header of 10 bytes; wait until the
        device has taken it.
        """
        queue = self.tx[pair]
        at = self.card.memory + TX_BUFFERS + AREA * pair
        packet = header.ljust(HEADER_BYTES, b"\0") + data
        self.machine.write(at, packet)
        queue.describe(queue.given, at, len(packet), 0)
        queue.give()
        wait_until(queue.pending, "the device takes a frame from the guest")
        queue.take()

    # ---- moving

    def await_stop(self):
        """Kick no more, as QEMU may stop the guest at any moment from now on.

        No processor kicks when it has stopped; QEMU drops a frame then.
        """
        for queue in self.rx:
            queue.may_kick = False

    def stay(self):
        """Go on where it was."""
        for queue in self.rx:
            queue.may_kick = True
            queue.give(queue.taken + BUFFERS - queue.given)
            queue.kick()

    def move(self, machine):
        """Be the guest of another machine, to which its memory has come.

        What was given back after the memory's last copy, is given back again.
        """
        self.card.machine = machine
        self.stay()
