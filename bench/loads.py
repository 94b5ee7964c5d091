# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured beside the cost of a frame in bursts.

One frame at a time; frames at a rate, on each path and up to the first loss; QEMU
that stands still for a while; many chardevs; and the monitor meanwhile.
"""

import contextlib
import io
import itertools
import pathlib
import signal
import statistics
import sys
import time

import lab
import linux_guest
from paths import (FIRST_CPU, OTHER_CPUS, SIZES, Capture, Inject, Null,
                   RelayCapture, RelayInject, Run, UnixSink, cpu_time, measure,
                   placed, settle)
from report import spread, verdict

PINGS = 1000
RATES = (20_000, 100_000, 300_000)
RATED_PATHS = ("recv", "capture-null", "capture-null.object",
               "recvmmsg-unix", "ring-unix", "capture-unix.object")
RATED_TARGETS = {
    ("capture-null", "recv"): 0.5,
    ("capture-unix.object", "recvmmsg-unix"): 0.8,
    ("capture-unix.object", "ring-unix"): 0.8,
}

# frames a second, of a size, while QEMU is stopped for so many ms
STALLS = ((81_000, "1514", 100), (300_000, "64", 25), (1_900, "GSO", 5))

LOSSLESS_SECONDS = 10
FIRST_RATE = 100_000
STEP = 1.25

PAIRS = (0, 1, 16, 50, 128)
EACH_RATE = 1000
SCALE_SECONDS = 4

GUEST_RATES = (10_000, 100_000)
GUEST_SECONDS = 5
TICK = "tick"
GUEST_INIT = f"""#!/bin/busybox sh
while :; do
    i=0
    while [ $i -lt 300 ]; do i=$((i + 1)); done
    echo {TICK}
done
""".encode()

COMMANDS = 500
FLOOD = 1_000_000


def say(text):
    """Tell on a terminal what goes on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


# ---- one frame at a time

LATENCIES = {
    "capture-inject": (Capture, Inject, "filters"),
    "capture-inject.object": (Capture, Inject, "object"),
    "capture-inject.iothread": (Capture, Inject, "iothread"),
    "relay-relay": (RelayCapture, RelayInject, "filters"),
}


def latency(make_source, make_sink, joint, part=1):
    """Return p50 and p99 of one frame at a time, in microseconds."""
    count = PINGS // part
    with contextlib.ExitStack() as cleanup:
        run = Run(cleanup, SIZES["64"], count)
        source, sink = make_source(run), make_sink(run)
        ping = run.helper(OTHER_CPUS, ["pings"], ["send", run.outlet("gen0")],
                          run.inlet("out0"))
        run.qemu(source, sink, joint)
        run.go(source, sink, ping)
        results = ping.results()
    if not results["p99"]:
        raise lab.Trouble(f"frame {results['passed']} of {count} did not "
                          "arrive")
    return results["p50"] / 1000, results["p99"] / 1000


def check(part):
    """See whether each frame arrives."""
    for way in LATENCIES.values():
        latency(*way, part)


def latency_lines(runs):
    """Measure latencies, interleaved; return lines about them."""
    results = {name: [] for name in LATENCIES}
    for _ in range(runs):
        for name, way in LATENCIES.items():
            say(f"latency: {name}")
            results[name].append(latency(*way))
    lines = ["Latency of one frame at a time, in us"]
    for index, percentile in enumerate(("p50", "p99")):
        series = {name: [pair[index] for pair in pairs]
                  for name, pairs in results.items()}
        theirs = series["relay-relay"]
        for name, ours in series.items():
            ratios = [a / b for a, b in zip(ours, theirs)]
            lines.append(f"{name:24} {percentile} {spread(ours, '{:.1f}'):24}"
                         + ("" if ours is theirs else " of relay-relay "
                            + verdict(ratios, 1, "{:.2f}")))
    return lines


# ---- at a rate

def rate_lines(runs):
    """Let frames come one by one; return lines about what they cost."""
    lines = ["Frames at a steady rate, for a second: CPU ns per frame"]
    for size, rate in itertools.product(("64", "1514"), RATES):
        samples = {path: [] for path in RATED_PATHS}
        for _ in range(runs):
            for path, taken in samples.items():
                say(f"{path}, {size}, {rate} frames/s")
                taken.append(measure(path, size, rate=rate))
        lines.append(f"{size} bytes, {rate}/s")
        lines += [rated(path, taken) for path, taken in samples.items()]
        lines += [compared(ours, theirs, samples)
                  for ours, theirs in RATED_TARGETS]
    return lines


def rated(path, samples):
    """Return a line about what a path's frames cost."""
    lost = sum(sample.sent - sample.delivered for sample in samples)
    return (f"  {path:21} {spread([sample.cost for sample in samples])}"
            + (f"  lost {lost}" if lost else ""))


def compared(ours, theirs, samples):
    """Return a line that compares two paths, run by run."""
    pairs = zip(samples[ours], samples[theirs])
    return (f"  {ours + ' / ' + theirs:35} "
            + verdict([a.cost / b.cost for a, b in pairs],
                      RATED_TARGETS[ours, theirs], "{:.2f}"))


