/*
 * QIOChannel that turns frames of an AF_PACKET socket into records and back
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "chardev/channel-af-packet.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/iov.h"
#include "qemu/lockable.h"
#include "qemu/module.h"
#include "qemu/queue.h"
#include "af-packet-capture.h"
#include "af-packet-inject.h"
#include "af-packet-port.h"
#include "trace.h"

/* In microseconds of g_get_monotonic_time() */
#define LOOK_INTERVAL G_USEC_PER_SEC
#define LOOK_INTERVAL_BUSY (G_USEC_PER_SEC / 10)

struct QIOChannelAfPacket {
    QIOChannel parent;
    QLIST_ENTRY(QIOChannelAfPacket) next;
    QIOChannelSocket *master;
    GSource *service;          /* link state and transmit queue */
    gpointer service_tag;
    bool service_writable;     /* it polls for room to send */

    QemuMutex lock;            /* for all that follows */
    bool closed;
    bool ended;
    bool warned_discard;
    int64_t look_at;           /* when to look at interface and ring again */
    AfPacketPort port;
    AfPacketCapture *capture;  /* one of the two; the other is NULL */
    AfPacketInject *inject;
};

/* All there are; they come and go in any thread */
static QLIST_HEAD(, QIOChannelAfPacket) channels;
static QemuMutex channels_lock;

/*
 * While the interface is down nothing tells that it is removed, and a socket
 * with protocol 0, as inject mode is given, is never told a thing.  Nor does
 * anything tell that a ring is stuck.
 */
static bool has_to_look(const QIOChannelAfPacket *ioc)
{
    return ioc->inject || ioc->port.link == AF_PACKET_LINK_DOWN ||
           af_packet_capture_has_ring(ioc->capture);
}

static int64_t service_ready_time(const QIOChannelAfPacket *ioc)
{
    int64_t look_at = has_to_look(ioc) ? ioc->look_at : -1;
    int64_t flush_at = ioc->inject ? af_packet_inject_flush_at(ioc->inject) : 0;

    if (ioc->ended) {
        return -1;
    }
    return flush_at && (look_at < 0 || flush_at < look_at) ? flush_at :
                                                             look_at;
}

/* Tell the service source what to wait for. */
static void service_rearm(QIOChannelAfPacket *ioc)
{
    bool writable = ioc->inject && af_packet_inject_waits_for_room(ioc->inject);

    if (!ioc->service) {
        return;
    }
    g_source_set_ready_time(ioc->service, service_ready_time(ioc));
    if (ioc->service_writable != writable) {
        ioc->service_writable = writable;
        g_source_modify_unix_fd(ioc->service, ioc->service_tag,
                                writable ? G_IO_OUT : 0);
    }
}

/* Let every watch on the channel see that it has ended, in any thread. */
static void end_channel(QIOChannelAfPacket *ioc)
{
    ioc->ended = true;
    if (ioc->service) {
        g_source_set_ready_time(ioc->service, 0);
    }
}

static void look_at_interface(QIOChannelAfPacket *ioc)
{
    static const char *const names[] = {
        [AF_PACKET_LINK_UP] = "up",
        [AF_PACKET_LINK_DOWN] = "down",
        [AF_PACKET_LINK_GONE] = "gone",
    };
    AfPacketLink link = af_packet_socket_link(ioc->port.fd);

    ioc->look_at = g_get_monotonic_time() + LOOK_INTERVAL;
    if (link == ioc->port.link) {
        return;
    }

    ioc->port.link = link;
    trace_qio_channel_af_packet_link(ioc, names[link]);
    if (link == AF_PACKET_LINK_GONE && !ioc->ended) {
        error_report("chardev '%s': interface %s is gone (removed, or moved "
                     "to another network namespace), the connection has "
                     "ended; pass a new socket with add_client",
                     ioc->port.label, af_packet_port_ifname(&ioc->port));
        end_channel(ioc);
    }
}

