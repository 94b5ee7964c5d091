/*
 * Socket chardev: the 'af-packet-mode' option
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "chardev/channel-af-packet.h"
#include "chardev/char-af-packet.h"
#include "chardev/char-fe.h"
#include "qapi/error.h"
#include "qapi/qapi-events-char.h"
#include "qapi/qapi-visit-char.h"
#include "qapi/util.h"
#include "qemu/lockable.h"
#include "qemu/option.h"
#include "qemu/units.h"
#include "af-packet-socket.h"
#include "char-socket-af-packet.h"

/* Maximum number of reads per dispatch; each 4 KiB also count as one */
#define READ_BUDGET 64

struct ChrAfPacket {
    ChardevSocketAfPacketMode mode;
    ChardevAfPacketStats stats; /* of previous connections */
    ChardevAfPacketEnd end;     /* why the last connection ended */
};

static const char *mode_str(const SocketChardev *s)
{
    return ChardevSocketAfPacketMode_str(s->af_packet->mode);
}

bool chr_af_packet_parse(QemuOpts *opts, ChardevSocket *sock, Error **errp)
{
    ERRP_GUARD();
    const char *mode = qemu_opt_get(opts, "af-packet-mode");
    int value;

    if (!mode) {
        return true;
    }
    value = qapi_enum_parse(&ChardevSocketAfPacketMode_lookup, mode, -1, NULL);
    if (value < 0) {
        error_setg(errp, "Invalid value '%s' for 'af-packet-mode'", mode);
        error_append_hint(errp, "Use one of 'capture' and 'inject'.\n");
        return false;
    }
    if (qemu_opt_get_bool(opts, "mux", false)) {
        error_setg(errp, "'af-packet-mode' is incompatible with 'mux': "
                   "a multiplexer removes bytes from the stream");
        return false;
    }

    sock->has_af_packet_mode = true;
    sock->af_packet_mode = value;
    return true;
}

/* Check for options that are meaningless with a packet socket. */
static bool check_conflicts(const ChardevSocket *sock, Error **errp)
{
    const struct {
        const char *option;
        bool given;
    } conflicts[] = {
        { "telnet", sock->has_telnet && sock->telnet },
        { "tn3270", sock->has_tn3270 && sock->tn3270 },
        { "websocket", sock->has_websocket && sock->websocket },
        { "tls-creds", sock->tls_creds },
        { "reconnect", sock->has_reconnect },
        { "reconnect-ms", sock->has_reconnect_ms },
    };
    int i;

    if (!sock->has_server || sock->server) {
        error_setg(errp, "'af-packet-mode' is incompatible with 'server': a "
                   "packet socket can't listen, set 'server' to false (it "
                   "defaults to true in QMP)");
        return false;
    }
    for (i = 0; i < ARRAY_SIZE(conflicts); i++) {
        if (conflicts[i].given) {
            error_setg(errp, "'af-packet-mode' is incompatible with '%s', "
                       "leave it out", conflicts[i].option);
            return false;
        }
    }
    return true;
}

bool chr_af_packet_open(SocketChardev *s, const ChardevSocket *sock,
                        Error **errp)
{
    if (!sock->has_af_packet_mode) {
        return true;
    }
    if (!check_conflicts(sock, errp)) {
        return false;
    }
    if (sock->addr->type != SOCKET_ADDRESS_TYPE_FD ||
        !sock->addr->u.fd.data->str) {
        error_setg(errp, "'af-packet-mode' option requires 'fd' address type");
        return false;
    }

    s->af_packet = g_new0(ChrAfPacket, 1);
    s->af_packet->mode = sock->af_packet_mode;
    qemu_chr_set_feature(CHARDEV(s), QEMU_CHAR_FEATURE_RECORDS);
    return true;
}

void chr_af_packet_free(SocketChardev *s)
{
    g_clear_pointer(&s->af_packet, g_free);
}

bool chr_af_packet_check_fd(SocketChardev *s, int fd, Error **errp)
{
    if (s->af_packet) {
        return af_packet_socket_check(fd, s->af_packet->mode, errp);
    }
    if (af_packet_socket_is(fd)) {
        error_setg(errp, "an AF_PACKET fd requires 'af-packet-mode=capture' "
                   "or 'af-packet-mode=inject'");
        return false;
    }
    return true;
}

void chr_af_packet_connect(SocketChardev *s)
{
    Chardev *chr = CHARDEV(s);
    g_autofree char *name = g_strdup_printf("chardev-af-packet-%s-%s",
                                            mode_str(s), chr->label);
    QIOChannelAfPacket *ioc;

    ioc = qio_channel_af_packet_new(s->sioc, s->af_packet->mode, chr->label,
                                    &s->af_packet->stats);
    qio_channel_set_name(QIO_CHANNEL(ioc), name);
    object_unref(OBJECT(s->ioc));
    s->ioc = QIO_CHANNEL(ioc);
}

void chr_af_packet_update(SocketChardev *s)
{
    Chardev *chr = CHARDEV(s);
    QIOChannelAfPacket *ioc = QIO_CHANNEL_AF_PACKET(s->ioc);

    if (!chr->be || !chr->be->chr_read) {
        qio_channel_af_packet_drop_partial(ioc);
    }
    qio_channel_af_packet_attach(ioc, chr->gcontext);
}

