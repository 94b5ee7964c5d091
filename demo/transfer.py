# SPDX-License-Identifier: GPL-2.0-or-later
"""A TCP connection between two network namespaces, and data that it carries."""

import hashlib
import random
import socket
import time

import lab

PORT = 5001
MEGABYTE = 1000 * 1000


def transfer(source, target, address, megabytes):
    """Send data to an address; what arrives must have its checksum.

    Return what there is to tell about it.
    """
    data = random.Random(megabytes).randbytes(megabytes * MEGABYTE)
    sender, receiver = connect(source, target, address)
    start = time.monotonic()
    with sender, receiver, lab.in_background(send, sender, data):
        size, checksum = receive(receiver)
    seconds = time.monotonic() - start
    told = (f"{size} bytes in {seconds:.1f} s, "
            f"{size * 8 / seconds / MEGABYTE:.0f} Mbit/s")
    if checksum != hashlib.sha256(data).hexdigest():
        raise lab.Trouble(f"{told}: {checksum} isn't the sha256 of what was "
                          "sent")
    return told, checksum


def connect(source, target, address):
    """Return both ends of a TCP connection between the two namespaces.

    A socket belongs to the namespace where it was made, whoever uses it.
    """
    with lab.inside(target):
        listener = socket.create_server((address, PORT))
    with listener, lab.inside(source):
        sender = socket.create_connection((address, PORT), timeout=10)
        listener.settimeout(10)
        receiver, _ = listener.accept()
    return sender, receiver


def send(sender, data):
    """Send everything, within two minutes."""
    sender.settimeout(120)
    sender.sendall(data)
    sender.shutdown(socket.SHUT_WR)


def receive(receiver):
    """Receive until the end; return the number of bytes and their sha256."""
    receiver.settimeout(10)
    size, checksum = 0, hashlib.sha256()
    while piece := receiver.recv(MEGABYTE):
        size += len(piece)
        checksum.update(piece)
    return size, checksum.hexdigest()