/* Act on what a direction has noted. */
static void check_port(QIOChannelAfPacket *ioc)
{
    int err = ioc->port.error;

    if (ioc->port.link_changed) {
        ioc->port.link_changed = false;
        look_at_interface(ioc);
        service_rearm(ioc);
    }
    if (err && !ioc->ended) {
        error_report("chardev '%s': receiving on %s failed: %s; the "
                     "connection has ended", ioc->port.label,
                     af_packet_port_ifname(&ioc->port), strerror(err));
        end_channel(ioc);
    }
}

/*
 * Reading and writing
 */

ssize_t qio_channel_af_packet_take(QIOChannelAfPacket *ioc, size_t max,
                                   const uint8_t **buf)
{
    bool received = false;
    size_t len = 0;

    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->capture) {
        received = af_packet_capture_take(ioc->capture, max, buf, &len);
        check_port(ioc);
    }
    if (!len) {
        return received || !ioc->ended ? QIO_CHANNEL_ERR_BLOCK : 0;
    }
    return len;
}

static ssize_t qio_channel_af_packet_readv(QIOChannel *ioc,
                                           const struct iovec *iov,
                                           size_t niov,
                                           int **fds,
                                           size_t *nfds,
                                           int flags,
                                           Error **errp)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);
    const uint8_t *buf;
    ssize_t len = qio_channel_af_packet_take(pioc, iov_size(iov, niov), &buf);

    return len > 0 ? iov_from_buf(iov, niov, 0, buf, len) : len;
}

static void discard_written(QIOChannelAfPacket *ioc)
{
    if (!ioc->warned_discard) {
        ioc->warned_discard = true;
        warn_report("chardev '%s': what is written is discarded, since "
                    "'af-packet-mode' is 'capture'", ioc->port.label);
    }
}

/* Returns: false if the stream makes no sense, which ends the channel. */
static bool inject_write(QIOChannelAfPacket *ioc, const struct iovec *iov,
                         size_t niov, Error **errp)
{
    Error *err = NULL;
    size_t i;

    for (i = 0; i < niov && !err; i++) {
        af_packet_inject_write(ioc->inject, iov[i], &err);
    }
    check_port(ioc);
    if (err) {
        /* Reported here as well: io_channel_send_full() drops errors */
        error_report("chardev '%s': %s; the connection has ended",
                     ioc->port.label, error_get_pretty(err));
        error_propagate(errp, err);
        end_channel(ioc);
        return false;
    }
    service_rearm(ioc);
    return true;
}

static ssize_t qio_channel_af_packet_writev(QIOChannel *ioc,
                                            const struct iovec *iov,
                                            size_t niov,
                                            int *fds,
                                            size_t nfds,
                                            int flags,
                                            Error **errp)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);

    QEMU_LOCK_GUARD(&pioc->lock);
    if (pioc->ended || pioc->closed) {
        error_setg(errp, "The connection has ended");
        return -1;
    }
    if (!pioc->inject) {
        discard_written(pioc);
    } else if (!inject_write(pioc, iov, niov, errp)) {
        return -1;
    }
    return iov_size(iov, niov);
}

/*
 * The service source: sends what is queued, watches the link
 */

typedef struct AfPacketServiceSource {
    GSource parent;
    QIOChannelAfPacket *ioc;
} AfPacketServiceSource;

/* The socket reports an error that neither recv() nor send() has told of. */
static void service_error(QIOChannelAfPacket *ioc)
{
    int err = af_packet_socket_take_error(ioc->port.fd);

    look_at_interface(ioc);
    if (err && ioc->capture) {
        af_packet_capture_error(ioc->capture, err);
        check_port(ioc);
    }
}

static void service_look(QIOChannelAfPacket *ioc)
{
    look_at_interface(ioc);
    if (ioc->capture && af_packet_capture_check_ring(ioc->capture)) {
        ioc->look_at = g_get_monotonic_time() + LOOK_INTERVAL_BUSY;
    }
}

