/*
 * Inject: send records as frames through an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames that the interface does not accept wait in a bounded queue.  Never
 * blocks.  Not thread-safe.
 */
#ifndef CHARDEV_AF_PACKET_INJECT_H
#define CHARDEV_AF_PACKET_INJECT_H

#include "af-packet-port.h"

typedef struct AfPacketInject AfPacketInject;

/**
 * af_packet_inject_new:
 * @port: the port, which must outlive the inject
 *
 * Returns: the inject; stop it, then free it.
 */
AfPacketInject *af_packet_inject_new(AfPacketPort *port);

/**
 * af_packet_inject_stop:
 * @inj: the inject
 *
 * Stop sending.  Queued frames are counted as lost.
 */
void af_packet_inject_stop(AfPacketInject *inj);

/**
 * af_packet_inject_free:
 * @inj: the inject, stopped or not; NULL is ignored
 */
void af_packet_inject_free(AfPacketInject *inj);

/**
 * af_packet_inject_write:
 * @inj: the inject
 * @in: bytes of the stream; advanced past the consumed ones, which are all
 *     unless the writer waits for room
 * @errp: set if the bytes are not a valid stream of records
 *
 * Send, queue or drop each frame whose record is complete.
 *
 * Returns: false if the stream is invalid; ignore the rest of it.
 */
bool af_packet_inject_write(AfPacketInject *inj, struct iovec *in,
                            Error **errp);

/**
 * af_packet_inject_set_writer_waits:
 * @inj: the inject
 * @waits: whether the writer waits for room
 *
 * If it does, no frame is dropped because of a full queue: no new record is
 * accepted unless there is room for the longest frame.
 */
void af_packet_inject_set_writer_waits(AfPacketInject *inj, bool waits);

/**
 * af_packet_inject_has_room:
 * @inj: the inject
 *
 * Returns: whether a writer that waits for room should continue.  The queue
 * must be half empty, so that the writer does not wake up for each frame.
 */
bool af_packet_inject_has_room(const AfPacketInject *inj);

/**
 * af_packet_inject_flush:
 * @inj: the inject
 *
 * Send queued frames until the interface refuses one or the budget is used up.
 */
void af_packet_inject_flush(AfPacketInject *inj);

/**
 * af_packet_inject_waits_for_room:
 * @inj: the inject
 *
 * Returns: whether to flush when the socket is writable.
 */
bool af_packet_inject_waits_for_room(const AfPacketInject *inj);

/**
 * af_packet_inject_departures_fd:
 * @inj: the inject
 *
 * Returns: a file descriptor that becomes readable when it is time to flush;
 * -1 if there is none.
 */
int af_packet_inject_departures_fd(const AfPacketInject *inj);

/**
 * af_packet_inject_flush_at:
 * @inj: the inject
 *
 * Returns: the time to flush in microseconds of g_get_monotonic_time(); 0 if
 * no flush is scheduled.
 */
int64_t af_packet_inject_flush_at(const AfPacketInject *inj);

/**
 * af_packet_inject_drop_partial:
 * @inj: the inject
 *
 * Drop a partially written record.
 */
void af_packet_inject_drop_partial(AfPacketInject *inj);

/**
 * af_packet_inject_update_stats:
 * @inj: the inject
 *
 * Update the port's queue counters.
 */
void af_packet_inject_update_stats(AfPacketInject *inj);

#endif
