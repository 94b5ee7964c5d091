/*
 * af-packet-exec: pcap-filter(7) expressions, compiled within limits
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_COMPILE_H
#define AF_PACKET_EXEC_COMPILE_H

/**
 * compile_filter:
 * @expression: a pcap-filter(7) expression for Ethernet frames
 * @program: an array of struct sock_filter to append the compiled expression
 *           to; at most one instruction more than the kernel accepts
 * @errp: set if the expression is invalid, if this program was built without
 *        libpcap, or if compiling takes too much CPU time or memory
 *
 * Returns: true on success.
 */
bool compile_filter(const char *expression, GArray *program, Error **errp);

#endif