static gboolean service_dispatch(GSource *source, GSourceFunc callback,
                                 gpointer user_data)
{
    QIOChannelAfPacket *ioc = ((AfPacketServiceSource *)source)->ioc;
    GIOCondition revents;

    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->closed || source != ioc->service) {
        return G_SOURCE_REMOVE;
    }

    revents = g_source_query_unix_fd(source, ioc->service_tag);
    if (revents & G_IO_ERR) {
        service_error(ioc);
    } else if (g_get_monotonic_time() >= ioc->look_at) {
        service_look(ioc);
    }
    if (ioc->inject) {
        af_packet_inject_flush(ioc->inject);
        check_port(ioc);
    }
    service_rearm(ioc);
    return G_SOURCE_CONTINUE;
}

static void service_finalize(GSource *source)
{
    object_unref(OBJECT(((AfPacketServiceSource *)source)->ioc));
}

static GSourceFuncs service_funcs = {
    .dispatch = service_dispatch,
    .finalize = service_finalize,
};

static void service_detach(QIOChannelAfPacket *ioc)
{
    GSource *service;

    WITH_QEMU_LOCK_GUARD(&ioc->lock) {
        service = g_steal_pointer(&ioc->service);
    }
    if (service) {
        g_source_destroy(service);
        g_source_unref(service);
    }
}

void qio_channel_af_packet_attach(QIOChannelAfPacket *ioc,
                                  GMainContext *context)
{
    GSource *service;

    service_detach(ioc);

    /* Under the lock throughout: once it is there, a close() may free it */
    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->closed) {
        return;
    }
    service = g_source_new(&service_funcs, sizeof(AfPacketServiceSource));
    ((AfPacketServiceSource *)service)->ioc = ioc;
    object_ref(OBJECT(ioc));
    g_source_set_name(service, "qio-channel-af-packet");

    ioc->service = service;
    ioc->service_tag = g_source_add_unix_fd(service, ioc->port.fd, 0);
    ioc->service_writable = false;
    look_at_interface(ioc);
    service_rearm(ioc);
    g_source_attach(service, context);
}

/*
 * Watches
 */

typedef struct AfPacketWatch {
    GSource parent;
    QIOChannelAfPacket *ioc;
    GIOCondition condition;
    gpointer tag;       /* NULL if readiness does not depend on the socket */
    gpointer timer_tag; /* polled instead of it during a rest */
    bool resting;
} AfPacketWatch;

/* Poll what there is to wait for. */
static void watch_rest(AfPacketWatch *watch, bool resting)
{
    if (watch->timer_tag && watch->resting != resting) {
        watch->resting = resting;
        g_source_modify_unix_fd(&watch->parent, watch->tag,
                                resting ? 0 : G_IO_IN);
        g_source_modify_unix_fd(&watch->parent, watch->timer_tag,
                                resting ? G_IO_IN : 0);
    }
}

/* What the channel is ready for without asking the socket */
static GIOCondition watch_staged(AfPacketWatch *watch)
{
    QIOChannelAfPacket *ioc = watch->ioc;
    GIOCondition ready = G_IO_OUT;

    WITH_QEMU_LOCK_GUARD(&ioc->lock) {
        if (ioc->ended) {
            ready |= G_IO_IN | G_IO_HUP;
        }
        if (ioc->capture) {
            if (af_packet_capture_ready(ioc->capture)) {
                ready |= G_IO_IN;
            }
            watch_rest(watch, !ioc->ended &&
                              af_packet_capture_resting(ioc->capture));
        }
    }
    return ready & watch->condition;
}

