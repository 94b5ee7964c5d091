/*
 * Unit test helpers: an af-packet channel, and the far end of its interface
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include "io/channel-socket.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/sockets.h"
#include "channel-af-packet-rig.h"

static const char *skip_reason;

const size_t frame_lens[] = { 14, 60, 15, 1514, 61, 333, 14, 1513 };

void rig_connect(Rig *r, int fd, const ChardevAfPacketStats *totals)
{
    QIOChannelSocket *sioc = qio_channel_socket_new_fd(fd, &error_abort);

    r->fd = fd;
    r->ioc = qio_channel_af_packet_new(sioc, r->mode, "test", totals);
    r->base = QIO_CHANNEL(r->ioc);
    object_unref(OBJECT(sioc));
    qio_channel_af_packet_attach(r->ioc, NULL);
}

void rig_init(Rig *r, ChardevSocketAfPacketMode mode, uint16_t proto)
{
    *r = (Rig) { .mode = mode };
    veth_add(IFNAME, PEER);
    r->peer = packet_endpoint(PEER, TEST_ETHERTYPE);
    rig_connect(r, packet_open(IFNAME, proto), &(ChardevAfPacketStats) {});
}

uint16_t usual_proto(ChardevSocketAfPacketMode mode)
{
    return mode == INJECT ? 0 : TEST_ETHERTYPE;
}

void rig_disconnect(Rig *r)
{
    qio_channel_close(r->base, &error_abort);
    object_unref(OBJECT(r->ioc));
}

void rig_free_after_removal(Rig *r)
{
    rig_disconnect(r);
    close(r->peer);
    /* What remains in the main loop keeps nothing alive */
    g_assert_cmpint(fcntl(r->fd, F_GETFD), <, 0);
}

void rig_free(Rig *r)
{
    rig_free_after_removal(r);
    link_remove(IFNAME);
}

ChardevAfPacketStats rig_stats(Rig *r)
{
    ChardevAfPacketStats stats;

    qio_channel_af_packet_get_stats(r->ioc, &stats);
    return stats;
}

uint64_t all_dropped(const ChardevAfPacketStats *s)
{
    return s->dropped_kernel + s->dropped_too_short + s->dropped_too_long +
           s->dropped_oversize + s->dropped_undescribable + s->dropped_csum +
           s->dropped_refused + s->dropped_tunnel_gso +
           s->dropped_queue_full + s->dropped_link_down + s->dropped_detach;
}

gboolean rig_tick(gpointer opaque)
{
    return G_SOURCE_CONTINUE;
}

static gboolean on_ready(QIOChannel *ioc, GIOCondition condition,
                         gpointer opaque)
{
    g_assert_cmpint(condition, !=, 0);
    *(GIOCondition *)opaque |= condition;
    return G_SOURCE_CONTINUE;
}

GIOCondition rig_wait(Rig *r, GIOCondition condition, int64_t usec)
{
    int64_t end = g_get_monotonic_time() + usec;
    GIOCondition ready = 0;
    GSource *watch = qio_channel_create_watch(r->base, condition);
    guint tick = g_timeout_add(10, rig_tick, NULL);

    g_source_set_callback(watch, (GSourceFunc)on_ready, &ready, NULL);
    g_source_attach(watch, NULL);
    while (!ready && g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, true);
    }
    g_source_destroy(watch);
    g_source_unref(watch);
    g_source_remove(tick);
    return ready;
}

void rig_assert_idle(Rig *r)
{
    GIOCondition ready = 0;
    GSource *in = qio_channel_create_watch(r->base, G_IO_IN);
    GSource *hup = qio_channel_create_watch(r->base, G_IO_HUP);
    int64_t end = g_get_monotonic_time() + A_WHILE;
    guint tick = g_timeout_add(10, rig_tick, NULL);
    int n = 0;

    g_source_set_callback(in, (GSourceFunc)on_ready, &ready, NULL);
    g_source_set_callback(hup, (GSourceFunc)on_ready, &ready, NULL);
    g_source_attach(in, NULL);
    g_source_attach(hup, NULL);
    while (g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, true);
        n++;
    }
    g_assert_cmpint(ready, ==, 0);
    /* The tick alone comes 6 times */
    g_assert_cmpint(n, <, 30);

    g_source_destroy(in);
    g_source_unref(in);
    g_source_destroy(hup);
    g_source_unref(hup);
    g_source_remove(tick);
}

void rig_wait_stats(Rig *r, RigPredicate *predicate, uint64_t value)
{
    int64_t end = g_get_monotonic_time() + DEADLINE;
    guint tick = g_timeout_add(1, rig_tick, NULL);
    ChardevAfPacketStats stats = rig_stats(r);

    while (!predicate(&stats, value)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_main_context_iteration(NULL, true);
        stats = rig_stats(r);
    }
    g_source_remove(tick);
}

static const uint8_t test_mac[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    2, 't', 'e', 's', 't' };

void put_frame(uint8_t *frame, size_t len, int seq)
{
    size_t i;

    memcpy(frame, test_mac, sizeof(test_mac));
    frame[11] = seq;
    frame[12] = TEST_ETHERTYPE >> 8;
    frame[13] = TEST_ETHERTYPE & 0xff;
    for (i = ETH_HLEN; i < len; i++) {
        frame[i] = seq * 31 + i * 7 + (i >> 8);
    }
}

