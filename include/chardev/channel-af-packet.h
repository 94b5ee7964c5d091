/*
 * QIOChannel that turns frames of an AF_PACKET socket into records and back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef CHARDEV_CHANNEL_AF_PACKET_H
#define CHARDEV_CHANNEL_AF_PACKET_H

#include "io/channel-socket.h"
#include "qapi/qapi-types-char.h"
#include "qom/object.h"

#define TYPE_QIO_CHANNEL_AF_PACKET "qio-channel-af-packet"
OBJECT_DECLARE_SIMPLE_TYPE(QIOChannelAfPacket, QIO_CHANNEL_AF_PACKET)

/**
 * QIOChannelAfPacket:
 *
 * A layer on top of a QIOChannelSocket with a bound AF_PACKET socket, as
 * QIOChannelTLS is a layer on top of a TCP socket.
 *
 * In capture mode, frames that the socket receives are read as a stream of
 * records (see chardev/af-packet-record.h); written data is discarded.  In
 * inject mode, each record written is sent as a frame; there is nothing to
 * read.
 *
 * The channel never blocks.  Frames that the interface does not accept are
 * queued, up to 4 MiB.  When the queue is full, a writer that has watched for
 * G_IO_OUT on this channel before gets QIO_CHANNEL_ERR_BLOCK at the end of a
 * record, and no frame is lost.  A write by any other writer, which might never
 * retry, always succeeds, and new frames are dropped.
 *
 * While the link is down, the channel pauses.  It ends when the interface is
 * removed or when the written stream is invalid: it reports the reason on
 * stderr, and reads return end of file after all received frames.
 *
 * Only one thread may read at a time; all other functions may be called from
 * any thread.
 */

/**
 * qio_channel_af_packet_new:
 * @master: the channel of a socket that passes af_packet_socket_check();
 *     closed by the new channel
 * @mode: the direction
 * @label: name of the channel's user, for messages
 * @totals: initial values of the counters
 *
 * Returns: the new channel; it neither sends queued frames nor watches the link
 * until qio_channel_af_packet_attach() is called.
 */
QIOChannelAfPacket *
qio_channel_af_packet_new(QIOChannelSocket *master,
                          ChardevSocketAfPacketMode mode,
                          const char *label,
                          const ChardevAfPacketStats *totals);

/**
 * qio_channel_af_packet_attach:
 * @ioc: the channel
 * @context: the context that sends queued frames and watches the link, NULL
 *     for the default context
 *
 * Does nothing once the channel is closed.
 */
void qio_channel_af_packet_attach(QIOChannelAfPacket *ioc,
                                  GMainContext *context);

/**
 * qio_channel_af_packet_take:
 * @ioc: the channel
 * @max: maximum number of bytes to take, at least 1
 * @buf: set to the bytes, which stay valid until the next take or read
 *
 * Read without copying.
 *
 * Returns: the number of bytes, at most up to the end of a record;
 * QIO_CHANNEL_ERR_BLOCK if nothing is available; 0 when the channel has ended.
 */
ssize_t qio_channel_af_packet_take(QIOChannelAfPacket *ioc, size_t max,
                                   const uint8_t **buf);

/**
 * qio_channel_af_packet_drop_partial:
 * @ioc: the channel
 *
 * Drop a partially read or written record, so that the next user starts with a
 * whole record.  The next user counts as one that has not watched for G_IO_OUT.
 */
void qio_channel_af_packet_drop_partial(QIOChannelAfPacket *ioc);

/**
 * qio_channel_af_packet_get_stats:
 * @ioc: the channel
 * @stats: set to the current counters
 */
void qio_channel_af_packet_get_stats(QIOChannelAfPacket *ioc,
                                     ChardevAfPacketStats *stats);

/**
 * qio_channel_af_packet_end_reason:
 * @ioc: the channel, closed or not
 *
 * Returns: why the channel has ended by itself, or
 * CHARDEV_AF_PACKET_END_DISCONNECTED if it has not.
 */
ChardevAfPacketEnd qio_channel_af_packet_end_reason(QIOChannelAfPacket *ioc);

#endif
