# SPDX-License-Identifier: GPL-2.0-or-later
"""What a packet socket on a guest's tap shows of it, and brings to it.

    here ==== tap0 ==== vhost-net or QEMU ==== guest
               ||
               '==> capture, <== inject

With a macvtap, a wire (a veth pair) is between it and here.
"""

import contextlib
import os

import frames
import guest as guests
import host
import lab
import numbered
import relay
import traffic

TAP, WIRE = "tap0", "wire"
JUMBO = 9000
MARKER = 1
RATE = 5000 // host.SLOWNESS
LOAD_FRAMES = 3000

# QEMU's words, since the first filter
REFUSED = "Vhost is not supported"


@contextlib.contextmanager
def one_guest(vhost, offloads=guests.OFFLOADS, macvtap=False, pairs=1):
    """Have a guest on a tap or a macvtap."""
    with contextlib.ExitStack() as cleanup:
        if macvtap:
            tap = host.open_macvtap(cleanup, TAP, WIRE, guests.MAC, JUMBO)
        else:
            tap = host.open_tap(cleanup, TAP, pairs, JUMBO)
        machine = guests.Machine(cleanup, [tap], vhost)
        with contextlib.ExitStack() as inner:
            yield inner, guests.Guest(machine, pairs, offloads)
        machine.qemu.quit()


def capture(cleanup, guest, vnet_hdr):
    """Capture what passes the tap, both ways."""
    packet_socket = lab.capture_socket(cleanup, TAP, sent_too=True,
                                       vnet_hdr=vnet_hdr, long_queue=False)
    return relay.Relay(cleanup, guest.machine.qemu, "capture", packet_socket,
                       vnet_hdr)


def sender(cleanup, interface):
    """Return a function that sends a frame out of an interface."""
    out = lab.packet_socket(cleanup, vnet_hdr=True)
    out.bind((interface, 0))
    return lambda header, data: out.send(header + data)


# ---- the tests

def filter_on_netdev(vhost):
    """QEMU refuses a filter on the netdev of a guest with vhost-net.

    Return what it says.
    """
    with one_guest(vhost) as (_, guest):
        qemu = guest.machine.qemu
        qemu.command("chardev-add", id="null",
                     backend={"type": "null", "data": {}})
        mirror = {"qom-type": "filter-mirror", "id": "mirror",
                  "netdev": "guest", "outdev": "null"}
        try:
            qemu.command("object-add", **mirror)
            answer = "accepted"
        except lab.Trouble as trouble:
            answer = str(trouble)
    if (REFUSED in answer) != vhost:
        raise lab.Trouble(f"a filter on the guest's netdev: {answer}")
    return answer


def capture_to_guest(vhost, vnet_hdr, offloads=guests.OFFLOADS,
                     macvtap=False):
    """What the guest receives is captured, byte for byte.

    Return a table of the frames.
    """
    rows = []
    with one_guest(vhost, offloads, macvtap) as (cleanup, guest):
        captured = capture(cleanup, guest, vnet_hdr)
        send = sender(cleanup, WIRE if macvtap else TAP)
        for frame in frames.kinds(frames.GUEST, frames.HOST):
            send(frame.header, frame.data)
            end = frames.marker(frames.GUEST, frames.HOST, MARKER)
            send(frames.NO_HEADER, end)
            arrived = until(end, lambda: receive(guest))
            if offloads:
                compare(frame.name, arrived, [(frame.header, frame.data)])
            if vnet_hdr:
                expected = arrived
            else:
                expected = [(b"", frame.plain)] if offloads else [
                    (b"", data) for _, data in arrived]
            seen = until(end, captured.receive)
            compare(f"{frame.name}, captured", seen, expected)
            rows.append(describe(frame, "captured", seen))
    return rows


def capture_from_guest(vhost, vnet_hdr, macvtap=False):
    """What the guest sends is captured, byte for byte.

    Return a table of the frames.
    """
    rows = []
    with one_guest(vhost, macvtap=macvtap) as (cleanup, guest):
        captured = capture(cleanup, guest, vnet_hdr)
        for frame in frames.kinds(frames.HOST, frames.GUEST):
            guest.send(frame.header, frame.data)
            end = frames.marker(frames.HOST, frames.GUEST, MARKER)
            guest.send(frames.NO_HEADER, end)
            seen = until(end, captured.receive)
            compare(f"{frame.name}, captured", seen,
                    [(frame.header, frame.data) if vnet_hdr else
                     (b"", frame.plain)])
            rows.append(describe(frame, "captured", seen))
    return rows


