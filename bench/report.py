# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmark prints and draws of its samples, and the targets."""

import collections
import os
import statistics
import time

import lab
from paths import CPUS, OUTPUT

BUSY = 0.05

Target = collections.namedtuple("Target", "path reference most")
TARGETS = [
    Target("capture-null", "recv", {"64": 0.5, "1514": 0.5}),
    Target("capture-null", "relay-null", {"64": 0.35, "1514": 0.35}),
    Target("capture-null.object", "recvmmsg", {"64": 1.2, "1514": 1.2}),
    Target("capture-unix.object", "recvmmsg-unix", {"64": 0.8, "1514": 0.8}),
    Target("capture-unix.object", "ring-unix", {"64": 0.8, "1514": 0.8}),
    Target("unix-inject.object", "unix-sendmmsg", {"64": 0.9, "1514": 0.9}),
    Target("unix-inject.object", "send", {"64": 1.15, "1514": 1.3}),
]


def spread(values, form="{:.0f}"):
    """Return median, minimum and maximum as text."""
    middle, low, high = (form.format(value) for value in (
        statistics.median(values), min(values), max(values)))
    return f"{middle} ({low}-{high})"


def busy_line():
    """Return a line that says so if others use the processors, in a list."""
    def spent():
        with open("/proc/stat", encoding="ascii") as stat:
            return [int(word) for word in stat.readline().split()[1:]]
    before = spent()
    time.sleep(1)
    ticks = [new - old for old, new in zip(before, spent())]
    busy = 1 - (ticks[3] + ticks[4]) / sum(ticks)
    return [f"THE MACHINE IS BUSY: {busy:.0%} of its processors' time is "
            "used by others", ""] if busy > BUSY else []


def table(paths, sizes, samples):
    """Return the lines of the table of costs, and of what was lost."""
    lines = ["CPU ns per frame: median (minimum-maximum) of "
             f"{len(next(iter(samples.values())))} runs, on "
             f"{len(CPUS)} CPUs, Linux {os.uname().release}",
             f"{'':21}" + "".join(f"{size:>25}" for size in sizes)]
    losses = []
    for path in paths:
        cells = []
        for size in sizes:
            runs = samples[path, size]
            lost = sum(run.sent - run.delivered for run in runs)
            cells.append(spread([run.cost for run in runs]) + "*" * (lost != 0))
            if lost:
                losses.append(f"* {path}, {size}: lost {lost} of "
                              f"{sum(run.sent for run in runs)} frames; the "
                              "cost is that of a frame delivered")
        lines.append(f"{path:21}" + "".join(f"{cell:>25}" for cell in cells))
    return lines + losses, losses


def ratios(sizes, samples):
    """Return the lines that compare paths, run by run, with the targets."""
    lines = []
    for target in TARGETS:
        for size in sizes:
            ours = samples.get((target.path, size))
            theirs = samples.get((target.reference, size))
            if ours and theirs:
                values = [a.cost / b.cost for a, b in zip(ours, theirs)]
                lines.append(
                    f"{target.path + ' / ' + target.reference:35} {size:>5}  "
                    + verdict(values, target.most.get(size), "{:.2f}"))
    return lines


def verdict(values, most, form):
    """Return a median's text, and whether it is at most what it should be."""
    text = f"{spread(values, form):24}"
    if most is None:
        return text.rstrip()
    passed = statistics.median(values) <= most
    return f"{text} target {form.format(most)}  {'pass' if passed else 'MISS'}"


CHART = """\
set terminal svg size 900,480 background rgb "white"
set output "{output}"
set title "CPU time per frame (logarithmic), median, minimum and maximum of {runs} runs"
set ylabel "ns"
set logscale y
set format y "%.0f"
set rmargin 9
set grid y
set style data histograms
set style histogram errorbars gap 2 linewidth 1
set style fill solid 0.7
set xtics rotate by -35 nomirror
set key top left horizontal
$costs << EOD
{rows}
EOD
plot {columns}
"""


def draw(paths, sizes, samples):
    """Draw the table as a chart, with gnuplot."""
    rows = []
    for path in paths:
        costs = [[run.cost for run in samples[path, size]] for size in sizes]
        rows.append(" ".join([path] + [
            f"{statistics.median(c)} {min(c)} {max(c)}" for c in costs]))
    columns = ", ".join(
        f"$costs using {3 * i + 2}:{3 * i + 3}:{3 * i + 4}:xtic(1) "
        f"title '{size}{' bytes' if size.isdigit() else ''}'"
        for i, size in enumerate(sizes))
    lab.run(["gnuplot"], input=CHART.format(
        output=OUTPUT / "chart.svg", runs=len(next(iter(samples.values()))),
        rows="\n".join(rows), columns=columns))
