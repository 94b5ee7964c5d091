/*
 * Unit tests of the QIOChannel for AF_PACKET: checksums of captured frames
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames with offloaded checksums pass through real interfaces, and must be
 * captured as they would appear on the wire, or be counted.
 *
 *                 +---------+   +-------------+
 *   records <---- | channel | --| tap or veth |---- frames with vnet headers
 *                 +---------+   +-------------+
 */
#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_net.h"
#include "af-packet-layers.h"
#include "channel-af-packet-rig.h"

#define VNET_HDR_LEN 10
#define PAYLOAD_LEN 100
#define ABOVE_MTU 3000
#define OVERSIZE 69600    /* above the 69628 that fit a record, with headers */

/* Send @f with a vnet header that describes @h as partial, if not NULL. */
static void send_partial(Rig *r, const Frame *f, const Header *h, int gso_type)
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

/*
 * Check that the next record is @f.  The kernel may have completed an Internet
 * checksum; then the vnet header need not describe it.
 */
static void expect_frame(Rig *r, const Frame *f)
{
    size_t head_len = r->vnet_hdr_len ? 8 : 4;
    g_autofree uint8_t *got = g_malloc(8 + VNET_HDR_LEN + frame_len(f));
    struct virtio_net_hdr hdr;

    rig_read(r, got, head_len, head_len);
    g_assert_cmpuint(ldl_be_p(got), ==, r->vnet_hdr_len + frame_len(f));
    rig_read(r, got, r->vnet_hdr_len + frame_len(f), SIZE_MAX);
    if (r->vnet_hdr_len) {
        memcpy(&hdr, got, sizeof(hdr));
        g_assert_cmpint(hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM, ==, 0);
        g_assert_cmpint(hdr.csum_start, ==, 0);
        g_assert_cmpint(hdr.csum_offset, ==, 0);
    }
    g_assert_cmpmem(got + r->vnet_hdr_len, frame_len(f), f->start,
                    frame_len(f));
}

/* A channel on a tap's interface.  Returns: false if there is none. */
static bool init_tap(Rig *r)
{
    int fd = rig_open_tap(r, 0);

    if (fd >= 0) {
        rig_connect(r, fd, NULL);
    }
    return fd >= 0;
}

/*
 * Cases
 */

static void do_test_partial(const Layer *layers, size_t vnet_hdr_len,
                            size_t payload)
{
    Frame f;
    Rig r;
    int fd = rig_open(&r, CAPTURE, ETH_P_ALL);

    packet_set_vnet_hdr(r.peer);
    r.vnet_hdr_len = vnet_hdr_len;
    if (vnet_hdr_len) {
        packet_set_vnet_hdr(fd);
    }
    rig_connect(&r, fd, NULL);
    frame_build(&f, layers, payload, 0);
    header_put_partial(f.headers);
    send_partial(&r, &f, f.headers, VIRTIO_NET_HDR_GSO_NONE);
    frame_complete(&f);
    expect_frame(&r, &f);
    g_assert_cmpuint(rig_stats(&r).frames, ==, 1);
    g_assert_cmpuint(rig_stats(&r).csum_unmatched, ==, 0);
    frame_free(&f);
    rig_free(&r);
}

/* The innermost checksum is partial, in short and long frames. */
static void test_partial(const void *opaque)
{
    do_test_partial(opaque, 0, 2);
    do_test_partial(opaque, 0, 1800);
}

/* A vnet header can't describe SCTP: the checksum is completed, too. */
static void test_sctp(void)
{
    static const Layer layers[][LAYERS_MAX] = {
        { ETH, IP4, L4_SCTP }, { ETH, IP6, L4_SCTP },
        { ETH, TAG, IP4, L4_SCTP }, { ETH, TAG, IP6_OPTIONS, L4_SCTP },
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(layers); i++) {
        do_test_partial(layers[i], 10, 2);
        do_test_partial(layers[i], 10, 1800);
    }
}

