/*
 * af-packet-exec: the filter of a packet socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_FILTER_H
#define AF_PACKET_EXEC_FILTER_H

typedef enum Direction {
    DIRECTION_BOTH,
    DIRECTION_IN,       /* frames that arrive on the interface */
    DIRECTION_OUT,      /* frames that this host sends on it */
} Direction;

/**
 * filter_attach_nothing:
 * @fd: a packet socket
 * @errp: set if the kernel rejects the filter
 *
 * Reject all frames, permanently.
 *
 * Returns: true on success.
 */
bool filter_attach_nothing(int fd, Error **errp);

/**
 * filter_attach:
 * @fd: a packet socket
 * @ifindex: accept only frames on this interface
 * @direction: accept only frames in this direction
 * @expression: accept only frames that match this pcap-filter(7) expression,
 *              or NULL
 * @errp: set if the expression is invalid, if this program was built without
 *        libpcap, or if the kernel rejects the filter
 *
 * The filter is locked: it can be neither removed nor replaced.
 *
 * Returns: true on success.
 */
bool filter_attach(int fd, int ifindex, Direction direction,
                   const char *expression, Error **errp);

#endif
