# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that migrates under traffic, with a handover as the manual says.

    clients:   bridge lan ===== to-a, to-b
                                  ||    ||
    host a:    uplink == bridge0 == tap0 == QEMU    10.80.0.1
    host b:    uplink == bridge0 == tap0 == QEMU    10.80.0.2

Each host is a network namespace.  Clients send the guest numbered frames;
demo/handover.py runs the manual's code.
"""

import contextlib
import os
import time

import frames
import guest as guests
import handover
import host
import lab
import stops
import traffic

LAN = "lan"
ADDRESSES = {"a": "10.80.0.1", "b": "10.80.0.2"}
BROADCAST = b"\xff" * 6
RATE = 2500 // host.SLOWNESS
BEFORE, AFTER = 250, 250    # frames
LOOK_SECONDS = 0.02         # as often as the manual says

# Stretches of frames that are not in order: when the network learns where the
# guest is now, some are still on their way by the source
MAY_BE_BLOCKS = 1

# The manual says how long to wait where nothing is emulated
handover.LONGEST_WAIT_TO_ANNOUNCE *= host.SLOWNESS


class Host:
    """A network namespace with a bridge; and the guest's tap, once it runs."""

    def __init__(self, cleanup, name):
        self.cleanup, self.address = cleanup, ADDRESSES[name]
        self.namespace = lab.new_namespace(cleanup)
        self.machine = self.qemu = None
        add_pair(f"to-{name}", "uplink", self.namespace)
        cleanup.callback(lab.ip, f"link del to-{name}")
        lab.ip(f"link set dev to-{name} master {LAN}")
        with lab.inside(self.namespace):
            add_bridge("bridge0")
            lab.ip("link set dev uplink master bridge0")

    def start(self, vhost, incoming=False):
        """Start QEMU: with the guest, or waiting for it."""
        with lab.inside(self.namespace):
            tap = host.open_tap(self.cleanup, handover.TAP)
            handover.prepare_tap()
            lab.ip(f"link set dev {handover.TAP} master bridge0")
            self.machine = guests.Machine(self.cleanup, tap, vhost, incoming)
        self.qemu = self.machine.qemu
        self.qemu.command("migrate-set-capabilities", capabilities=[
            {"capability": "events", "state": True}])

    def expect(self, event, **data):
        """Wait for an event of QEMU; return when it happened, in ms."""
        return milliseconds(self.machine.expect(event, **data))


def milliseconds(event):
    """Return when an event happened."""
    moment = event["timestamp"]
    return 1000 * moment["seconds"] + moment["microseconds"] // 1000


def add_bridge(name):
    """Make a bridge."""
    lab.ip(f"link add name {name} type bridge")
    host.bring_up(name)


def add_pair(here, there, namespace):
    """Make a veth pair with one end in another namespace."""
    place = f"/proc/{os.getpid()}/fd/{namespace.fileno()}"
    lab.ip(f"link add name {here} type veth peer name {there} netns {place}")
    host.bring_up(here)
    with lab.inside(namespace):
        host.bring_up(there)


@contextlib.contextmanager
def guest_on_first(vhost):
    """Have two hosts, and a guest that runs on the first of them."""
    with contextlib.ExitStack() as cleanup:
        add_bridge(LAN)
        cleanup.callback(lab.ip, f"link del {LAN}")
        hosts = [Host(cleanup, name) for name in ADDRESSES]
        with lab.inside(hosts[0].namespace):
            add_pair("migration", "migration", hosts[1].namespace)
        for each in hosts:
            with lab.inside(each.namespace):
                lab.ip(f"address add {each.address}/24 dev migration")
        hosts[0].start(vhost)
        guest = guests.Guest(hosts[0].machine)
        # So that the network knows where it is
        guest.send(frames.NO_HEADER,
                   frames.marker(BROADCAST, frames.GUEST, 0))
        yield cleanup, guest, *hosts


# ---- the tests

def migrate(source_vhost, destination_vhost, runs):
    """Migrate so many times; return what became of the frames."""
    rows = []
    for _ in range(runs):
        with guest_on_first(source_vhost) as (
                cleanup, guest, source, destination):
            rows.append(migrate_once(cleanup, guest, source, destination,
                                     destination_vhost))
    for row in rows:
        if row["missed"] or row["damaged"] or row["blocks"] > MAY_BE_BLOCKS:
            raise lab.Trouble(f"{row}: none may be missed, and "
                              f"{MAY_BE_BLOCKS} block be out of order")
    return summary(rows, source_vhost, destination_vhost)


