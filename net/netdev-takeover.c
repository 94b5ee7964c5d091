/*
 * Object that receives a guest's packets from the host it has migrated from
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * It receives records from a netdev-handover and passes them to a chardev that
 * sends them to the guest's tap.  The guest is not announced before the
 * source's backlog has arrived; otherwise packets that the network delivers
 * here would overtake it.
 *
 *   state is loaded        read the stream, start the timer
 *   end of the backlog     wait until the queue for outdev is empty
 *   queue empty, or timer  "done": announce the guest and notify the source
 */
#include "qemu/osdep.h"
#include "chardev/char-af-packet.h"
#include "handover-tap.h"
#include "net/announce.h"
#include "packet-chardev.h"
#include "packet-writer.h"
#include "qapi/error.h"
#include "qapi/qapi-events-net.h"
#include "qapi/qapi-visit-net.h"
#include "qemu/error-report.h"
#include "qom/object_interfaces.h"
#include "system/runstate.h"
#include "takeover-check.h"

#define TYPE_NETDEV_TAKEOVER "netdev-takeover"
OBJECT_DECLARE_SIMPLE_TYPE(NetdevTakeover, NETDEV_TAKEOVER)

/* In ms */
#define HOLD_MAX 500
#define CHECK_INTERVAL 1

struct NetdevTakeover {
    Object parent;
    char *id;               /* for messages, even after it was unparented */
    char *netdev;
    char *indev;
    char *outdev;
    bool completed;

    Chardev *chr_in;
    Chardev *chr_out;
    CharBackend in;
    PacketWriter writer;
    SocketReadState rs;
    uint8_t record[PACKET_RECORD_MAX];

    VMChangeStateEntry *vmstate;
    AnnounceHold hold;
    AnnounceTimer announcement;
    QEMUTimer *hold_timer;
    QEMUBH *begin;
    QEMUTimer *recheck_timer;
    bool loaded;            /* the guest's state is loaded */
    bool due;               /* an announcement of the guest was held */
    bool backlog_done;      /* the source's backlog has arrived */
    bool done;
    bool in_broken;         /* discard data until the next connection */
    uint64_t n_frames;
    uint64_t n_bytes;
    uint64_t n_dropped;
};

/*
 * Announcement
 */

/* Announce this NIC once; QEMU's own timer runs the other rounds. */
static void takeover_announce(NetdevTakeover *s)
{
    NetClientState *nc = qemu_find_netdev(s->netdev);
    AnnounceParameters params = { .rounds = 1, .has_interfaces = true };
    strList nic = { };

    if (nc && nc->peer) {
        nic.value = nc->peer->name;
        params.interfaces = &nic;
        qemu_announce_self(&s->announcement, &params);
    }
}

/*
 * Answer with the record that ends the backlog, so that the source stops
 * sending multicast and broadcast frames.
 */
static void takeover_answer(NetdevTakeover *s)
{
    qemu_chr_fe_write(&s->in, handover_end_mark, sizeof(handover_end_mark));
}

static void takeover_finish(NetdevTakeover *s, bool complete)
{
    s->done = true;
    timer_del(s->hold_timer);
    timer_del(s->recheck_timer);
    qemu_announce_release(&s->hold);
    if (s->due) {
        takeover_announce(s);
    }
    takeover_answer(s);
    qapi_event_send_netdev_takeover_done(s->id, s->netdev, complete);
}

static void takeover_on_timeout(void *opaque)
{
    takeover_finish(opaque, false);
}

static void takeover_check_end(void *opaque)
{
    NetdevTakeover *s = opaque;

    if (!s->loaded || !s->backlog_done || s->done ||
        packet_writer_waiting(&s->writer)) {
        return;
    }
    if (chr_af_packet_queue_frames(s->chr_out)) {
        timer_mod(s->recheck_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                                    CHECK_INTERVAL);
    } else {
        takeover_finish(s, !s->n_dropped);
    }
}

/* The guest's state is loaded: its tap uses the negotiated vnet header. */
static void takeover_begin(void *opaque)
{
    NetdevTakeover *s = opaque;

    if (!s->loaded && !runstate_check(RUN_STATE_INMIGRATE)) {
        s->loaded = true;
        timer_mod(s->hold_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                                 HOLD_MAX);
        s->writer.on_hold = false;
        packet_writer_flush(&s->writer);
        qemu_chr_fe_accept_input(&s->in);
        takeover_check_end(s);
    }
}

static void takeover_on_due(AnnounceHold *hold)
{
    NetdevTakeover *s = container_of(hold, NetdevTakeover, hold);

    s->due = true;
    /* announce-self may have been used before the state is loaded */
    qemu_bh_schedule(s->begin);
}

/* Needed if QEMU does not announce the guest by itself */
static void takeover_on_vm_state(void *opaque, bool running, RunState state)
{
    NetdevTakeover *s = opaque;

    if (running) {
        qemu_bh_schedule(s->begin);
    }
}

