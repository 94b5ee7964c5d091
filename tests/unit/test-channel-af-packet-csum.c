/*
 * Unit tests of the QIOChannel for AF_PACKET: checksums of captured frames
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames whose checksum is left to a network card pass real interfaces, and
 * have to come out as they would on the wire, or be counted.
 *
 *                 +---------+   +-------------+
 *   records <---- | channel | --| tap or veth |---- frames with vnet headers
 *                 +---------+   +-------------+
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "chardev/channel-af-packet.h"
#include "io/channel-socket.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/sockets.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-helpers.h"
#include "af-packet-layers.h"

#define IFNAME "test0"
#define PEER "test1"
#define DEADLINE (10 * G_TIME_SPAN_SECOND)
#define VNET_HDR_LEN 10
#define PAYLOAD_LEN 100
#define ABOVE_MTU 3000
#define OVERSIZE 69600    /* above the 69628 that fit a record, with headers */

static const char *skip_reason;

typedef struct Rig {
    QIOChannelAfPacket *ioc;
    size_t vnet_hdr_len;  /* of the channel's socket */
    bool tap;
    int peer;             /* takes frames with vnet headers */
} Rig;

static void set_vnet_hdr(int fd)
{
    int on = 1;

    g_assert_cmpint(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on,
                               sizeof(on)), ==, 0);
}

/* Returns: false if there is no such interface. */
static bool rig_init(Rig *r)
{
    const ChardevAfPacketStats none = {};
    QIOChannelSocket *sioc;
    int fd;

    if (r->tap) {
        r->peer = tap_create(IFNAME, true);
        if (r->peer < 0) {
            return false;
        }
        link_set_up(IFNAME, true);
    } else {
        veth_add(IFNAME, PEER);
        r->peer = packet_endpoint(PEER, 0);
        set_vnet_hdr(r->peer);
    }
    fd = packet_open(IFNAME, ETH_P_ALL);
    if (r->vnet_hdr_len) {
        set_vnet_hdr(fd);
    }
    sioc = qio_channel_socket_new_fd(fd, &error_abort);
    r->ioc = qio_channel_af_packet_new(sioc,
                                       CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE,
                                       "test", &none);
    object_unref(OBJECT(sioc));
    qio_channel_af_packet_attach(r->ioc, NULL);
    return true;
}

static void rig_free(Rig *r)
{
    qio_channel_close(QIO_CHANNEL(r->ioc), &error_abort);
    object_unref(OBJECT(r->ioc));
    close(r->peer);
    if (!r->tap) {
        link_remove(IFNAME);
    }
}

static ChardevAfPacketStats rig_stats(Rig *r)
{
    ChardevAfPacketStats stats;

    qio_channel_af_packet_get_stats(r->ioc, &stats);
    return stats;
}

/* Send @f with a vnet header that says of header @h what is partial, if any. */
static void rig_send(Rig *r, const Frame *f, const Header *h, int gso_type)
{
    const struct virtio_net_hdr hdr = {
        .flags = h ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0,
        .gso_type = gso_type,
        .gso_size = gso_type ? 1000 : 0,
        .hdr_len = gso_type ? f->headers->start - f->start + 20 : 0,
        .csum_start = h ? h->start - f->start : 0,
        .csum_offset = h ? h->field - h->start : 0,
    };
    struct iovec iov[] = {
        { (void *)&hdr, VNET_HDR_LEN }, { f->start, frame_len(f) },
    };

    g_assert_cmpint(writev(r->peer, iov, 2), ==, VNET_HDR_LEN + frame_len(f));
}

/* Read @len bytes.  All is there already. */
static void rig_read(Rig *r, uint8_t *buf, size_t len)
{
    int64_t end = g_get_monotonic_time() + DEADLINE;

    while (len) {
        ssize_t n = qio_channel_read(QIO_CHANNEL(r->ioc), (char *)buf, len,
                                     &error_abort);

        g_assert_cmpint(g_get_monotonic_time(), <, end);
        if (n != QIO_CHANNEL_ERR_BLOCK) {
            g_assert_cmpint(n, >, 0);
            buf += n;
            len -= n;
        }
    }
}

/*
 * The next record is of @f.  The kernel may have completed an Internet
 * checksum, and the vnet header need not say of it then.
 */