/* What the channel is ready for, after poll() */
static GIOCondition watch_ready(AfPacketWatch *watch)
{
    GIOCondition ready = watch_staged(watch);

    if (watch->tag) {
        /* Errors are the service source's */
        ready |= g_source_query_unix_fd(&watch->parent,
                                        watch->resting ? watch->timer_tag :
                                        watch->tag) & G_IO_IN;
    }
    return ready;
}

static gboolean watch_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return watch_staged((AfPacketWatch *)source) != 0;
}

static gboolean watch_check(GSource *source)
{
    return watch_ready((AfPacketWatch *)source) != 0;
}

static gboolean watch_dispatch(GSource *source, GSourceFunc callback,
                               gpointer user_data)
{
    AfPacketWatch *watch = (AfPacketWatch *)source;
    QIOChannelFunc func = (QIOChannelFunc)callback;
    GIOCondition ready = watch_ready(watch);

    /* glib dispatches on any event of the socket */
    return ready ? func(QIO_CHANNEL(watch->ioc), ready, user_data) :
                   G_SOURCE_CONTINUE;
}

static void watch_finalize(GSource *source)
{
    object_unref(OBJECT(((AfPacketWatch *)source)->ioc));
}

static GSourceFuncs watch_funcs = {
    .prepare = watch_prepare,
    .check = watch_check,
    .dispatch = watch_dispatch,
    .finalize = watch_finalize,
};

static GSource *qio_channel_af_packet_create_watch(QIOChannel *ioc,
                                                   GIOCondition condition)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);
    GSource *source = g_source_new(&watch_funcs, sizeof(AfPacketWatch));
    AfPacketWatch *watch = (AfPacketWatch *)source;

    watch->ioc = pioc;
    object_ref(OBJECT(pioc));
    watch->condition = condition;
    if (pioc->capture && condition & G_IO_IN) {
        int timer_fd = af_packet_capture_timer_fd(pioc->capture);

        watch->tag = g_source_add_unix_fd(source, pioc->port.fd, G_IO_IN);
        if (timer_fd >= 0) {
            watch->timer_tag = g_source_add_unix_fd(source, timer_fd, 0);
        }
    }
    return source;
}

/*
 * Life
 */

static int qio_channel_af_packet_set_blocking(QIOChannel *ioc, bool enabled,
                                              Error **errp)
{
    if (enabled) {
        error_setg(errp, "Blocking mode not supported for packet sockets");
        return -1;
    }
    return 0;
}

void qio_channel_af_packet_restart(QIOChannelAfPacket *ioc)
{
    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->capture) {
        af_packet_capture_drop_partial(ioc->capture);
    } else {
        af_packet_inject_drop_partial(ioc->inject);
    }
}

void qio_channel_af_packet_get_stats(QIOChannelAfPacket *ioc,
                                     ChardevAfPacketStats *stats)
{
    QEMU_LOCK_GUARD(&ioc->lock);
    if (ioc->capture) {
        af_packet_capture_update_stats(ioc->capture);
    } else {
        af_packet_inject_update_stats(ioc->inject);
    }
    *stats = ioc->port.stats;
}

static int qio_channel_af_packet_close(QIOChannel *ioc, Error **errp)
{
    QIOChannelAfPacket *pioc = QIO_CHANNEL_AF_PACKET(ioc);

    service_detach(pioc);
    WITH_QEMU_LOCK_GUARD(&pioc->lock) {
        if (pioc->closed) {
            return 0;
        }
        trace_qio_channel_af_packet_close(pioc);
        if (pioc->capture) {
            af_packet_capture_stop(pioc->capture);
        } else {
            af_packet_inject_stop(pioc->inject);
        }
        pioc->closed = true;
    }
    return qio_channel_close(QIO_CHANNEL(pioc->master), errp);
}

