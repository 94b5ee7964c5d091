/*
 * Inject: records as frames through an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames that the interface does not take now wait in a bounded queue.
 * Never blocks.  Not locked.
 */
#ifndef CHARDEV_AF_PACKET_INJECT_H
#define CHARDEV_AF_PACKET_INJECT_H

#include "af-packet-port.h"

typedef struct AfPacketInject AfPacketInject;

/**
 * af_packet_inject_new:
 * @port: the port, which has to outlive the inject
 *
 * Returns: the inject, to be stopped, then freed.
 */
AfPacketInject *af_packet_inject_new(AfPacketPort *port);

/**
 * af_packet_inject_stop:
 * @inj: the inject
 *
 * Send no more.  Frames that wait are counted as lost.
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
 * @in: bytes of the stream; advanced past those that were taken, which are
 *     all unless the writer waits for room
 * @errp: set if they can't be a stream of records
 *
 * Send, queue or drop the frames whose records are complete now.
 *
 * Returns: false if the stream is broken; the rest of it is meaningless.
 */
bool af_packet_inject_write(AfPacketInject *inj, struct iovec *in,
                            Error **errp);

/**
 * af_packet_inject_set_writer_waits:
 * @inj: the inject
 * @waits: whether the writer waits for room
 *
 * For a writer that does, no frame is dropped because the queue is full: as
 * long as there is no room for the longest one, no record is begun.
 */
void af_packet_inject_set_writer_waits(AfPacketInject *inj, bool waits);

/**
 * af_packet_inject_has_room:
 * @inj: the inject
 *
 * Returns: whether a writer that waits for room should go on: when the queue
 * is half empty, so that it doesn't wake up for each frame.
 */
bool af_packet_inject_has_room(const AfPacketInject *inj);

/**
 * af_packet_inject_flush:
 * @inj: the inject
 *
 * Send what waits, as much as the interface takes, within a budget.
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
 * Returns: what becomes readable when to flush, too; -1 if there is none.
 */
int af_packet_inject_departures_fd(const AfPacketInject *inj);

/**
 * af_packet_inject_flush_at:
 * @inj: the inject
 *
 * Returns: when to flush, in microseconds of g_get_monotonic_time(); 0 if
 * there is no such time.
 */
int64_t af_packet_inject_flush_at(const AfPacketInject *inj);

/**
 * af_packet_inject_drop_partial:
 * @inj: the inject
 *
 * Drop a record that has been written partly.
 */
void af_packet_inject_drop_partial(AfPacketInject *inj);

/**
 * af_packet_inject_update_stats:
 * @inj: the inject
 *
 * Set the port's counters of what waits.
 */
void af_packet_inject_update_stats(AfPacketInject *inj);

#endif
