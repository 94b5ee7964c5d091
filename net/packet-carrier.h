/*
 * Forwards packet records from one character device to another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It reads only while the output has room; until then, data stays where it came
 * from, for example in the kernel's socket buffer.  Only what a peer sent
 * before it hung up is read at once.  Everything runs in sources of one
 * context, which no nested event loop dispatches.
 */
#ifndef NET_PACKET_CARRIER_H
#define NET_PACKET_CARRIER_H

#include "chardev/char-fe.h"
#include "packet-records.h"
#include "qapi/qapi-types-net.h"
#include "qemu/stats64.h"

typedef struct PacketCarrier {
    /* To be set by the user */
    const char *id;         /* of the packet-relay, for messages */
    bool vnet_hdr;          /* records state the length of a vnet header */
    CharBackend in;         /* both attached to a chardev that */
    CharBackend out;        /* can move to the context */
    GMainContext *context;  /* NULL for the default context */

    GSource *turn;          /* flushes at the start of a loop iteration */
    bool turn_due;          /* set in any thread, cleared in the context's */
    unsigned n_reads;       /* in this loop iteration */
    bool dense;             /* several in the last iteration that had any */
    bool out_open;          /* set in any thread, cleared in the context's */
    guint watch;            /* for G_IO_OUT on out, or 0 */
    bool has_room;          /* the last write to out did not block */
    bool in_broken;         /* discard what is read from in */
    PacketRecords records;

    /* Readable from any thread */
    Stat64 n_records;
    Stat64 n_bytes;
    Stat64 waiting_bytes;
    Stat64 incomplete;
    Stat64 dropped;
    Stat64 stalls;
} PacketCarrier;

/**
 * packet_carrier_start:
 * @c: the carrier, with the user's fields set and all others zero
 *
 * Must be called in the thread of the context.
 */
void packet_carrier_start(PacketCarrier *c);

/**
 * packet_carrier_stop:
 * @c: a started carrier
 *
 * Detach it from its chardevs.  A connection with a partially transferred
 * record is closed.  Warns about queued records that are lost.  Must be called
 * in the thread of the context.
 */
void packet_carrier_stop(PacketCarrier *c);

/**
 * packet_carrier_get_stats:
 * @c: a carrier, started or not
 * @stats: set to the current counters
 *
 * May be called in any thread.
 */
void packet_carrier_get_stats(PacketCarrier *c, PacketRelayStats *stats);

#endif
