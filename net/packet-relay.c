/*
 * Object that carries records of packets from one character device to another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It reads only while there is room behind: what waits does so where it came
 * from, such as in the kernel's buffer of a socket.  All of it happens in
 * sources of one context, the main loop's or an iothread's, which no nested
 * event loop runs.
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "chardev/char-fe.h"
#include "net/net.h"
#include "packet-records.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-net.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/stats64.h"
#include "qemu/units.h"
#include "qom/object_interfaces.h"
#include "system/iothread.h"
#include "trace.h"

#define TYPE_PACKET_RELAY "packet-relay"
OBJECT_DECLARE_SIMPLE_TYPE(PacketRelay, PACKET_RELAY)

/* From here on, to copy records costs more than to write them by themselves */
#define WRITE_IN_PLACE_MIN (16 * KiB)

/* What is written at once, if there is as much */
#define WRITE_SIZE (64 * KiB)

/* What comes from outdev is discarded in portions of this size */
#define DISCARD_SIZE (4 * KiB)

struct PacketRelay {
    Object parent;
    char *id;               /* for messages, even when it has lost its own */
    char *indev;
    char *outdev;
    bool vnet_hdr;
    IOThread *iothread;     /* NULL: in the main loop */
    bool completed;

    Chardev *chr_in;
    Chardev *chr_out;
    CharBackend in;
    CharBackend out;
    GMainContext *context;
    GSource *turn;          /* ends the turn of the loop that it is armed in */
    bool out_open;          /* set in any thread, cleared in the context's */
    guint watch;            /* waits for room in outdev, 0 if not */
    bool has_room;          /* as far as is known, in outdev */
    bool in_broken;         /* nothing more is read from indev */
    PacketRecords records;

    /* PacketRelayStats, for any thread */
    Stat64 n_records;
    Stat64 n_bytes;
    Stat64 waiting_bytes;
    Stat64 incomplete;
    Stat64 stalls;
};

static void relay_publish(PacketRelay *s)
{
    stat64_set(&s->n_records, s->records.n_records);
    stat64_set(&s->n_bytes, s->records.n_bytes);
    stat64_set(&s->waiting_bytes,
               packet_records_waiting(&s->records).iov_len);
}

/*
 * Writing
 */

static void relay_stop_watch(PacketRelay *s)
{
    if (s->watch) {
        g_source_destroy(g_main_context_find_source_by_id(s->context,
                                                          s->watch));
        s->watch = 0;
    }
}

static gboolean relay_on_room(void *do_not_use, GIOCondition condition,
                              void *opaque);

/*
 * A chardev may have to know that somebody will wait for room before it
 * makes anybody do so; hence this is also how a connection starts.
 */
static void relay_wait_for_room(PacketRelay *s)
{
    if (!s->watch && qatomic_read(&s->out_open)) {
        s->watch = qemu_chr_fe_add_watch(&s->out, G_IO_OUT | G_IO_HUP,
                                         relay_on_room, s);
    }
}

/* outdev takes no more; a socket's connection ends by this. */
static void relay_fail_out(PacketRelay *s)
{
    qatomic_set(&s->out_open, false);
    qemu_chr_fe_disconnect(&s->out);
    if (qemu_chr_fe_backend_open(&s->out)) {
        error_report("packet-relay '%s': chardev '%s' fails; nothing more is "
                     "written to it", s->id, s->outdev);
    }
}

/* Returns: how many of the bytes outdev takes now */
static size_t relay_write(PacketRelay *s, struct iovec records)
{
    int ret = qemu_chr_fe_write(&s->out, records.iov_base, records.iov_len);

    if (ret == records.iov_len) {
        return ret;
    }
    s->has_room = false;
    if (ret < 0 && errno != EAGAIN) {
        relay_fail_out(s);
        return 0;
    }
    stat64_add(&s->stalls, 1);
    trace_packet_relay_stall(s, records.iov_len - MAX(ret, 0));
    relay_wait_for_room(s);
    return MAX(ret, 0);
}

/* Write what waits, as far as there is room. */
static void relay_flush(PacketRelay *s)
{
    struct iovec waiting = packet_records_waiting(&s->records);

    if (s->has_room && waiting.iov_len) {
        packet_records_sent(&s->records, relay_write(s, waiting));
        relay_publish(s);
    }
}

