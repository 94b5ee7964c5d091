#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""af-packet-exec: what its sockets receive, what its command may do.

In a network namespace of the test's own, with a veth pair host0 ==== tap0:
what is sent out of host0 arrives at tap0 ("in"), what is sent out of tap0
leaves it ("out").
"""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

import lab

LAUNCHER = os.environ["AF_PACKET_EXEC"]
HAVE_LIBPCAP = os.environ["HAVE_LIBPCAP"] == "y"
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

OWN_FAILURE = 125
SHOW_STATUS = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status"
SHOW_DESCRIPTORS = "cd /proc/$$/fd && ls"
PASS_BACK = ("import socket, sys; "
             "socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b'x'], "
             "map(int, sys.argv[2:]))")
NO_CAPABILITIES = "0" * 16


needs_libpcap = unittest.skipUnless(HAVE_LIBPCAP, "built without libpcap")
needs_root = unittest.skipUnless(lab.is_root, "needs more than one user")


def launch(*arguments, **keywords):
    """Run af-packet-exec; return the CompletedProcess."""
    return lab.run(LAUNCHER, *arguments, **keywords)


def sockets(test, *options):
    """Return the sockets that a command inherits, and what the launcher says.

    The command passes them back.
    """
    ours, theirs = socket.socketpair()
    numbers = [str(100 + i) for i in range(len(options))]
    with ours, theirs:
        done = launch(*(f"--socket=fd={number},{option}"
                        for number, option in zip(numbers, options)),
                      f"--keep-fd={theirs.fileno()}", "--",
                      sys.executable, "-c", PASS_BACK,
                      str(theirs.fileno()), *numbers,
                      pass_fds=[theirs.fileno()])
        test.assertEqual(done.returncode, 0, done.stderr)
        _, fds, _, _ = socket.recv_fds(ours, 1, len(options))
    opened = [socket.socket(fileno=fd) for fd in fds]
    for one in opened:
        test.addCleanup(one.close)
        one.settimeout(lab.SECONDS)
    return opened, done.stderr


def received(from_socket, last):
    """Return the payloads that a socket receives, up to a last one."""
    payloads = []
    while not payloads or payloads[-1] != last:
        payloads.append(lab.payload_of(from_socket.recv(2048)))
    return payloads[:-1]


def waiting(from_socket):
    """Return the frames that wait in a socket."""
    frames = []
    from_socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            frames.append(from_socket.recv(2048))
    return frames


class WithLink(unittest.TestCase):
    """A test that has the pair of interfaces."""

    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        stack.enter_context(lab.veth("tap0", "host0"))

    def open_one(self, options):
        """Return the socket that these options make."""
        (opened,), complaints = sockets(self, options)
        self.assertEqual(complaints, "")
        return opened


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
        self.assertIn("'tun0' is no Ethernet interface", done.stderr)


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
        for length, size in ((0, 0), (10, 10), (12, 12)):
            opened = self.open_one(f"ifname=tap0,vnet-hdr-len={length}")
            self.assertEqual(self.option(opened, PACKET_VNET_HDR),
                             bool(length))
            self.assertEqual(self.option(opened, PACKET_VNET_HDR_SZ), size)
            lab.send("host0", b"x")
            self.assertEqual(opened.recv(2048), b"\0" * size + lab.frame(b"x"))

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
            self.assertIn(f"rcvbuf is {size // 2} bytes, not the 67108864",
                          complaints)
            self.assertIn("net.core.wmem_max", complaints)


class Privileges(unittest.TestCase):
    """What the command may do, whoever starts the launcher."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.folder.chmod(0o755)

    def copy(self, mode=0o755, capabilities=None):
        """Return a copy of the launcher that everybody may execute."""
        program = self.folder / "af-packet-exec"
        shutil.copyfile(LAUNCHER, program)
        program.chmod(mode)
        if capabilities:
            done = lab.run("setcap", capabilities, program)
            self.assertEqual(done.returncode, 0, done.stderr)
        return program

    def status(self, *start):
        """Return /proc/self/status of a command that the launcher executes."""
        done = lab.run(*start, "--socket=fd=10,ifname=lo", "--",
                       "sh", "-c", SHOW_STATUS)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return {name: values.split() for name, values in
                (line.split(":") for line in done.stdout.splitlines())}

    def check_powerless(self, status, bounding=NO_CAPABILITIES):
        """Expect no capability, and no way to one."""
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            self.assertEqual(status[name], [NO_CAPABILITIES], name)
        if bounding is not None:
            self.assertEqual(status["CapBnd"], [bounding])
        self.assertEqual(status["NoNewPrivs"], ["1"])

    def check_gains_nothing(self, *start):
        """Expect that what the command executes can't open a socket."""
        again = self.copy(capabilities="cap_net_raw+p")
        done = lab.run(*start, "--socket=fd=10,ifname=lo", "--",
                       again, "--socket=fd=11,ifname=lo", "true")
        self.assertEqual(done.returncode, OWN_FAILURE, done.stderr)
        self.assertIn("takes CAP_NET_RAW", done.stderr)

    def test_root(self):
        """Be root, of the system or of a user namespace."""
        status = self.status(LAUNCHER)
        self.check_powerless(status)
        self.assertEqual(status["Uid"], ["0"] * 4)

    def test_root_gains_nothing(self):
        self.check_gains_nothing(LAUNCHER)

    def as_nobody(self, *more):
        """Return how to start something as a user who may do nothing."""
        return ["setpriv", f"--reuid={lab.NOBODY}", f"--regid={lab.NOBODY}",
                "--clear-groups", *more]

    @needs_root
    def test_user_by_name(self):
        status = self.status(LAUNCHER, "--user", "nobody")
        self.check_powerless(status)
        account = lab.run("id", "-u", "nobody").stdout.split()
        groups = lab.run("id", "-G", "nobody").stdout.split()
        self.assertEqual(status["Uid"], account * 4)
        self.assertEqual(status["Gid"], groups[:1] * 4)
        self.assertCountEqual(status["Groups"], groups)

    @needs_root
    def test_user_by_number(self):
        status = self.status(LAUNCHER, "--user", "4242:4243")
        self.check_powerless(status)
        self.assertEqual(status["Uid"], ["4242"] * 4)
        self.assertEqual(status["Gid"], ["4243"] * 4)
        self.assertEqual(status["Groups"], ["4243"])

    @needs_root
    def test_user_gains_nothing(self):
        self.check_gains_nothing(LAUNCHER, "--user", "nobody")

    @needs_root
    def test_file_capabilities(self):
        for capabilities in ("cap_net_raw+ep", "cap_net_raw+p",
                             "cap_net_raw,cap_net_admin+ep"):
            program = self.copy(capabilities=capabilities)
            status = self.status(*self.as_nobody(), program)
            # what they could not take away does not help: see the next test
            self.check_powerless(status, bounding=None)
            self.assertEqual(status["Uid"], [str(lab.NOBODY)] * 4)

    @needs_root
    def test_file_capabilities_gain_nothing(self):
        program = self.copy(capabilities="cap_net_raw+ep")
        self.check_gains_nothing(*self.as_nobody(), program)

    @needs_root
    def test_file_capabilities_change_no_user(self):
        program = self.copy(capabilities="cap_net_raw,cap_setuid,cap_setgid+ep")
        done = lab.run(*self.as_nobody(), program, "--user=root",
                       "--socket=fd=10,ifname=lo", "true")
        self.assertEqual(done.returncode, OWN_FAILURE)
        self.assertIn("only user 0 can become another one", done.stderr)

    @needs_root
    def test_ambient_capabilities(self):
        program = self.copy()
        status = self.status(
            *self.as_nobody("--inh-caps=+net_raw", "--ambient-caps=+net_raw"),
            program)
        self.check_powerless(status, bounding=None)

    @needs_root
    def test_user_namespace(self):
        program = self.copy()
        status = self.status(
            *self.as_nobody(), "unshare", "--map-root-user", "--net", program)
        self.check_powerless(status)
        self.assertEqual(status["Uid"], ["0"] * 4)

    @needs_root
    def test_setuid_is_refused(self):
        for mode in (0o4755, 0o2755):
            program = self.copy(mode=mode)
            done = lab.run(*self.as_nobody(), program,
                           "--socket=fd=10,ifname=lo", "true")
            self.assertEqual(done.returncode, OWN_FAILURE)
            self.assertIn("must not be setuid or setgid", done.stderr)

    @needs_root
    def test_nobody(self):
        done = lab.run(*self.as_nobody(), self.copy(),
                       "--socket=fd=10,ifname=lo", "true")
        self.assertEqual(done.returncode, OWN_FAILURE)
        self.assertIn("takes CAP_NET_RAW", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)


