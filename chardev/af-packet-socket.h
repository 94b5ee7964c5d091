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
#include "af-packet-state.h"

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
 * Changes nothing.  A socket that is in use already, by af_packet_state_new(),
 * is refused.
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
 * af_packet_socket_vnet_hdr_len:
 * @fd: a packet socket
 *
 * Returns: length in bytes of the struct virtio_net_hdr before each frame, 0
 * if there is none.
 */
size_t af_packet_socket_vnet_hdr_len(int fd);

/**
 * af_packet_socket_has_carrier:
 * @fd: a packet socket that was bound to an interface
 *
 * A change may be a second old before it shows, when there are many.
 *
 * Returns: false if the interface is up but has no carrier.
 */
bool af_packet_socket_has_carrier(int fd);

/**
 * af_packet_socket_mtu:
 * @fd: a packet socket that was bound to an interface
 *
 * Returns: the longest packet that the interface sends now, in bytes after the
 * Ethernet header; a negative errno on error.
 */
int af_packet_socket_mtu(int fd);

/**
 * af_packet_socket_reject_all:
 * @state: state of a packet socket that passes af_packet_socket_check() for
 *     inject mode
 *
 * Make the socket receive nothing until @state is freed, and free what it has
 * received.
 *
 * Returns: 0, or a negative errno; at most SO_RCVBUF bytes are held then.
 */
int af_packet_socket_reject_all(AfPacketState *state);

/**
 * af_packet_socket_limit_sndbuf:
 * @state: state of a packet socket
 * @most: bytes that frames on their way may take
 *
 * Make SO_SNDBUF at most @most, whatever net.core.wmem_default says, unless
 * the opener has set it.
 */
void af_packet_socket_limit_sndbuf(AfPacketState *state, int most);

/**
 * af_packet_socket_discard:
 * @fd: a packet socket
 *
 * Free what waits in the receive queue just now.
 *
 * Returns: how many frames there were.
 */
size_t af_packet_socket_discard(int fd);

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
 * Clear what poll() reports POLLERR for: the pending error, and time stamps
 * of sent frames if the opener asked for them, a bounded number at a time.
 *
 * Returns: the error that was pending, a positive errno; 0 if none was; a
 * negative errno if it can't be cleared.
 */
int af_packet_socket_take_error(int fd);

/**
 * af_packet_socket_has_in_flight:
 * @fd: a packet socket
 *
 * Returns: whether frames that were sent are still in flight: queued on their
 * way to the interface.
 */
bool af_packet_socket_has_in_flight(int fd);

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