/* Returns: like qio_channel_af_packet_take() */
static ssize_t read_one(SocketChardev *s, QIOChannel *ioc, int room)
{
    const uint8_t *buf;
    ssize_t ret = qio_channel_af_packet_take(QIO_CHANNEL_AF_PACKET(ioc), room,
                                             &buf);

    if (ret > 0) {
        qemu_chr_be_write(CHARDEV(s), buf, ret);
    }
    return ret;
}

bool chr_af_packet_read(SocketChardev *s, QIOChannel *ioc)
{
    Chardev *chr = CHARDEV(s);
    ssize_t ret = QIO_CHANNEL_ERR_BLOCK;
    int budget = READ_BUDGET;
    int room;

    /* The frontend may disconnect or even remove the chardev */
    object_ref(OBJECT(chr));
    object_ref(OBJECT(ioc));
    while (budget > 0 && s->ioc == ioc &&
           (room = qemu_chr_be_can_write(chr)) > 0) {
        ret = read_one(s, ioc, room);
        if (ret <= 0) {
            break;
        }
        budget -= 1 + ret / (4 * KiB);
    }
    object_unref(OBJECT(ioc));
    object_unref(OBJECT(chr));
    return ret != 0;
}

void chr_af_packet_read_rest(SocketChardev *s)
{
    QIOChannel *ioc = s->ioc;

    object_ref(OBJECT(ioc));
    /* An ended channel returns BLOCK only after dropping frames: retry */
    while (s->ioc == ioc && read_one(s, ioc, INT_MAX) != 0) {
        continue;
    }
    object_unref(OBJECT(ioc));
}

void chr_af_packet_disconnect(SocketChardev *s)
{
    QIOChannelAfPacket *ioc = QIO_CHANNEL_AF_PACKET(s->ioc);

    qio_channel_af_packet_get_stats(ioc, &s->af_packet->stats);
    s->af_packet->end = qio_channel_af_packet_end_reason(ioc);
}

void chr_af_packet_emit_closed(SocketChardev *s)
{
    qapi_event_send_chardev_af_packet_closed(CHARDEV(s)->label,
                                             s->af_packet->end);
}

char *chr_af_packet_filename(SocketChardev *s)
{
    g_autofree char *ifname = af_packet_socket_ifname(s->sioc->fd);

    return g_strdup_printf("af-packet:%s,mode=%s", ifname ?: "?",
                           mode_str(s));
}

/* The interface may have been renamed since the chardev was connected. */
static char *get_filename(Chardev *chr)
{
    SocketChardev *s = SOCKET_CHARDEV(chr);

    if (!s->af_packet) {
        /* Don't wait for the lock: a write that blocks may hold it for long */
        return g_strdup(chr->filename);
    }
    /* Against a disconnect, which may happen in another thread */
    QEMU_LOCK_GUARD(&chr->chr_write_lock);
    return s->ioc ? chr_af_packet_filename(s) : g_strdup(chr->filename);
}

static void chr_get_stats(SocketChardev *s, ChardevAfPacketStats *stats)
{
    /* Against a disconnect, which may happen in another thread */
    QEMU_LOCK_GUARD(&CHARDEV(s)->chr_write_lock);
    if (s->ioc) {
        qio_channel_af_packet_get_stats(QIO_CHANNEL_AF_PACKET(s->ioc), stats);
    } else {
        *stats = s->af_packet->stats;
    }
}

static void get_stats(Object *obj, Visitor *v, const char *name, void *opaque,
                      Error **errp)
{
    SocketChardev *s = SOCKET_CHARDEV(obj);
    ChardevAfPacketStats stats, *p = &stats;

    if (!s->af_packet) {
        error_setg(errp, "chardev '%s' has no 'af-packet-mode'",
                   CHARDEV(s)->label);
        return;
    }
    chr_get_stats(s, &stats);
    visit_type_ChardevAfPacketStats(v, name, &p, errp);
}

bool chr_af_packet_is_inject(Chardev *chr)
{
    SocketChardev *s = (SocketChardev *)object_dynamic_cast(
        OBJECT(chr), TYPE_CHARDEV_SOCKET);

    return s && s->af_packet &&
           s->af_packet->mode == CHARDEV_SOCKET_AF_PACKET_MODE_INJECT;
}

int chr_af_packet_vnet_hdr_len(Chardev *chr)
{
    SocketChardev *s = SOCKET_CHARDEV(chr);

    /* Against a disconnect, which may happen in another thread */
    QEMU_LOCK_GUARD(&chr->chr_write_lock);
    return s->ioc ? af_packet_socket_vnet_hdr_len(s->sioc->fd) : -1;
}

char *chr_af_packet_ifname(Chardev *chr)
{
    SocketChardev *s = SOCKET_CHARDEV(chr);

    QEMU_LOCK_GUARD(&chr->chr_write_lock);
    return s->ioc ? af_packet_socket_ifname(s->sioc->fd) : NULL;
}

uint64_t chr_af_packet_queue_frames(Chardev *chr)
{
    ChardevAfPacketStats stats;

    chr_get_stats(SOCKET_CHARDEV(chr), &stats);
    return stats.queue_frames;
}

void chr_af_packet_class_init(ObjectClass *oc)
{
    CHARDEV_CLASS(oc)->chr_get_filename = get_filename;
    object_class_property_add(oc, "af-packet-stats", "ChardevAfPacketStats",
                              get_stats, NULL, NULL, NULL);
}