# ---- up to the first loss

def lost_by_qemu(run):
    """Return how many frames were lost before packet-relay in an iothread."""
    source, sink = Capture(run), UnixSink(run)
    feeder = run.frames()
    qemu = run.qemu(source, sink, "iothread")
    run.go(source, sink, feeder)
    sent = feeder.passed()
    settle(lambda: qemu.statistics("source")["frames"], sent)
    return qemu.statistics("source")["dropped-kernel"]


def lost_by_relay(source):
    """Return what tells how many frames were lost before a relay."""
    def lost(run):
        inlet = run.inlet()
        ours, theirs = run.stream()
        relay = run.measured_helper(FIRST_CPU, [source, inlet],
                                    ["records", ours])
        reader = run.peer(["records", theirs], ["check"])
        feeder = run.frames()
        run.go(relay, reader, feeder)
        feeder.passed()
        return lab.packet_statistics(inlet)[1]
    return lost


LOSSES = {
    "capture-unix.iothread": lost_by_qemu,
    "ring-unix": lost_by_relay("ring2"),
    "recvmmsg-unix": lost_by_relay("recvmmsg"),
}


def highest_rate(count_lost):
    """Return the last rate before one at which frames are lost, or 0."""
    rate, passed = FIRST_RATE, 0
    while True:
        with contextlib.ExitStack() as cleanup:
            run = Run(cleanup, SIZES["64"], rate * LOSSLESS_SECONDS, rate)
            began = time.monotonic()
            lost = count_lost(run)
            took = time.monotonic() - began
        if lost or took > LOSSLESS_SECONDS * STEP:
            return passed
        rate, passed = int(rate * STEP), rate


def highest_rate_lines(_):
    """Return lines about the highest rates without a loss."""
    lines = [f"Highest rate of 64-byte frames without a loss for "
             f"{LOSSLESS_SECONDS} s, the process and its reader on one CPU"]
    rates = {}
    for name, count_lost in LOSSES.items():
        say(f"highest rate: {name}")
        rates[name] = highest_rate(count_lost)
        lines.append(f"{name:24} {rates[name]}/s")
    ours, *theirs = rates.values()
    return lines + ["the better relay / capture-unix.iothread  "
                    + verdict([max(theirs) / ours], 1, "{:.2f}")]


# ---- QEMU stands still

def stall(rate, size, milliseconds):
    """Stop QEMU while frames come; return how many were lost, and sent."""
    count = rate * milliseconds // 1000
    with contextlib.ExitStack() as cleanup:
        run = Run(cleanup, SIZES[size], count, rate)
        source = Capture(run)
        feeder = run.frames()
        qemu = run.qemu(source, Null(run))
        qemu.process.send_signal(signal.SIGSTOP)
        feeder.go()
        sent = feeder.passed()
        qemu.process.send_signal(signal.SIGCONT)
        return sent - source.taken(qemu, sent), sent


def stall_lines(runs):
    """Let QEMU stand still; return lines about what it lost."""
    lines = ["Frames lost while QEMU is stopped"]
    for rate, size, milliseconds in STALLS:
        say(f"stalls: {size}")
        lost, sent = zip(*(stall(rate, size, milliseconds)
                           for _ in range(runs)))
        lines.append(f"{size:>5} {rate:>7}/s for {milliseconds:>3} ms, of "
                     f"{sent[0]:>5}: " + verdict(lost, 0, "{:.0f}"))
    return lines


# ---- many chardevs

def wakeups(pid):
    """Return how often a process's threads have slept."""
    return sum(int(line.split()[1])
               for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status")
               for line in status.read_text().splitlines()
               if line.startswith("voluntary_ctxt_switches"))


def free_memory():
    """Return what memory the kernel can still give, in MiB."""
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        return next(int(line.split()[1]) / 1024 for line in meminfo
                    if line.startswith("MemAvailable"))


def many_options(run, count):
    """Return options of so many pairs of chardevs, and their sockets."""
    options, sockets = [], []
    for i in range(count):
        for name, mode, opened in (("in", "capture", run.inlet("cap0", False)),
                                   ("out", "inject", run.outlet("inj0"))):
            options.append(lab.chardev(f"{name}{i}", opened, mode))
            sockets.append(opened)
        options.append(f"-object packet-relay,id=relay{i},indev=in{i},"
                       f"outdev=out{i}")
    return options, sockets


def observe(pid):
    """Return a process's CPU time in percent, and its wakeups a second."""
    before, slept = cpu_time(pid), wakeups(pid)
    time.sleep(SCALE_SECONDS)
    return ((cpu_time(pid) - before) / SCALE_SECONDS / 1e7,
            (wakeups(pid) - slept) / SCALE_SECONDS)


