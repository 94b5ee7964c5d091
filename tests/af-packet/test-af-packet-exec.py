#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""af-packet-exec: what its sockets receive, what its command inherits.

In a network namespace of the test's own, with a veth pair host0 ==== tap0:
what is sent out of host0 arrives at tap0 ("in"), what is sent out of tap0
leaves it ("out").
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import struct
import threading
import unittest

import lab
from launcher import (LAUNCHER, OWN_FAILURE, STAY, WithLink, launch,
                      needs_libpcap, needs_root, received, sockets, waiting)

LAUNCHES = 20               # under a flood of frames

# asm/socket.h, linux/if_packet.h
SOL_PACKET = 263
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23
PACKET_VNET_HDR_SZ = 24

# linux/if_tun.h
TUNSETIFF = 0x400454ca
IFF_TUN = 1
IFF_TAP = 2
IFF_NO_PI = 0x1000

# asm-generic/unistd.h, linux/seccomp.h, linux/prctl.h
NR_CLOSE_RANGE = 436
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ERRNO = 0x00050000
SECCOMP_RET_ALLOW = 0x7fff0000

SHOW_DESCRIPTORS = "cd /proc/$$/fd && ls"
HIGH = 900                  # a descriptor


def refuse_close_range():
    """Have the kernel refuse close_range(), as a sandbox does."""
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in (
        (lab.BPF_LD_W_ABS, 0, 0, 0),            # the number of the call
        (lab.BPF_JEQ_K, 0, 1, NR_CLOSE_RANGE),
        (lab.BPF_RET_K, 0, 0, SECCOMP_RET_ERRNO | errno.EPERM),
        (lab.BPF_RET_K, 0, 0, SECCOMP_RET_ALLOW)))
    buffer = ctypes.create_string_buffer(program)
    fprog = struct.pack("HP", len(program) // 8, ctypes.addressof(buffer))
    if lab.libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, fprog, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


class Frames(WithLink):
    """What a socket receives, and what it does not."""

    def check_direction(self, options, expected):
        """Expect some of the four frames that this sends."""
        opened = self.open_one(f"ifname=tap0,{options}")
        lab.send("tap0", b"out 1")
        lab.send("host0", b"in 1")
        lab.send("tap0", b"out 2", ethertype=0x88b6)
        lab.send("host0", b"in 2", ethertype=0x88b6)
        # whichever direction it takes
        lab.send("tap0", b"end")
        lab.send("host0", b"end")
        self.assertEqual(received(opened, b"end"), expected)

    def test_direction_both(self):
        self.check_direction("direction=both",
                             [b"out 1", b"in 1", b"out 2", b"in 2"])

    def test_direction_by_default(self):
        self.check_direction("promisc=off",
                             [b"out 1", b"in 1", b"out 2", b"in 2"])

    def test_direction_in(self):
        self.check_direction("direction=in", [b"in 1", b"in 2"])

    def test_direction_out(self):
        self.check_direction("direction=out", [b"out 1", b"out 2"])

    @needs_libpcap
    def test_filter(self):
        self.check_direction("filter=ether proto 0x88b5",
                             [b"out 1", b"in 1"])

    @needs_libpcap
    def test_filter_and_direction_in(self):
        self.check_direction("filter=ether proto 0x88b5,direction=in",
                             [b"in 1"])

    @needs_libpcap
    def test_filter_and_direction_out(self):
        self.check_direction("filter=ether proto 0x88b5,direction=out",
                             [b"out 1"])

    @needs_libpcap
    def test_filter_with_jumps_both_ways(self):
        # '1' is 0x31; both of libpcap's returns are reached from either test
        self.check_direction(
            "direction=out,filter=(ether[18] = 0x31 and ether[14] = 0x6f) "
            "or ether proto 0x88b5", [b"out 1"])

    @needs_libpcap
    def test_filter_sees_no_tag(self):
        """A received frame's tag is outside of it when the filter runs."""
        opened = self.open_one("ifname=tap0,filter=ether proto 0x88b5")
        inner = lab.ETHERTYPE.to_bytes(2, "big")
        lab.send("host0", b"\0\5" + inner + b"tagged", ethertype=0x8100)
        self.assertEqual(lab.payload_of(opened.recv(2048)), b"tagged")

    @needs_libpcap
    def test_filter_of_a_tag_matches_what_is_sent(self):
        (opened,), complaints = sockets(self, "ifname=tap0,filter=vlan 5")
        self.assertIn("strips their VLAN tags", complaints)
        inner = lab.ETHERTYPE.to_bytes(2, "big")
        lab.send("host0", b"\0\5" + inner + b"received", ethertype=0x8100)
        lab.send("tap0", b"\0\5" + inner + b"sent", ethertype=0x8100)
        self.assertEqual(lab.payload_of(opened.recv(2048))[4:], b"sent")

    @needs_libpcap
    def test_long_frames_are_whole(self):
        for interface in ("tap0", "host0"):
            lab.ip(f"link set {interface} mtu 65535")
        opened = self.open_one("ifname=tap0,direction=out,"
                               "filter=ether proto 0x88b5")
        long = bytes(range(1, 251)) * 260
        lab.send("tap0", long)
        self.assertEqual(lab.payload_of(opened.recv(1 << 17)), long)

    def test_protocol_none(self):
        silent, hears = sockets(self, "ifname=tap0,protocol=none",
                                "ifname=tap0")[0]
        lab.send("host0", b"in")
        lab.send("host0", b"end")
        self.assertEqual(received(hears, b"end"), [b"in"])
        self.assertEqual(waiting(silent), [])
        silent.send(lab.frame(b"sent"))
        self.assertEqual(lab.payload_of(hears.recv(2048)), b"sent")

    @needs_libpcap
    def test_no_stray_frame(self):
        """Launch while other interfaces, directions and types are busy."""
        right = lab.frame(b"right")
        with lab.veth("other0", "other1"), contextlib.ExitStack() as stack:
            flood = [(stack.enter_context(lab.packet_socket(interface)), data)
                     for interface, data in (
                         ("tap0", right),
                         ("tap0", lab.frame(b"wrong", ethertype=0x88b6)),
                         ("host0", lab.frame(b"wrong direction")),
                         ("other0", lab.frame(b"wrong interface")),
                         ("other1", lab.frame(b"wrong interface")))]
            stop = threading.Event()
            thread = threading.Thread(target=self.send_all, args=(flood, stop))
            thread.start()
            stack.callback(thread.join)
            stack.callback(stop.set)
            for _ in range(LAUNCHES):
                opened = self.open_one("ifname=tap0,direction=out,"
                                       "filter=ether proto 0x88b5")
                first = opened.recv(2048)
                self.assertEqual({first, *waiting(opened)}, {right})

    @staticmethod
    def send_all(flood, stop):
        """Send frames until told to stop."""
        while not stop.is_set():
            for sender, data in flood:
                sender.send(data)

    def test_alternative_name(self):
        lab.ip("link property add dev tap0 altname uplink")
        opened = self.open_one("ifname=uplink")
        self.assertEqual(opened.getsockname()[0], "tap0")

    def test_alternative_name_that_is_long(self):
        name = "interface-of-the-guest"
        lab.ip(f"link property add dev tap0 altname {name}")
        done = launch(f"--socket=fd=10,ifname={name}", "true")
        self.assertEqual(done.returncode, OWN_FAILURE)
        self.assertIn(f"'ip link show {name}' prints first", done.stderr)

    def test_interface_that_is_down(self):
        lab.ip("link set tap0 down")
        opened = self.open_one("ifname=tap0")
        # the kernel tells of it once, to whoever has the socket
        with self.assertRaises(OSError):
            opened.recv(2048)
        lab.ip("link set tap0 up")
        lab.wait_for_link("host0", "tap0")
        lab.send("host0", b"in")
        received(opened, b"in")     # times out if it never comes


@unittest.skipUnless(lab.is_root, "a tap takes root")
class Tap(unittest.TestCase):
    """What a guest sends is 'in', what it receives is 'out'."""

    def make(self, name, kind):
        """Make an interface; return what is at its other end."""
        end = open("/dev/net/tun", "r+b", buffering=0)
        self.addCleanup(end.close)
        fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name, kind))
        return end

    def check_direction(self, direction, expected):
        tap = self.make(b"tap0", IFF_TAP | IFF_NO_PI)
        lab.ip("link set tap0 addrgenmode none")
        lab.ip("link set tap0 up")
        opened = sockets(self, f"ifname=tap0,direction={direction}")[0][0]
        tap.write(lab.frame(b"of the guest"))
        lab.send("tap0", b"for the guest")
        tap.write(lab.frame(b"end"))
        lab.send("tap0", b"end")
        self.assertEqual(received(opened, b"end"), expected)

    def test_in(self):
        self.check_direction("in", [b"of the guest"])

    def test_out(self):
        self.check_direction("out", [b"for the guest"])

    def test_interface_that_is_not_ethernet(self):
        self.make(b"tun0", IFF_TUN | IFF_NO_PI)
        done = launch("--socket=fd=10,ifname=tun0", "true")
        self.assertEqual(done.returncode, OWN_FAILURE)
        self.assertIn("'tun0' is not an Ethernet interface", done.stderr)