/*
 * Records
 */

static int takeover_can_read(void *opaque)
{
    NetdevTakeover *s = opaque;

    return s->in_broken || (s->loaded && packet_writer_has_room(&s->writer)) ?
           PACKET_RECORD_MAX : 0;
}

static void takeover_on_record(SocketReadState *rs)
{
    NetdevTakeover *s = container_of(rs, NetdevTakeover, rs);
    uint8_t *payload = s->record + PACKET_WRITER_HDR_LEN;

    if (rs->packet_len == rs->vnet_hdr_len) {
        s->backlog_done = true;
        return;
    }
    /* outdev fails on a vnet header of any other length */
    if (rs->vnet_hdr_len != sizeof(struct virtio_net_hdr) ||
        packet_writer_waiting(&s->writer) >= PACKET_RECORDS_WAITING_MAX) {
        s->n_dropped++;
        return;
    }
    memcpy(payload, rs->buf, rs->packet_len);
    packet_writer_put(&s->writer, payload, rs->packet_len, rs->vnet_hdr_len);
    s->n_frames++;
    s->n_bytes += rs->packet_len - rs->vnet_hdr_len;
}

/*
 * The stream is invalid.  This disconnects a socket; data from a pipe or a pty
 * is discarded until it is opened again.  A chardev without a watch is not a
 * stream: each read starts with a new record.
 */
static void takeover_fail_in(NetdevTakeover *s, Error *err)
{
    error_reportf_err(err, "netdev-takeover '%s': chardev '%s': ignoring the "
                      "rest of the stream: ", s->id, s->indev);
    s->in_broken = CHARDEV_GET_CLASS(s->chr_in)->chr_add_watch != NULL;
    qemu_chr_fe_disconnect(&s->in);
}

/*
 * Before the guest's state is loaded, this is called only when the source hangs
 * up; the data is then queued in the writer.
 */
static void takeover_read(void *opaque, const uint8_t *buf, int size)
{
    NetdevTakeover *s = opaque;
    Error *err = NULL;
    int ret;

    if (s->in_broken) {
        return;
    }
    ret = net_fill_rstate(&s->rs, buf, size, &err);
    packet_writer_flush(&s->writer);
    takeover_check_end(s);
    if (ret < 0) {
        takeover_fail_in(s, err);
    }
}

static void takeover_in_event(void *opaque, QEMUChrEvent event)
{
    NetdevTakeover *s = opaque;

    if (event == CHR_EVENT_CLOSED) {
        s->in_broken = false;
        net_socket_rs_init(&s->rs, takeover_on_record, true);
    } else if (event == CHR_EVENT_OPENED && s->done) {
        /* The source may have missed the answer */
        takeover_answer(s);
    }
}

static void takeover_on_room(void *opaque)
{
    NetdevTakeover *s = opaque;

    qemu_chr_fe_accept_input(&s->in);
    takeover_check_end(s);
}

/*
 * Start and stop
 */

static bool takeover_attach(NetdevTakeover *s, NetClientState *tap,
                            Error **errp)
{
    PacketWriter *w = &s->writer;

    s->chr_in = packet_chardev_attach(&s->in, TYPE_NETDEV_TAKEOVER, "indev",
                                      s->indev, errp);
    if (!s->chr_in) {
        return false;
    }
    s->chr_out = packet_chardev_attach(&w->chr, TYPE_NETDEV_TAKEOVER, "outdev",
                                       s->outdev, errp);
    return s->chr_out && takeover_check_inject(s->chr_out, tap, errp);
}

static bool takeover_hold(NetdevTakeover *s, Error **errp)
{
    s->hold.netdev = s->netdev;
    s->hold.due = takeover_on_due;
    if (!qemu_announce_hold(&s->hold)) {
        error_setg(errp, "netdev '%s' has a netdev-takeover already",
                   s->netdev);
        return false;
    }
    return true;
}

static void takeover_start(NetdevTakeover *s)
{
    s->hold_timer = timer_new_ms(QEMU_CLOCK_REALTIME, takeover_on_timeout, s);
    s->begin = qemu_bh_new(takeover_begin, s);
    s->recheck_timer = timer_new_ms(QEMU_CLOCK_REALTIME, takeover_check_end,
                                    s);
    s->vmstate = qemu_add_vm_change_state_handler(takeover_on_vm_state, s);

    s->writer.on_room = takeover_on_room;
    s->writer.opaque = s;
    s->writer.on_hold = true;
    packet_writer_start(&s->writer);
    net_socket_rs_init(&s->rs, takeover_on_record, true);
    qemu_chr_fe_set_read_to_end(&s->in, true);
    qemu_chr_fe_set_handlers(&s->in, takeover_can_read, takeover_read,
                             takeover_in_event, NULL, s, NULL, true);
}

