/*
 * Queue of packets that a filter sends to a character device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/aio.h"
#include "filter-sendq.h"
#include "net/filter.h"
#include "qemu/bswap.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/main-loop.h"
#include "trace.h"

#define WARN_INTERVAL (10 * G_USEC_PER_SEC)

static void sendq_write(FilterSendQueue *q);

/*
 * Warn once until the queue has been empty again, and at most once per
 * WARN_INTERVAL: a peer that keeps reconnecting would cause many warnings.
 */
static void sendq_warn(FilterSendQueue *q, FilterSendError trouble)
{
    static const char *const what[FILTER_SEND__MAX] = {
        [FILTER_SEND_SLOW] = "is too slow",
        [FILTER_SEND_CLOSED] = "is not connected",
        [FILTER_SEND_FAILS] = "fails",
    };
    Chardev *chr = qemu_chr_fe_get_driver(q->chr);
    int64_t now = g_get_monotonic_time();

    if (q->warned[trouble] || now < q->warn_at[trouble]) {
        return;
    }
    q->warned[trouble] = true;
    q->warn_at[trouble] = now + WARN_INTERVAL;
    warn_report("filter '%s': chardev '%s' %s, packets are dropped; "
                "'dropped-packets' of the filter counts them",
                object_get_canonical_path_component(q->owner),
                chr ? chr->label : "?", what[trouble]);
}

static size_t sendq_waiting(const FilterSendQueue *q)
{
    return q->bytes->len - q->written;
}

static size_t sendq_record_len(const FilterSendQueue *q)
{
    return q->head_len + ldl_be_p(q->bytes->data + q->start);
}

static void sendq_forget_written(FilterSendQueue *q)
{
    while (q->start < q->written &&
           q->start + sendq_record_len(q) <= q->written) {
        q->start += sendq_record_len(q);
    }
    /* Amortized: never moves more bytes than were appended */
    if (q->start > q->bytes->len / 2) {
        g_byte_array_remove_range(q->bytes, 0, q->start);
        q->written -= q->start;
        q->start = 0;
    }
}

bool filter_sendq_has_room(const FilterSendQueue *q)
{
    /* Without a watch, nobody would notice that there is room again */
    return !q->watch || sendq_waiting(q) < FILTER_SENDQ_HIGH_WATER;
}

/* Drop everything.  Returns: whether a record was partially written. */
static bool sendq_discard(FilterSendQueue *q)
{
    bool torn = q->start < q->written;

    for (; q->start < q->bytes->len; q->start += sendq_record_len(q)) {
        q->n_dropped++;
    }
    g_byte_array_set_size(q->bytes, 0);
    q->written = 0;
    q->start = 0;
    return torn;
}

static void sendq_notify_room(const FilterSendQueue *q, bool had_room)
{
    if (!had_room && filter_sendq_has_room(q)) {
        qemu_netfilter_accept_input(NETFILTER(q->owner));
    }
}

static gboolean sendq_on_room(void *do_not_use, GIOCondition condition,
                              void *opaque)
{
    FilterSendQueue *q = opaque;
    bool had_room = filter_sendq_has_room(q);

    q->watch = 0;
    sendq_write(q);
    sendq_notify_room(q, had_room);
    return G_SOURCE_REMOVE;
}

static void sendq_stop_watch(FilterSendQueue *q)
{
    if (q->watch) {
        g_source_remove(q->watch);
        q->watch = 0;
    }
}

static void sendq_on_event(void *opaque, QEMUChrEvent event)
{
    FilterSendQueue *q = opaque;
    bool had_room = filter_sendq_has_room(q);

    if (event == CHR_EVENT_CLOSED) {
        sendq_stop_watch(q);
        sendq_discard(q);
        sendq_notify_room(q, had_room);
    }
}

/*
 * Only streams support a watch.  Other character devices may send each write as
 * a datagram, so write one record at a time.
 */