static void rig_expect(Rig *r, const Frame *f)
{
    size_t head_len = r->vnet_hdr_len ? 8 : 4;
    g_autofree uint8_t *got = g_malloc(8 + VNET_HDR_LEN + frame_len(f));
    struct virtio_net_hdr hdr;

    rig_read(r, got, head_len);
    g_assert_cmpuint(ldl_be_p(got), ==, r->vnet_hdr_len + frame_len(f));
    rig_read(r, got, r->vnet_hdr_len + frame_len(f));
    if (r->vnet_hdr_len) {
        memcpy(&hdr, got, sizeof(hdr));
        g_assert_cmpint(hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, ==, 0);
        g_assert_cmpint(hdr.csum_start, ==, 0);
        g_assert_cmpint(hdr.csum_offset, ==, 0);
    }
    g_assert_cmpmem(got + r->vnet_hdr_len, frame_len(f), f->start,
                    frame_len(f));
}

static void rig_expect_nothing(Rig *r)
{
    char byte;

    g_assert_cmpint(qio_channel_read(QIO_CHANNEL(r->ioc), &byte, 1,
                                     &error_abort), ==,
                    QIO_CHANNEL_ERR_BLOCK);
}

/*
 * Cases
 */

static void do_test_partial(const Layer *layers, Rig r, size_t payload)
{
    Frame f;

    g_assert_true(rig_init(&r));
    frame_build(&f, layers, payload, 0);
    header_put_partial(f.headers);
    rig_send(&r, &f, f.headers, VIRTIO_NET_HDR_GSO_NONE);
    frame_complete(&f);
    rig_expect(&r, &f);
    g_assert_cmpuint(rig_stats(&r).frames, ==, 1);
    g_assert_cmpuint(rig_stats(&r).csum_unmatched, ==, 0);
    frame_free(&f);
    rig_free(&r);
}

/* The innermost header's is partial, in short frames and in long ones. */
static void test_partial(const void *opaque)
{
    do_test_partial(opaque, (Rig) {}, 2);
    do_test_partial(opaque, (Rig) {}, 1000);
}

/* SCTP's can't be told by a vnet header: it is completed with that, too. */
static void test_sctp(void)
{
    static const Layer layers[][LAYERS_MAX] = {
        { ETH, IP4, L4_SCTP }, { ETH, IP6, L4_SCTP },
        { ETH, TAG, IP4, L4_SCTP }, { ETH, TAG, IP6_OPTIONS, L4_SCTP },
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(layers); i++) {
        do_test_partial(layers[i], (Rig) { .vnet_hdr_len = 10 }, 2);
        do_test_partial(layers[i], (Rig) { .vnet_hdr_len = 10 }, 1000);
    }
}

/* A guest may say of any place that there is a checksum to be completed. */
static void do_test_elsewhere(const Layer *layers, bool known)
{
    Rig r = { .tap = true };
    Header h;
    Frame f;

    if (!rig_init(&r)) {
        g_test_skip("no /dev/net/tun to make such a frame with");
        return;
    }
    frame_build(&f, layers, PAYLOAD_LEN, 0);
    h = f.headers[0];
    h.start = f.end - 20;
    h.field = f.end - 10;
    put_16(f.headers[0].field, 0x1234);
    if (!known) {
        put_16(f.start + 12, ETH_P_ARP);
    }
    rig_send(&r, &f, &h, VIRTIO_NET_HDR_GSO_NONE);
    if (known) {
        frame_complete(&f);
        rig_expect(&r, &f);
    }
    rig_expect_nothing(&r);
    g_assert_cmpuint(rig_stats(&r).frames, ==, known);
    g_assert_cmpuint(rig_stats(&r).csum_unmatched, ==, known);
    g_assert_cmpuint(rig_stats(&r).dropped_csum, ==, !known);
    frame_free(&f);
    rig_free(&r);
}

static void test_unmatched(void)
{
    static const Layer tcp[] = { ETH, IP4, L4_TCP, END };
    static const Layer sctp[] = { ETH, IP6, L4_SCTP, END };

    do_test_elsewhere(tcp, true);
    do_test_elsewhere(sctp, true);
}

static void test_none(void)
{
    static const Layer layers[] = { ETH, IP4, L4_TCP, END };

    do_test_elsewhere(layers, false);
}

