# SPDX-License-Identifier: GPL-2.0-or-later
"""Hand frames over during a live migration, as management software would.

docs/system/af-packet-switchover.rst tells why each step is there.  What the
source host sends to the guest's tap is captured from before the migration on,
and forgotten again as soon as the guest has taken it.  When the guest stops,
what is left, and what still comes, goes to the destination's tap.
"""

import contextlib
import ctypes
import os
import pathlib
import socket
import struct
import time

import lab

TAP = "tap0"
PORT = 4445

# Frames that a netdev of type tap may have taken, and the guest not got, when
# the guest stops: one that waits for room in the guest, and one that QEMU
# reads ahead.  vhost-net takes none.
TAKEN_AHEAD = 2
CAPTURE_BYTES = 8 * 1024 * 1024
LONGEST_WAIT_TO_ANNOUNCE = 0.5
QUIET_SECONDS = 0.5
LONGEST_SECONDS = 5

# linux/filter.h, asm/socket.h, linux/if_packet.h
BPF_LD_BYTE, BPF_LD_HALF, BPF_LD_WORD = 0x30, 0x28, 0x20
BPF_JEQ, BPF_RETURN = 0x15, 0x06
BPF_PKTTYPE = 0xfffff000 + 4
SO_ATTACH_FILTER = 26
PACKET_VNET_HDR = 15
PACKET_OUTGOING = 4


