# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames of the kinds that matter to whoever passes them on.

Each has a virtio-net header, as a guest or a packet socket with a vnet header
sends it, and the form in which a socket without one shows it: with a complete
checksum.
"""

import collections
import struct

HOST, GUEST = (bytes.fromhex(mac) for mac in ("020000000001", "525400123479"))
IPV4, IPV6, QTAG, STAG, EXPERIMENTAL = 0x0800, 0x86dd, 0x8100, 0x88a8, 0x88b5
TCP, UDP = 6, 17
CHECKSUM_AT = {TCP: 16, UDP: 6}
IPV4_BYTES, IPV6_BYTES, TCP_BYTES = 20, 40, 20
MSS = 1448

# linux/virtio_net.h
NEEDS_CSUM = 1
GSO_TCPV4, GSO_TCPV6 = 1, 4
NO_HEADER = bytes(10)
HINT = slice(2, 4)          # where hdr_len is in a header

# `data` is the frame with that header, `plain` the same without one
Frame = collections.namedtuple("Frame", "name header data plain")


def kinds(target, source):
    """Return a Frame of each kind."""
    ethernet = target + source

    def complete(name, data):
        return Frame(name, NO_HEADER, data, data)

    def internet(name, *arguments, **keywords):
        return Frame(name, *ip_frame(ethernet, *arguments, **keywords))

    return [
        complete("shortest", ethernet + ethertype(EXPERIMENTAL) + filler(46)),
        internet("full MTU", IPV4, UDP, 1472),
        internet("jumbo", IPV6, UDP, 8952),
        internet("VLAN", IPV4, UDP, 600, tags=((QTAG, 0x2005),)),
        internet("VLAN 0", IPV4, UDP, 100, tags=((QTAG, 0),)),
        complete("QinQ", ethernet + tag(STAG, 7) + tag(QTAG, 9) +
                 ethertype(EXPERIMENTAL) + filler(100)),
        internet("partial UDP", IPV4, UDP, 301, partial=True),
        internet("partial TCP", IPV6, TCP, 300, partial=True),
        internet("partial VLAN", IPV4, TCP, 300, partial=True,
                 tags=((QTAG, 5),)),
        internet("GSO 4 kB", IPV4, TCP, 4000, partial=True, gso=GSO_TCPV4),
        internet("GSO 64 kB", IPV4, TCP, 64000, partial=True, gso=GSO_TCPV4),
        internet("GSO IPv6", IPV6, TCP, 30001, partial=True, gso=GSO_TCPV6),
        internet("GSO VLAN", IPV4, TCP, 20000, partial=True, gso=GSO_TCPV4,
                 tags=((QTAG, 5),))]


def describe(header):
    """Return in words what a header says; nothing if there is none."""
    if not header:
        return ""
    flags, gso, _, size, start, offset = struct.unpack("<BBHHHH", header)
    if not flags:
        return "complete"
    checksum = f"checksum at {start} + {offset}"
    return f"{checksum}, segments of {size}" if gso else checksum


def marker(target, source, number):
    """Return a short frame that stands for the end of others."""
    return (target + source + ethertype(EXPERIMENTAL) +
            number.to_bytes(8, "big")).ljust(60, b"\xee")


def ip_frame(ethernet, family, protocol, size, tags=(), partial=False, gso=0):
    """Return header, data and plain form of an IP frame with that payload."""
    length = {TCP: TCP_BYTES, UDP: 8}[protocol] + size
    segment = (tcp_header() if protocol == TCP else udp_header(length)) + \
        filler(size)
    packet, pseudo = (ipv4 if family == IPV4 else ipv6)(protocol, length)
    begin = ethernet + b"".join(tag(*each) for each in tags) + \
        ethertype(family) + packet
    plain = begin + with_checksum(
        segment, protocol, ~total(pseudo + with_checksum(segment, protocol, 0)
                                  ) & 0xffff)
    if not partial:
        return NO_HEADER, plain, plain
    data = begin + with_checksum(segment, protocol, total(pseudo))
    header = struct.pack("<BBHHHH", NEEDS_CSUM, gso,
                         len(begin) + TCP_BYTES if gso else 0,
                         MSS if gso else 0, len(begin), CHECKSUM_AT[protocol])
    return header, data, plain


def ipv4(protocol, length):
    """Return an IPv4 header and what a checksum covers of it."""
    addresses = bytes([10, 79, 0, 1, 10, 79, 0, 2])
    header = struct.pack(">BBHHHBBH", 0x45, 0, IPV4_BYTES + length, 1, 0x4000,
                         64, protocol, 0) + addresses
    checksum = struct.pack(">H", ~total(header) & 0xffff)
    return (header[:10] + checksum + header[12:],
            addresses + struct.pack(">HH", protocol, length))


def ipv6(protocol, length):
    """Return an IPv6 header and what a checksum covers of it."""
    addresses = b"".join(b"\xfd" + bytes(14) + last for last in (b"\1", b"\2"))
    header = struct.pack(">IHBB", 6 << 28, length, protocol, 64) + addresses
    return header, addresses + struct.pack(">II", length, protocol)


def tcp_header():
    """Return a TCP header with no checksum."""
    return struct.pack(">HHIIBBHHH", 5001, 5002, 1, 1, 0x50, 0x18, 1000, 0, 0)


def udp_header(length):
    """Return a UDP header with no checksum."""
    return struct.pack(">HHHH", 5001, 5002, length, 0)


def with_checksum(segment, protocol, checksum):
    """Return a TCP or UDP segment with that checksum."""
    at = CHECKSUM_AT[protocol]
    return segment[:at] + struct.pack(">H", checksum) + segment[at + 2:]


def total(data):
    """Return the one's complement sum of 16-bit words."""
    data += bytes(len(data) % 2)
    result = sum(struct.unpack(f">{len(data) // 2}H", data))
    while result >> 16:
        result = (result & 0xffff) + (result >> 16)
    return result


def ethertype(number):
    """Return an ethertype as it is in a frame."""
    return struct.pack(">H", number)


def tag(protocol, content):
    """Return a VLAN tag."""
    return struct.pack(">HH", protocol, content)


def filler(size):
    """Return bytes, of which no part looks like another."""
    return bytes((place * place + 7 * place) % 251 for place in range(size))
