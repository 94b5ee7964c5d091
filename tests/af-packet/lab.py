# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of af-packet-exec share: namespaces, links, frames."""

import contextlib
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

import pycotap

from netns import CLONE_NEWNS, call, enter_network_namespace, libc

SECONDS = 30                # for anything that has to happen
NOBODY = 65534

# linux/if_ether.h, IEEE 802 Local Experimental
ETH_P_ALL = 3
ETHERTYPE = 0x88b5

# linux/bpf_common.h
BPF_LD_W_ABS = 0x20
BPF_JEQ_K = 0x15
BPF_RET_K = 0x06

is_root = os.geteuid() == 0


def main():
    """Run the tests of the calling script in a network namespace."""
    enter_namespace()
    ip("link set lo up")
    runner = pycotap.TAPTestRunner(
        message_log=pycotap.LogMode.LogToError,
        test_output_log=pycotap.LogMode.LogToError)
    done = unittest.main(testRunner=runner, exit=False)
    sys.exit(not done.result.wasSuccessful())


def enter_namespace():
    """Move to an empty network namespace, as root of it."""
    try:
        enter_network_namespace()
    except OSError as error:
        print("1..0 # SKIP no namespaces:", error.strerror)
        sys.exit()


@functools.cache
def own_folder(path):
    """Make a system's folder, or what is above it, this process's own.

    It has a copy of what was there, which goes with this process and those that
    it starts.
    """
    call(libc.unshare, CLONE_NEWNS)
    mount("--make-rprivate", "/")
    there = next(one for one in (path, *path.parents) if one.exists())
    with tempfile.TemporaryDirectory() as folder:
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)
        shutil.copytree(there, folder, symlinks=True, dirs_exist_ok=True)
        mount("--move", folder, there)
    path.mkdir(parents=True, exist_ok=True)


def mount(*arguments):
    """Run the program mount, which has to succeed."""
    done = run("mount", *arguments)
    assert not done.returncode, done.stderr


def run(*argv, seconds=SECONDS, **keywords):
    """Run a program to its end; return the CompletedProcess."""
    return subprocess.run(
        argv, timeout=seconds, text=True, capture_output=True, check=False,
        stdin=subprocess.DEVNULL, **keywords)


def ip(arguments):
    """Run the program ip, which has to succeed."""
    done = run("ip", *arguments.split())
    assert not done.returncode, f"ip {arguments}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def veth(name, peer):
    """Have a pair of interfaces that frames pass both ways.

    They have no IPv6, which would send frames of its own.
    """
    ip(f"link add {name} type veth peer name {peer}")
    try:
        for interface in (name, peer):
            ip(f"link set {interface} addrgenmode none")
        for interface in (name, peer):
            ip(f"link set {interface} up")
        for source, target in ((name, peer), (peer, name)):
            wait_for_link(source, target)
        yield
    finally:
        run("ip", "link", "delete", name)


def wait_for_link(source, target):
    """Send frames until one arrives."""
    with packet_socket(target, ETH_P_ALL) as hears:
        hears.settimeout(0.01)
        for _ in range(100 * SECONDS):
            send(source, b"probe")
            with contextlib.suppress(TimeoutError):
                if payload_of(hears.recv(2048)) == b"probe":
                    return
    raise AssertionError(f"no frame passes from {source} to {target}")


def packet_socket(interface, protocol=0):
    """Open a packet socket of the test's own."""
    own = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    own.bind((interface, protocol))
    own.settimeout(SECONDS)
    return own


def frame(payload, ethertype=ETHERTYPE):
    """Return an Ethernet frame."""
    return (b"\xff" * 6 + b"\x02" + b"\0" * 5 + ethertype.to_bytes(2, "big")
            + payload).ljust(60, b"\0")


def send(interface, payload, ethertype=ETHERTYPE):
    """Send a frame out of an interface."""
    with packet_socket(interface) as own:
        own.send(frame(payload, ethertype))


def payload_of(data):
    """Return what frame() was given."""
    return data[14:].rstrip(b"\0")
