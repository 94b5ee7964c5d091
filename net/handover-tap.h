/*
 * What a tap has for a guest that goes on elsewhere, as records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * First the packets that QEMU has taken from the tap already, which the guest
 * had no room for; then what waits in the tap's queues; then what still comes.
 * Each has a vnet header of 10 bytes, in the host's byte order.  Between what
 * had to wait and what comes later is a record that has a vnet header only: the
 * end of the backlog.
 *
 * Copies are kept for a guest that goes on here nevertheless, up to a bound.
 * Frames are read only while there is room for them in the writer; otherwise
 * they wait in the kernel.  All functions want the big lock.
 */
#ifndef NET_HANDOVER_TAP_H
#define NET_HANDOVER_TAP_H

#include "net/net.h"
#include "net/tap.h"
#include "packet-writer.h"
#include "qapi/qapi-types-net.h"
#include "standard-headers/linux/virtio_net.h"

/* Length of the record that ends the backlog, in bytes */
#define HANDOVER_END_LEN (PACKET_WRITER_HEAD_LEN + \
                          sizeof(struct virtio_net_hdr))

/* That record; the destination's answer is the same */
extern const uint8_t handover_end_mark[HANDOVER_END_LEN];

typedef struct HandoverTap HandoverTap;

/**
 * handover_tap_new:
 * @netdev: ID of a netdev
 * @writer: where records go
 * @gone: called when the netdev is deleted
 * @opaque: passed to it
 * @errp: set if it is no tap, or has filters or another HandoverTap
 *
 * Nothing is read yet.
 *
 * Returns: the object, for handover_tap_free(), or NULL
 */
HandoverTap *handover_tap_new(const char *netdev, PacketWriter *writer,
                              void (*gone)(void *opaque), void *opaque,
                              Error **errp);

/**
 * handover_tap_free:
 * @tap: it may be reading
 */
void handover_tap_free(HandoverTap *tap);

/**
 * handover_tap_start:
 * @tap: it may be started already; the VM is stopped
 *
 * Start to read.
 */
void handover_tap_start(HandoverTap *tap);

/**
 * handover_tap_stop:
 * @tap: it may be stopped already
 *
 * The VM is to run: read no more.  What was read is queued for the guest, and
 * no longer written.
 */
void handover_tap_stop(HandoverTap *tap);

/**
 * handover_tap_go_on:
 * @tap: it may be stopped
 *
 * There is room in the writer.
 */
void handover_tap_go_on(HandoverTap *tap);

/**
 * handover_tap_set_announced:
 * @tap: it may be stopped
 *
 * The guest is announced elsewhere: pass on no more frames for groups, which
 * the network delivers there.
 */
void handover_tap_set_announced(HandoverTap *tap);

/**
 * handover_tap_get_stats:
 * @tap: it may be stopped
 * @stats: set to what was read so far
 */
void handover_tap_get_stats(const HandoverTap *tap,
                            NetdevHandoverStats *stats);

#endif