def scale(count):
    """Return memory, and CPU and wakeups, idle and under load."""
    with contextlib.ExitStack() as cleanup:
        run = Run(cleanup, SIZES["64"], EACH_RATE * (SCALE_SECONDS + 2),
                  EACH_RATE)
        feeder = run.frames()
        free = free_memory()
        options, sockets = many_options(run, count)
        with contextlib.redirect_stdout(io.StringIO()):
            qemu = lab.Qemu(cleanup, [
                "-machine none -nodefaults -no-user-config -display none",
                *options], sockets, privileged=True)
        time.sleep(1)
        memory = free - free_memory()
        idle = observe(qemu.process.pid)
        feeder.go()
        time.sleep(1)
        busy = observe(qemu.process.pid)
        feeder.passed()
    return memory, *idle, *busy


def scale_lines(_):
    """Return lines about many chardevs."""
    lines = ["Pairs of a capture and an inject chardev with packet-relay; idle, "
             f"and with {EACH_RATE} frames/s each"]
    none = None
    for count in PAIRS:
        say(f"{count} pairs")
        memory, cpu, slept, busy_cpu, busy_slept = scale(count)
        if none is None:
            none = memory
        each = f"{(memory - none) / count:.1f} MiB each, " if count else ""
        lines.append(f"{count:>4}: {each}idle {cpu:.2f} % and {slept:.1f} "
                     f"wakeups/s, busy {busy_cpu:.1f} % and "
                     f"{busy_slept:.0f} wakeups/s")
        if 2 * count == 100:
            lines += ["  idle, wakeups/s " + verdict([slept], 5, "{:.1f}"),
                      "  idle, CPU in %  " + verdict([cpu], 0.1, "{:.2f}")]
    return lines


# ---- the monitor under load

def answer_times(joint):
    """Return how long query-status takes under a flood, in us."""
    times = []
    with contextlib.ExitStack() as cleanup:
        run = Run(cleanup, SIZES["64"], FLOOD, rate=FLOOD)
        source, sink = Capture(run), UnixSink(run)
        feeder = run.frames()
        qemu = run.qemu(source, sink, joint)
        run.go(source, sink, feeder)
        for _ in range(COMMANDS):
            began = time.monotonic_ns()
            qemu.command("query-status")
            times.append((time.monotonic_ns() - began) / 1000)
        feeder.passed()
    return times


def monitor_lines(_):
    """Return lines about how long the monitor's answers take."""
    lines = ["query-status while frames of 64 bytes come as fast as can be, us"]
    for joint in ("filters", "object", "iothread"):
        say(f"monitor: {joint}")
        times = answer_times(joint)
        cuts = statistics.quantiles(times, n=100)
        lines.append(f"capture-unix, {joint:9} p50 {cuts[49]:.0f}  p99 "
                     f"{cuts[98]:.0f}  longest {max(times):.0f}")
    return lines


# ---- a guest of the same QEMU

def guest_ticks(joint, rate):
    """Return how many rounds a guest's shell counts while frames are captured.

    Without a joint they are not captured.  QEMU has one CPU for all it does.
    """
    with contextlib.ExitStack() as cleanup:
        run = Run(cleanup, SIZES["64"], rate * (GUEST_SECONDS + 2), rate)
        folder = lab.folder(cleanup, "bench.")
        console = folder / "console"
        kernel = linux_guest.find_kernel()
        initrd = linux_guest.make_initramfs(folder, kernel,
                                            {"init": GUEST_INIT})
        options = linux_guest.boot_options(kernel, initrd, console, 256)
        ends = []
        if joint:
            ends = [Capture(run), UnixSink(run)]
            options += [*(end.chardev for end in ends),
                        *run.relay_object(joint == "iothread")]
        feeder = run.frames()
        with placed(FIRST_CPU, 0), contextlib.redirect_stdout(io.StringIO()):
            qemu = lab.Qemu(cleanup, options, [end.socket for end in ends],
                            privileged=True)
        linux_guest.wait_for(qemu, console, TICK)
        run.go(*ends, feeder)
        time.sleep(1)
        before = linux_guest.read(console).count(TICK)
        time.sleep(GUEST_SECONDS)
        after = linux_guest.read(console).count(TICK)
        feeder.passed()
    return after - before


def guest_lines(runs):
    """Return lines about what a busy capture takes from a guest."""
    lines = ["What a guest on the same CPU computes while frames of 64 bytes are "
             "captured to a unix socket, of what it does without"]
    for rate in GUEST_RATES:
        ticks = {joint: [] for joint in (None, "object", "iothread")}
        for _ in range(runs):
            for joint, counted in ticks.items():
                say(f"guest: {joint}, {rate} frames/s")
                counted.append(guest_ticks(joint, rate))
        without = ticks.pop(None)
        for joint, counted in ticks.items():
            ratios = [a / b for a, b in zip(counted, without)]
            lines.append(f"{rate:>7}/s {joint:9} {spread(ratios, '{:.2f}')}")
    return lines


LOADS = {
    "latency": latency_lines,
    "rates": rate_lines,
    "highest": highest_rate_lines,
    "stalls": stall_lines,
    "scale": scale_lines,
    "monitor": monitor_lines,
    "guest": guest_lines,
}
