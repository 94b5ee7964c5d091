# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that migrates under traffic, with a handover as the manual says.

    clients:   bridge lan0 ====== to-a0, to-b0
                                   ||     ||
    host a:    uplink0 == bridge0 == tap0 == QEMU    10.80.0.1
    host b:    uplink0 == bridge0 == tap0 == QEMU    10.80.0.2

Each host is a network namespace.  A guest with a second card has the same once
more, with a 1 in its names.  Clients send the guest numbered frames;
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

ADDRESSES = {"a": "10.80.0.1", "b": "10.80.0.2"}
BROADCAST = b"\xff" * 6
RATE = 2500 // host.SLOWNESS
BEFORE, AFTER = 250, 250    # frames

CAPTURED_BYTES = 16 << 20   # in the queue of a socket that hears all of them

# Stretches of frames that are not in order: when the network learns where the
# guest is now, some are still on their way by the source
MAY_BE_BLOCKS = 1


class Host:
    """A network namespace with bridges; and the guest's taps, once it runs."""

    def __init__(self, cleanup, name, pairs, cards):
        self.cleanup, self.address = cleanup, ADDRESSES[name]
        self.pairs, self.cards = pairs, cards
        self.namespace = lab.new_namespace(cleanup)
        self.machine = self.qemu = None
        for card in range(cards):
            add_pair(f"to-{name}{card}", f"uplink{card}", self.namespace)
            cleanup.callback(lab.ip, f"link del to-{name}{card}")
            lab.ip(f"link set dev to-{name}{card} master lan{card}")
            with lab.inside(self.namespace):
                add_bridge(f"bridge{card}")
                lab.ip(f"link set dev uplink{card} master bridge{card}")

    def start(self, vhost, incoming=False):
        """Start QEMU: with the guest, or waiting for it."""
        names = [f"tap{card}" for card in range(self.cards)]
        with lab.inside(self.namespace):
            taps = [host.open_tap(self.cleanup, name, self.pairs)
                    for name in names]
            for card, name in enumerate(names):
                lab.ip(f"link set dev {name} master bridge{card}")
            self.heard = [hear(self.cleanup, name) for name in names]
            self.machine = guests.Machine(self.cleanup, taps, vhost, incoming)
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
def guest_on_first(vhost, pairs, cards=1):
    """Have two hosts, and a guest that runs on the first of them.

    Yield a driver for each of its cards.
    """
    with contextlib.ExitStack() as cleanup:
        for card in range(cards):
            add_bridge(f"lan{card}")
            cleanup.callback(lab.ip, f"link del lan{card}")
        hosts = [Host(cleanup, name, pairs, cards) for name in ADDRESSES]
        with lab.inside(hosts[0].namespace):
            add_pair("migration", "migration", hosts[1].namespace)
        for each in hosts:
            with lab.inside(each.namespace):
                lab.ip(f"address add {each.address}/24 dev migration")
        hosts[0].start(vhost)
        drivers = [guests.Guest(hosts[0].machine, pairs, number=card)
                   for card in range(cards)]
        for guest in drivers:
            # So that the network knows where it is
            guest.send(frames.NO_HEADER,
                       frames.marker(BROADCAST, frames.GUEST, 0))
        yield cleanup, drivers, *hosts


class Traffic:
    """What a client sends to a card of the guest, and the card's handover."""

    def __init__(self, cleanup, guest, source, destination):
        self.guest, self.card = guest, guest.card.number
        self.steps = handover.Handover(source, destination,
                                       is_second=self.card > 0)
        self.steps.prepare()
        guest.run()
        self.sender = traffic.Sender(cleanup, f"lan{self.card}", RATE, guest)
        self.before = 0     # frames that it had received when it was stopped

    def end(self, hosts):
        """Send some more, then end; return what became of all that was sent.

        A frame that came to neither tap was lost in the network: a bridge
        drops what is still on its way by the source when it learns where the
        guest is now.  Which frames were missed is told from where the guest
        was before.
        """
        stops.wait_for_frames(self.sender, AFTER)
        sent = self.sender.end()
        verdict = stops.wait_for_the_last(self.guest, sent)
        in_taps = set().union(*(numbers_heard(each.heard[self.card])
                                for each in hosts))
        missed = [number for number in verdict.lost if number in in_taps]
        return {"forwarded": self.steps.statistics(hosts[0])["frames"],
                "sent": sent, "in no tap": len(verdict.lost) - len(missed),
                "missed": len(missed), "twice": verdict.twice,
                "blocks": verdict.blocks, "damaged": verdict.damaged,
                "which": [number - self.before for number in missed[:9]]}


# ---- the tests