class Handover:
    """From a QEMU whose guest leaves to one that it comes to.

    Each side has attributes qemu, namespace and address: where its migration
    stream goes, too.  What is made in the two QEMUs has ids with this prefix.
    """

    PREFIX = "handover"

    def __init__(self, source, destination, mac):
        self.source, self.destination = source, destination
        self.cleanup = contextlib.ExitStack()
        self.capture = self.remember(mac)
        self.taken_before = self.taken()
        self.forgotten = 0
        self.lead_to_the_tap()
        self.lead_to_the_destination()

    # ---- before the migration

    def remember(self, mac):
        """Start to capture what is sent to the source's tap."""
        with lab.inside(self.source.namespace):
            capture = lab.packet_socket(self.cleanup)
            capture.setsockopt(lab.SOL_PACKET, PACKET_VNET_HDR, 1)
            attach_filter(capture, sent_to_guest(mac))
            lab.lengthen_queue(capture, CAPTURE_BYTES)
            capture.bind((TAP, lab.ETH_P_ALL))
        return capture

    def lead_to_the_tap(self):
        """On the destination, lead what comes to PORT to the tap."""
        qemu = self.destination.qemu
        with lab.inside(self.destination.namespace), \
                contextlib.ExitStack() as passed:
            inject = lab.inject_socket(passed, TAP)
            inject.setsockopt(lab.SOL_PACKET, PACKET_VNET_HDR, 1)
            self.add_packet_chardev(qemu, inject, "inject")
        self.add_stream_chardev(qemu, server=True)
        self.add_netdevs(qemu)
        self.add_filter(qemu, "in", indev=self.name("stream"))
        self.add_filter(qemu, "out", outdev=self.name("inject"))

    def lead_to_the_destination(self):
        """On the source, lead there what is captured; yet there is none."""
        qemu = self.source.qemu
        self.add_stream_chardev(qemu, server=False)
        self.add_netdevs(qemu)
        self.add_filter(qemu, "out", outdev=self.name("stream"))

    def hold_announcement(self):
        """Let QEMU not announce the guest when it has arrived."""
        self.destination.qemu.command("migrate-set-parameters",
                                      **{"announce-rounds": 0})

    # ---- while the guest runs on the source

    def forget(self):
        """Forget the captured frames that the guest has taken."""
        wanted = self.taken() - self.taken_before - TAKEN_AHEAD
        piece = bytearray(64)
        while self.forgotten < wanted:
            try:
                self.capture.recv_into(piece, flags=socket.MSG_DONTWAIT)
            except BlockingIOError:
                # It took some that came before the capture
                self.taken_before += wanted - self.forgotten
                return
            self.forgotten += 1

    def taken(self):
        """Return how many frames were taken from the source's tap."""
        with lab.inside(self.source.namespace):
            return lab.interface_counter(TAP, "tx_packets")

    # ---- when it has stopped there

    def forward(self):
        """Forward what the guest has not taken, and what still comes."""
        self.forget()
        qemu = self.source.qemu
        self.add_packet_chardev(qemu, self.capture, "capture")
        self.add_filter(qemu, "in", indev=self.name("capture"),
                        position="head")
        self.cleanup.close()

    # ---- when it runs on the destination, or again on the source

    def announce(self):
        """Let the network deliver to the destination; until now it did not.

        What was forwarded so far is to be in the tap before that.
        """
        end = time.monotonic() + LONGEST_WAIT_TO_ANNOUNCE
        while time.monotonic() < end and self.on_their_way():
            pass
        self.destination.qemu.command("announce-self", initial=50, max=550,
                                      rounds=5, step=100)

    def on_their_way(self):
        """Return how many frames are between both chardevs."""
        return (self.frames() -
                self.counters(self.destination.qemu, "inject")["frames"])

    def wait_until_quiet(self):
        """Wait until the network delivers to the source no more."""
        end = time.monotonic() + LONGEST_SECONDS
        frames, since = self.frames(), time.monotonic()
        while time.monotonic() < min(since + QUIET_SECONDS, end):
            time.sleep(0.02)
            if self.frames() != frames:
                frames, since = self.frames(), time.monotonic()

    def frames(self):
        """Return how many frames were forwarded."""
        return self.counters(self.source.qemu, "capture")["frames"]

    def counters(self, qemu, what):
        """Return the counters of a chardev on a packet socket."""
        return qemu.command("qom-get", property="af-packet-stats",
                            path=f"/chardevs/{self.name(what)}")

    def remove_from(self, qemu):
        """Remove everything that the handover made in a QEMU."""
        filters, chardevs = self.made_in(qemu)
        for name in filter(self.is_ours, filters):
            qemu.command("object-del", id=name)
        for name in filter(self.is_ours, chardevs):
            qemu.command("chardev-remove", id=name)
        for name in self.netdevs():
            qemu.command("netdev_del", id=name)

    @staticmethod
    def made_in(qemu):
        """Return the ids of the objects and chardevs that a QEMU has."""
        return ([child["name"] for child in
                 qemu.command("qom-list", path="/objects")],
                [child["name"] for child in
                 qemu.command("qom-list", path="/chardevs")])

    # ---- QMP

    def name(self, what):
        """Return the id of something that the handover makes."""
        return f"{self.PREFIX}-{what}"

    def is_ours(self, name):
        """Tell whether an id is that of something the handover made."""
        return name.startswith(self.name(""))

    def netdevs(self):
        """Return the ids of the netdevs for the filters: peers."""
        return self.name("peer"), self.name("netdev")

    def add_netdevs(self, qemu):
        """Add a netdev for the filters, with another as its peer."""
        peer, netdev = self.netdevs()
        qemu.command("netdev_add", type="hubport", id=netdev, hubid=4445)
        qemu.command("netdev_add", type="hubport", id=peer, hubid=4446,
                     netdev=netdev)

    def add_filter(self, qemu, what, **ends):
        """Add a filter between the netdev and a chardev."""
        _, netdev = self.netdevs()
        qemu.command("object-add", id=self.name(what), netdev=netdev,
                     queue="tx", vnet_hdr_support=True, **ends,
                     **{"qom-type": "filter-redirector"})

    def add_packet_chardev(self, qemu, packet_socket, mode):
        """Add a chardev on a packet socket."""
        qemu.getfd(self.name(mode), packet_socket)
        self.add_socket_chardev(qemu, mode, {
            "addr": {"type": "fd", "data": {"str": self.name(mode)}},
            "server": False, "af-packet-mode": mode})

    def add_stream_chardev(self, qemu, server):
        """Add the chardev for one end of the stream between both QEMUs."""
        address = {"host": self.destination.address, "port": str(PORT)}
        self.add_socket_chardev(qemu, "stream", {
            "addr": {"type": "inet", "data": address}, "server": server,
            **({"wait": False} if server else {"nodelay": True})})

    def add_socket_chardev(self, qemu, what, data):
        """Add a socket chardev."""
        qemu.command("chardev-add", id=self.name(what),
                     backend={"type": "socket", "data": data})


def sent_to_guest(mac):
    """Return a BPF program: frames sent to a tap, but not the guest's own.

    What the guest sends after it has left may be flooded to its old tap.
    """
    high, low = struct.unpack(">IH", bytes.fromhex(mac.replace(":", "")))
    return [(BPF_LD_BYTE, 0, 0, BPF_PKTTYPE),
            (BPF_JEQ, 0, 5, PACKET_OUTGOING),
            (BPF_LD_WORD, 0, 0, 6),
            (BPF_JEQ, 0, 2, high),
            (BPF_LD_HALF, 0, 0, 10),
            (BPF_JEQ, 1, 0, low),
            (BPF_RETURN, 0, 0, 0xffffffff),
            (BPF_RETURN, 0, 0, 0)]


def attach_filter(packet_socket, program):
    """Attach a BPF program to a socket."""
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    code = ctypes.create_string_buffer(code)
    packet_socket.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER,
        struct.pack("HP", len(program), ctypes.addressof(code)))
