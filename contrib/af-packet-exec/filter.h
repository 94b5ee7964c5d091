/*
 * af-packet-exec: the filter that a packet socket is given
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_FILTER_H
#define AF_PACKET_EXEC_FILTER_H

/**
 * filter_attach:
 * @fd: a packet socket
 * @only_outgoing: let through only what this host sends
 * @expression: let through only what this pcap-filter(7) expression matches,
 *              or NULL
 * @errp: set when the expression or this build of the program is no good, or
 *        the kernel refuses the filter
 *
 * With neither condition, the socket gets no filter.
 *
 * Returns: true on success.
 */
bool filter_attach(int fd, bool only_outgoing, const char *expression,
                   Error **errp);

#endif