static void netdev_takeover_complete(UserCreatable *uc, Error **errp)
{
    NetdevTakeover *s = NETDEV_TAKEOVER(uc);
    NetClientState *tap = takeover_check_netdev(s->netdev, errp);

    if (!tap) {
        return;
    }
    if (!runstate_check(RUN_STATE_INMIGRATE)) {
        error_setg(errp, "netdev-takeover requires an incoming migration: use "
                   "-incoming, and add the object before the migration");
        return;
    }
    if (!takeover_attach(s, tap, errp) || !takeover_hold(s, errp)) {
        return;
    }
    s->id = g_strdup(object_get_canonical_path_component(OBJECT(s)));
    takeover_start(s);
    s->completed = true;
}

static void takeover_end(NetdevTakeover *s)
{
    size_t lost;

    if (!s->done) {
        qemu_announce_release(&s->hold);
        if (s->due) {
            takeover_announce(s);
        }
    }
    timer_free(s->hold_timer);
    qemu_bh_delete(s->begin);
    timer_free(s->recheck_timer);
    qemu_del_vm_change_state_handler(s->vmstate);
    qemu_chr_fe_set_handlers(&s->in, NULL, NULL, NULL, NULL, NULL, NULL,
                             false);
    lost = packet_writer_stop(&s->writer);
    if (lost) {
        warn_report("netdev-takeover '%s' is deleted: %zu bytes queued for "
                    "chardev '%s' are lost", s->id, lost, s->outdev);
    }
    /* The next user of the chardev must not see the rest of a record */
    if (s->rs.state || s->rs.index) {
        qemu_chr_fe_disconnect(&s->in);
    }
}

static void netdev_takeover_finalize(Object *obj)
{
    NetdevTakeover *s = NETDEV_TAKEOVER(obj);

    if (s->completed) {
        takeover_end(s);
    }
    packet_chardev_detach(&s->in, s->chr_in);
    packet_chardev_detach(&s->writer.chr, s->chr_out);
    g_free(s->id);
    g_free(s->netdev);
    g_free(s->indev);
    g_free(s->outdev);
}

/*
 * Properties
 */

/* Set a property, unless the object is complete. */
static void takeover_set(NetdevTakeover *s, char **option, const char *name,
                         const char *value, Error **errp)
{
    if (s->completed) {
        error_setg(errp, "'%s' of netdev-takeover can't be changed after "
                   "creation: delete the object and add a new one", name);
        return;
    }
    g_free(*option);
    *option = g_strdup(value);
}

static char *takeover_get_netdev(Object *obj, Error **errp)
{
    return g_strdup(NETDEV_TAKEOVER(obj)->netdev);
}

static void takeover_set_netdev(Object *obj, const char *value, Error **errp)
{
    NetdevTakeover *s = NETDEV_TAKEOVER(obj);

    takeover_set(s, &s->netdev, "netdev", value, errp);
}

static char *takeover_get_indev(Object *obj, Error **errp)
{
    return g_strdup(NETDEV_TAKEOVER(obj)->indev);
}

static void takeover_set_indev(Object *obj, const char *value, Error **errp)
{
    NetdevTakeover *s = NETDEV_TAKEOVER(obj);

    takeover_set(s, &s->indev, "indev", value, errp);
}

static char *takeover_get_outdev(Object *obj, Error **errp)
{
    return g_strdup(NETDEV_TAKEOVER(obj)->outdev);
}

static void takeover_set_outdev(Object *obj, const char *value, Error **errp)
{
    NetdevTakeover *s = NETDEV_TAKEOVER(obj);

    takeover_set(s, &s->outdev, "outdev", value, errp);
}

static void takeover_get_stats(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    NetdevTakeover *s = NETDEV_TAKEOVER(obj);
    NetdevTakeoverStats stats = {
        .done = s->done,
        .frames = s->n_frames,
        .bytes = s->n_bytes,
        .dropped = s->n_dropped,
    }, *p = &stats;

    if (s->completed) {
        stats.waiting_bytes = packet_writer_waiting(&s->writer);
    }
    visit_type_NetdevTakeoverStats(v, name, &p, errp);
}

static void netdev_takeover_class_init(ObjectClass *oc, void *data)
{
    USER_CREATABLE_CLASS(oc)->complete = netdev_takeover_complete;

    object_class_property_add_str(oc, "netdev", takeover_get_netdev,
                                  takeover_set_netdev);
    object_class_property_add_str(oc, "indev", takeover_get_indev,
                                  takeover_set_indev);
    object_class_property_add_str(oc, "outdev", takeover_get_outdev,
                                  takeover_set_outdev);
    object_class_property_add(oc, "stats", "NetdevTakeoverStats",
                              takeover_get_stats, NULL, NULL, NULL);
}

static const TypeInfo netdev_takeover_info = {
    .name = TYPE_NETDEV_TAKEOVER,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(NetdevTakeover),
    .instance_finalize = netdev_takeover_finalize,
    .class_init = netdev_takeover_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    }
};

static void netdev_takeover_register_types(void)
{
    type_register_static(&netdev_takeover_info);
}

type_init(netdev_takeover_register_types);
