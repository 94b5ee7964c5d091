# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest has on its host: a tap or a macvtap, and vhost-net."""

import os
import pathlib
import stat
import tempfile

import lab
import linux_guest
from lab import bring_up

# An emulated processor is slower by this: leave it time
IS_EMULATED = "QEMU TCG" in pathlib.Path("/proc/cpuinfo").read_text()
SLOWNESS = 5 if IS_EMULATED else 1

VHOST = "/dev/vhost-net"

# linux/if_tun.h
IFF_MULTI_QUEUE = 0x0100


def has_vhost():
    """Tell whether this process may use vhost-net."""
    return os.access(VHOST, os.R_OK | os.W_OK)


def open_vhost(cleanup, count):
    """Open vhost-net as often as there are pairs of queues."""
    return [cleanup.enter_context(open(VHOST, "r+b", buffering=0))
            for _ in range(count)]


def open_tap(cleanup, name, pairs=1, mtu=1500):
    """Make a tap that sends nothing by itself; return its queues' files.

    Its queues are long enough for what comes while a guest is stopped.
    """
    flags = IFF_MULTI_QUEUE if pairs > 1 else 0
    files = [linux_guest.open_queue(cleanup, name, flags)
             for _ in range(pairs)]
    lab.ip(f"link set dev {name} txqueuelen 10000 mtu {mtu}")
    bring_up(name)
    return files


def open_macvtap(cleanup, name, wire, address, mtu=1500):
    """Make a macvtap at the far end of a wire; return its only queue's file.

    Whoever is at the near end reaches the guest by that address.
    """
    lab.ip(f"link add name {wire} mtu {mtu} "
           f"type veth peer name lower mtu {mtu}")
    lab.ip(f"link add link lower name {name} address {address} "
           "type macvtap mode bridge")
    for link in (wire, "lower", name):
        bring_up(link)
    node = pathlib.Path(cleanup.enter_context(tempfile.TemporaryDirectory()),
                        "macvtap")
    os.mknod(node, stat.S_IFCHR | 0o600, device_number(name))
    return [cleanup.enter_context(node.open("r+b", buffering=0))]


def device_number(macvtap):
    """Return which device is behind a macvtap.

    The sysfs of this network namespace tells, which is not what /sys has.
    """
    told = lab.run(["unshare", "--mount", "sh", "-euc",
                    "mount -t sysfs sysfs /sys\n"
                    f"cat /sys/class/net/{macvtap}/tap*/dev"])
    return os.makedev(*map(int, told.split(":")))