static size_t sendq_batch(const FilterSendQueue *q)
{
    Chardev *chr = qemu_chr_fe_get_driver(q->chr);

    if (chr && !CHARDEV_GET_CLASS(chr)->chr_add_watch) {
        return q->start + sendq_record_len(q) - q->written;
    }
    return sendq_waiting(q);
}

/* Write as much of the queue as the character device accepts. */
static void sendq_write(FilterSendQueue *q)
{
    while (!q->watch && sendq_waiting(q)) {
        int len = sendq_batch(q);
        bool open = qemu_chr_fe_backend_open(q->chr);
        int ret = qemu_chr_fe_write(q->chr, q->bytes->data + q->written, len);

        if (ret < 0 && errno != EAGAIN) {
            sendq_warn(q, open ? FILTER_SEND_FAILS : FILTER_SEND_CLOSED);
            sendq_discard(q); /* the connection is lost */
            return;
        }
        q->written += MAX(ret, 0);
        sendq_forget_written(q);
        if (ret < len) {
            q->watch = qemu_chr_fe_add_watch(q->chr, G_IO_OUT | G_IO_HUP,
                                             sendq_on_room, q);
            return;
        }
        if (!sendq_waiting(q)) {
            memset(q->warned, 0, sizeof(q->warned));
        }
    }
}

static void sendq_flush_bh(void *opaque)
{
    FilterSendQueue *q = opaque;

    q->bh_scheduled = false;
    sendq_write(q);
}

void filter_sendq_init(FilterSendQueue *q, CharBackend *chr, Object *owner,
                       bool vnet_hdr)
{
    *q = (FilterSendQueue) {
        .chr = chr,
        .owner = owner,
        .head_len = (vnet_hdr ? 2 : 1) * sizeof(uint32_t),
        .bytes = g_byte_array_new(),
        .bh = qemu_bh_new(sendq_flush_bh, q),
    };
    qemu_chr_fe_set_handlers(chr, NULL, NULL, sendq_on_event, NULL, q, NULL,
                             true);
}

void filter_sendq_destroy(FilterSendQueue *q)
{
    bool had_room = filter_sendq_has_room(q);

    if (!q->chr) {
        return;
    }
    sendq_stop_watch(q);
    sendq_write(q);
    sendq_stop_watch(q);
    if (sendq_discard(q)) {
        qemu_chr_fe_disconnect(q->chr);
    }
    qemu_bh_delete(q->bh);
    g_byte_array_unref(q->bytes);
    q->chr = NULL;
    sendq_notify_room(q, had_room);
}

static void sendq_append(FilterSendQueue *q, const struct iovec *iov,
                         int iovcnt, size_t size, size_t vnet_hdr_len)
{
    const uint32_t head[] = { cpu_to_be32(size), cpu_to_be32(vnet_hdr_len) };
    guint old_len = q->bytes->len;

    g_byte_array_set_size(q->bytes, old_len + q->head_len + size);
    memcpy(q->bytes->data + old_len, head, q->head_len);
    iov_to_buf(iov, iovcnt, 0, q->bytes->data + old_len + q->head_len, size);
}

void filter_sendq_push(FilterSendQueue *q, const struct iovec *iov,
                       int iovcnt, size_t vnet_hdr_len)
{
    size_t size = iov_size(iov, iovcnt);

    if (!size) {
        return;
    }
    if (sendq_waiting(q) + q->head_len + size > FILTER_SENDQ_MAX) {
        trace_filter_sendq_drop(q->owner, size);
        q->n_dropped++;
        sendq_warn(q, FILTER_SEND_SLOW);
        return;
    }

    sendq_append(q, iov, iovcnt, size, vnet_hdr_len);
    /* Write the first packet at once, and later ones in a batch */
    if (!q->bh_scheduled) {
        q->bh_scheduled = true;
        qemu_bh_schedule(q->bh);
        sendq_write(q);
    }
}
