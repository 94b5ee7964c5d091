/*
 * Forwards packet records from one character device to another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "packet-carrier.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "trace.h"

/* From this size on, writing records directly is cheaper than copying them */
#define WRITE_IN_PLACE_MIN (16 * KiB)

/* Flush as soon as this many bytes are queued */
#define WRITE_SIZE (64 * KiB)

/* Data from outdev is discarded in chunks of this size */
#define DISCARD_SIZE (4 * KiB)

static const char *chardev_label(CharBackend *be)
{
    return qemu_chr_fe_get_driver(be)->label;
}

static void carrier_publish(PacketCarrier *c)
{
    stat64_set(&c->n_records, c->records.n_records);
    stat64_set(&c->n_bytes, c->records.n_bytes);
    stat64_set(&c->waiting_bytes,
               packet_records_waiting(&c->records).iov_len);
}

/*
 * Writing
 */

static void carrier_stop_watch(PacketCarrier *c)
{
    if (c->watch) {
        g_source_destroy(g_main_context_find_source_by_id(c->context,
                                                          c->watch));
        c->watch = 0;
    }
}

static gboolean carrier_on_room(void *do_not_use, GIOCondition condition,
                                void *opaque);

/*
 * A chardev may block only writers that have watched for G_IO_OUT before (see
 * QIOChannelAfPacket), so a new connection starts with a watch, too.
 */
static void carrier_wait_for_room(PacketCarrier *c)
{
    if (!c->watch && qatomic_read(&c->out_open)) {
        c->watch = qemu_chr_fe_add_watch(&c->out, G_IO_OUT | G_IO_HUP,
                                         carrier_on_room, c);
    }
}

/* out accepts no more data.  This disconnects a socket. */
static void carrier_fail_out(PacketCarrier *c)
{
    qatomic_set(&c->out_open, false);
    qemu_chr_fe_disconnect(&c->out);
    if (qemu_chr_fe_backend_open(&c->out)) {
        error_report("packet-relay '%s': writing to chardev '%s' failed; "
                     "no more packets are written to it", c->id,
                     chardev_label(&c->out));
    }
}

/* Returns: the number of bytes that out accepted */
static size_t carrier_write(PacketCarrier *c, struct iovec records)
{
    int ret = qemu_chr_fe_write(&c->out, records.iov_base, records.iov_len);

    if (ret == records.iov_len) {
        return ret;
    }
    c->has_room = false;
    if (ret < 0 && errno != EAGAIN) {
        carrier_fail_out(c);
        return 0;
    }
    stat64_add(&c->stalls, 1);
    trace_packet_carrier_stall(c, records.iov_len - MAX(ret, 0));
    carrier_wait_for_room(c);
    return MAX(ret, 0);
}

/* Write as much of the queue as out accepts. */
static void carrier_flush(PacketCarrier *c)
{
    struct iovec waiting = packet_records_waiting(&c->records);

    if (c->has_room && waiting.iov_len) {
        packet_records_sent(&c->records, carrier_write(c, waiting));
        carrier_publish(c);
    }
}

static gboolean carrier_on_room(void *do_not_use, GIOCondition condition,
                                void *opaque)
{
    PacketCarrier *c = opaque;

    c->watch = 0;
    c->has_room = true;
    carrier_flush(c);
    if (c->has_room) {
        qemu_chr_fe_accept_input(&c->in);
    }
    return G_SOURCE_REMOVE;
}

/*
 * Small records of one loop iteration are written in one batch, at the start of
 * the next one.  If the last iteration with data had only one read, don't wait.
 */
static void carrier_forward(PacketCarrier *c, struct iovec whole)
{
    bool at_once = !c->n_reads++ && !c->dense;
    size_t sent = 0, waiting;

    if (at_once || whole.iov_len >= WRITE_IN_PLACE_MIN) {
        carrier_flush(c);
        if (c->has_room && whole.iov_len) {
            sent = carrier_write(c, whole);
        }
    }
    packet_records_put(&c->records, whole, sent);
    waiting = packet_records_waiting(&c->records).iov_len;
    if (waiting >= WRITE_SIZE) {
        carrier_flush(c);
    } else if (waiting) {
        qatomic_set(&c->turn_due, true);
    }
}

/* Data from out is ignored, but has to be read to notice a hangup. */
static int carrier_out_can_read(void *opaque)
{
    return DISCARD_SIZE;
}

static void carrier_out_read(void *opaque, const uint8_t *buf, int size)
{
}

static void carrier_out_event(void *opaque, QEMUChrEvent event)
{
    PacketCarrier *c = opaque;

    switch (event) {
    case CHR_EVENT_OPENED:
        /* Runs in the main thread if add_client opened the chardev */
        qatomic_set(&c->out_open, true);
        qatomic_store_release(&c->turn_due, true);
        g_main_context_wakeup(c->context);
        break;
    case CHR_EVENT_CLOSED:
        qatomic_set(&c->out_open, false);
        c->has_room = false;
        carrier_stop_watch(c);
        packet_records_rewind(&c->records);
        carrier_publish(c);
        break;
    default:
        break;
    }
}

/*
 * Reading
 */

static int carrier_in_can_read(void *opaque)
{
    PacketCarrier *c = opaque;

    return c->has_room || c->in_broken ? PACKET_RECORD_MAX : 0;
}

