/*
 * af-packet-exec: packet sockets as described by --socket options
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_SOCKET_H
#define AF_PACKET_EXEC_SOCKET_H

#include "filter.h"

typedef struct PacketSocket {
    int fd;             /* -1 until it is open */
    int number;         /* the descriptor's number in the command, or -1 */
    char *ifname;       /* the kernel's name after packet_socket_set_up() */
    bool receives;         /* protocol=all */
    Direction direction;
    bool promiscuous;
    unsigned int vnet_hdr_len;
    int rcvbuf, sndbuf; /* bytes, 0 for the system's default */
    char *filter;       /* pcap-filter(7), or NULL */
} PacketSocket;

/**
 * packet_socket_parse:
 * @text: the argument of --socket
 * @errp: set if it is invalid
 *
 * Returns: a socket that is not open yet, or NULL.
 */
PacketSocket *packet_socket_parse(const char *text, Error **errp);

/**
 * packet_socket_free:
 * @s: a socket, or NULL; its file descriptor stays open
 */
void packet_socket_free(PacketSocket *s);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(PacketSocket, packet_socket_free)

/**
 * packet_socket_open:
 * @s: a socket that is not open yet
 * @errp: set if the socket can't be opened
 *
 * Perform only the steps that require privileges; the socket does not receive
 * anything yet.
 *
 * Returns: true on success.
 */
bool packet_socket_open(PacketSocket *s, Error **errp);

/**
 * packet_socket_set_up:
 * @s: an open socket
 * @only_allowed: refuse interfaces unless acl_allows() them
 * @errp: set if the socket can't be set up as described
 *
 * Perform all other steps, which do not require privileges.
 *
 * Returns: true on success.
 */
bool packet_socket_set_up(PacketSocket *s, bool only_allowed, Error **errp);

#endif