class Descriptors(unittest.TestCase):
    """What the command inherits."""

    def setUp(self):
        self.pipe = os.pipe()
        for fd in self.pipe:
            self.addCleanup(os.close, fd)

    def descriptors(self, *arguments, start="exec \"$@\""):
        """Return the numbers of those that a command inherits.

        Start is how a shell starts the launcher, which inherits a pipe.
        """
        done = lab.run("sh", "-c", start, "sh", LAUNCHER, *arguments, "--",
                       "sh", "-c", SHOW_DESCRIPTORS, pass_fds=self.pipe)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return sorted(map(int, done.stdout.split()))

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
            "sh", "-c", "exec \"$@\" <&- 2>&-", "sh", LAUNCHER,
            "--socket=fd=3,ifname=lo", "sh", "-c",
            "readlink /proc/$$/fd/0 /proc/$$/fd/2 /proc/$$/fd/3")
        self.assertEqual(done.returncode, 0)
        zero, two, three = done.stdout.split()
        self.assertEqual((zero, two), ("/dev/null", "/dev/null"))
        self.assertIn("socket:", three)


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


class BadInput(unittest.TestCase):
    """One line that says what is wrong and what to do; no command is run."""

    def check(self, *arguments, says):
        done = launch(*arguments, "sh", "-c", "echo was run")
        self.check_error(done, says)

    def check_error(self, done, says):
        self.assertEqual((done.returncode, done.stdout), (OWN_FAILURE, ""),
                         done.args)
        self.assertRegex(done.stderr, "^af-packet-exec: [^\n]*\n$")
        self.assertIn(says, done.stderr)

    def test_socket(self):
        for options, says in (
                ("fd=10", "Add ifname=NAME"),
                ("ifname=lo", "Add fd=NUMBER"),
                ("fd=2,ifname=lo", "use a number from 3 on"),
                ("fd=-3,ifname=lo", "use a number from 3 on"),
                ("fd=x,ifname=lo", "expects a number"),
                ("fd=99999999,ifname=lo", "below the limit of open files"),
                ("fd=10,ifname=no-such", "'ip link' lists those"),
                ("fd=10,ifname=" + "x" * 99, "'ip link' lists those"),
                ("fd=10,ifname=", "'ip link' lists those"),
                ("fd=10,ifname=lo,color=red", "--help shows"),
                ("fd=10,ifname=lo,protocol=ip", "use all, or none"),
                ("fd=10,ifname=lo,direction=up", "use in, out or both"),
                ("fd=10,ifname=lo,promisc=maybe", "'on' or 'off'"),
                ("fd=10,ifname=lo,vnet-hdr-len=11", "use 0, 10 or 12"),
                ("fd=10,ifname=lo,vnet-hdr-len=4294967306", "use 0, 10 or 12"),
                ("fd=10,ifname=lo,rcvbuf=0", "use 1 to"),
                ("fd=10,ifname=lo,rcvbuf=2G", "use 1 to"),
                ("fd=10,ifname=lo,sndbuf=lots", "use 1 to")):
            self.check("--socket", options, says=says)

    def test_filter(self):
        for expression, says in (
                ("tcp prot", "pcap-filter(7)"),
                ("tcp,,udp", "a comma is written twice"),
                ("vlan 5", "keeps VLAN tags outside"),
                ("ip and not vlan", "keeps VLAN tags outside")):
            self.check(f"--socket=fd=10,ifname=lo,filter={expression}",
                       says=says if HAVE_LIBPCAP
                       else "configure QEMU with --enable-libpcap")

    @needs_libpcap
    def test_filter_that_is_too_long(self):
        hosts = " or ".join(f"ether host 2:0:0:0:{i >> 8:x}:{i & 255:x}"
                            for i in range(600))
        self.check(f"--socket=fd=10,ifname=lo,filter={hosts}",
                   says="write a shorter one")

    def test_what_hears_nothing_can_have_no_filter(self):
        for option in ("direction=in", "promisc=on", "rcvbuf=1M", "filter=ip"):
            self.check(f"--socket=fd=10,ifname=lo,protocol=none,{option}",
                       says="leave one of them out")

    def test_command_line(self):
        good = "--socket=fd=10,ifname=lo"
        for arguments, says in (
                (["--color"], "--help shows"),
                ([good, good], "is used twice"),
                ([good, "--keep-fd=10"], "is not an open descriptor"),
                ([good, "--keep-fd=0"], "from 3 on"),
                ([good, "--keep-fd=x"], "from 3 on"),
                ([good, "--user=no-such"], "UID:GID"),
                ([good, "--user=17"], "UID:GID"),
                ([good, "--user=17:x"], "UID:GID"),
                ([good, "--user=4294967295:1"], "UID:GID"),
                ([good, "--fdname=x"], "without --qmp"),
                ([good, "--qmp=x", "--fdname=x"], "takes no command"),
                ([], "use --socket")):
            self.check(*arguments, says=says)

    def test_without_command(self):
        good = "--socket=ifname=lo"
        for arguments, says in (
                (["--socket=fd=10,ifname=lo"], "no command"),
                ([good, "--qmp=x"], "one --fdname for each --socket"),
                ([good, "--qmp=x", "--fdname=a", "--fdname=b"], "are 2 and 1"),
                (["--socket=fd=9,ifname=lo", "--qmp=x", "--fdname=a"],
                 "name the socket with --fdname"),
                (["--socket"], "value is missing")):
            self.check_error(launch(*arguments), says)

    def test_fd_that_is_kept(self):
        ours, theirs = os.pipe()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, theirs)
        done = launch(f"--socket=fd={ours},ifname=lo", f"--keep-fd={ours}",
                      "true", pass_fds=[ours])
        self.check_error(done, "is used by --keep-fd")
        done = launch("--socket=ifname=lo", "--qmp=x", "--fdname=x",
                      f"--keep-fd={ours}", pass_fds=[ours])
        self.check_error(done, "--keep-fd has no meaning with --qmp")