void append_record(GByteArray *stream, size_t len, int seq)
{
    g_autofree uint8_t *frame = g_malloc0(MAX(len, ETH_HLEN));
    const uint8_t head[] = { len >> 24, len >> 16, len >> 8, len };

    put_frame(frame, len, seq);
    g_byte_array_append(stream, head, sizeof(head));
    g_byte_array_append(stream, frame, len);
}

void peer_send(Rig *r, size_t len, int seq)
{
    g_autofree uint8_t *frame = g_malloc(len);

    put_frame(frame, len, seq);
    g_assert_cmpint(send(r->peer, frame, len, 0), ==, len);
}

void peer_expect(Rig *r, size_t len, int seq)
{
    uint8_t expected[FRAME_MAX], frame[2 * FRAME_MAX];
    ssize_t got = recv(r->peer, frame, sizeof(frame), 0);

    put_frame(expected, len, seq);
    g_assert_cmpint(got, >=, 0);
    g_assert_cmpmem(frame, got, expected, len);
}

void rig_read(Rig *r, uint8_t *buf, size_t len, size_t chunk)
{
    while (len) {
        ssize_t n = qio_channel_read(r->base, (char *)buf, MIN(len, chunk),
                                     &error_abort);

        if (n == QIO_CHANNEL_ERR_BLOCK) {
            g_assert_cmpint(rig_wait(r, G_IO_IN, DEADLINE), ==, G_IO_IN);
            continue;
        }
        g_assert_cmpint(n, >, 0);
        buf += n;
        len -= n;
    }
}

void rig_expect(Rig *r, size_t len, int seq, size_t chunk)
{
    g_autoptr(GByteArray) expected = g_byte_array_new();
    g_autofree uint8_t *got = NULL;

    append_record(expected, len, seq);
    got = g_malloc(expected->len);
    rig_read(r, got, expected->len, chunk);
    g_assert_cmpmem(got, expected->len, expected->data, expected->len);
}

void rig_expect_read(Rig *r, ssize_t result)
{
    char byte;

    g_assert_cmpint(qio_channel_read(r->base, &byte, 1, &error_abort), ==,
                    result);
}

void rig_end_rest(Rig *r)
{
    g_usleep(1000);
    rig_expect_read(r, QIO_CHANNEL_ERR_BLOCK);
}

void rig_write(Rig *r, const uint8_t *data, size_t len, size_t chunk)
{
    while (len) {
        size_t n = MIN(len, chunk);

        g_assert_cmpint(qio_channel_write(r->base, (const char *)data, n,
                                          &error_abort), ==, n);
        data += n;
        len -= n;
    }
}

void rig_write_record(Rig *r, size_t len, int seq)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();

    append_record(stream, len, seq);
    rig_write(r, stream->data, stream->len, stream->len);
}

size_t rig_read_frame(Rig *r, uint8_t *payload, size_t vnet_hdr_len)
{
    uint8_t *frame = payload + vnet_hdr_len;
    size_t head_len = vnet_hdr_len ? 8 : 4, len;
    uint8_t head[8];

    do {
        rig_read(r, head, head_len, head_len);
        g_assert_cmpint(head[0], ==, 0);
        len = head[1] << 16 | head[2] << 8 | head[3];
        if (vnet_hdr_len) {
            g_assert_cmpmem(head + 4, 3, "\0\0\0", 3);
            g_assert_cmpint(head[7], ==, vnet_hdr_len);
        }
        g_assert_cmpuint(len, <=, vnet_hdr_len + 2 * FRAME_MAX);
        rig_read(r, payload, len, len);
    } while (memcmp(frame, test_mac, sizeof(test_mac)) != 0);
    return len;
}

void rig_expect_pass(Rig *r, int seq)
{
    uint8_t expected[60], got[4 * FRAME_MAX];

    if (r->mode == INJECT) {
        rig_write_record(r, 60, seq);
        peer_expect(r, 60, seq);
    } else {
        put_frame(expected, 60, seq);
        peer_send(r, 60, seq);
        g_assert_cmpuint(rig_read_frame(r, got, 0), ==, 60);
        g_assert_cmpmem(got, 60, expected, 60);
    }
}

bool has_ring(int fd)
{
    int version = TPACKET_V2;

    return setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version,
                      sizeof(version)) < 0;
}

static void test_skip(const void *opaque)
{
    g_test_skip(skip_reason);
}

void add_test(const char *group, const char *name, const void *data,
              GTestDataFunc func)
{
    g_autofree char *path = g_strdup_printf("/channel-af-packet/%s/%s",
                                            group, name);

    g_test_add_data_func(path, data, skip_reason ? test_skip : func);
}

static void call(const void *opaque)
{
    ((GTestFunc)opaque)();
}

void add_simple_test(const char *group, const char *name,
                     GTestFunc func)
{
    add_test(group, name, func, call);
}

int rig_run(int argc, char **argv, void (*add_tests)(void))
{
    signal(SIGPIPE, SIG_IGN);
    skip_reason = netns_skip_reason();

    qemu_init_main_loop(&error_abort);
    socket_init();
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    add_tests();
    return g_test_run();
}