def inject(vhost, vnet_hdr):
    """What is injected the guest receives, byte for byte.

    Return a table of the frames.
    """
    rows = []
    with one_guest(vhost) as (cleanup, guest):
        injected = relay.Relay(
            cleanup, guest.machine.qemu, "inject",
            lab.inject_socket(cleanup, TAP, vnet_hdr=vnet_hdr), vnet_hdr)
        end = frames.marker(frames.GUEST, frames.HOST, MARKER)
        for frame in frames.kinds(frames.GUEST, frames.HOST):
            if vnet_hdr:
                sent = frame.header, frame.data
            elif frame.header == frames.NO_HEADER:
                sent = b"", frame.data
            else:
                continue
            injected.send(*sent)
            injected.send(sent[0] and frames.NO_HEADER, end)
            arrived = until(end, lambda: receive(guest))
            compare(frame.name, arrived, [(frame.header, frame.data)])
            rows.append(describe(frame, "received", arrived))
    return rows


def capture_under_load(vhost, pairs):
    """Not one of thousands is missed, both ways at once, on all queues."""
    with one_guest(vhost, pairs=pairs) as (cleanup, guest):
        captured = capture(cleanup, guest, vnet_hdr=True)
        guest.run()
        sender_in = traffic.Sender(cleanup, TAP, RATE, guest)
        out = []
        while sender_in.sent() < LOAD_FRAMES:
            out.append(frames.marker(frames.HOST, frames.GUEST, len(out)))
            guest.send(frames.NO_HEADER, out[-1], pair=len(out) % pairs)
        sent = sender_in.end()
        seen = [captured.receive() for _ in range(sent + len(out))]
        guests.wait_until(lambda: sum(map(len, guest.received)) >= sent,
                          f"{sent} frames reach the guest")
        guest.pause()
        if any(traffic.judge(sent, guest.frames())) or \
                not all(guest.received):
            raise lab.Trouble("not all frames reach the guest as they are, on "
                              f"{pairs} queues")
        for who, address, expected in (
                ("to the guest", frames.GUEST,
                 [numbered.frame(number) for number in range(sent)]),
                ("from the guest", frames.HOST, out)):
            compare(f"captured, {who}",
                    [frame for frame in seen if frame[1][:6] == address],
                    [(frames.NO_HEADER, data) for data in expected])
        return {"vhost": "on" if vhost else "off", "queues": pairs,
                "to the guest": sent, "from the guest": len(out)}


# ---- comparing

def receive(guest):
    """Return the next frame's header and data that the guest receives."""
    guests.wait_until(lambda: guest.look() or guest.received[0],
                      "a frame reaches the guest")
    guest.give_back()
    frame = guest.received[0].pop(0)
    return frame[:len(frames.NO_HEADER)], frame[guests.HEADER_BYTES:]


def until(end, receive_one):
    """Return what is received before the frame that stands for the end."""
    received = []
    try:
        while not received or received[-1][1] != end:
            received.append(receive_one())
    except lab.Trouble as trouble:
        came = "".join(f"\n{show(data)}" for _, data in received)
        raise lab.Trouble(f"{trouble}; these came:{came}\nbut not the last:\n"
                          f"{show(end)}") from trouble
    return received[:-1]


def compare(name, found, expected):
    """Raise the first difference of two lists of headers and frames."""
    for place, (one, other) in enumerate(zip(found, expected)):
        for part, ours, theirs in zip(("header", "frame"), one, other):
            if without_hint(ours) != without_hint(theirs):
                at = len(os.path.commonprefix([ours, theirs]))
                raise lab.Trouble(
                    f"{name}, number {place}: the {part} differs from byte "
                    f"{at} on, it is\n{show(ours, at)}\ninstead of\n"
                    f"{show(theirs, at)}")
    if len(found) != len(expected):
        raise lab.Trouble(f"{name}: {len(found)} frames instead of "
                          f"{len(expected)}")


def without_hint(data):
    """Return a header without its hint, or a frame as it is.

    Instead of how long the headers in a frame are, the kernel tells whoever
    receives it how much of it is in one piece, or was before its tag was put
    back.
    """
    if len(data) != len(frames.NO_HEADER):
        return data
    return data[:frames.HINT.start] + data[frames.HINT.stop:]


def describe(frame, what, seen):
    """Return a table's row: what was seen of a frame that was sent."""
    return {"frame": frame.name, "bytes": len(frame.data),
            what: ", ".join(str(len(data)) for _, data in seen),
            "vnet header": ", ".join(frames.describe(header)
                                     for header, _ in seen)}


def show(data, at=0):
    """Return some bytes of a frame or header, in hexadecimal."""
    return f"{data[at:at + 64].hex(' ', 2)} (of {len(data)} bytes)"
