/*
 * The original state of an AF_PACKET socket, which QEMU restores
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whoever opened the socket may keep it, and use it after QEMU: it must then
 * be as it was when QEMU received it.  Options are changed with these
 * functions, which save their original values.
 *
 * A socket with two users in QEMU could not be restored, nor would either of
 * them get what it expects, so all sockets in use are registered here.
 */
#ifndef CHARDEV_AF_PACKET_STATE_H
#define CHARDEV_AF_PACKET_STATE_H

#include <linux/filter.h>

typedef struct AfPacketState AfPacketState;

/**
 * af_packet_state_new:
 * @fd: a packet socket, which stays open until af_packet_state_free()
 * @user: what messages call whoever uses it
 *
 * Start to use a socket.  Nothing is changed yet.
 *
 * Returns: the state, which saves what is changed.
 */
AfPacketState *af_packet_state_new(int fd, const char *user);

/**
 * af_packet_state_free:
 * @state: the state; no ring may be left in the socket
 *
 * Put back what was changed, the last change first.  Linux before 5.14 has no
 * way to forget that SO_RCVBUF or SO_SNDBUF was set, and none lets a process
 * without CAP_NET_ADMIN have a buffer longer than net.core.rmem_max or
 * wmem_max again.
 */
void af_packet_state_free(AfPacketState *state);

/**
 * af_packet_state_fd:
 * @state: the state
 *
 * Returns: the socket.
 */
int af_packet_state_fd(const AfPacketState *state);

/**
 * af_packet_state_user:
 * @fd: a packet socket
 *
 * Returns: who uses the socket, be it by another descriptor; NULL if nobody
 * does.  Free with g_free().
 */
char *af_packet_state_user(int fd);

/**
 * af_packet_state_set:
 * @state: the state
 * @level: SOL_SOCKET or SOL_PACKET
 * @name: an option that is an int, and 0 at first if it can't be read
 * @value: its new value
 *
 * Returns: 0, or a negative errno.
 */
int af_packet_state_set(AfPacketState *state, int level, int name, int value);

/**
 * af_packet_state_set_buf:
 * @state: the state
 * @name: SO_RCVBUF or SO_SNDBUF
 * @bytes: its new value as getsockopt() is to give it.  The kernel makes it
 *     at most twice net.core.rmem_max or wmem_max.
 *
 * Returns: 0, or a negative errno.
 */
int af_packet_state_set_buf(AfPacketState *state, int name, int bytes);

/**
 * af_packet_state_set_filter:
 * @state: the state
 * @prog: a filter, which takes the place of the socket's own if it has one
 *
 * Returns: 0, or a negative errno: -EPERM if the socket's filter is locked,
 * -EACCES if it could not be put back, as it is no classic BPF program.
 */
int af_packet_state_set_filter(AfPacketState *state,
                               const struct sock_fprog *prog);

#endif
