# SPDX-License-Identifier: GPL-2.0-or-later
"""What the order of arrival says of numbered frames or datagrams."""


def disorder(numbers):
    """Return how many numbers came after a higher one, and in how many blocks.

    A block is a stretch of arrivals that would be in order if only it were
    sorted.  Of a number that came twice, the first one counts.
    """
    order = list(dict.fromkeys(numbers))
    rank = {number: place for place, number in enumerate(sorted(order))}
    reordered = blocks = 0
    highest, within = -1, False
    for place, number in enumerate(order):
        reordered += rank[number] < highest
        highest = max(highest, rank[number])
        blocks += highest > place and not within
        within = highest > place
    return reordered, blocks
