/*
 * Queue of the packets that a filter sends to a character device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A packet becomes a record, as net_fill_rstate() reads it.  The first one
 * in a turn of the main loop is written at once, all others of that turn
 * together, where the character device is a stream.  What it does not take
 * waits.  Whoever can stop making packets does so while FILTER_SENDQ_ENOUGH
 * bytes wait; the rest of the queue is for those who can't, and when it is
 * full, the newest packet is dropped.
 *
 * All functions want the big lock.
 */
#ifndef NET_FILTER_SENDQ_H
#define NET_FILTER_SENDQ_H

#include "chardev/char-fe.h"

/* Bytes that may wait */
#define FILTER_SENDQ_MAX (4 * 1024 * 1024)
#define FILTER_SENDQ_ENOUGH (FILTER_SENDQ_MAX / 4)

/* Why packets are dropped */
typedef enum FilterSendTrouble {
    FILTER_SEND_SLOW,
    FILTER_SEND_CLOSED,
    FILTER_SEND_FAILS,
    FILTER_SEND_TROUBLES
} FilterSendTrouble;

typedef struct FilterSendQueue {
    CharBackend *chr;
    Object *owner;      /* the filter */
    size_t head_len;    /* of a record */
    GByteArray *bytes;  /* records */
    size_t written;     /* of these bytes */
    size_t start;       /* of the first record that isn't written wholly */
    guint watch;        /* waits for room in chr, 0 if not */
    QEMUBH *bh;         /* ends the turn that the first packet began */
    bool in_turn;
    bool warned[FILTER_SEND_TROUBLES];      /* since all was well */
    int64_t warn_at[FILTER_SEND_TROUBLES];  /* not before this, in us */
    uint64_t n_dropped;
} FilterSendQueue;

/**
 * filter_sendq_init:
 * @q: the queue
 * @chr: where to write to, with a character device; its handlers are set
 * @owner: the filter, which is notified when there is room again
 * @vnet_hdr: whether records state the length of a vnet header
 */
void filter_sendq_init(FilterSendQueue *q, CharBackend *chr, Object *owner,
                       bool vnet_hdr);

/**
 * filter_sendq_destroy:
 * @q: a queue, initialized or all zero
 *
 * Write what can be written, and drop the rest.  A connection of which a
 * record was written partly is closed: a new one starts with a whole record.
 */
void filter_sendq_destroy(FilterSendQueue *q);

/**
 * filter_sendq_push:
 * @q: the queue
 * @iov: the packet
 * @iovcnt: number of its parts
 * @vnet_hdr_len: length of the packet's vnet header in bytes, for the record
 *     to state if it does so
 *
 * A packet of no bytes is ignored, as is one that finds no room; that one is
 * counted.
 */
void filter_sendq_push(FilterSendQueue *q, const struct iovec *iov,
                       int iovcnt, size_t vnet_hdr_len);

/**
 * filter_sendq_has_room:
 * @q: a queue, initialized or not
 *
 * Returns: whether packets need not wait until there is room.  When that is
 * so again, qemu_netfilter_accept_input() is called for the owner.
 */
bool filter_sendq_has_room(const FilterSendQueue *q);

#endif