/* The segments of a super-frame get right checksums, whatever its own is. */
static void test_super_frame(const void *opaque)
{
    const bool wrong = GPOINTER_TO_INT(opaque);
    static const Layer layers[] = { ETH, IP4, L4_TCP, END };
    Rig r = { .tap = true };
    Frame f;

    if (!rig_init(&r)) {
        g_test_skip("no /dev/net/tun to make such a frame with");
        return;
    }
    frame_build(&f, layers, ABOVE_MTU, 0);
    if (wrong) {
        put_16(f.headers->field, 0x1234);
    }
    rig_send(&r, &f, NULL, VIRTIO_NET_HDR_GSO_TCPV4);
    frame_complete(&f);
    rig_expect(&r, &f);
    g_assert_cmpuint(rig_stats(&r).gso_frames, ==, 1);
    g_assert_cmpuint(rig_stats(&r).csum_unmatched, ==, wrong);
    frame_free(&f);
    rig_free(&r);
}

/* The MTU may change, and within a second or so that is known. */
static void test_mtu(void)
{
    static const Layer layers[] = { ETH, IP4, L4_UDP, END };
    const int64_t end = g_get_monotonic_time() + DEADLINE;
    Rig r = { .tap = true };
    uint64_t counted;
    Frame f;

    if (!rig_init(&r)) {
        g_test_skip("no /dev/net/tun to make such a frame with");
        return;
    }
    frame_build(&f, layers, ABOVE_MTU, 0);
    rig_send(&r, &f, NULL, VIRTIO_NET_HDR_GSO_NONE);
    rig_expect(&r, &f);
    g_assert_cmpuint(rig_stats(&r).gso_frames, ==, 1);
    link_set_mtu(IFNAME, ABOVE_MTU + 28);
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        counted = rig_stats(&r).gso_frames;
        rig_send(&r, &f, NULL, VIRTIO_NET_HDR_GSO_NONE);
        rig_expect(&r, &f);
    } while (rig_stats(&r).gso_frames > counted);
    frame_free(&f);
    rig_free(&r);
}

/* There is no record for what is longer, and a counter of its own. */
static void test_oversize(void)
{
    static const Layer layers[] = { ETH, IP4_BIG, L4_TCP, END };
    Rig r = { .tap = true };
    Frame f;

    if (!rig_init(&r)) {
        g_test_skip("no /dev/net/tun to make such a frame with");
        return;
    }
    frame_build(&f, layers, OVERSIZE, 0);
    rig_send(&r, &f, f.headers, VIRTIO_NET_HDR_GSO_TCPV4);
    rig_expect_nothing(&r);
    g_assert_cmpuint(rig_stats(&r).dropped_oversize, ==, 1);
    g_assert_cmpuint(rig_stats(&r).dropped_too_long, ==, 0);
    frame_free(&f);
    rig_free(&r);
}

static void test_skip(const void *opaque)
{
    g_test_skip(skip_reason);
}

static void call(const void *opaque)
{
    ((GTestFunc)opaque)();
}

static void add_test(const char *name, const void *data, GTestDataFunc func)
{
    g_autofree char *path = g_strdup_printf("/channel-af-packet/csum/%s",
                                            name);

    g_test_add_data_func(path, data, skip_reason ? test_skip : func);
}

int main(int argc, char **argv)
{
    int i;

    signal(SIGPIPE, SIG_IGN);
    skip_reason = netns_skip_reason();

    qemu_init_main_loop(&error_abort);
    socket_init();
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);

    for (i = 0; i < N_LAYER_STACKS; i++) {
        g_autofree char *stack = layers_name(layer_stacks[i]);
        g_autofree char *name = g_strdup_printf("partial/%s", stack);

        add_test(name, layer_stacks[i], test_partial);
    }
    add_test("sctp", test_sctp, call);
    add_test("unmatched", test_unmatched, call);
    add_test("none", test_none, call);
    add_test("super-frame/right", GINT_TO_POINTER(false), test_super_frame);
    add_test("super-frame/wrong", GINT_TO_POINTER(true), test_super_frame);
    add_test("mtu", test_mtu, call);
    add_test("oversize", test_oversize, call);
    return g_test_run();
}
