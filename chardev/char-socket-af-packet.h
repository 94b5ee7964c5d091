/*
 * Socket chardev: the 'af-packet-mode' option
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Hooks called by char-socket.c.  SocketChardev::af_packet is set if the option
 * was given; functions other than parse, open and check_fd require it.
 */
#ifndef CHARDEV_CHAR_SOCKET_AF_PACKET_H
#define CHARDEV_CHAR_SOCKET_AF_PACKET_H

#include "chardev/char-socket.h"
#include "qapi/qapi-types-char.h"

#ifdef CONFIG_LINUX

/**
 * chr_af_packet_parse:
 * @opts: command line options
 * @sock: receives 'af-packet-mode'
 * @errp: set if the value of 'af-packet-mode' is invalid, or if it is combined
 *     with an incompatible option that is not part of @sock
 *
 * Returns: false on error.
 */
bool chr_af_packet_parse(QemuOpts *opts, ChardevSocket *sock, Error **errp);

/**
 * chr_af_packet_open:
 * @s: the chardev, not connected yet
 * @sock: its options
 * @errp: set if 'af-packet-mode' is incompatible with other options
 *
 * Set SocketChardev::af_packet if the option was given.
 *
 * Returns: false on error.
 */
bool chr_af_packet_open(SocketChardev *s, const ChardevSocket *sock,
                        Error **errp);

/**
 * chr_af_packet_free:
 * @s: the chardev
 */
void chr_af_packet_free(SocketChardev *s);

/**
 * chr_af_packet_check_fd:
 * @s: the chardev
 * @fd: a socket that the chardev is about to use
 * @errp: set to the problem with @fd and how to fix it
 *
 * Returns: true if @fd is suitable, with or without 'af-packet-mode'.
 */
bool chr_af_packet_check_fd(SocketChardev *s, int fd, Error **errp);

/**
 * chr_af_packet_connect:
 * @s: the chardev; its ioc is the socket's channel
 *
 * Layer a QIOChannelAfPacket on top of the socket's channel.
 */
void chr_af_packet_connect(SocketChardev *s);

/**
 * chr_af_packet_update:
 * @s: a connected chardev
 *
 * Handle a change of the context or of the frontend.
 */
void chr_af_packet_update(SocketChardev *s);

/**
 * chr_af_packet_read:
 * @s: the chardev
 * @ioc: its channel, which is readable; the frontend may cause the chardev to
 *     replace it during the call
 *
 * Pass as many records to the frontend as it accepts, within a budget.
 *
 * Returns: false if the connection has ended.
 */
bool chr_af_packet_read(SocketChardev *s, QIOChannel *ioc);

/**
 * chr_af_packet_read_rest:
 * @s: the chardev, whose connection has ended; the caller holds a reference
 *
 * Pass all remaining records to the frontend.
 */
void chr_af_packet_read_rest(SocketChardev *s);

/**
 * chr_af_packet_disconnect:
 * @s: the chardev; its ioc is closed, but not freed yet
 *
 * Save the counters and the reason for the disconnect.
 */
void chr_af_packet_disconnect(SocketChardev *s);

/**
 * chr_af_packet_emit_closed:
 * @s: the chardev, which has been disconnected, but not removed
 *
 * Emit CHARDEV_AF_PACKET_CLOSED.
 */
void chr_af_packet_emit_closed(SocketChardev *s);

/**
 * chr_af_packet_filename:
 * @s: a connected chardev
 *
 * Returns: the filename for query-chardev; free with g_free().
 */
char *chr_af_packet_filename(SocketChardev *s);

/**
 * chr_af_packet_class_init:
 * @oc: class of the socket chardev
 *
 * Add the QOM property 'af-packet-stats'.
 */
void chr_af_packet_class_init(ObjectClass *oc);

#else

static inline bool chr_af_packet_parse(QemuOpts *opts, ChardevSocket *sock,
                                       Error **errp)
{
    return true;
}

static inline bool chr_af_packet_open(SocketChardev *s,
                                      const ChardevSocket *sock,
                                      Error **errp)
{
    return true;
}

static inline void chr_af_packet_free(SocketChardev *s)
{
}

static inline bool chr_af_packet_check_fd(SocketChardev *s, int fd,
                                          Error **errp)
{
    return true;
}

static inline void chr_af_packet_connect(SocketChardev *s)
{
    g_assert_not_reached();
}

static inline void chr_af_packet_update(SocketChardev *s)
{
    g_assert_not_reached();
}

static inline bool chr_af_packet_read(SocketChardev *s, QIOChannel *ioc)
{
    g_assert_not_reached();
}

static inline void chr_af_packet_read_rest(SocketChardev *s)
{
    g_assert_not_reached();
}

static inline void chr_af_packet_disconnect(SocketChardev *s)
{
    g_assert_not_reached();
}

static inline void chr_af_packet_emit_closed(SocketChardev *s)
{
    g_assert_not_reached();
}

static inline char *chr_af_packet_filename(SocketChardev *s)
{
    g_assert_not_reached();
}

static inline void chr_af_packet_class_init(ObjectClass *oc)
{
}

#endif

#endif
