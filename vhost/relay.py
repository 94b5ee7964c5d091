# SPDX-License-Identifier: GPL-2.0-or-later
"""A packet socket at one end, a stream of records at the other, QEMU between.

    tap0 ==> chardev, capture -> filter-redirector -> chardev ==> receive()
    tap0 <== chardev, inject <- filter-redirector <- chardev <== send()

All of it is added to a running QEMU, beside its guest, by QMP.
"""

import itertools
import socket
import struct

import lab

SECONDS = 60
HEADER_BYTES = 10
UNSTATED_OR_STATED = [struct.pack(">I", size) for size in (0, HEADER_BYTES)]

numbers = itertools.count(1)


class Relay:
    """One such way, in one direction: the mode of its chardev."""

    def __init__(self, cleanup, qemu, mode, packet_socket, vnet_hdr):
        self.qemu, self.vnet_hdr = qemu, vnet_hdr
        self.name = f"{mode}{next(numbers)}"
        self.stream, theirs = map(cleanup.enter_context, socket.socketpair())
        self.stream.settimeout(SECONDS)
        self.unread = b""
        ends = [self.name, f"{self.name}-stream"]
        self.add_chardev(ends[0], packet_socket, {"af-packet-mode": mode})
        self.add_chardev(ends[1], theirs, {})
        self.add_netdev()
        source, sink = ends if mode == "capture" else reversed(ends)
        self.add_redirector("in", indev=source)
        self.add_redirector("out", outdev=sink)
        cleanup.callback(self.remove)

    def add_chardev(self, name, opened, more):
        """Give QEMU a socket, as a chardev."""
        self.qemu.command("getfd", opened, fdname=name)
        opened.close()
        self.qemu.command("chardev-add", id=name, backend={
            "type": "socket", "data": {
                "addr": {"type": "fd", "data": {"str": name}},
                "server": False, **more}})

    def add_netdev(self):
        """Add the netdev for the filters; it needs a peer."""
        netdev, peer = f"{self.name}-netdev", f"{self.name}-peer"
        self.qemu.command("netdev_add", type="hubport", id=netdev,
                          hubid=next(numbers))
        self.qemu.command("netdev_add", type="hubport", id=peer,
                          hubid=next(numbers), netdev=netdev)

    def add_redirector(self, end, **chardev):
        """Add a filter at one end."""
        self.qemu.command("object-add", **{
            "qom-type": "filter-redirector", "id": f"{self.name}-{end}",
            "netdev": f"{self.name}-netdev", "queue": "tx",
            "vnet_hdr_support": self.vnet_hdr, **chardev})

    def remove(self):
        """Remove from QEMU what was added, but for the netdev."""
        for end in ("in", "out"):
            self.qemu.command("object-del", id=f"{self.name}-{end}")
        for chardev in (self.name, f"{self.name}-stream"):
            self.qemu.command("chardev-remove", id=chardev)

    def send(self, header, data):
        """Send a record; the header is nothing where there is none."""
        lengths = struct.pack(">I", len(header + data))
        if self.vnet_hdr:
            lengths += struct.pack(">I", len(header))
        self.stream.sendall(lengths + header + data)

    def receive(self):
        """Return the next record's header, or nothing, and its frame.

        Filters on a hub's port state a length of 0 for the socket's.
        """
        size, = struct.unpack(">I", self.read(4))
        header_size = HEADER_BYTES if self.vnet_hdr else 0
        if self.vnet_hdr and self.read(4) not in UNSTATED_OR_STATED:
            raise lab.Trouble(f"{self.name}: another header's length")
        record = self.read(size)
        return record[:header_size], record[header_size:]

    def read(self, size):
        """Return the next bytes of the stream."""
        while len(self.unread) < size:
            try:
                piece = self.stream.recv(1 << 20)
            except TimeoutError:
                piece = b""
            if not piece:
                raise lab.Trouble(f"{self.name}: no more frames")
            self.unread += piece
        data, self.unread = self.unread[:size], self.unread[size:]
        return data
