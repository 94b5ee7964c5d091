# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest for the demos: Debian's cloud kernel, busybox, and a tap.

The kernel is Debian's linux-image-*-cloud-amd64, installed or unpacked into
the cache folder; the environment variable KERNEL names another vmlinuz.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import shlex
import struct

import initramfs
import lab

BUSYBOX = pathlib.Path("/bin/busybox")
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
KERNELS = (pathlib.Path("/boot"),
           *CACHE.glob("qemu-af-packet-chardev/kernels/*/boot"))
DRIVERS = ("virtio_pci", "virtio_net")
BOOT_SECONDS = 120

# What an init has to begin with
LOAD_DRIVERS = """#!/bin/busybox sh
for module in $(busybox cat /modules/order); do
    busybox insmod /modules/$module
done
"""
NETWORK = """
busybox ip address add {}/24 dev eth0
busybox ip link set eth0 up
"""
STAY = "busybox sleep 1000000\n"

# linux/if_tun.h
TUNSETIFF = 0x400454ca
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
IFF_VNET_HDR = 0x4000


def find_kernel():
    """Return the path of the kernel: $KERNEL, or the newest there is."""
    if "KERNEL" in os.environ:
        return pathlib.Path(os.environ["KERNEL"])
    for folder in KERNELS:
        kernels = sorted(folder.glob("vmlinuz-*-cloud-amd64"), key=numbers)
        if kernels:
            return kernels[-1]
    raise lab.Trouble("no vmlinuz-*-cloud-amd64 in "
                      f"{' or '.join(map(str, KERNELS))}: name one in the "
                      "environment variable KERNEL")


def init(address, *commands):
    """Return what a guest runs: it has an address, then these commands."""
    return (LOAD_DRIVERS + NETWORK.format(address)
            + "".join(f"{command}\n" for command in commands) + STAY).encode()


def numbers(path):
    """Return the numbers in a file's name, to sort versions by."""
    return [int(number) for number in re.findall(r"\d+", path.name)]


def make_initramfs(folder, kernel, files):
    """Make an initramfs of busybox, drivers and more files; return its path.

    The files are a dict of path and content, with "init" among them.
    """
    if not BUSYBOX.exists():
        raise lab.Trouble(f"{BUSYBOX} is missing: package busybox-static")
    initrd = folder / "initrd"
    with initramfs.Initramfs(initrd) as archive:
        archive.add("bin/busybox", BUSYBOX.read_bytes())
        archive.add_modules(kernel, DRIVERS)
        for name, content in files.items():
            archive.add(name, content)
    return initrd


def open_tap(cleanup, interface):
    """Make a tap; return it as a file."""
    tap = open_queue(cleanup, interface)
    lab.ip(f"link set dev {interface} up")
    return tap


def open_queue(cleanup, interface, flags=0):
    """Open a queue of a tap, as a file; the first one makes the tap."""
    try:
        queue = cleanup.enter_context(open("/dev/net/tun", "r+b", buffering=0))
    except OSError as error:
        raise lab.Trouble(f"{error}: load the module tun, or run as root"
                          ) from error
    fcntl.ioctl(queue, TUNSETIFF, struct.pack(
        "16sH22x", interface.encode(),
        IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags))
    return queue


def boot_options(kernel, initrd, console, megabytes):
    """Return QEMU's options for a guest whose console is a file."""
    return [
        f"-machine q35 -accel tcg -m {megabytes} -no-reboot "
        f"{lab.COMMON_OPTIONS}",
        f"-kernel {shlex.quote(str(kernel))}",
        f"-initrd {shlex.quote(str(initrd))}",
        "-append 'console=ttyS0 loglevel=5 panic=-1'",
        f"-chardev file,id=console,path={shlex.quote(str(console))}",
        "-serial chardev:console"]


def tap_options(folder, console, tap, init_program):
    """Return QEMU's options for a guest on a tap, with that init."""
    kernel = find_kernel()
    initrd = make_initramfs(folder, kernel, {"init": init_program})
    return [*boot_options(kernel, initrd, console, megabytes=256),
            f"-netdev tap,id=guest,fd={tap.fileno()}",
            "-device virtio-net-pci,netdev=guest,romfile="]


def wait_for(qemu, console, text):
    """Wait until the guest has written a text to its console."""
    lab.wait_until(lambda: qemu.command("query-status") and
                   text in read(console), "no guest", BOOT_SECONDS)


def read(path):
    """Return a text file's content; nothing when it isn't there yet."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(errors="replace")
    return ""