static gboolean relay_on_room(void *do_not_use, GIOCondition condition,
                              void *opaque)
{
    PacketRelay *s = opaque;

    s->watch = 0;
    s->has_room = true;
    relay_flush(s);
    if (s->has_room) {
        qemu_chr_fe_accept_input(&s->in);
    }
    return G_SOURCE_REMOVE;
}

static gboolean relay_end_turn(void *opaque)
{
    PacketRelay *s = opaque;

    if (s->has_room) {
        relay_flush(s);
    } else {
        relay_wait_for_room(s);
    }
    return G_SOURCE_CONTINUE;
}

/* Records that come one by one in a turn of the loop are written together. */
static void relay_forward(PacketRelay *s, struct iovec whole)
{
    size_t sent = 0;

    if (whole.iov_len >= WRITE_IN_PLACE_MIN) {
        relay_flush(s);
        if (s->has_room) {
            sent = relay_write(s, whole);
        }
    }
    packet_records_put(&s->records, whole, sent);
    if (packet_records_waiting(&s->records).iov_len >= WRITE_SIZE) {
        relay_flush(s);
    } else {
        g_source_set_ready_time(s->turn, 0);
    }
}

/* Nothing that comes from outdev means anything, except that it ends. */
static int relay_out_can_read(void *opaque)
{
    return DISCARD_SIZE;
}

static void relay_out_read(void *opaque, const uint8_t *buf, int size)
{
}

static void relay_out_event(void *opaque, QEMUChrEvent event)
{
    PacketRelay *s = opaque;

    switch (event) {
    case CHR_EVENT_OPENED:
        /* In the main thread, if add_client did it */
        qatomic_set(&s->out_open, true);
        g_source_set_ready_time(s->turn, 0);
        break;
    case CHR_EVENT_CLOSED:
        qatomic_set(&s->out_open, false);
        s->has_room = false;
        relay_stop_watch(s);
        packet_records_rewind(&s->records);
        relay_publish(s);
        break;
    default:
        break;
    }
}

/*
 * Reading
 */

static int relay_in_can_read(void *opaque)
{
    PacketRelay *s = opaque;

    return s->has_room && !s->in_broken ? PACKET_RECORD_MAX : 0;
}

/* The stream makes no sense; a socket's connection ends by this. */
static void relay_fail_in(PacketRelay *s, Error *err)
{
    error_reportf_err(err, "packet-relay '%s': chardev '%s': no more of the "
                      "stream is read: ", s->id, s->indev);
    s->in_broken = true;
    qemu_chr_fe_disconnect(&s->in);
}

static void relay_in_read(void *opaque, const uint8_t *buf, int size)
{
    PacketRelay *s = opaque;
    struct iovec in = { (void *)buf, size };
    struct iovec whole;
    Error *err = NULL;

    packet_records_next(&s->records, &in, &whole, &err);
    relay_forward(s, whole);
    if (!err) {
        packet_records_put_partial(&s->records, in);
    }
    relay_publish(s);
    if (err) {
        relay_fail_in(s, err);
    }
}

static void relay_in_event(void *opaque, QEMUChrEvent event)
{
    PacketRelay *s = opaque;

    if (event == CHR_EVENT_CLOSED) {
        s->in_broken = false;
        if (packet_records_drop_partial(&s->records)) {
            stat64_add(&s->incomplete, 1);
        }
    }
}

/*
 * Life
 */

static gboolean turn_dispatch(GSource *source, GSourceFunc callback,
                              gpointer user_data)
{
    g_source_set_ready_time(source, -1);
    return callback(user_data);
}

static GSourceFuncs turn_funcs = {
    .dispatch = turn_dispatch,
};

/* Runs in the context */
static void relay_enter(void *opaque)
{
    PacketRelay *s = opaque;

    s->turn = g_source_new(&turn_funcs, sizeof(GSource));
    g_source_set_callback(s->turn, relay_end_turn, s, NULL);
    g_source_set_name(s->turn, "packet-relay");
    g_source_attach(s->turn, s->context);

    qemu_chr_fe_set_handlers(&s->out, relay_out_can_read, relay_out_read,
                             relay_out_event, NULL, s, s->context, true);
    qemu_chr_fe_set_handlers(&s->in, relay_in_can_read, relay_in_read,
                             relay_in_event, NULL, s, s->context, true);
}