/* What a loop captures it injects, again and again, with all of a CPU. */
static void warn_of_loop(QIOChannelAfPacket *ioc,
                         ChardevSocketAfPacketMode mode,
                         QIOChannelAfPacket *other)
{
    bool captures = mode == CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE;
    QIOChannelAfPacket *capture = captures ? ioc : other;
    QIOChannelAfPacket *inject = captures ? other : ioc;

    if (captures != !!other->capture &&
        af_packet_socket_hears(capture->port.fd, inject->port.fd)) {
        warn_report("chardev '%s' captures what chardev '%s' injects, both "
                    "are on interface %s: if the one feeds the other, open "
                    "the capture socket with PACKET_IGNORE_OUTGOING or a "
                    "filter", capture->port.label, inject->port.label,
                    af_packet_port_ifname(&ioc->port));
    }
}

static void enlist(QIOChannelAfPacket *ioc, ChardevSocketAfPacketMode mode)
{
    QIOChannelAfPacket *other;

    QEMU_LOCK_GUARD(&channels_lock);
    QLIST_FOREACH(other, &channels, next) {
        warn_of_loop(ioc, mode, other);
    }
    QLIST_INSERT_HEAD(&channels, ioc, next);
}

QIOChannelAfPacket *
qio_channel_af_packet_new(QIOChannelSocket *master,
                          ChardevSocketAfPacketMode mode,
                          const char *label,
                          const ChardevAfPacketStats *totals)
{
    QIOChannelAfPacket *ioc;

    ioc = QIO_CHANNEL_AF_PACKET(object_new(TYPE_QIO_CHANNEL_AF_PACKET));
    ioc->master = master;
    object_ref(OBJECT(master));
    af_packet_port_init(&ioc->port, master->fd, label, totals);
    enlist(ioc, mode); /* before there is a filter of our own */
    if (mode == CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE) {
        ioc->capture = af_packet_capture_new(&ioc->port);
    } else {
        ioc->inject = af_packet_inject_new(&ioc->port);
    }

    trace_qio_channel_af_packet_new(ioc, master,
                                    ChardevSocketAfPacketMode_str(mode));
    return ioc;
}

static void qio_channel_af_packet_init(Object *obj)
{
    QIOChannelAfPacket *ioc = QIO_CHANNEL_AF_PACKET(obj);

    qemu_mutex_init(&ioc->lock);
}

static void qio_channel_af_packet_finalize(Object *obj)
{
    QIOChannelAfPacket *ioc = QIO_CHANNEL_AF_PACKET(obj);

    WITH_QEMU_LOCK_GUARD(&channels_lock) {
        QLIST_SAFE_REMOVE(ioc, next);
    }
    af_packet_capture_free(ioc->capture);
    af_packet_inject_free(ioc->inject);
    object_unref(OBJECT(ioc->master));
    qemu_mutex_destroy(&ioc->lock);
    af_packet_port_destroy(&ioc->port);
}

static void qio_channel_af_packet_class_init(ObjectClass *klass, void *data)
{
    QIOChannelClass *ioc_klass = QIO_CHANNEL_CLASS(klass);

    qemu_mutex_init(&channels_lock);

    ioc_klass->io_writev = qio_channel_af_packet_writev;
    ioc_klass->io_readv = qio_channel_af_packet_readv;
    ioc_klass->io_set_blocking = qio_channel_af_packet_set_blocking;
    ioc_klass->io_close = qio_channel_af_packet_close;
    ioc_klass->io_create_watch = qio_channel_af_packet_create_watch;
}

static const TypeInfo qio_channel_af_packet_info = {
    .parent = TYPE_QIO_CHANNEL,
    .name = TYPE_QIO_CHANNEL_AF_PACKET,
    .instance_size = sizeof(QIOChannelAfPacket),
    .instance_init = qio_channel_af_packet_init,
    .instance_finalize = qio_channel_af_packet_finalize,
    .class_init = qio_channel_af_packet_class_init,
};

static void qio_channel_af_packet_register_types(void)
{
    type_register_static(&qio_channel_af_packet_info);
}

type_init(qio_channel_af_packet_register_types);
