/*
 * Watches on the channel of an AF_PACKET socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "af-packet-watch.h"

typedef struct AfPacketWatch {
    GSource parent;
    QIOChannel *ioc;
    GIOCondition condition;
    AfPacketWatchStaged *staged;
    gpointer tag;       /* NULL if readiness does not depend on the socket */
    gpointer timer_tag; /* polled instead of the socket during a rest */
    bool resting;
} AfPacketWatch;

/* Select whether to poll the socket or the timer. */
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

/* Returns: the conditions that are met regardless of the socket */
static GIOCondition watch_staged(AfPacketWatch *watch)
{
    bool resting = false;
    GIOCondition ready = watch->staged(watch->ioc, &resting);

    watch_rest(watch, resting);
    return ready & watch->condition;
}

/* Returns: the conditions that are met after poll() */
static GIOCondition watch_ready(AfPacketWatch *watch)
{
    GIOCondition ready = watch_staged(watch);

    if (watch->tag) {
        /* The channel's service source handles errors */
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

    /* glib dispatches the source on any event of the socket */
    return ready ? func(watch->ioc, ready, user_data) : G_SOURCE_CONTINUE;
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

GSource *af_packet_watch_new(QIOChannel *ioc, GIOCondition condition,
                             AfPacketWatchStaged *staged, int fd,
                             int timer_fd)
{
    GSource *source = g_source_new(&watch_funcs, sizeof(AfPacketWatch));
    AfPacketWatch *watch = (AfPacketWatch *)source;

    watch->ioc = ioc;
    object_ref(OBJECT(ioc));
    watch->condition = condition;
    watch->staged = staged;
    if (fd >= 0 && condition & G_IO_IN) {
        watch->tag = g_source_add_unix_fd(source, fd, G_IO_IN);
        if (timer_fd >= 0) {
            watch->timer_tag = g_source_add_unix_fd(source, timer_fd, 0);
        }
    }
    return source;
}
