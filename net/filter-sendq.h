/*
 * Queue of packets that a filter sends to a character device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Packets are sent as records in the format that net_fill_rstate() reads.  The
 * first packet in a main loop iteration is written at once; if the character
 * device is a stream, all others of that iteration are written in one batch.
 * What the character device does not accept is queued.  Senders that can pause
 * do so while FILTER_SENDQ_HIGH_WATER bytes are queued; the rest of the queue
 * is for senders that can't.  When the queue is full, new packets are dropped.
 *
 * All functions must be called with the BQL held.
 */
#ifndef NET_FILTER_SENDQ_H
#define NET_FILTER_SENDQ_H

#include "chardev/char-fe.h"

/* Maximum number of queued bytes */
#define FILTER_SENDQ_MAX (4 * 1024 * 1024)
/* Senders that can pause do so from this level on */
#define FILTER_SENDQ_HIGH_WATER (FILTER_SENDQ_MAX / 4)

/* Why packets are dropped */
typedef enum FilterSendError {
    FILTER_SEND_SLOW,
    FILTER_SEND_CLOSED,
    FILTER_SEND_FAILS,
    FILTER_SEND__MAX
} FilterSendError;

typedef struct FilterSendQueue {
    CharBackend *chr;
    Object *owner;      /* the filter */
    size_t head_len;    /* length of a record's header */
    GByteArray *bytes;  /* queued records */
    size_t written;     /* number of these bytes that were written */
    size_t start;       /* offset of the first record not fully written */
    guint watch;        /* for G_IO_OUT on chr, or 0 */
    QEMUBH *bh;         /* writes the batch of a main loop iteration */
    bool bh_scheduled;
    bool warned[FILTER_SEND__MAX];          /* since the queue was empty */
    int64_t warn_at[FILTER_SEND__MAX];      /* earliest next warning, in us */
    uint64_t n_dropped;
} FilterSendQueue;

/**
 * filter_sendq_init:
 * @q: the queue
 * @chr: the frontend to write to, attached to a character device; this sets
 *     its handlers
 * @owner: the filter, which is notified when there is room again
 * @vnet_hdr: whether records state the length of a vnet header
 */
void filter_sendq_init(FilterSendQueue *q, CharBackend *chr, Object *owner,
                       bool vnet_hdr);

/**
 * filter_sendq_destroy:
 * @q: a queue, initialized or all zero
 *
 * Write as much as possible and drop the rest.  The connection is closed if a
 * record was only partially written: a new one starts with a whole record.
 */
void filter_sendq_destroy(FilterSendQueue *q);

/**
 * filter_sendq_push:
 * @q: the queue
 * @iov: the packet
 * @iovcnt: number of elements in @iov
 * @vnet_hdr_len: length of the packet's vnet header in bytes, ignored unless
 *     records state it
 *
 * Empty packets are ignored.  A packet that does not fit into the queue is
 * dropped and counted.
 */
void filter_sendq_push(FilterSendQueue *q, const struct iovec *iov,
                       int iovcnt, size_t vnet_hdr_len);

/**
 * filter_sendq_has_room:
 * @q: a queue, initialized or not
 *
 * Returns: whether senders may go on.  If not, the queue calls
 * qemu_netfilter_accept_input() for the owner once there is room again.
 */
bool filter_sendq_has_room(const FilterSendQueue *q);

#endif
