/*
 * Object that forwards a guest's packets to the host it has migrated to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * This file implements its properties and lifecycle; handover-tap.c reads the
 * packets.
 */
#include "qemu/osdep.h"
#include "handover-tap.h"
#include "migration/misc.h"
#include "packet-chardev.h"
#include "packet-writer.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-net.h"
#include "qemu/error-report.h"
#include "qom/object_interfaces.h"
#include "system/runstate.h"

#define TYPE_NETDEV_HANDOVER "netdev-handover"
OBJECT_DECLARE_SIMPLE_TYPE(NetdevHandover, NETDEV_HANDOVER)

struct NetdevHandover {
    Object parent;
    char *id;               /* for messages, even after it was unparented */
    char *netdev;
    char *outdev;
    bool completed;

    Chardev *chr_out;
    PacketWriter writer;
    HandoverTap *tap;       /* NULL once the netdev is deleted */
    NotifierWithReturn migration;
    VMChangeStateEntry *vmstate;
    QEMUBH *start;
};

/* The guest runs at the destination, unless the VM was resumed here. */
static void handover_start(void *opaque)
{
    NetdevHandover *s = opaque;

    if (runstate_check(RUN_STATE_POSTMIGRATE) ||
        runstate_check(RUN_STATE_FINISH_MIGRATE)) {
        handover_tap_start(s->tap);
    }
}

/*
 * With postcopy, a migration may still fail right after PRECOPY_DONE was
 * notified, but the BQL is not released in between, so that the notification of
 * the failure cancels the bottom half.  PRECOPY_DONE is notified again later.
 */
static int handover_on_migration(NotifierWithReturn *notifier,
                                 MigrationEvent *event, Error **errp)
{
    NetdevHandover *s = container_of(notifier, NetdevHandover, migration);

    if (event->type == MIG_EVENT_PRECOPY_DONE) {
        qemu_bh_schedule(s->start);
    } else {
        qemu_bh_cancel(s->start);
    }
    return 0;
}

static void handover_on_vm_state(void *opaque, bool running, RunState state)
{
    NetdevHandover *s = opaque;

    if (running) {
        handover_tap_stop(s->tap);
    }
}

static void handover_on_room(void *opaque)
{
    NetdevHandover *s = opaque;

    handover_tap_resume(s->tap);
}

/* The destination has announced the guest. */
static void handover_on_answer(void *opaque)
{
    NetdevHandover *s = opaque;

    handover_tap_set_announced(s->tap);
}

static void handover_end(NetdevHandover *s)
{
    size_t lost;

    qemu_del_vm_change_state_handler(s->vmstate);
    migration_remove_notifier(&s->migration);
    qemu_bh_delete(s->start);
    g_clear_pointer(&s->tap, handover_tap_free);
    lost = packet_writer_stop(&s->writer);
    if (lost) {
        warn_report("netdev-handover '%s' has ended: %zu bytes queued for "
                    "chardev '%s' are lost", s->id, lost, s->outdev);
    }
}

static void handover_on_netdev_deleted(void *opaque)
{
    NetdevHandover *s = opaque;

    handover_end(s);
    object_unparent(OBJECT(s));
}

static void netdev_handover_complete(UserCreatable *uc, Error **errp)
{
    NetdevHandover *s = NETDEV_HANDOVER(uc);
    PacketWriter *w = &s->writer;

    if (!s->netdev) {
        error_setg(errp, "netdev-handover needs 'netdev', the ID of a netdev");
        return;
    }
    s->chr_out = packet_chardev_attach(&w->chr, TYPE_NETDEV_HANDOVER, "outdev",
                                       s->outdev, errp);
    if (!s->chr_out ||
        !packet_chardev_check_stream(s->chr_out, TYPE_NETDEV_HANDOVER,
                                     "outdev", errp)) {
        return;
    }
    s->tap = handover_tap_new(s->netdev, w, handover_on_netdev_deleted, s,
                              errp);
    if (!s->tap) {
        return;
    }

    s->id = g_strdup(object_get_canonical_path_component(OBJECT(s)));
    w->on_room = handover_on_room;
    w->on_answer = handover_on_answer;
    w->answer = handover_end_mark;
    w->answer_len = sizeof(handover_end_mark);
    w->opaque = s;
    packet_writer_start(w);
    s->start = qemu_bh_new(handover_start, s);
    migration_add_notifier(&s->migration, handover_on_migration);
    s->vmstate = qemu_add_vm_change_state_handler(handover_on_vm_state, s);
    s->completed = true;

    if (runstate_check(RUN_STATE_POSTMIGRATE)) {
        qemu_bh_schedule(s->start);
    }
}

static void netdev_handover_finalize(Object *obj)
{
    NetdevHandover *s = NETDEV_HANDOVER(obj);

    if (s->tap) {
        handover_end(s);
    }
    packet_chardev_detach(&s->writer.chr, s->chr_out);
    g_free(s->id);
    g_free(s->netdev);
    g_free(s->outdev);
}

/*
 * Properties
 */

/* Returns: false if properties can't be set any more. */
static bool handover_check_settable(NetdevHandover *s, const char *name,
                                    Error **errp)
{
    if (s->completed) {
        error_setg(errp, "'%s' of netdev-handover can't be changed after "
                   "creation: delete the object and add a new one", name);
        return false;
    }
    return true;
}

static char *handover_get_netdev(Object *obj, Error **errp)
{
    return g_strdup(NETDEV_HANDOVER(obj)->netdev);
}

static void handover_set_netdev(Object *obj, const char *value, Error **errp)
{
    NetdevHandover *s = NETDEV_HANDOVER(obj);

    if (handover_check_settable(s, "netdev", errp)) {
        g_free(s->netdev);
        s->netdev = g_strdup(value);
    }
}

static char *handover_get_outdev(Object *obj, Error **errp)
{
    return g_strdup(NETDEV_HANDOVER(obj)->outdev);
}

static void handover_set_outdev(Object *obj, const char *value, Error **errp)
{
    NetdevHandover *s = NETDEV_HANDOVER(obj);

    if (handover_check_settable(s, "outdev", errp)) {
        g_free(s->outdev);
        s->outdev = g_strdup(value);
    }
}

static void handover_get_stats(Object *obj, Visitor *v, const char *name,
                               void *opaque, Error **errp)
{
    NetdevHandover *s = NETDEV_HANDOVER(obj);
    NetdevHandoverStats stats = { }, *p = &stats;

    if (s->tap) {
        handover_tap_get_stats(s->tap, &stats);
    }
    visit_type_NetdevHandoverStats(v, name, &p, errp);
}

static void netdev_handover_class_init(ObjectClass *oc, void *data)
{
    USER_CREATABLE_CLASS(oc)->complete = netdev_handover_complete;

    object_class_property_add_str(oc, "netdev", handover_get_netdev,
                                  handover_set_netdev);
    object_class_property_add_str(oc, "outdev", handover_get_outdev,
                                  handover_set_outdev);
    object_class_property_add(oc, "stats", "NetdevHandoverStats",
                              handover_get_stats, NULL, NULL, NULL);
}

static const TypeInfo netdev_handover_info = {
    .name = TYPE_NETDEV_HANDOVER,
    .parent = TYPE_OBJECT,
    .instance_size = sizeof(NetdevHandover),
    .instance_finalize = netdev_handover_finalize,
    .class_init = netdev_handover_class_init,
    .interfaces = (InterfaceInfo[]) {
        { TYPE_USER_CREATABLE },
        { }
    }
};

static void netdev_handover_register_types(void)
{
    type_register_static(&netdev_handover_info);
}

type_init(netdev_handover_register_types);
