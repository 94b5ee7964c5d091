/*
 * Saving and restoring the original state of an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The process that opened the socket may use it again after QEMU, and expects
 * it in the state in which it passed it to QEMU.  Therefore, QEMU changes
 * options only with these functions, which save the original values.
 *
 * A socket with two users in QEMU could not be restored, and would not work for
 * either of them, so all sockets in use are registered here.
 */
#ifndef CHARDEV_AF_PACKET_STATE_H
#define CHARDEV_AF_PACKET_STATE_H

#include <linux/filter.h>

typedef struct AfPacketState AfPacketState;

/**
 * af_packet_state_new:
 * @fd: a packet socket, which stays open until af_packet_state_free()
 * @user: name of the user, for messages
 *
 * Register a socket as in use, without changing it.
 *
 * Returns: the state, which saves the original values of changed options.
 */
AfPacketState *af_packet_state_new(int fd, const char *user);

/**
 * af_packet_state_free:
 * @state: the state; no ring may be left in the socket
 *
 * Undo all changes, the last one first.  Two limits apply: before Linux 5.14,
 * SO_RCVBUF and SO_SNDBUF remain marked as set; and without CAP_NET_ADMIN, a
 * buffer larger than net.core.rmem_max or wmem_max cannot be restored.
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
 * Returns: name of the user of the socket, which may have another descriptor
 * for it; NULL if there is none.  Free with g_free().
 */
char *af_packet_state_user(int fd);

/**
 * af_packet_state_set:
 * @state: the state
 * @level: SOL_SOCKET or SOL_PACKET
 * @name: an option with an int value, which must initially be 0 if the option
 *     can't be read
 * @value: its new value
 *
 * Returns: 0, or a negative errno.
 */
int af_packet_state_set(AfPacketState *state, int level, int name, int value);

/**
 * af_packet_state_set_buf:
 * @state: the state
 * @name: SO_RCVBUF or SO_SNDBUF
 * @bytes: the new value that getsockopt() will return.  The kernel limits it
 *     to twice net.core.rmem_max or wmem_max.
 *
 * Returns: 0, or a negative errno.
 */
int af_packet_state_set_buf(AfPacketState *state, int name, int bytes);

/**
 * af_packet_state_set_filter:
 * @state: the state
 * @prog: a filter, which replaces the socket's own filter
 *
 * Returns: 0, or a negative errno: -EPERM if the socket's filter is locked,
 * -EACCES if it can't be saved because it is not a classic BPF program.
 */
int af_packet_state_set_filter(AfPacketState *state,
                               const struct sock_fprog *prog);

#endif