/*
 * Runs in the context.  A connection that has passed a record partly ends, as
 * the rest of it would make no sense to whoever uses the chardev next.
 */
static void relay_leave(void *opaque)
{
    PacketRelay *s = opaque;
    size_t lost;

    relay_flush(s);
    lost = packet_records_waiting(&s->records).iov_len;
    if (lost) {
        warn_report("packet-relay '%s' is deleted while %zu bytes wait for "
                    "chardev '%s': they are lost", s->id, lost, s->outdev);
    }
    if (packet_records_rewind(&s->records)) {
        qemu_chr_fe_disconnect(&s->out);
    }
    if (packet_records_drop_partial(&s->records)) {
        qemu_chr_fe_disconnect(&s->in);
    }

    relay_stop_watch(s);
    qemu_chr_fe_deinit(&s->in, false);
    qemu_chr_fe_deinit(&s->out, false);
    g_source_destroy(s->turn);
    g_source_unref(s->turn);
}

/* Run @func in the relay's context, and wait for it. */
static void relay_run(PacketRelay *s, QEMUBHFunc *func)
{
    if (s->iothread) {
        aio_wait_bh_oneshot(iothread_get_aio_context(s->iothread), func, s);
    } else {
        func(s);
    }
}

static bool relay_check_chardev(PacketRelay *s, Chardev *chr, Error **errp)
{
    if (object_dynamic_cast(OBJECT(chr), TYPE_CHARDEV_MUX) ||
        object_dynamic_cast(OBJECT(chr), TYPE_CHARDEV_HUB)) {
        error_setg(errp, "chardev '%s' is shared with others, which would "
                   "take bytes out of the stream: packet-relay needs one of "
                   "its own, without 'mux'", chr->label);
        return false;
    }
    if (s->iothread && !qemu_chr_has_feature(chr, QEMU_CHAR_FEATURE_GCONTEXT)) {
        error_setg(errp, "chardev '%s' can't run in an iothread: leave out "
                   "'iothread', or use a socket", chr->label);
        return false;
    }
    return true;
}

/* Returns: the chardev that the option @name names as @id, for @be to use */
static Chardev *relay_attach_chardev(PacketRelay *s, CharBackend *be,
                                     const char *name, const char *id,
                                     Error **errp)
{
    Chardev *chr;

    if (!id) {
        error_setg(errp, "packet-relay needs '%s', the ID of a chardev", name);
        return NULL;
    }
    chr = qemu_chr_find(id);
    if (!chr) {
        error_setg(errp, "'%s' of packet-relay: there is no chardev '%s'",
                   name, id);
        return NULL;
    }
    if (!relay_check_chardev(s, chr, errp) ||
        !qemu_chr_fe_init(be, chr, errp)) {
        return NULL;
    }
    /* Chardevs go before objects when QEMU ends */
    object_ref(OBJECT(chr));
    return chr;
}

static void packet_relay_complete(UserCreatable *uc, Error **errp)
{
    PacketRelay *s = PACKET_RELAY(uc);

    s->chr_in = relay_attach_chardev(s, &s->in, "indev", s->indev, errp);
    if (!s->chr_in) {
        return;
    }
    s->chr_out = relay_attach_chardev(s, &s->out, "outdev", s->outdev, errp);
    if (!s->chr_out) {
        return;
    }
    if (!CHARDEV_GET_CLASS(s->chr_out)->chr_add_watch) {
        error_setg(errp, "chardev '%s' can't be waited for: 'outdev' of "
                   "packet-relay needs a stream, such as a socket",
                   s->outdev);
        return;
    }

    /* What a peer has sent before it left is to go on, too */
    qemu_chr_fe_set_read_to_end(&s->in, true);
    s->id = g_strdup(object_get_canonical_path_component(OBJECT(s)));
    packet_records_init(&s->records, s->vnet_hdr);
    if (s->iothread) {
        /* That of the property goes before the object is finalized */
        object_ref(OBJECT(s->iothread));
        s->context = iothread_get_g_main_context(s->iothread);
    }
    relay_run(s, relay_enter);
    s->completed = true;
}

