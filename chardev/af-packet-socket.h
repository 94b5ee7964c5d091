/*
 * System calls on AF_PACKET sockets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What QEMU asks of a packet socket that somebody else opened and bound.
 * None of it needs a privilege.  Interfaces are asked for through the socket
 * itself: its network namespace need not be QEMU's.
 */
#ifndef CHARDEV_AF_PACKET_SOCKET_H
#define CHARDEV_AF_PACKET_SOCKET_H

#include "qapi/qapi-types-char.h"

typedef enum AfPacketLink {
    AF_PACKET_LINK_UP,
    AF_PACKET_LINK_DOWN, /* administratively; comes back by itself */
    AF_PACKET_LINK_GONE, /* the interface was removed; stays so */
} AfPacketLink;

/**
 * af_packet_socket_is:
 * @fd: any file descriptor
 *
 * Returns: true if @fd is a socket of family AF_PACKET.
 */
bool af_packet_socket_is(int fd);

/**
 * af_packet_socket_check:
 * @fd: any file descriptor
 * @mode: what it is to be used for
 * @errp: set to what is wrong with @fd and how to mend it
 *
 * Changes nothing.
 *
 * Returns: true if a channel can use @fd in @mode.
 */
bool af_packet_socket_check(int fd, ChardevSocketAfPacketMode mode,
                            Error **errp);

/**
 * af_packet_socket_ifname:
 * @fd: a packet socket
 *
 * Returns: the present name of the interface that @fd is bound to; NULL if
 * there is none.  Free with g_free().
 */
char *af_packet_socket_ifname(int fd);

/**
 * af_packet_socket_link:
 * @fd: a packet socket that was bound to an interface
 *
 * Returns: the state of that interface.
 */
AfPacketLink af_packet_socket_link(int fd);

/**
 * af_packet_socket_hears:
 * @capture: a packet socket
 * @inject: another one
 *
 * Returns: true if @capture is sure to receive what is sent through @inject:
 * both are bound to one interface, and nothing keeps @capture from receiving
 * what this host sends, neither its protocol nor PACKET_IGNORE_OUTGOING nor
 * a filter, whatever that does.
 */
bool af_packet_socket_hears(int capture, int inject);

/**
 * af_packet_socket_vnet_hdr_len:
 * @fd: a packet socket
 *
 * Returns: length in bytes of the struct virtio_net_hdr before each frame, 0
 * if there is none.
 */
size_t af_packet_socket_vnet_hdr_len(int fd);

/**
 * af_packet_socket_set_vnet_hdr:
 * @fd: a packet socket without a ring
 * @on: whether a struct virtio_net_hdr stands before each frame
 *
 * Returns: 0, or a negative errno.
 */
int af_packet_socket_set_vnet_hdr(int fd, bool on);

/**
 * af_packet_socket_report_info:
 * @fd: a packet socket
 *
 * Ask for VLAN tags, and for what else the kernel reports beside a frame, with
 * each frame from now on.
 *
 * Returns: 0, or a negative errno.
 */
int af_packet_socket_report_info(int fd);

/**
 * af_packet_socket_deafen:
 * @fd: a packet socket
 *
 * Make @fd receive nothing, and free what it has received.  Best effort: a
 * filter that was locked stays, and then at most SO_RCVBUF bytes are held.
 *
 * Returns: true if there is something for af_packet_socket_undeafen() to do.
 */
bool af_packet_socket_deafen(int fd);

/**
 * af_packet_socket_undeafen:
 * @fd: a packet socket
 *
 * Let @fd receive again; a filter that it had before is lost.
 */
void af_packet_socket_undeafen(int fd);

/**
 * af_packet_socket_take_drops:
 * @fd: a packet socket
 *
 * Returns: how many frames the kernel has dropped for want of room in the
 * socket since the last call.
 */
uint32_t af_packet_socket_take_drops(int fd);

/**
 * af_packet_socket_take_error:
 * @fd: a packet socket
 *
 * Clear all that poll() reports POLLERR for.
 *
 * Returns: the error that was pending, a positive errno; 0 if none was.
 */
int af_packet_socket_take_error(int fd);

/**
 * af_packet_socket_sends:
 * @fd: a packet socket
 *
 * Returns: whether frames that were sent are still on their way to the
 * interface.
 */
bool af_packet_socket_sends(int fd);

/**
 * af_packet_socket_send:
 * @fd: a packet socket
 * @buf: the vnet header, if the socket has one, and the frame
 * @len: its length in bytes
 *
 * Never blocks.
 *
 * Returns: 0, or a negative errno.
 */
int af_packet_socket_send(int fd, const uint8_t *buf, size_t len);

#endif
