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
import socket

import frames
import guest as guests
import handover
import host
import lab
import numbered
import stops
import traffic

LAN = "lan"
ADDRESSES = {"a": "10.80.0.1", "b": "10.80.0.2"}
BROADCAST = b"\xff" * 6
RATE = 2500 // host.SLOWNESS
BEFORE, AFTER = 250, 250    # frames

CAPTURED_BYTES = 16 << 20   # in the queue of a socket that hears all of them

# Stretches of frames that are not in order: when the network learns where the
# guest is now, some are still on their way by the source
MAY_BE_BLOCKS = 1


class Host:
    """A network namespace with a bridge; and the guest's tap, once it runs."""

    def __init__(self, cleanup, name, pairs):
        self.cleanup, self.address = cleanup, ADDRESSES[name]
        self.pairs = pairs
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
            tap = host.open_tap(self.cleanup, handover.TAP, self.pairs)
            lab.ip(f"link set dev {handover.TAP} master bridge0")
            self.heard = hear(self.cleanup, handover.TAP)
            self.machine = guests.Machine(self.cleanup, tap, vhost, incoming)
        self.qemu = self.machine.qemu
        self.qemu.command("migrate-set-capabilities", capabilities=[
            {"capability": "events", "state": True}])

    def expect(self, event, **data):
        """Wait for an event of QEMU; return when it happened, in ms."""
        return milliseconds(self.machine.expect(event, **data))


def hear(cleanup, tap):
    """Return a socket that hears what is sent to a tap."""
    heard = lab.packet_socket(cleanup)
    heard.setsockopt(socket.SOL_SOCKET, lab.SO_RCVBUFFORCE, CAPTURED_BYTES)
    heard.bind((tap, lab.ETH_P_ALL))
    heard.setblocking(False)
    return heard


def numbers_heard(heard):
    """Return the numbers of the frames that were sent to a tap."""
    numbers = set()
    with contextlib.suppress(BlockingIOError):
        while True:
            frame = heard.recv(numbered.LENGTH)
            if numbered.is_numbered(frame):
                numbers.add(numbered.number_of(frame))
    return numbers


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
def guest_on_first(vhost, pairs):
    """Have two hosts, and a guest that runs on the first of them."""
    with contextlib.ExitStack() as cleanup:
        add_bridge(LAN)
        cleanup.callback(lab.ip, f"link del {LAN}")
        hosts = [Host(cleanup, name, pairs) for name in ADDRESSES]
        with lab.inside(hosts[0].namespace):
            add_pair("migration", "migration", hosts[1].namespace)
        for each in hosts:
            with lab.inside(each.namespace):
                lab.ip(f"address add {each.address}/24 dev migration")
        hosts[0].start(vhost)
        guest = guests.Guest(hosts[0].machine, pairs)
        # So that the network knows where it is
        guest.send(frames.NO_HEADER,
                   frames.marker(BROADCAST, frames.GUEST, 0))
        yield cleanup, guest, *hosts


# ---- the tests

def migrate(source_vhost, destination_vhost, pairs, full, runs):
    """Migrate so many times; return what became of the frames.

    `full` is a guest that has no room when it is stopped.
    """
    rows = []
    for run in range(runs):
        with guest_on_first(source_vhost, pairs) as (
                cleanup, guest, source, destination):
            # By turns, as it makes the migration complete before the guest
            # runs at the destination, or after that
            set_capability(source, "return-path", run % 2)
            rows.append(migrate_once(cleanup, guest, source, destination,
                                     destination_vhost, full))
    for row in rows:
        if row["missed"] or row["damaged"] or row["twice"] or \
                row["blocks"] > MAY_BE_BLOCKS * pairs:
            raise lab.Trouble(f"{row}: none may be missed or come twice, and "
                              f"{MAY_BE_BLOCKS} block be out of order")
    return summary(rows, source_vhost, destination_vhost, pairs, full)


def set_capability(machine, name, state):
    """Set a capability of a migration."""
    machine.qemu.command("migrate-set-capabilities", capabilities=[
        {"capability": name, "state": bool(state)}])