/*
 * The stream is invalid.  This disconnects a socket; data from a pipe or a pty
 * is discarded until it is opened again.  A chardev without a watch is not a
 * stream: each read starts with a new record.
 */
static void carrier_fail_in(PacketCarrier *c, Error *err)
{
    Chardev *chr = qemu_chr_fe_get_driver(&c->in);

    error_reportf_err(err, "packet-relay '%s': chardev '%s': ignoring the "
                      "rest of the stream: ", c->id, chr->label);
    c->in_broken = CHARDEV_GET_CLASS(chr)->chr_add_watch != NULL;
    qemu_chr_fe_disconnect(&c->in);
}

/* Drop @whole if the queue is full.  Returns: whether it was dropped. */
static bool carrier_drop(PacketCarrier *c, struct iovec whole)
{
    if (packet_records_waiting(&c->records).iov_len <
        PACKET_RECORDS_WAITING_MAX) {
        return false;
    }
    stat64_add(&c->dropped, packet_records_count(&c->records, whole));
    return true;
}

static void carrier_in_read(void *opaque, const uint8_t *buf, int size)
{
    PacketCarrier *c = opaque;
    struct iovec in = { (void *)buf, size };
    struct iovec whole;
    Error *err = NULL;

    if (c->in_broken) {
        return;
    }
    packet_records_next(&c->records, &in, &whole, &err);
    if (!carrier_drop(c, whole)) {
        carrier_forward(c, whole);
    }
    if (!err) {
        packet_records_put_partial(&c->records, in);
    }
    carrier_publish(c);
    if (err) {
        carrier_fail_in(c, err);
    }
}

static void carrier_in_event(void *opaque, QEMUChrEvent event)
{
    PacketCarrier *c = opaque;

    if (event == CHR_EVENT_CLOSED) {
        c->in_broken = false;
        if (packet_records_drop_partial(&c->records)) {
            stat64_add(&c->incomplete, 1);
        }
    }
}

/*
 * Start and stop
 */

/*
 * The turn: what is due once per loop iteration.  A flag costs less than
 * g_source_set_ready_time(), which wakes up the loop.
 */

typedef struct CarrierTurn {
    GSource parent;
    PacketCarrier *carrier;
} CarrierTurn;

/* Called at the start of each iteration */
static gboolean turn_prepare(GSource *source, gint *timeout)
{
    PacketCarrier *c = ((CarrierTurn *)source)->carrier;

    if (c->n_reads) {
        c->dense = c->n_reads > 1;
        c->n_reads = 0;
    }
    *timeout = -1;
    return qatomic_read(&c->turn_due);
}

static gboolean turn_dispatch(GSource *source, GSourceFunc callback,
                              gpointer user_data)
{
    PacketCarrier *c = ((CarrierTurn *)source)->carrier;

    /* Before out_open is read, which another thread sets first */
    qatomic_xchg(&c->turn_due, false);
    if (c->has_room) {
        carrier_flush(c);
    } else {
        carrier_wait_for_room(c);
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs turn_funcs = {
    .prepare = turn_prepare,
    .dispatch = turn_dispatch,
};

void packet_carrier_start(PacketCarrier *c)
{
    packet_records_init(&c->records, c->vnet_hdr);
    c->turn = g_source_new(&turn_funcs, sizeof(CarrierTurn));
    ((CarrierTurn *)c->turn)->carrier = c;
    g_source_set_name(c->turn, "packet-relay");
    g_source_attach(c->turn, c->context);

    qemu_chr_fe_set_handlers(&c->out, carrier_out_can_read, carrier_out_read,
                             carrier_out_event, NULL, c, c->context, true);
    qemu_chr_fe_set_handlers(&c->in, carrier_in_can_read, carrier_in_read,
                             carrier_in_event, NULL, c, c->context, true);
}

void packet_carrier_stop(PacketCarrier *c)
{
    size_t lost;

    carrier_flush(c);
    lost = packet_records_waiting(&c->records).iov_len;
    if (lost) {
        warn_report("packet-relay '%s' is deleted: %zu bytes queued for "
                    "chardev '%s' are lost", c->id, lost,
                    chardev_label(&c->out));
    }
    /* The next user of a chardev must not see the rest of a record */
    if (packet_records_rewind(&c->records)) {
        qemu_chr_fe_disconnect(&c->out);
    }
    if (packet_records_drop_partial(&c->records)) {
        qemu_chr_fe_disconnect(&c->in);
    }

    carrier_stop_watch(c);
    qemu_chr_fe_deinit(&c->in, false);
    qemu_chr_fe_deinit(&c->out, false);
    g_source_destroy(c->turn);
    g_source_unref(c->turn);
    packet_records_destroy(&c->records);
}

void packet_carrier_get_stats(PacketCarrier *c, PacketRelayStats *stats)
{
    *stats = (PacketRelayStats) {
        .records = stat64_get(&c->n_records),
        .bytes = stat64_get(&c->n_bytes),
        .waiting_bytes = stat64_get(&c->waiting_bytes),
        .incomplete = stat64_get(&c->incomplete),
        .dropped = stat64_get(&c->dropped),
        .stalls = stat64_get(&c->stalls),
    };
}