class Properties(WithLink):
    """How a socket is set up."""

    def option(self, opened, name):
        """Return a packet socket's option."""
        return opened.getsockopt(SOL_PACKET, name)

    def test_defaults(self):
        opened = self.open_one("ifname=tap0")
        self.assertEqual(opened.type, socket.SOCK_RAW)
        self.assertEqual(opened.getsockname()[:2], ("tap0", lab.ETH_P_ALL))
        for name in (PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING):
            self.assertEqual(self.option(opened, name), 0)

    def test_vnet_hdr(self):
        # Linux before 6.4 has one length only
        lengths = (0, 10, 12) if self.has_lengths() else (0, 10)
        for length in lengths:
            opened = self.open_one(f"ifname=tap0,vnet-hdr-len={length}")
            self.assertEqual(self.option(opened, PACKET_VNET_HDR),
                             bool(length))
            if 12 in lengths:
                self.assertEqual(self.option(opened, PACKET_VNET_HDR_SZ),
                                 length)
            lab.send("host0", b"x")
            self.assertEqual(opened.recv(2048),
                             b"\0" * length + lab.frame(b"x"))

    def has_lengths(self):
        """Tell whether a vnet header may have another length than 10."""
        with self.open_one("ifname=tap0") as opened:
            try:
                self.option(opened, PACKET_VNET_HDR_SZ)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOPROTOOPT)
                return False
        return True

    def test_vnet_hdr_without_hearing(self):
        opened = self.open_one("ifname=tap0,protocol=none,vnet-hdr-len=10")
        self.assertEqual(opened.getsockname()[1], 0)
        self.assertEqual(self.option(opened, PACKET_VNET_HDR), 1)

    def promiscuity(self):
        """Return how many users want the interface to be promiscuous."""
        return json.loads(lab.ip("-d -j link show tap0"))[0]["promiscuity"]

    def test_promiscuous(self):
        opened = self.open_one("ifname=tap0,promisc=off")
        self.assertEqual(self.promiscuity(), 0)
        opened = self.open_one("ifname=tap0,promisc=on")
        self.assertEqual(self.promiscuity(), 1)
        opened.close()
        self.assertEqual(self.promiscuity(), 0)

    def test_small_buffers(self):
        opened = self.open_one("ifname=tap0,rcvbuf=32k,sndbuf=16k")
        for name, size in ((socket.SO_RCVBUF, 32), (socket.SO_SNDBUF, 16)):
            # the kernel doubles it
            self.assertEqual(opened.getsockopt(socket.SOL_SOCKET, name),
                             2 * size * 1024)

    def test_big_buffers(self):
        (opened,), complaints = sockets(self, "ifname=tap0,rcvbuf=64M,"
                                              "sndbuf=64M")
        size = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        if lab.is_root:
            self.assertEqual((size, complaints), (2 * 64 << 20, ""))
        else:
            self.assertLess(size, 2 * 64 << 20)
            self.assertIn(f"rcvbuf is {size // 2} bytes instead of 67108864",
                          complaints)
            self.assertIn("net.core.wmem_max", complaints)


