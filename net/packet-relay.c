/*
 * Object that forwards packet records from one character device to another
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * This file implements its properties and lifecycle; packet-carrier.c does the
 * forwarding, in the main loop or in an iothread.
 */
#include "qemu/osdep.h"
#include "block/aio-wait.h"
#include "packet-carrier.h"
#include "packet-chardev.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-net.h"
#include "qom/object_interfaces.h"
#include "system/iothread.h"

#define TYPE_PACKET_RELAY "packet-relay"
OBJECT_DECLARE_SIMPLE_TYPE(PacketRelay, PACKET_RELAY)

struct PacketRelay {
    Object parent;
    char *id;               /* for messages, even after it was unparented */
    char *indev;
    char *outdev;
    IOThread *iothread;     /* NULL for the main loop */
    bool completed;

    Chardev *chr_in;
    Chardev *chr_out;
    PacketCarrier carrier;
};

/* Runs in the relay's context */
static void relay_enter(void *opaque)
{
    packet_carrier_start(opaque);
}

static void relay_leave(void *opaque)
{
    packet_carrier_stop(opaque);
}

/* Run @func in the relay's context and wait until it returns. */
static void relay_run(PacketRelay *s, QEMUBHFunc *func)
{
    if (s->iothread) {
        aio_wait_bh_oneshot(iothread_get_aio_context(s->iothread), func,
                            &s->carrier);
    } else {
        func(&s->carrier);
    }
}

static bool relay_check_context(PacketRelay *s, Chardev *chr, Error **errp)
{
    if (s->iothread && !qemu_chr_has_feature(chr, QEMU_CHAR_FEATURE_GCONTEXT)) {
        error_setg(errp, "chardev '%s' can't run in an iothread: leave out "
                   "'iothread', or use a socket", chr->label);
        return false;
    }
    return true;
}

static void packet_relay_complete(UserCreatable *uc, Error **errp)
{
    PacketRelay *s = PACKET_RELAY(uc);
    PacketCarrier *c = &s->carrier;

    s->chr_in = packet_chardev_attach(&c->in, TYPE_PACKET_RELAY, "indev",
                                      s->indev, errp);
    if (!s->chr_in || !relay_check_context(s, s->chr_in, errp)) {
        return;
    }
    s->chr_out = packet_chardev_attach(&c->out, TYPE_PACKET_RELAY, "outdev",
                                       s->outdev, errp);
    if (!s->chr_out || !relay_check_context(s, s->chr_out, errp) ||
        !packet_chardev_check_stream(s->chr_out, TYPE_PACKET_RELAY, "outdev",
                                     errp)) {
        return;
    }

    /* Also forward what a peer sent before it hung up */
    qemu_chr_fe_set_read_to_end(&c->in, true);
    s->id = g_strdup(object_get_canonical_path_component(OBJECT(s)));
    c->id = s->id;
    if (s->iothread) {
        /* The property's reference is dropped before the finalizer runs */
        object_ref(OBJECT(s->iothread));
        c->context = iothread_get_g_main_context(s->iothread);
    }
    relay_run(s, relay_enter);
    s->completed = true;
}

static void packet_relay_finalize(Object *obj)
{
    PacketRelay *s = PACKET_RELAY(obj);

    if (s->completed) {
        relay_run(s, relay_leave);
        object_unref(OBJECT(s->iothread));
    }
    packet_chardev_detach(&s->carrier.in, s->chr_in);
    packet_chardev_detach(&s->carrier.out, s->chr_out);
    g_free(s->id);
    g_free(s->indev);
    g_free(s->outdev);
}

/*
 * Properties
 */

/* Returns: false if properties can't be set any more. */
static bool relay_check_settable(PacketRelay *s, const char *name,
                                 Error **errp)
{
    if (s->completed) {
        error_setg(errp, "'%s' of packet-relay can't be changed after "
                   "creation: delete the object and add a new one", name);
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
    return PACKET_RELAY(obj)->carrier.vnet_hdr;
}

static void relay_set_vnet_hdr(Object *obj, bool value, Error **errp)
{
    PacketRelay *s = PACKET_RELAY(obj);

    if (relay_check_settable(s, "vnet-hdr", errp)) {
        s->carrier.vnet_hdr = value;
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
    PacketRelayStats stats, *p = &stats;

    packet_carrier_get_stats(&PACKET_RELAY(obj)->carrier, &stats);
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