def migrate_once(cleanup, guest, source, destination, vhost):
    """Migrate under traffic, with a handover."""
    destination.start(vhost, incoming=True)
    steps, sender = prepare(cleanup, guest, source, destination)
    stopped = stop(steps, guest)
    before = len(guest.received[0])
    resumed = destination.expect("RESUME")
    guest.move(destination.machine)
    guest.run()
    steps.announce()
    steps.wait_until_quiet()
    forwarded = steps.forwarded()
    steps.remove()
    steps.remove_from_destination()
    source.expect("MIGRATION", status="completed")
    source.qemu.quit()
    return {"downtime ms": resumed - stopped, "forwarded": forwarded,
            **end_traffic(sender, guest, before)}


def cancel(vhost, runs):
    """Cancel a migration when frames have been forwarded already.

    The guest goes on where it was, and misses nothing.
    """
    rows = []
    with guest_on_first(vhost) as (cleanup, guest, source, destination):
        source.qemu.command("migrate-set-capabilities", capabilities=[
            {"capability": "pause-before-switchover", "state": True}])
        for _ in range(runs):
            rows.append(cancel_once(cleanup, guest, source, destination,
                                    vhost))
            guest.received[0].clear()
    for row in rows:
        if row["missed"] or row["damaged"] or row["twice"] or row["blocks"]:
            raise lab.Trouble(f"{row}: each frame is to come once, in order")
    return summary(rows, vhost, vhost)


def cancel_once(cleanup, guest, source, destination, vhost):
    """Begin a migration under traffic, with a handover, and cancel it."""
    destination.start(vhost, incoming=True)
    steps, sender = prepare(cleanup, guest, source, destination)
    stopped = stop(steps, guest)
    before = len(guest.received[0])
    source.expect("MIGRATION", status="pre-switchover")
    guests.wait_until(steps.forwarded, "a frame is forwarded")
    forwarded = steps.forwarded()
    steps.remove()
    source.qemu.command("migrate_cancel")
    resumed = source.expect("RESUME")
    guest.stay()
    guest.run()
    destination.qemu.process.wait(guests.SECONDS)
    return {"downtime ms": resumed - stopped, "forwarded": forwarded,
            **end_traffic(sender, guest, before)}


def prepare(cleanup, guest, source, destination):
    """Prepare a handover, and send for a while; return both.

    Traffic begins after that, so that the manual's count is right at once.
    """
    steps = handover.Handover(source, destination, guests.MAC)
    steps.prepare()
    guest.run()
    sender = traffic.Sender(cleanup, LAN, RATE, guest)
    while sender.sent() < BEFORE:
        steps.forget()
        time.sleep(LOOK_SECONDS)
    return steps, sender


def stop(steps, guest):
    """Migrate until the guest stops, then forward; return when it stopped."""
    guest.await_stop()
    steps.start_migration()
    deadline = time.monotonic() + guests.SECONDS
    qemu = steps.source.qemu
    while not (event := qemu.wait_for_event(LOOK_SECONDS, "STOP")):
        if time.monotonic() > deadline:
            raise lab.Trouble("the guest does not stop to migrate")
        steps.forget()
    steps.forward()
    guest.pause()
    guest.look()
    return milliseconds(event)


def end_traffic(sender, guest, before):
    """Send some more, then end; return what became of all that was sent.

    Which frames were missed is told from where the guest was before.
    """
    stops.wait_for_frames(sender, AFTER)
    sent = sender.end()
    verdict = stops.wait_for_the_last(guest, sent)
    return {"sent": sent, "missed": len(verdict.lost), "twice": verdict.twice,
            "blocks": verdict.blocks, "damaged": verdict.damaged,
            "which": [number - before for number in verdict.lost[:9]]}


def summary(rows, source_vhost, destination_vhost):
    """Return what became of several migrations, for a table."""
    result = {"vhost": " -> ".join("on" if vhost else "off" for vhost
                                   in (source_vhost, destination_vhost)),
              "runs": len(rows)}
    for heading in list(rows[0])[:-1]:
        values = sorted(row[heading] for row in rows)
        result[heading] = values[0] if values[0] == values[-1] else \
            f"{values[0]}-{values[-1]}"
    return result