class Descriptors(unittest.TestCase):
    """What the command inherits."""

    def setUp(self):
        self.pipe = os.pipe()
        for fd in self.pipe:
            self.addCleanup(os.close, fd)

    def descriptors(self, *arguments, start="exec \"$@\"", **keywords):
        """Return the numbers of those that a command inherits.

        Start is how a shell starts the launcher, which inherits a pipe.
        """
        done = lab.run("sh", "-c", start, "sh", LAUNCHER, *STAY, *arguments,
                       "--", "sh", "-c", SHOW_DESCRIPTORS,
                       **{"pass_fds": self.pipe, **keywords})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return sorted(map(int, done.stdout.split()))

    def check_high_descriptor(self, **keywords):
        """Lower the limit of open files; one is above it."""
        high = fcntl.fcntl(self.pipe[0], fcntl.F_DUPFD, HIGH)
        self.addCleanup(os.close, high)
        self.assertEqual(
            self.descriptors("--socket=fd=10,ifname=lo",
                             start=f"ulimit -S -n {HIGH // 2}; exec \"$@\"",
                             pass_fds=[high], **keywords),
            [0, 1, 2, 10])

    def test_above_the_limit(self):
        self.check_high_descriptor()

    def test_above_the_limit_without_close_range(self):
        self.check_high_descriptor(preexec_fn=refuse_close_range)

    def test_only_what_was_asked_for(self):
        self.assertEqual(
            self.descriptors("--socket=fd=10,ifname=lo",
                             "--socket=fd=7,ifname=lo,protocol=none"),
            [0, 1, 2, 7, 10])

    def test_keep_fd(self):
        kept = self.pipe[1]
        self.assertEqual(
            self.descriptors("--socket=fd=100,ifname=lo", f"--keep-fd={kept}"),
            [0, 1, 2, kept, 100])

    def test_numbers_that_are_in_use(self):
        """Low numbers are those that the launcher itself is given too."""
        options = [f"--socket=fd={fd},ifname=lo" for fd in range(3, 10)]
        self.assertEqual(self.descriptors(*reversed(options)),
                         list(range(10)))

    def test_each_number_is_its_socket(self):
        with lab.veth("tap0", "host0"):
            opened, _ = sockets(self, "ifname=host0", "ifname=lo",
                                "ifname=tap0,protocol=none")
            self.assertEqual([one.getsockname()[:2] for one in opened],
                             [("host0", lab.ETH_P_ALL), ("lo", lab.ETH_P_ALL),
                              ("tap0", 0)])

    def test_standard_descriptors_are_never_sockets(self):
        done = lab.run(
            "sh", "-c", "exec \"$@\" <&- 2>&-", "sh", LAUNCHER, *STAY,
            "--socket=fd=3,ifname=lo", "sh", "-c",
            "readlink /proc/$$/fd/0 /proc/$$/fd/2 /proc/$$/fd/3")
        self.assertEqual(done.returncode, 0)
        zero, two, three = done.stdout.split()
        self.assertEqual((zero, two), ("/dev/null", "/dev/null"))
        self.assertIn("socket:", three)

    @needs_root
    def test_dev_null_is_needed_for_a_closed_one_only(self):
        for closed, status, stdout, says in (
                ("", 0, "was run\n", "^$"),
                ("<&-", OWN_FAILURE, "", "^af-packet-exec: a standard descriptor is "
                                 "closed, and opening /dev/null instead")):
            done = lab.run(
                "unshare", "--mount", "sh", "-c",
                f"mount -t tmpfs tmpfs /dev && exec \"$@\" {closed}", "sh",
                LAUNCHER, *STAY, "--socket=fd=3,ifname=lo", "echo", "was run")
            self.assertEqual((done.returncode, done.stdout), (status, stdout))
            self.assertRegex(done.stderr, says)


