# SPDX-License-Identifier: GPL-2.0-or-later
"""Tables, of dicts that have the same keys."""


def show(rows):
    """Print rows below their headings."""
    lines = [list(rows[0])] + [list(map(str, row.values())) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        print("  " + "  ".join(text.rjust(width)
                               for text, width in zip(line, widths)))
