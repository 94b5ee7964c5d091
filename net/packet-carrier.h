/*
 * Carries records of packets from one character device to another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It reads only while there is room behind: what waits does so where it came
 * from, such as in the kernel's buffer of a socket.  Only what a peer has sent
 * before it hangs up is taken at once.  All of it happens in sources of one
 * context, which no nested event loop runs.
 */
#ifndef NET_PACKET_CARRIER_H
#define NET_PACKET_CARRIER_H

#include "chardev/char-fe.h"
#include "packet-records.h"
#include "qapi/qapi-types-net.h"
#include "qemu/stats64.h"

typedef struct PacketCarrier {
    /* To be set before it starts */
    const char *id;         /* of the packet-relay, for messages */
    bool vnet_hdr;          /* the form of the records */
    CharBackend in;         /* attached to a chardev each, */
    CharBackend out;        /* which can move to the context */
    GMainContext *context;  /* NULL for the default one */

    GSource *turn;          /* ends the turn of the loop that it is armed in */
    bool out_open;          /* set in any thread, cleared in the context's */
    guint watch;            /* waits for room in out, 0 if not */
    bool has_room;          /* as far as is known, in out */
    bool in_broken;         /* what is read from in is discarded */
    PacketRecords records;

    /* For any thread */
    Stat64 n_records;
    Stat64 n_bytes;
    Stat64 waiting_bytes;
    Stat64 incomplete;
    Stat64 dropped;
    Stat64 stalls;
} PacketCarrier;

/**
 * packet_carrier_start:
 * @c: the carrier; what is not to be set is zero
 *
 * Call it in the thread of the context.
 */
void packet_carrier_start(PacketCarrier *c);

/**
 * packet_carrier_stop:
 * @c: the carrier, started
 *
 * Detach it from its chardevs.  A connection that has passed a record partly
 * is closed; if records still wait, there is a warning.  Call it in the thread
 * of the context.
 */
void packet_carrier_stop(PacketCarrier *c);

/**
 * packet_carrier_get_stats:
 * @c: the carrier, started or not
 * @stats: set to what it has carried so far
 *
 * Call it in any thread.
 */
void packet_carrier_get_stats(PacketCarrier *c, PacketRelayStats *stats);

#endif