class Command(unittest.TestCase):
    """The command's exit status, arguments and signals are its own."""

    def test_status(self):
        for command, status in ((["sh", "-c", "exit 7"], 7),
                                (["true"], 0),
                                (["/etc/passwd"], 126),
                                (["/nonexistent/program"], 127),
                                (["no-such-program"], 127)):
            # a folder in PATH that can't be read would make the last one 126
            done = launch("--socket=fd=10,ifname=lo", *command,
                          env={"PATH": "/usr/bin:/bin"})
            self.assertEqual(done.returncode, status, command)
            if status in (126, 127):
                self.assertRegex(done.stderr,
                                 f"^af-packet-exec: can't execute "
                                 f"'{command[0]}': .*\n$")

    def test_arguments(self):
        done = launch("--socket=fd=10,ifname=lo", "printf", "%s,",
                      "--socket", "-h", "--", "")
        self.assertEqual(done.stdout, "--socket,-h,--,,")

    def test_signal(self):
        done = launch("--socket=fd=10,ifname=lo", "sh", "-c", "kill -USR1 $$")
        self.assertEqual(done.returncode, -signal.SIGUSR1)

    def test_help(self):
        done = launch("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("--keep-fd", done.stdout)
        self.assertIn("version", launch("--version").stdout)


if __name__ == "__main__":
    lab.main()
