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
 * A layer on top of a QIOChannelSocket whose socket is a bound AF_PACKET
 * socket, as QIOChannelTLS is one on top of a TCP socket.
 *
 * In capture mode, what is read is the stream of records (see
 * chardev/af-packet-record.h) of the frames that the socket receives; what
 * is written is discarded.  In inject mode, each record written is sent as a
 * frame; nothing can be read.
 *
 * Nothing ever blocks.  Frames that the interface does not take now wait in a
 * queue of 4 MiB.  When it is full, a writer that has watched for G_IO_OUT on
 * this channel before gets QIO_CHANNEL_ERR_BLOCK at the end of a record, and
 * none is lost.  For any other writer, which might never come back, a write
 * takes all, and the newest frames are dropped.
 *
 * The link going down is a pause.  The interface going away, or a stream
 * that can't be one of records, ends the channel: it says why on stderr, and
 * reading gives end of file once what had been received has been read.
 *
 * Reading belongs to one thread at a time; anything else may be called from
 * any.
 */

/**
 * qio_channel_af_packet_new:
 * @master: the channel of a socket that passes af_packet_socket_check();
 *     the new channel closes it
 * @mode: the direction
 * @label: what messages call the user of the channel
 * @totals: counters to start from
 *
 * Returns: the new channel; without a context (see
 * qio_channel_af_packet_attach()) it notices nothing by itself.
 */
QIOChannelAfPacket *
qio_channel_af_packet_new(QIOChannelSocket *master,
                          ChardevSocketAfPacketMode mode,
                          const char *label,
                          const ChardevAfPacketStats *totals);

/**
 * qio_channel_af_packet_attach:
 * @ioc: the channel
 * @context: where to send queued frames and to watch the link from now on,
 *     NULL for the default context
 *
 * Does nothing once the channel is closed.
 */
void qio_channel_af_packet_attach(QIOChannelAfPacket *ioc,
                                  GMainContext *context);

/**
 * qio_channel_af_packet_take:
 * @ioc: the channel
 * @max: the most bytes to take, at least 1
 * @buf: set to the bytes, which stay valid until the next take or read
 *
 * Read without a copy.
 *
 * Returns: the number of bytes, never of more than one record;
 * QIO_CHANNEL_ERR_BLOCK if there are none now; 0 when the channel has ended.
 */
ssize_t qio_channel_af_packet_take(QIOChannelAfPacket *ioc, size_t max,
                                   const uint8_t **buf);

/**
 * qio_channel_af_packet_drop_partial:
 * @ioc: the channel
 *
 * Drop a record that has been read or written partly, so that whoever reads
 * or writes next starts with a whole one; it has not watched for anything.
 */
void qio_channel_af_packet_drop_partial(QIOChannelAfPacket *ioc);

/**
 * qio_channel_af_packet_get_stats:
 * @ioc: the channel
 * @stats: set to the counters as they are now
 */
void qio_channel_af_packet_get_stats(QIOChannelAfPacket *ioc,
                                     ChardevAfPacketStats *stats);

/**
 * qio_channel_af_packet_end_reason:
 * @ioc: the channel, closed or not
 *
 * Returns: why it has ended by itself; CHARDEV_AF_PACKET_END_DISCONNECTED if
 * it has not.
 */
ChardevAfPacketEnd qio_channel_af_packet_end_reason(QIOChannelAfPacket *ioc);

#endif
