# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic of numbered frames to a guest, and what becomes of them."""

import collections
import mmap
import os
import pathlib
import signal
import sys

import arrivals
import lab
import numbered

PROGRAM = pathlib.Path(numbered.__file__)


class Sender:
    """The process that sends, to a guest that receives."""

    def __init__(self, cleanup, interface, rate, guest):
        file = os.memfd_create("counters")
        os.ftruncate(file, mmap.PAGESIZE)
        self.counters = memoryview(mmap.mmap(file, mmap.PAGESIZE)).cast("Q")
        self.process = lab.start(
            cleanup, [sys.executable, "-B", str(PROGRAM), interface, str(rate),
                      str(file)], pass_fds=[file])
        os.close(file)
        guest.on_received = self.acknowledge

    def acknowledge(self, count):
        """Take note of how many frames the guest has received."""
        self.counters[numbered.RECEIVED] = count

    def sent(self):
        """Return how many frames have been sent."""
        return self.counters[numbered.SENT]

    def end(self):
        """Send no more; return how many were sent."""
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(10):
            raise lab.Trouble("the sender has failed")
        return self.sent()


# What became of numbered frames: the numbers that are lost, how many came
# twice, how many stretches are not in order, and how many frames are not as
# they were sent
Verdict = collections.namedtuple("Verdict", "lost twice blocks damaged")


def judge(sent, arrived):
    """Tell what became of numbered frames.

    `arrived` is a list of frames for each queue; others may be among them.
    """
    counts, blocks, damaged = collections.Counter(), 0, 0
    for frames in arrived:
        numbers = [numbered.number_of(frame) for frame in frames
                   if numbered.is_numbered(frame)]
        whole = [number for number in numbers if number is not None]
        damaged += len(numbers) - len(whole)
        counts.update(whole)
        blocks += arrivals.disorder(whole)[1]
    lost = [number for number in range(sent) if number not in counts]
    return Verdict(lost, sum(counts.values()) - len(counts), blocks, damaged)