def migrate_once(cleanup, guest, source, destination, vhost, full):
    """Migrate under traffic, with a handover."""
    destination.start(vhost, incoming=True)
    steps, sender = prepare(cleanup, guest, source, destination)
    stopped = stop(steps, guest, sender, full)
    before = sum(map(len, guest.received))
    resumed = destination.expect("RESUME")
    guest.move(destination.machine)
    guest.run()
    done = destination.expect("NETDEV_TAKEOVER_DONE", complete=True)
    steps.flood()
    source.expect("MIGRATION", status="completed")
    result = end_traffic(sender, guest, before, [source, destination])
    forwarded = steps.statistics(source)["frames"]
    steps.remove()
    steps.remove_from_destination()
    source.qemu.quit()
    destination.qemu.quit()
    return {"downtime ms": resumed - stopped, "announced ms": done - stopped,
            "forwarded": forwarded, **result}


def cancel(vhost, pairs, runs):
    """Cancel a migration when the guest has stopped already.

    The guest goes on where it was, and misses nothing.
    """
    rows = []
    with guest_on_first(vhost, pairs) as (
            cleanup, guest, source, destination):
        set_capability(source, "pause-before-switchover", True)
        for _ in range(runs):
            rows.append(cancel_once(cleanup, guest, source, destination,
                                    vhost))
            for received in guest.received:
                received.clear()
    for row in rows:
        if row["missed"] or row["damaged"] or row["twice"] or row["blocks"]:
            raise lab.Trouble(f"{row}: each frame is to come once, in order")
    return summary(rows, vhost, vhost, pairs, False)


def cancel_once(cleanup, guest, source, destination, vhost):
    """Begin a migration under traffic, with a handover, and cancel it."""
    destination.start(vhost, incoming=True)
    steps, sender = prepare(cleanup, guest, source, destination)
    stopped = stop(steps, guest, sender, False)
    before = sum(map(len, guest.received))
    source.expect("MIGRATION", status="pre-switchover")
    stops.wait_for_frames(sender, stops.MEANWHILE)
    source.qemu.command("migrate_cancel")
    resumed = source.expect("RESUME")
    guest.stay()
    guest.run()
    destination.qemu.process.wait(guests.SECONDS)
    result = end_traffic(sender, guest, before, [source])
    forwarded = steps.statistics(source)["frames"]
    steps.remove()
    return {"downtime ms": resumed - stopped, "forwarded": forwarded,
            **result}


def prepare(cleanup, guest, source, destination):
    """Prepare a handover, and send for a while; return both."""
    steps = handover.Handover(source, destination)
    steps.prepare()
    guest.run()
    sender = traffic.Sender(cleanup, LAN, RATE, guest)
    stops.wait_for_frames(sender, BEFORE)
    return steps, sender


def stop(steps, guest, sender, full):
    """Migrate until the guest stops; return when it did.

    If that is wanted, its rings are full by then.
    """
    if full:
        guest.pause()
        guests.wait_until(lambda: guest.full_queues() == len(guest.rx),
                          "the rings are full")
        stops.wait_for_frames(sender, stops.MEANWHILE)
    guest.await_stop()
    steps.start_migration()
    stopped = steps.source.expect("STOP")
    if not full:
        guest.pause()
    guest.look()
    return stopped


def end_traffic(sender, guest, before, hosts):
    """Send some more, then end; return what became of all that was sent.

    A frame that came to neither tap was lost in the network: a bridge drops
    what is still on its way by the source when it learns where the guest is
    now.  Which frames were missed is told from where the guest was before.
    """
    stops.wait_for_frames(sender, AFTER)
    sent = sender.end()
    verdict = stops.wait_for_the_last(guest, sent)
    in_taps = set().union(*(numbers_heard(each.heard) for each in hosts))
    missed = [number for number in verdict.lost if number in in_taps]
    return {"sent": sent, "in no tap": len(verdict.lost) - len(missed),
            "missed": len(missed), "twice": verdict.twice,
            "blocks": verdict.blocks, "damaged": verdict.damaged,
            "which": [number - before for number in missed[:9]]}


def summary(rows, source_vhost, destination_vhost, pairs, full):
    """Return what became of several migrations, for a table."""
    result = {"vhost": " -> ".join("on" if vhost else "off" for vhost
                                   in (source_vhost, destination_vhost)),
              "queues": pairs, "guest": "full rings" if full else "with room",
              "runs": len(rows)}
    for heading in list(rows[0])[:-1]:
        values = sorted(row[heading] for row in rows)
        result[heading] = values[0] if values[0] == values[-1] else \
            f"{values[0]}-{values[-1]}"
    return result
