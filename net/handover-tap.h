/*
 * Reads the packets of a tap whose guest has migrated, and writes them as
 * records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The packets that QEMU has read from the tap but the guest had no room for
 * come first, then those in the tap's queues, then those that still arrive.
 * Each has a vnet header of 10 bytes in the host's byte order.  A record with
 * nothing but a vnet header ends the backlog, that is the packets that were
 * waiting already.
 *
 * A bounded number of copies is kept in case the guest is resumed here.  Frames
 * are read only while the writer has room; until then they stay in the kernel.
 * All functions must be called with the BQL held.
 */
#ifndef NET_HANDOVER_TAP_H
#define NET_HANDOVER_TAP_H

#include "net/net.h"
#include "net/tap.h"
#include "packet-writer.h"
#include "qapi/qapi-types-net.h"
#include "standard-headers/linux/virtio_net.h"

/* Length of the record that ends the backlog, in bytes */
#define HANDOVER_END_LEN (PACKET_WRITER_HDR_LEN + \
                          sizeof(struct virtio_net_hdr))

/* That record; the destination answers with the same bytes */
extern const uint8_t handover_end_mark[HANDOVER_END_LEN];

typedef struct HandoverTap HandoverTap;

/**
 * handover_tap_new:
 * @netdev: ID of a netdev
 * @writer: where to write the records
 * @gone: called when the netdev is deleted
 * @opaque: passed to @gone
 * @errp: set if the netdev is not a tap, or has filters or another HandoverTap
 *
 * Reading only begins with handover_tap_start().
 *
 * Returns: the new HandoverTap, or NULL on error; free it with
 * handover_tap_free().
 */
HandoverTap *handover_tap_new(const char *netdev, PacketWriter *writer,
                              void (*gone)(void *opaque), void *opaque,
                              Error **errp);

/**
 * handover_tap_free:
 * @tap: a HandoverTap, started or not
 */
void handover_tap_free(HandoverTap *tap);

/**
 * handover_tap_start:
 * @tap: a HandoverTap, started or not
 *
 * Start reading.  The VM must be stopped.
 */
void handover_tap_start(HandoverTap *tap);

/**
 * handover_tap_stop:
 * @tap: a HandoverTap, started or not
 *
 * Stop reading because the VM is about to run.  Queue for the guest what was
 * read, and drop what was not written yet.
 */
void handover_tap_stop(HandoverTap *tap);

/**
 * handover_tap_resume:
 * @tap: a HandoverTap, started or not
 *
 * Resume reading now that the writer has room.
 */
void handover_tap_resume(HandoverTap *tap);

/**
 * handover_tap_set_announced:
 * @tap: a HandoverTap, started or not
 *
 * The destination has announced the guest: stop handing over multicast and
 * broadcast frames, which the network delivers there itself.
 */
void handover_tap_set_announced(HandoverTap *tap);

/**
 * handover_tap_get_stats:
 * @tap: a HandoverTap, started or not
 * @stats: set to the current counters
 */
void handover_tap_get_stats(const HandoverTap *tap,
                            NetdevHandoverStats *stats);

#endif
