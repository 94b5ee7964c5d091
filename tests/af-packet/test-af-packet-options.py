#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""af-packet-exec: what it says of options that are no good."""

import os
import resource
import signal
import unittest

import lab
from launcher import HAVE_LIBPCAP, OWN_FAILURE, launch, needs_libpcap


class Refused(unittest.TestCase):
    """A test that expects one line, and that no command is run."""

    def check(self, *arguments, says):
        done = launch(*arguments, "sh", "-c", "echo was run")
        self.check_error(done, says)

    def check_error(self, done, says):
        self.assertEqual((done.returncode, done.stdout), (OWN_FAILURE, ""),
                         done.args)
        self.assertRegex(done.stderr, "^af-packet-exec: [^\n]*\n$")
        self.assertIn(says, done.stderr)


class BadInput(Refused):
    """One line that says what is wrong and what to do; no command is run."""

    def test_socket(self):
        for options, says in (
                ("fd=10", "add ifname=NAME"),
                ("ifname=lo", "add fd=NUMBER"),
                ("fd=2,ifname=lo", "use a number from 3 on"),
                ("fd=-3,ifname=lo", "use a number from 3 on"),
                ("fd=x,ifname=lo", "expects a number"),
                ("fd=99999999,ifname=lo", "below the limit of open files"),
                ("fd=10,ifname=no-such", "'ip link' lists its interfaces"),
                ("fd=10,ifname=" + "x" * 16, "if it is an alternative name"),
                ("fd=10,ifname=", "'ip link' lists its interfaces"),
                ("fd=10,ifname=lo,color=red", "--help"),
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
                ("tcp,,udp", "write each comma twice")):
            self.check(f"--socket=fd=10,ifname=lo,filter={expression}",
                       says=says if HAVE_LIBPCAP
                       else "configure QEMU with --enable-libpcap")

    @needs_libpcap
    def test_filter_that_is_too_long(self):
        hosts = " or ".join(f"ether host 2:0:0:0:{i >> 8:x}:{i & 255:x}"
                            for i in range(600))
        self.check(f"--socket=fd=10,ifname=lo,filter={hosts}",
                   says="use a shorter one")

    def test_what_hears_nothing_can_have_no_filter(self):
        for option in ("direction=in", "promisc=on", "rcvbuf=1M", "filter=ip"):
            self.check(f"--socket=fd=10,ifname=lo,protocol=none,{option}",
                       says="remove one of them")

    def test_command_line(self):
        good = "--socket=fd=10,ifname=lo"
        for arguments, says in (
                (["--color"], "--help"),
                ([good, good], "is used twice"),
                ([good, "--keep-fd=10"], "is not an open descriptor"),
                ([good, "--keep-fd=0"], "from 3 on"),
                ([good, "--keep-fd=x"], "from 3 on"),
                ([good, "--user=no-such"], "UID:GID"),
                ([good, "--user=17"], "UID:GID"),
                ([good, "--user=17:x"], "UID:GID"),
                ([good, "--user=4294967295:1"], "UID:GID"),
                ([good, "--user=-4294967295:-4294967295"], "UID:GID"),
                ([good, "--user=+17:17"], "UID:GID"),
                ([good, "--user=17: 17"], "UID:GID"),
                ([good, "--qmp-user=17"], "requires --qmp"),
                ([good, "--fdname=x"], "requires --qmp"),
                ([good, "--qmp=x", "--fdname=x"], "with a command"),
                ([], "use --socket")):
            self.check(*arguments, says=says)

    def test_without_command(self):
        good = "--socket=ifname=lo"
        for arguments, says in (
                (["--socket=fd=10,ifname=lo"], "no command"),
                ([good, "--qmp=x"], "one --fdname for each --socket"),
                ([good, "--qmp=x", "--fdname=a", "--fdname=b"], "are 2 and 1"),
                (["--socket=fd=9,ifname=lo", "--qmp=x", "--fdname=a"],
                 "use --fdname instead"),
                (["--socket"], "missing argument")):
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
        self.check_error(done, "--keep-fd is incompatible with --qmp")


def ignore_children():
    """Have this process ignore that children end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


@needs_libpcap
class Limits(Refused):
    """A filter may not cost more than it is worth."""

    def test_filter_that_takes_too_much_memory(self):
        self.check_limits(f"(host 10.0.{i >> 8}.{i & 255} and port {i + 1})"
                          for i in range(3000))

    def test_filter_that_takes_too_much_time(self):
        self.check_limits(f"host 10.0.{i >> 8}.{i & 255}" for i in range(1000))

    def check_limits(self, terms):
        """Expect that libpcap is stopped, which is told in one line.

        """
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = launch(f"--socket=fd=10,ifname=lo,filter={' or '.join(terms)}",
                      "sh", "-c", "echo was run", seconds=10 * lab.SECONDS)
        self.check_error(done, "5 s of CPU time or 256 MiB of memory")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertLess(after.ru_utime - before.ru_utime, 10)
        self.assertLess(after.ru_maxrss, 300 << 10)

    def test_limits_are_not_the_commands(self):
        done = launch("--socket=fd=10,ifname=lo,filter=ip", "sh", "-c",
                      "ulimit -t; ulimit -v")
        self.assertEqual(done.stdout, lab.run("sh", "-c",
                                              "ulimit -t; ulimit -v").stdout)

    def test_filter_with_children_ignored(self):
        """Who starts the launcher may have no interest in children."""
        done = launch("--socket=fd=10,ifname=lo,filter=ip", "true",
                      preexec_fn=ignore_children)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    lab.main()
