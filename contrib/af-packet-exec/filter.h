/*
 * af-packet-exec: the filter that a packet socket is given
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_FILTER_H
#define AF_PACKET_EXEC_FILTER_H

typedef enum Direction {
    DIRECTION_BOTH,
    DIRECTION_IN,       /* what arrives at the interface */
    DIRECTION_OUT,      /* what this host sends out of it */
} Direction;

/**
 * filter_attach_nothing:
 * @fd: a packet socket
 * @errp: set when the kernel refuses the filter
 *
 * Let nothing through, for good.
 *
 * Returns: true on success.
 */
bool filter_attach_nothing(int fd, Error **errp);

/**
 * filter_attach:
 * @fd: a packet socket
 * @ifindex: let through only what passes this interface
 * @direction: let through only what goes this way
 * @expression: let through only what this pcap-filter(7) expression matches,
 *              or NULL
 * @errp: set when the expression or this build of the program is no good, or
 *        the kernel refuses the filter
 *
 * Nobody can take the filter away or put another in its place.
 *
 * Returns: true on success.
 */
bool filter_attach(int fd, int ifindex, Direction direction,
                   const char *expression, Error **errp);

#endif
