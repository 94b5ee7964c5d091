# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that is stopped under traffic and goes on: it misses nothing.

While it is stopped, frames wait in its tap.  One that QEMU had taken from there,
as it waited for room in the guest, comes first when the guest goes on.
"""

import contextlib
import socket

import guest as guests
import host
import lab
import numbered
import snapshots
import traffic

TAP = "tap0"
RATE = 5000 // host.SLOWNESS
BETWEEN = 200               # frames that come between a stop and the next
MEANWHILE = 100             # while the guest is stopped


def stop_and_go_on(vhost, pairs, full, number):
    """Stop a guest so many times under traffic, and let it go on each time.

    It gets each frame once, and in order.  `full` is a guest that has no room
    when it is stopped.
    """
    def stop_for_a_while(machine, sender):
        machine.stop()
        wait_for_frames(sender, MEANWHILE)
        machine.go_on()

    with contextlib.ExitStack() as cleanup:
        machine = start(cleanup, vhost, pairs)
        return stop_again_and_again(cleanup, machine, vhost, pairs, full,
                                    number, stop_for_a_while)


def save_snapshots(vhost, pairs, number):
    """Save so many snapshots under traffic, with a netdev-handover there.

    It has nothing to do with them.
    """
    with contextlib.ExitStack() as cleanup:
        machine = start(cleanup, vhost, pairs)
        snapshots.add_disk(cleanup, machine)
        add_handover(cleanup, machine.qemu)
        row = stop_again_and_again(cleanup, machine, vhost, pairs, False,
                                   number, lambda machine, _:
                                   snapshots.save(machine))
        statistics = machine.qemu.command(
            "qom-get", path="/objects/handover", property="stats")
        if statistics["started"] or statistics["frames"]:
            raise lab.Trouble(f"frames are handed over: {statistics}")
    return row


def start(cleanup, vhost, pairs):
    """Start a QEMU with a guest on a new tap."""
    tap = host.open_tap(cleanup, TAP, pairs)
    return guests.Machine(cleanup, [tap], vhost)


def add_handover(cleanup, qemu):
    """Add a netdev-handover, with a connection: without one it reads nothing."""
    _, theirs = map(cleanup.enter_context, socket.socketpair())
    qemu.command("getfd", theirs, fdname="stream")
    qemu.command("chardev-add", id="stream", backend={
        "type": "socket", "data": {"server": False, "addr": {
            "type": "fd", "data": {"str": "stream"}}}})
    qemu.command("object-add", **{
        "qom-type": "netdev-handover", "id": "handover",
        "netdev": guests.netdev_of(0), "outdev": "stream"})


def stop_again_and_again(cleanup, machine, vhost, pairs, full, number,
                         interrupt):
    """Stop a guest so many times by a function; return what it received."""
    guest = guests.Guest(machine, pairs)
    guest.run()
    sender = traffic.Sender(cleanup, TAP, RATE, guest)
    for _ in range(number):
        wait_for_frames(sender, BETWEEN)
        guest.pause()
        if full:
            wait_for_full_rings(guest, sender)
        interrupt(machine, sender)
        guest.look()
        guest.give_back()
        guest.run()
    wait_for_frames(sender, BETWEEN)
    sent = sender.end()
    verdict = wait_for_the_last(guest, sent)
    if verdict.lost or verdict[1:] != (0, 0, 0):
        raise lab.Trouble(f"{len(verdict.lost)} missed of {sent}; "
                          f"{verdict[1:]}, the first ones missed: "
                          f"{verdict.lost[:20]}")
    return {"vhost": "on" if vhost else "off", "queues": pairs,
            "guest": "full rings" if full else "with room", "stops": number,
            "sent": sent, "missed": len(verdict.lost),
            "twice": verdict.twice,
            "out of order": verdict.blocks}


def wait_for_full_rings(guest, sender):
    """Wait until a guest that receives nothing has no room, and some more."""
    guests.wait_until(lambda: guest.full_queues() == len(guest.rx),
                      "the rings are full")
    wait_for_frames(sender, MEANWHILE)


def wait_for_frames(sender, count):
    """Wait until that many more frames have been sent."""
    goal = sender.sent() + count
    guests.wait_until(lambda: sender.sent() >= goal, f"{count} frames")


def wait_for_the_last(guest, sent):
    """Wait until the last frame of each flow has come, and judge them all.

    Others may come behind them.
    """
    last = {numbered.frame(number)
            for number in range(sent - numbered.FLOWS, sent)}
    guests.wait_until(
        lambda: last <= {frame for frames in guest.frames(2 * numbered.FLOWS)
                         for frame in frames}, "the last frames")
    guest.pause()
    return traffic.judge(sent, guest.frames())
