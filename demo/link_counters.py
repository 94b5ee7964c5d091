# SPDX-License-Identifier: GPL-2.0-or-later
"""The counters of a network namespace's interfaces, by netlink."""

import collections
import contextlib
import socket
import struct

# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h
NETLINK_ROUTE = 0
NLMSG_DONE = 3
NLM_F_REQUEST = 1
NLM_F_MULTI = 2
NLM_F_DUMP = 0x300
RTM_NEWLINK = 16
RTM_DELLINK = 17
RTM_GETLINK = 18
RTMGRP_LINK = 1
IFLA_IFNAME = 3
IFLA_STATS64 = 23
LINK_COUNTERS = ("rx_packets", "tx_packets", "rx_bytes", "tx_bytes",
                 "rx_errors", "tx_errors", "rx_dropped", "tx_dropped")


class LinkCounters:
    """What the interfaces of this namespace count, also those that are gone.

    The kernel tells a removed interface's last counters once, to whoever
    listens by then.
    """

    def __init__(self, cleanup):
        self.news, self.questions = (
            cleanup.enter_context(socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE))
            for _ in range(2))
        self.news.bind((0, RTMGRP_LINK))
        self.news.setblocking(False)
        self.questions.settimeout(10)
        self.removed = collections.defaultdict(collections.Counter)

    def total(self, interface):
        """Return the counters of all interfaces that have had this name."""
        self.hear()
        request = struct.pack("IHHIIBxHiII", 32, RTM_GETLINK,
                              NLM_F_REQUEST | NLM_F_DUMP, 0, 0, 0, 0, 0, 0, 0)
        self.questions.send(request)
        total = self.removed[interface].copy()
        for kind, name, counters in self.receive(self.questions):
            if kind == RTM_NEWLINK and name == interface:
                total += counters
        return total

    def hear(self):
        """Note the counters of interfaces that have been removed."""
        with contextlib.suppress(BlockingIOError):
            while True:
                for kind, name, counters in self.receive(self.news):
                    if kind == RTM_DELLINK:
                        self.removed[name] += counters

    @staticmethod
    def receive(netlink):
        """Yield kind, interface and counters of a message's parts.

        The reply to a dump has more than one message.
        """
        more = True
        while more:
            message = netlink.recv(1 << 20)
            more = False
            while message:
                size, kind, flags = struct.unpack_from("IHH", message)
                if kind in (RTM_NEWLINK, RTM_DELLINK):
                    more = flags & NLM_F_MULTI
                    yield kind, *link_counters(message[32:size])
                elif kind == NLMSG_DONE:
                    more = False
                message = message[(size + 3) & ~3:]


def link_counters(attributes):
    """Return an interface's name and counters from its netlink attributes."""
    found = {}
    while attributes:
        size, kind = struct.unpack_from("HH", attributes)
        found[kind] = attributes[4:size]
        attributes = attributes[(size + 3) & ~3:]
    counts = struct.unpack_from("8Q", found[IFLA_STATS64])
    return (found[IFLA_IFNAME].rstrip(b"\0").decode(),
            collections.Counter(dict(zip(LINK_COUNTERS, counts))))
