#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""af-packet-exec: whoever holds its sockets hears no more than was meant.

In a network namespace of the test's own, with veth pairs host0 ==== tap0 and
host1 ==== tap1: what is sent out of one end arrives at the other.
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import struct
import subprocess
import unittest

import lab
from launcher import (LAUNCHER, STAY, WithLink, needs_libpcap, sockets, waiting)

QEMU = os.environ.get("QEMU")

# asm-generic/socket.h, linux/if_packet.h
SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
SO_LOCK_FILTER = 44
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_IGNORE_OUTGOING = 23
PACKET_MR_PROMISC = 1

EVERYTHING = 0x7fffffff
FAREWELL = r"\Aqemu-system-x86_64: terminating on signal 15 from .*\n\Z"


def attach(opened, result):
    """Give a socket a filter that answers each frame with a number."""
    program = struct.pack("HBBI", lab.BPF_RET_K, 0, 0, result)
    buffer = ctypes.create_string_buffer(program)
    opened.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER,
                      struct.pack("HP", 1, ctypes.addressof(buffer)))


def listen_everywhere(opened):
    """Bind a socket to no interface, which means all."""
    address = struct.pack("=HHi12x", socket.AF_PACKET,
                          socket.htons(lab.ETH_P_ALL), 0)
    if lab.libc.bind(opened.fileno(), address, len(address)):
        raise OSError(ctypes.get_errno(), "bind")


class WithLinks(WithLink):
    """A test that has two pairs of interfaces."""

    def setUp(self):
        super().setUp()
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(lab.veth("tap1", "host1"))


class Holder(WithLinks):
    """What somebody who has a socket does with it."""

    @staticmethod
    def listen_elsewhere(opened):
        """Bind a socket to another interface, which is to be promiscuous."""
        opened.bind(("tap1", lab.ETH_P_ALL))
        opened.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP,
                          struct.pack("iHH8x", socket.if_nametoindex("tap1"),
                                      PACKET_MR_PROMISC, 0))

    def pass_frames(self):
        """Have frames pass tap1 both ways."""
        with lab.packet_socket("tap1", lab.ETH_P_ALL) as witness:
            lab.send("tap1", b"to another")
            lab.send("host1", b"of another")
            while lab.payload_of(witness.recv(2048)) != b"of another":
                continue

    def check_deaf_elsewhere(self, options):
        """Expect that no frame of another interface gets into a socket."""
        (opened,), _ = sockets(self, options)
        self.listen_elsewhere(opened)
        self.pass_frames()
        self.assertEqual(waiting(opened), [])
        listen_everywhere(opened)
        self.pass_frames()
        self.assertEqual(waiting(opened), [])

    def test_direction_both(self):
        self.check_deaf_elsewhere("ifname=tap0")

    def test_direction_in(self):
        self.check_deaf_elsewhere("ifname=tap0,direction=in")

    def test_direction_out(self):
        self.check_deaf_elsewhere("ifname=tap0,direction=out")

    @needs_libpcap
    def test_filter(self):
        self.check_deaf_elsewhere("ifname=tap0,filter=ether proto 0x88b5")

    def test_protocol_none(self):
        self.check_deaf_elsewhere("ifname=tap0,protocol=none")

    def test_protocol_none_hears_nothing_at_home(self):
        (opened,), _ = sockets(self, "ifname=tap1,protocol=none")
        opened.bind(("tap1", lab.ETH_P_ALL))
        self.pass_frames()
        self.assertEqual(waiting(opened), [])

    def test_back_home(self):
        (opened,), _ = sockets(self, "ifname=tap0")
        self.listen_elsewhere(opened)
        opened.bind(("tap0", lab.ETH_P_ALL))
        lab.send("host0", b"in")
        self.assertEqual(lab.payload_of(opened.recv(2048)), b"in")

    def test_direction_that_is_undone(self):
        (opened,), _ = sockets(self, "ifname=tap1,direction=in")
        opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 0)
        self.pass_frames()
        self.assertEqual(list(map(lab.payload_of, waiting(opened))),
                         [b"of another"])

    def test_the_filter_stays(self):
        for options in ("ifname=tap0", "ifname=tap0,protocol=none",
                        "ifname=tap0,direction=in"):
            (opened,), _ = sockets(self, options)
            for name in (SO_DETACH_FILTER, SO_LOCK_FILTER):
                with self.assertRaises(PermissionError):
                    opened.setsockopt(socket.SOL_SOCKET, name, 0)
            with self.assertRaises(PermissionError):
                attach(opened, EVERYTHING)


class WithQemu(WithLinks):
    """QEMU takes such sockets, which have a filter that nobody can change."""

    def start(self, *options):
        """Start a QEMU that carries frames from tap0 to tap1."""
        arguments = [f"--socket=fd={fd},{option}" for fd, option in
                     zip((10, 11), options)]
        qemu = subprocess.Popen(
            [LAUNCHER, *STAY, *arguments, "--", QEMU, "-nodefaults",
             "-machine", "none", "-display", "none",
             "-netdev", "hubport,id=port0,hubid=0",
             "-netdev", "hubport,id=port1,hubid=1,netdev=port0",
             "-chardev", "socket,id=cap0,fd=10,af-packet-mode=capture",
             "-chardev", "socket,id=inj0,fd=11,af-packet-mode=inject",
             "-object",
             "filter-redirector,id=in0,netdev=port0,queue=tx,indev=cap0",
             "-object",
             "filter-redirector,id=out0,netdev=port0,queue=tx,outdev=inj0"],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(qemu.stderr.close)
        self.addCleanup(qemu.wait)
        self.addCleanup(qemu.kill)
        return qemu

    def check_carries(self, *options):
        """Expect frames at host1; QEMU may need a while until it carries."""
        with lab.packet_socket("host1", lab.ETH_P_ALL) as far:
            qemu = self.start(*options)
            self.send_until_one_arrives(qemu, far)
            lab.send("host1", b"of no interest")
            lab.send("host0", b"last")
            while lab.payload_of(far.recv(2048)) != b"last":
                continue
        self.assertEqual(self.waiting_bytes("tap1"), [0])
        qemu.send_signal(signal.SIGTERM)
        _, complaints = qemu.communicate(timeout=lab.SECONDS)
        self.assertRegex(complaints, FAREWELL)

    def send_until_one_arrives(self, qemu, far):
        """Send frames out of host0 until host1 has received one."""
        far.settimeout(0.01)
        for _ in range(100 * lab.SECONDS):
            self.assertIsNone(qemu.poll())
            lab.send("host0", b"first")
            with contextlib.suppress(TimeoutError):
                if lab.payload_of(far.recv(2048)) == b"first":
                    break
        far.settimeout(lab.SECONDS)

    @staticmethod
    def waiting_bytes(interface):
        """Return how much memory what waits in an interface's sockets takes."""
        index = str(socket.if_nametoindex(interface))
        lines = pathlib.Path("/proc/net/packet").read_text().splitlines()[1:]
        return [int(line.split()[6]) for line in lines
                if line.split()[4] == index]

    def test_plain(self):
        self.check_carries("ifname=tap0", "ifname=tap1,protocol=none")

    def test_directions(self):
        self.check_carries("ifname=tap0,direction=in",
                           "ifname=tap1,protocol=none")

    @needs_libpcap
    def test_filters(self):
        self.check_carries("ifname=tap0,filter=ether proto 0x88b5",
                           "ifname=tap1,protocol=none")


if not QEMU:
    del WithQemu

if __name__ == "__main__":
    lab.main()