def migrate(source_vhost, destination_vhost, pairs, full, runs, cards=1):
    """Migrate so many times; return what became of the frames.

    `full` is a guest that has no room when it is stopped.
    """
    rows = []
    for run in range(runs):
        with guest_on_first(source_vhost, pairs, cards) as (
                cleanup, drivers, source, destination):
            # By turns, as it makes the migration complete before the guest
            # runs at the destination, or after that
            set_capability(source, "return-path", run % 2)
            rows += migrate_once(cleanup, drivers, source, destination,
                                 destination_vhost, full)
    for row in rows:
        if row["missed"] or row["damaged"] or row["twice"] or \
                row["blocks"] > MAY_BE_BLOCKS * pairs:
            raise lab.Trouble(f"{row}: none may be missed or come twice, and "
                              f"{MAY_BE_BLOCKS} block be out of order")
    return summary(rows, source_vhost, destination_vhost, cards, pairs, full)


def set_capability(machine, name, state):
    """Set a capability of a migration."""
    machine.qemu.command("migrate-set-capabilities", capabilities=[
        {"capability": name, "state": bool(state)}])


def migrate_once(cleanup, drivers, source, destination, vhost, full):
    """Migrate under traffic, with a handover; return a row for each card."""
    destination.start(vhost, incoming=True)
    flows = start_traffic(cleanup, drivers, source, destination)
    stopped = stop(source, flows, full)
    resumed = destination.expect("RESUME")
    for guest in drivers:
        guest.move(destination.machine)
        guest.run()
    announced = {}
    while len(announced) < len(flows):
        done = destination.machine.expect("NETDEV_TAKEOVER_DONE",
                                          complete=True)
        flow, = (flow for flow in flows
                 if flow.steps.name == done["data"]["id"])
        announced[flow.card] = milliseconds(done)
        flow.steps.flood()
    source.expect("MIGRATION", status="completed")
    rows = [{"downtime ms": resumed - stopped,
             "announced ms": announced[flow.card] - stopped,
             **flow.end([source, destination])} for flow in flows]
    for flow in flows:
        flow.steps.remove()
        flow.steps.remove_from_destination()
    source.qemu.quit()
    destination.qemu.quit()
    return rows


def cancel(vhost, pairs, runs):
    """Cancel a migration when the guest has stopped already.

    The guest goes on where it was, and misses nothing.
    """
    rows = []
    with guest_on_first(vhost, pairs) as (
            cleanup, drivers, source, destination):
        set_capability(source, "pause-before-switchover", True)
        for _ in range(runs):
            rows.append(cancel_once(cleanup, drivers, source, destination,
                                    vhost))
            for received in drivers[0].received:
                received.clear()
    for row in rows:
        if row["missed"] or row["damaged"] or row["twice"] or row["blocks"]:
            raise lab.Trouble(f"{row}: each frame is to come once, in order")
    return summary(rows, vhost, vhost, 1, pairs, False)


def cancel_once(cleanup, drivers, source, destination, vhost):
    """Begin a migration under traffic, with a handover, and cancel it."""
    destination.start(vhost, incoming=True)
    flow, = start_traffic(cleanup, drivers, source, destination)
    stopped = stop(source, [flow], False)
    source.expect("MIGRATION", status="pre-switchover")
    stops.wait_for_frames(flow.sender, stops.MEANWHILE)
    source.qemu.command("migrate_cancel")
    resumed = source.expect("RESUME")
    flow.guest.stay()
    flow.guest.run()
    destination.qemu.process.wait(guests.SECONDS)
    row = {"downtime ms": resumed - stopped, **flow.end([source])}
    flow.steps.remove()
    return row


def start_traffic(cleanup, drivers, source, destination):
    """Prepare handovers, and send for a while; return the traffic."""
    flows = [Traffic(cleanup, guest, source, destination)
             for guest in reversed(drivers)]
    for flow in flows:
        stops.wait_for_frames(flow.sender, BEFORE)
    return flows


def stop(source, flows, full):
    """Migrate until the guest stops; return when it did.

    If that is wanted, its rings are full by then.
    """
    for flow in flows:
        if full:
            flow.guest.pause()
            stops.wait_for_full_rings(flow.guest, flow.sender)
        flow.guest.await_stop()
    flows[-1].steps.start_migration()
    stopped = source.expect("STOP")
    for flow in flows:
        if not full:
            flow.guest.pause()
        flow.guest.look()
        flow.before = sum(map(len, flow.guest.received))
    return stopped


def summary(rows, source_vhost, destination_vhost, cards, pairs, full):
    """Return what became of several migrations, for a table."""
    result = {"vhost": " -> ".join("on" if vhost else "off" for vhost
                                   in (source_vhost, destination_vhost)),
              "cards": cards, "queues": pairs, "guest": "full rings" if full else "with room",
              "runs": len(rows) // cards}
    for heading in list(rows[0])[:-1]:
        values = sorted(row[heading] for row in rows)
        result[heading] = values[0] if values[0] == values[-1] else \
            f"{values[0]}-{values[-1]}"
    return result