class Qmp(unittest.TestCase):
    """Hand a socket over; the other side is the test's own."""

    GREETING = {"QMP": {"version": {}, "capabilities": []}}
    EVENT = {"event": "RESUME", "timestamp": {}}

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = f"{folder.name}/qmp"
        self.server = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.server.close)
        self.server.settimeout(lab.SECONDS)
        self.server.bind(self.path)
        self.server.listen(1)

    @contextlib.contextmanager
    def handing_over(self, *names):
        """Start the launcher; its Popen is what the block gets."""
        arguments = [argument for name in names for argument in
                     ("--socket=ifname=lo", f"--fdname={name}")]
        with subprocess.Popen([LAUNCHER, *arguments, f"--qmp={self.path}"],
                              text=True, stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as launcher:
            try:
                yield launcher
            finally:
                launcher.kill()

    def finish(self, launcher):
        """Return the launcher's exit status and what it says."""
        complaints = launcher.communicate(timeout=lab.SECONDS)[1]
        return launcher.returncode, complaints

    def write(self, client, *messages):
        client.sendall(b"".join(json.dumps(message).encode() + b"\r\n"
                                for message in messages))

    def accept(self):
        client, _ = self.server.accept()
        self.addCleanup(client.close)
        client.settimeout(lab.SECONDS)
        return client

    def expect(self, client, command, **arguments):
        """Receive a command; return the descriptors that come with it."""
        data, fds, _, _ = socket.recv_fds(client, 4096, 10)
        expected = {"execute": command}
        if arguments:
            expected["arguments"] = arguments
        self.assertEqual(json.loads(data), expected)
        return fds

    def negotiate(self):
        client = self.accept()
        self.write(client, self.GREETING)
        self.assertEqual(self.expect(client, "qmp_capabilities"), [])
        self.write(client, {"return": {}})
        return client

    def test_sockets_arrive(self):
        with self.handing_over("one", "two") as launcher:
            client = self.negotiate()
            for name in ("one", "two"):
                fd, = self.expect(client, "getfd", fdname=name)
                with socket.socket(fileno=fd) as opened:
                    self.assertEqual(opened.getsockname()[:2],
                                     ("lo", lab.ETH_P_ALL))
                # events come at any time, and may come in pieces
                self.write(client, self.EVENT)
                client.sendall(b'{"event": "RE')
                client.sendall(b'SUME"}\n{"return": {}}\n')
            self.assertEqual(self.finish(launcher), (0, ""))

    def check_trouble(self, launcher, says):
        status, complaints = self.finish(launcher)
        self.assertEqual(status, OWN_FAILURE)
        self.assertRegex(complaints, "^af-packet-exec: [^\n]*\n$")
        self.assertIn(says, complaints)

    def test_refusal(self):
        with self.handing_over("7up") as launcher:
            client = self.negotiate()
            self.expect(client, "getfd", fdname="7up")
            self.write(client, {"error": {"class": "GenericError",
                                          "desc": "no such luck"}})
            self.check_trouble(launcher, "QEMU refuses: no such luck")

    def test_nobody_there(self):
        self.server.close()
        with self.handing_over("one") as launcher:
            self.check_trouble(launcher, "Connection refused")

    def test_no_socket_there(self):
        os.unlink(self.path)
        with self.handing_over("one") as launcher:
            self.check_trouble(launcher, "No such file")

    def test_path_that_is_too_long(self):
        self.path = "/" + "x" * 200
        with self.handing_over("one") as launcher:
            self.check_trouble(launcher, "longer than the 107 bytes")

    def test_something_else(self):
        with self.handing_over("one") as launcher:
            self.accept().sendall(b"220 smtp.example.org at your service\r\n")
            self.check_trouble(launcher, "is not a QMP monitor")

    def test_end(self):
        with self.handing_over("one") as launcher:
            self.accept().close()
            self.check_trouble(launcher, "was closed by the other side")

    def test_busy(self):
        with self.handing_over("one") as launcher:
            # connected, by the kernel, but nobody greets
            self.check_trouble(launcher, "one client at a time")

    @needs_root
    def test_the_monitor_is_opened_as_the_user(self):
        os.chmod(os.path.dirname(self.path), 0o755)
        os.chmod(self.path, 0o755)      # to connect takes permission to write
        with self.handing_over("one") as launcher:
            self.negotiate()
        done = launch("--socket=ifname=lo", "--fdname=one",
                      f"--qmp={self.path}", f"--user={lab.NOBODY}:{lab.NOBODY}")
        self.assertEqual(done.returncode, OWN_FAILURE)
        self.assertIn("Permission denied", done.stderr)


if __name__ == "__main__":
    lab.main()
