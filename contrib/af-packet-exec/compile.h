/*
 * af-packet-exec: pcap-filter(7) expressions, compiled within limits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_COMPILE_H
#define AF_PACKET_EXEC_COMPILE_H

/**
 * compile_filter:
 * @expression: as in pcap-filter(7), about Ethernet frames
 * @program: of struct sock_filter; where to append what it compiles to, of
 *           which there may be one instruction more than the kernel takes, but
 *           not more than that
 * @errp: set when the expression or this build of the program is no good, or
 *        compiling takes too much processor time or memory
 *
 * Returns: true on success.
 */
bool compile_filter(const char *expression, GArray *program, Error **errp);

#endif
