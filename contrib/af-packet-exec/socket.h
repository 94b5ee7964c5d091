/*
 * af-packet-exec: a packet socket as the user describes it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_SOCKET_H
#define AF_PACKET_EXEC_SOCKET_H

#include "filter.h"

typedef struct PacketSocket {
    int fd;             /* once it is open */
    int number;         /* the descriptor's number in the command, or -1 */
    char *ifname;       /* once it is set up, what the kernel calls it */
    bool receives;         /* protocol=all */
    Direction direction;
    bool promiscuous;
    unsigned int vnet_hdr_len;
    int rcvbuf, sndbuf; /* bytes, 0 for the system's default */
    char *filter;       /* pcap-filter(7), or NULL */
} PacketSocket;

/**
 * packet_socket_parse:
 * @text: what follows --socket
 * @errp: set when it is no good
 *
 * Returns: a socket to be opened, or NULL.
 */
PacketSocket *packet_socket_parse(const char *text, Error **errp);

/**
 * packet_socket_free:
 * @s: a socket, or NULL; if it is open, it stays so
 */
void packet_socket_free(PacketSocket *s);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PacketSocket, packet_socket_free)

/**
 * packet_socket_open:
 * @s: a socket
 * @errp: set when the caller may not
 *
 * Do what takes privileges, and nothing else: nothing is received yet.
 *
 * Returns: true on success.
 */
bool packet_socket_open(PacketSocket *s, Error **errp);

/**
 * packet_socket_set_up:
 * @s: a socket that is open
 * @only_allowed: be content only with interfaces that acl_allows()
 * @errp: set when the interface or the kernel does not let it be as described
 *
 * Do all the rest, without privileges.
 *
 * Returns: true on success.
 */
bool packet_socket_set_up(PacketSocket *s, bool only_allowed, Error **errp);

#endif