static void relay_detach_chardev(CharBackend *be, Chardev *chr)
{
    if (chr) {
        qemu_chr_fe_deinit(be, false);
        object_unref(OBJECT(chr));
    }
}

static void packet_relay_finalize(Object *obj)
{
    PacketRelay *s = PACKET_RELAY(obj);

    if (s->completed) {
        relay_run(s, relay_leave);
        object_unref(OBJECT(s->iothread));
    }
    relay_detach_chardev(&s->in, s->chr_in);
    relay_detach_chardev(&s->out, s->chr_out);
    packet_records_destroy(&s->records);
    g_free(s->id);
    g_free(s->indev);
    g_free(s->outdev);
}

/*
 * Properties
 */

/* Returns: false if it is too late to set a property. */
static bool relay_check_settable(PacketRelay *s, const char *name,
                                 Error **errp)
{
    if (s->completed) {
        error_setg(errp, "'%s' of packet-relay can't be changed any more: "
                   "delete the object, and add another", name);
        return false;
    }
    return true;
}

static char *relay_get_indev(Object *obj, Error **errp)
{
    return g_strdup(PACKET_RELAY(obj)->indev);
}

static void relay_set_indev(Object *obj, const char *value, Error **errp)
{
    PacketRelay *s = PACKET_RELAY(obj);

    if (relay_check_settable(s, "indev", errp)) {
        g_free(s->indev);
        s->indev = g_strdup(value);
    }
}

static char *relay_get_outdev(Object *obj, Error **errp)
{
    return g_strdup(PACKET_RELAY(obj)->outdev);
}

static void relay_set_outdev(Object *obj, const char *value, Error **errp)
{
    PacketRelay *s = PACKET_RELAY(obj);

    if (relay_check_settable(s, "outdev", errp)) {
        g_free(s->outdev);
        s->outdev = g_strdup(value);
    }
}

static bool relay_get_vnet_hdr(Object *obj, Error **errp)
{
    return PACKET_RELAY(obj)->vnet_hdr;
}

static void relay_set_vnet_hdr(Object *obj, bool value, Error **errp)
{
    PacketRelay *s = PACKET_RELAY(obj);

    if (relay_check_settable(s, "vnet-hdr", errp)) {
        s->vnet_hdr = value;
    }
}

static void relay_check_iothread(const Object *obj, const char *name,
                                 Object *iothread, Error **errp)
{
    relay_check_settable(PACKET_RELAY(obj), name, errp);
}

static void relay_get_stats(Object *obj, Visitor *v, const char *name,
                            void *opaque, Error **errp)
{
    PacketRelay *s = PACKET_RELAY(obj);
    PacketRelayStats stats = {
        .records = stat64_get(&s->n_records),
        .bytes = stat64_get(&s->n_bytes),
        .waiting_bytes = stat64_get(&s->waiting_bytes),
        .incomplete = stat64_get(&s->incomplete),
        .stalls = stat64_get(&s->stalls),
    };
    PacketRelayStats *p = &stats;

    visit_type_PacketRelayStats(v, name, &p, errp);
}

static void packet_relay_class_init(ObjectClass *oc, void *data)
{
    USER_CREATABLE_CLASS(oc)->complete = packet_relay_complete;

    object_class_property_add_str(oc, "indev", relay_get_indev,
                                  relay_set_indev);
    object_class_property_add_str(oc, "outdev", relay_get_outdev,
                                  relay_set_outdev);
    object_class_property_add_bool(oc, "vnet-hdr", relay_get_vnet_hdr,
                                   relay_set_vnet_hdr);
    object_class_property_add_link(oc, "iothread", TYPE_IOTHREAD,
                                   offsetof(PacketRelay, iothread),
                                   relay_check_iothread,
                                   OBJ_PROP_LINK_STRONG);
    object_class_property_add(oc, "stats", "PacketRelayStats",
                              relay_get_stats, NULL, NULL, NULL);
}

static const TypeInfo packet_relay_info = {
    .name = TYPE_PACKET_RELAY,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(PacketRelay),
    .instance_finalize = packet_relay_finalize,
    .class_init = packet_relay_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    }
};

static void packet_relay_register_types(void)
{
    type_register_static(&packet_relay_info);
}

type_init(packet_relay_register_types);
