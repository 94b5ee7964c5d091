/*
 * Socket chardev: the 'af-packet-mode' option
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What char-socket.c calls at its stations.  SocketChardev::af_packet is set
 * if the option was given, and only then do functions other than parse,
 * open and check_fd apply.
 */
#ifndef CHARDEV_CHAR_SOCKET_AF_PACKET_H
#define CHARDEV_CHAR_SOCKET_AF_PACKET_H

#include "chardev/char-socket.h"
#include "qapi/qapi-types-char.h"

#ifdef CONFIG_LINUX

/**
 * chr_af_packet_parse:
 * @opts: options of the command line
 * @sock: where to put 'af-packet-mode'
 * @errp: set if its value is unknown, or if it can't be combined with
 *     an option that @sock has no place for
 *
 * Returns: false on error.
 */
bool chr_af_packet_parse(QemuOpts *opts, ChardevSocket *sock, Error **errp);

/**
 * chr_af_packet_open:
 * @s: the chardev, as yet without a connection
 * @sock: its options
 * @errp: set if 'af-packet-mode' can't be combined with the others
 *
 * Set SocketChardev::af_packet if the option is there.
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
 * @fd: a socket that it is about to use
 * @errp: set to what is wrong with @fd and how to mend it
 *
 * Returns: true if @fd suits the option, or the lack of it.
 */
bool chr_af_packet_check_fd(SocketChardev *s, int fd, Error **errp);

/**
 * chr_af_packet_connect:
 * @s: the chardev; its ioc is the socket's channel
 *
 * Put the channel that speaks records on top of the socket's.
 */
void chr_af_packet_connect(SocketChardev *s);

/**
 * chr_af_packet_update:
 * @s: the chardev, connected; its context or its frontend has changed
 */
void chr_af_packet_update(SocketChardev *s);

/**
 * chr_af_packet_read:
 * @s: the chardev
 * @ioc: its channel, which is ready; it may be replaced at any moment
 *
 * Pass records to the frontend, as many as it accepts, within a budget.
 *
 * Returns: false if the connection has ended.
 */
bool chr_af_packet_read(SocketChardev *s, QIOChannel *ioc);

/**
 * chr_af_packet_read_rest:
 * @s: the chardev, whose connection has ended; somebody else has a reference
 *
 * Pass all records that are left to the frontend.
 */
void chr_af_packet_read_rest(SocketChardev *s);

/**
 * chr_af_packet_disconnect:
 * @s: the chardev; its ioc is closed, but not yet freed
 *
 * Keep the counters, and why it was closed.
 */
void chr_af_packet_disconnect(SocketChardev *s);

/**
 * chr_af_packet_emit_closed:
 * @s: the chardev, which has just lost its connection, but is there to stay
 *
 * Emit CHARDEV_AF_PACKET_CLOSED.
 */
void chr_af_packet_emit_closed(SocketChardev *s);

/**
 * chr_af_packet_filename:
 * @s: the chardev, connected
 *
 * Returns: what query-chardev shows; free with g_free().
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
