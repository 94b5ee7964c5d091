#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbered frames to a guest: what they are, and the program that sends them.

    numbered.py INTERFACE RATE COUNTERS

Frames go out of the interface, RATE of them a second at most, until SIGTERM.
They never get more than a window ahead of what the guest has received, so that
a slow machine makes all of it slower, and overflows no queue.  The descriptor
COUNTERS is of a file that begins with both counts.
"""

import mmap
import signal
import socket
import struct
import sys
import time

CLIENT_MAC, GUEST_MAC = "020000000001", "525400123479"
FLOWS = 16                  # that a tap's queues share
BURST = 10
WINDOW = 2000

# The headers of Ethernet, IPv4 and UDP; the source port is the flow's
ETHERNET = bytes.fromhex(GUEST_MAC + CLIENT_MAC + "0800")
HEADERS = ETHERNET + bytes.fromhex(
    "450000540000400040 11 25f9 0a4f0001 0a4f0002" "3000 1388 0040 0000")
PORT_AT, NUMBER_AT = 34, 42
FILLINGS = 13
SENT, RECEIVED = 0, 1       # which counter is which
LENGTH = NUMBER_AT + 4 + 4 * FILLINGS


def frame(number):
    """Return the frame of a number: any two differ in nearly every byte."""
    filling = (number * 2654435761 & 0xffffffff).to_bytes(4, "big")
    return b"".join((HEADERS[:PORT_AT + 1], bytes([number % FLOWS]),
                     HEADERS[PORT_AT + 2:], number.to_bytes(4, "big"),
                     filling * FILLINGS))


def is_numbered(data):
    """Tell whether a frame is, or was, one of these."""
    return data[:len(ETHERNET)] == ETHERNET


def number_of(data):
    """Return a frame's number; None if it is not what was sent."""
    number, = struct.unpack_from(">I", data.ljust(LENGTH), NUMBER_AT)
    return number if data == frame(number) else None


def main(interface, rate, counters):
    """Send until SIGTERM."""
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    counters = memoryview(mmap.mmap(int(counters), mmap.PAGESIZE)).cast("Q")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as out:
        out.bind((interface, 0))
        while not ended:
            for number in range(counters[SENT], counters[SENT] + BURST):
                out.send(frame(number))
            counters[SENT] += BURST
            time.sleep(BURST / int(rate))
            while counters[SENT] > counters[RECEIVED] + WINDOW and not ended:
                time.sleep(BURST / int(rate))


if __name__ == "__main__":
    main(*sys.argv[1:])
