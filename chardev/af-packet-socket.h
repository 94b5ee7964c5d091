/*
 * System calls on AF_PACKET sockets
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The socket was opened and bound by another process.  None of these functions
 * requires privileges.  They query the interface through the socket itself,
 * because its network namespace may differ from QEMU's.
 */
#ifndef CHARDEV_AF_PACKET_SOCKET_H
#define CHARDEV_AF_PACKET_SOCKET_H

#include "qapi/qapi-types-char.h"
#include "af-packet-state.h"

typedef enum AfPacketLink {
    AF_PACKET_LINK_UP,
    AF_PACKET_LINK_DOWN, /* administratively down; may come up again */
    AF_PACKET_LINK_GONE, /* the interface was removed; permanent */
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
 * @mode: the intended use
 * @errp: set to the problem with @fd and how to fix it
 *
 * Does not change the socket.  A socket that is already in use (see
 * af_packet_state_new()) is refused.
 *
 * Returns: true if a channel can use @fd in @mode.
 */
bool af_packet_socket_check(int fd, ChardevSocketAfPacketMode mode,
                            Error **errp);

/**
 * af_packet_socket_ifname:
 * @fd: a packet socket
 *
 * Returns: the current name of the interface that @fd is bound to, or NULL if
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
 * With frequent changes, the result may be up to a second old.
 *
 * Returns: false if the interface is up but has no carrier.
 */
bool af_packet_socket_has_carrier(int fd);

/**
 * af_packet_socket_mtu:
 * @fd: a packet socket that was bound to an interface
 *
 * Returns: the current MTU of the interface in bytes, or a negative errno.
 */
int af_packet_socket_mtu(int fd);

/**
 * af_packet_socket_reject_all:
 * @state: state of a packet socket that passes af_packet_socket_check() for
 *     inject mode
 *
 * Prevent the socket from receiving frames until @state is freed, and discard
 * those it has received.
 *
 * Returns: 0, or a negative errno; in that case, frames of up to SO_RCVBUF
 * bytes stay in the receive queue.
 */
int af_packet_socket_reject_all(AfPacketState *state);

/**
 * af_packet_socket_limit_sndbuf:
 * @state: state of a packet socket
 * @most: maximum number of bytes for frames in flight
 *
 * Limit SO_SNDBUF to @most, regardless of net.core.wmem_default, unless the
 * opener has set SO_SNDBUF.
 */
void af_packet_socket_limit_sndbuf(AfPacketState *state, int most);

/**
 * af_packet_socket_discard:
 * @fd: a packet socket
 *
 * Discard the frames that are currently in the receive queue.
 *
 * Returns: the number of frames discarded.
 */
size_t af_packet_socket_discard(int fd);

/**
 * af_packet_socket_take_drops:
 * @fd: a packet socket
 *
 * Returns: the number of frames that the kernel has dropped since the last
 * call because the socket had no room.
 */
uint32_t af_packet_socket_take_drops(int fd);

/**
 * af_packet_socket_take_error:
 * @fd: a packet socket
 *
 * Clear the conditions for which poll() reports POLLERR: the pending error, and
 * a bounded number of transmit timestamps if the opener requested them.
 *
 * Returns: the error that was pending as a positive errno, or 0 if there was
 * none; a negative errno if the condition can't be cleared.
 */
int af_packet_socket_take_error(int fd);

/**
 * af_packet_socket_has_in_flight:
 * @fd: a packet socket
 *
 * Returns: whether frames that were sent are still in flight, that is, not yet
 * transmitted by the interface.
 */
bool af_packet_socket_has_in_flight(int fd);

/**
 * af_packet_socket_send:
 * @fd: a packet socket
 * @buf: the vnet header, if the socket has one, and the frame
 * @len: length of both in bytes
 *
 * Never blocks.
 *
 * Returns: 0, or a negative errno.
 */
int af_packet_socket_send(int fd, const uint8_t *buf, size_t len);

/**
 * af_packet_socket_send_batch:
 * @fd: a packet socket
 * @frames: each a vnet header, if the socket has one, and a frame
 * @n: the number of frames, at least 1
 *
 * Send frames until one fails.  Never blocks.
 *
 * Returns: the number of frames sent.
 */
unsigned af_packet_socket_send_batch(int fd, struct iovec *frames, unsigned n);

#endif