/* A guest may declare a partial checksum at any offset. */
static void do_test_elsewhere(const Layer *layers, bool known)
{
    Rig r;
    Header h;
    Frame f;

    if (!init_tap(&r)) {
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
    send_partial(&r, &f, &h, VIRTIO_NET_HDR_GSO_NONE);
    if (known) {
        frame_complete(&f);
        expect_frame(&r, &f);
    }
    rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
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

/* A super-frame's checksum may be wrong, as its segments get their own. */
static void test_super_frame(const void *opaque)
{
    const bool wrong = GPOINTER_TO_INT(opaque);
    static const Layer layers[] = { ETH, IP4, L4_TCP, END };
    Rig r;
    Frame f;

    if (!init_tap(&r)) {
        return;
    }
    frame_build(&f, layers, ABOVE_MTU, 0);
    if (wrong) {
        put_16(f.headers->field, 0x1234);
    }
    send_partial(&r, &f, NULL, VIRTIO_NET_HDR_GSO_TCPV4);
    frame_complete(&f);
    expect_frame(&r, &f);
    g_assert_cmpuint(rig_stats(&r).gso_frames, ==, 1);
    g_assert_cmpuint(rig_stats(&r).csum_unmatched, ==, wrong);
    frame_free(&f);
    rig_free(&r);
}

/* A change of the MTU is noticed within about a second. */
static void test_mtu(void)
{
    static const Layer layers[] = { ETH, IP4, L4_UDP, END };
    const int64_t end = deadline_in(DEADLINE);
    Rig r;
    uint64_t counted;
    Frame f;

    if (!init_tap(&r)) {
        return;
    }
    frame_build(&f, layers, ABOVE_MTU, 0);
    send_partial(&r, &f, NULL, VIRTIO_NET_HDR_GSO_NONE);
    expect_frame(&r, &f);
    g_assert_cmpuint(rig_stats(&r).gso_frames, ==, 1);
    link_set_mtu(IFNAME, ABOVE_MTU + 28);
    do {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        counted = rig_stats(&r).gso_frames;
        send_partial(&r, &f, NULL, VIRTIO_NET_HDR_GSO_NONE);
        expect_frame(&r, &f);
    } while (rig_stats(&r).gso_frames > counted);
    frame_free(&f);
    rig_free(&r);
}

/* Longer frames do not fit into a record, and have their own counter. */
static void test_oversize(void)
{
    static const Layer layers[] = { ETH, IP4_BIG, L4_TCP, END };
    Rig r;
    Frame f;

    if (!init_tap(&r)) {
        return;
    }
    frame_build(&f, layers, OVERSIZE, 0);
    send_partial(&r, &f, f.headers, VIRTIO_NET_HDR_GSO_TCPV4);
    rig_expect_read(&r, QIO_CHANNEL_ERR_BLOCK);
    g_assert_cmpuint(rig_stats(&r).dropped_oversize, ==, 1);
    g_assert_cmpuint(rig_stats(&r).dropped_filtered, ==, 0);
    frame_free(&f);
    rig_free(&r);
}

int main(int argc, char **argv)
{
    int i;

    suite_init(&argc, &argv, "/channel-af-packet/csum");
    for (i = 0; i < N_LAYER_STACKS; i++) {
        g_autofree char *stack = layers_name(layer_stacks[i]);
        g_autofree char *name = g_strdup_printf("partial/%s", stack);

        suite_add_data(name, layer_stacks[i], test_partial);
    }
    suite_add("sctp", test_sctp);
    suite_add("unmatched", test_unmatched);
    suite_add("none", test_none);
    suite_add_data("super-frame/right", GINT_TO_POINTER(false),
                   test_super_frame);
    suite_add_data("super-frame/wrong", GINT_TO_POINTER(true),
                   test_super_frame);
    suite_add("mtu", test_mtu);
    suite_add("oversize", test_oversize);
    return g_test_run();
}
