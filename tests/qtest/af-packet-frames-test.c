/*
 * QTest testcase for af-packet-mode: frames as they are on the wire
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Tags, checksums, segmentation offload, lengths, and what a socket hears.
 * See af-packet-relay.h for what is between packet socket and records.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "af-packet-relay.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_net.h"

/* Linux 6.4 */
#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif

#define VNET_HDR_LEN sizeof(struct virtio_net_hdr)
#define VNET_HDR_MAX 12
#define TAGS_MAX 8

#define JUMBO_MTU 9000
#define MTU_MAX 65535
#define LEN_MAX (ETH_HLEN + TAGS_MAX + MTU_MAX)

/* --- Payloads: a vnet header, if there is one, and a frame --- */

/* Returns: false if the kernel has no headers of this length. */
static bool packet_set_vnet_hdr(int fd, int len)
{
    int on = 1;

    if (len == VNET_HDR_LEN) {
        return setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR,
                          &on, sizeof(on)) == 0;
    }
    return setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR_SZ,
                      &len, sizeof(len)) == 0;
}

typedef struct Payload {
    uint8_t buf[VNET_HDR_MAX + LEN_MAX];
    size_t vnet_hdr_len;
    size_t len;             /* of the frame */
} Payload;

static uint8_t *payload_frame(Payload *p)
{
    return p->buf + p->vnet_hdr_len;
}

static struct virtio_net_hdr payload_vnet_hdr(const Payload *p)
{
    struct virtio_net_hdr hdr;

    memcpy(&hdr, p->buf, sizeof(hdr));
    return hdr;
}

/* Send what is in @p by a socket that has such headers. */
static void payload_send(const Payload *p, int fd)
{
    size_t len = p->vnet_hdr_len + p->len;

    g_assert_cmpint(send(fd, p->buf, len, 0), ==, len);
}

/* Receive from a socket with headers as those of @p. */
static void payload_recv(Payload *p, int fd)
{
    ssize_t len = recv(fd, p->buf, sizeof(p->buf), 0);

    g_assert_cmpint(len, >, p->vnet_hdr_len);
    p->len = len - p->vnet_hdr_len;
}

/* Read a record.  Filters say 0 of headers that the netdev doesn't have. */
static void payload_read(Payload *p, Relay *relay)
{
    uint8_t head[8];
    size_t head_len = relay->vnet_hdr ? 8 : 4;

    record_read_socket(&relay->rec, head, head_len);
    if (relay->vnet_hdr) {
        g_assert_cmpuint(ldl_be_p(head + 4), ==, 0);
    }
    p->len = ldl_be_p(head) - p->vnet_hdr_len;
    g_assert_cmpuint(p->len, <=, LEN_MAX);
    record_read_socket(&relay->rec, p->buf, p->vnet_hdr_len + p->len);
}

/* Write a record that says @stated of its header's length. */
static void payload_write(const Payload *p, Relay *relay, uint32_t stated)
{
    size_t len = p->vnet_hdr_len + p->len;
    uint8_t head[8];

    stl_be_p(head, len);
    stl_be_p(head + 4, stated);
    g_assert_cmpint(send(relay->rec, head, relay->vnet_hdr ? 8 : 4, 0), >, 0);
    g_assert_cmpint(send(relay->rec, p->buf, len, 0), ==, len);
}

/* --- Packets, in frames with VLAN tags --- */

typedef struct Tags {
    const char *name;
    size_t len;
    uint8_t bytes[TAGS_MAX];
} Tags;

static const Tags all_tags[] = {
    { "none", 0 },
    { "802.1q", 4, { 0x81, 0x00, 0x00, 0x64 } },
    { "priority", 4, { 0x81, 0x00, 0xa0, 0x00 } },
    { "tci-0", 4, { 0x81, 0x00, 0x00, 0x00 } },
    { "802.1ad", 4, { 0x88, 0xa8, 0x0f, 0xff } },
    { "stacked", 8, { 0x88, 0xa8, 0x00, 0x64, 0x81, 0x00, 0x20, 0x65 } },
};

typedef struct Protocol {
    const char *name;
    bool v6, tcp;
    uint8_t gso_type;
} Protocol;

static const Protocol protocols[] = {
    { "udp4", false, false, VIRTIO_NET_HDR_GSO_UDP_L4 },
    { "tcp4", false, true, VIRTIO_NET_HDR_GSO_TCPV4 },
    { "udp6", true, false, VIRTIO_NET_HDR_GSO_UDP_L4 },
    { "tcp6", true, true, VIRTIO_NET_HDR_GSO_TCPV6 },
};

static size_t ip_hlen(const Protocol *proto)
{
    return proto->v6 ? 40 : 20;
}

static size_t l4_hlen(const Protocol *proto)
{
    return proto->tcp ? 20 : 8;
}

static size_t csum_offset(const Protocol *proto)
{
    return proto->tcp ? 16 : 6;
}

/* Add up 16 bit words, as RFC 1071 tells. */
static uint32_t add_words(uint32_t sum, const uint8_t *data, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        sum += i % 2 ? data[i] : data[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* The sum of the pseudo header, for @len bytes after the IP header */
static uint32_t pseudo_sum(const Protocol *proto, const uint8_t *ip,
                           size_t len)
{
    const uint8_t words[] = { len >> 24, len >> 16, len >> 8, len,
                              0, proto->tcp ? 6 : 17 };
    uint32_t sum = add_words(0, words, sizeof(words));

    return proto->v6 ? add_words(sum, ip + 8, 32) : add_words(sum, ip + 12, 8);
}

static void put_ip(const Protocol *proto, uint8_t *ip, size_t len)
{
    static const uint8_t v4[] = { 0x45, 0, 0, 0, 0, 1, 0, 0, 64, 0, 0, 0,
                                  10, 0, 0, 1, 10, 0, 0, 2 };
    static const uint8_t v6[40] = { 0x60, 0, 0, 0, 0, 0, 0, 64,
                                    0xfd, 0, [23] = 1, 0xfd, 0, [39] = 2 };

    if (proto->v6) {
        memcpy(ip, v6, sizeof(v6));
        stw_be_p(ip + 4, len);
        ip[6] = proto->tcp ? 6 : 17;
    } else {
        memcpy(ip, v4, sizeof(v4));
        stw_be_p(ip + 2, sizeof(v4) + len);
        ip[9] = proto->tcp ? 6 : 17;
        stw_be_p(ip + 10, ~add_words(0, ip, sizeof(v4)));
    }
}

/* A header without checksum, and data, @len bytes in all */
static void put_l4(const Protocol *proto, uint8_t *l4, size_t len)
{
    size_t i;

    memset(l4, 0, l4_hlen(proto));
    stw_be_p(l4, 1024);
    stw_be_p(l4 + 2, 1025);
    if (proto->tcp) {
        l4[12] = 5 << 4;
        l4[13] = 0x10; /* ACK */
    } else {
        stw_be_p(l4 + 4, len);
    }
    for (i = l4_hlen(proto); i < len; i++) {
        l4[i] = i * 7 + (i >> 8);
    }
}

/* Where in a frame IP starts */
static size_t ip_start(const Tags *tags)
{
    return ETH_HLEN + tags->len;
}

/*
 * Make a frame with @data_len bytes of data, whose checksum is left to a
 * network card, and which the card is to cut into segments of @gso_size
 * unless that is 0.
 */
static void payload_fill(Payload *p, const Protocol *proto, const Tags *tags,
                         size_t data_len, size_t gso_size)
{
    size_t l4_start = ip_start(tags) + ip_hlen(proto);
    size_t l4_len = l4_hlen(proto) + data_len;
    struct virtio_net_hdr hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = gso_size ? proto->gso_type : VIRTIO_NET_HDR_GSO_NONE,
        .hdr_len = gso_size ? l4_start + l4_hlen(proto) : 0,
        .gso_size = gso_size,
        .csum_start = l4_start,
        .csum_offset = csum_offset(proto),
    };
    uint8_t *frame = p->buf + VNET_HDR_LEN;

    *p = (Payload) { .vnet_hdr_len = VNET_HDR_LEN };
    p->len = l4_start + l4_len;
    g_assert_cmpuint(p->len, <=, LEN_MAX);
    memcpy(p->buf, &hdr, sizeof(hdr));

    memset(frame, 0xff, ETH_ALEN);
    memcpy(frame + ETH_ALEN, "\2" "test!", ETH_ALEN);
    memcpy(frame + 2 * ETH_ALEN, tags->bytes, tags->len);
    stw_be_p(frame + ip_start(tags) - 2, proto->v6 ? ETH_P_IPV6 : ETH_P_IP);
    put_ip(proto, frame + ip_start(tags), l4_len);
    put_l4(proto, frame + l4_start, l4_len);
    stw_be_p(frame + l4_start + csum_offset(proto),
             pseudo_sum(proto, frame + ip_start(tags), l4_len));
}

/* Finish the checksum of @p, as a network card would. */
static void payload_complete(Payload *p)
{
    struct virtio_net_hdr hdr = payload_vnet_hdr(p);
    uint8_t *frame = payload_frame(p);
    uint16_t sum = ~add_words(0, frame + hdr.csum_start,
                              p->len - hdr.csum_start);

    stw_be_p(frame + hdr.csum_start + hdr.csum_offset, sum ?: 0xffff);
}

static void expect_same_frame(Payload *got, Payload *expected)
{
    g_assert_cmpmem(payload_frame(got), got->len,
                    payload_frame(expected), expected->len);
}

static void expect_same_vnet_hdr(const Payload *got, const Payload *expected)
{
    struct virtio_net_hdr a = payload_vnet_hdr(got);
    struct virtio_net_hdr b = payload_vnet_hdr(expected);

    g_assert_cmpint(a.flags, ==, b.flags);
    g_assert_cmpint(a.gso_type, ==, b.gso_type);
    g_assert_cmpint(a.gso_size, ==, b.gso_size);
    g_assert_cmpint(a.hdr_len, ==, b.hdr_len);
    g_assert_cmpint(a.csum_start, ==, b.csum_start);
    g_assert_cmpint(a.csum_offset, ==, b.csum_offset);
}

/* --- Rigs --- */

typedef struct Rig {
    Relay relay;
    size_t vnet_hdr_len; /* of QEMU's socket, 0 for none */
    int peer;           /* a socket on the other end, with vnet headers */
    Payload in, out;    /* what goes into QEMU, and what comes out */
} Rig;

/* The socket that QEMU gets */
static int open_with_vnet_hdr(size_t vnet_hdr_len)
{
    int fd = packet_open(QEMU_IF, ETH_P_ALL);

    if (vnet_hdr_len) {
        g_assert_true(packet_set_vnet_hdr(fd, vnet_hdr_len));
    }
    return fd;
}

static Rig *rig_new(const char *mode, size_t vnet_hdr_len, uint32_t mtu,
                    const char *netdev)
{
    Rig *r = g_new0(Rig, 1);
    int fd;
    g_autofree char *option = NULL, *args = NULL;

    veth_add(QEMU_IF, TEST_IF);
    link_set_mtu(QEMU_IF, mtu);
    link_set_mtu(TEST_IF, mtu);
    fd = open_with_vnet_hdr(vnet_hdr_len);
    option = chardev_option(fd, mode, NULL);
    args = g_strdup_printf("-netdev %s,id=net0 "
                           "-netdev hubport,id=hub2,hubid=2,netdev=net0 %s",
                           netdev, option);
    relay_start(&r->relay, mode, args);
    close(fd);
    r->relay.netdev = "net0";
    r->relay.vnet_hdr = vnet_hdr_len > 0;
    relay_attach(&r->relay);
    r->peer = packet_endpoint(TEST_IF, ETH_P_ALL);
    g_assert_true(packet_set_vnet_hdr(r->peer, VNET_HDR_LEN));
    r->vnet_hdr_len = vnet_hdr_len;
    r->out.vnet_hdr_len = relay_is_capture(&r->relay) ? vnet_hdr_len :
                                                        VNET_HDR_LEN;
    return r;
}

static void rig_free(Rig *r)
{
    close(r->peer);
    relay_stop(&r->relay);
    link_remove(QEMU_IF);
    g_free(r);
}

/* Have the header of what goes in changed to one of @len bytes. */
static void rig_resize_vnet_hdr(Rig *r, size_t len)
{
    Payload *p = &r->in;
    uint8_t *frame = payload_frame(p);

    memmove(p->buf + len, frame, p->len);
    if (len > p->vnet_hdr_len) {
        memset(p->buf + p->vnet_hdr_len, 0, len - p->vnet_hdr_len);
    }
    p->vnet_hdr_len = len;
}

/* --- Each protocol, with each kind of tags --- */

typedef void RigFunc(Rig *r, const Protocol *proto, const Tags *tags);

static void for_each_tags(Rig *r, RigFunc *func, const Protocol *proto)
{
    int t;

    for (t = 0; t < ARRAY_SIZE(all_tags); t++) {
        g_test_message("%s, tags: %s", proto->name, all_tags[t].name);
        func(r, proto, &all_tags[t]);
    }
}

static void for_each_kind(Rig *r, RigFunc *func)
{
    int p;

    for (p = 0; p < ARRAY_SIZE(protocols); p++) {
        for_each_tags(r, func, &protocols[p]);
    }
}

/* Only since Linux 6.2 can a vnet header ask for UDP segmentation. */
static bool has_gso(const Protocol *proto)
{
    g_autofree Payload *p = g_new(Payload, 1);
    int fd = packet_open("lo", 0);
    bool ok;

    g_assert_true(packet_set_vnet_hdr(fd, VNET_HDR_LEN));
    payload_fill(p, proto, &all_tags[0], 2000, 1000);
    ok = send(fd, p->buf, p->vnet_hdr_len + p->len, 0) > 0;
    close(fd);
    return ok;
}

static void for_each_gso_kind(Rig *r, RigFunc *func)
{
    int p;

    for (p = 0; p < ARRAY_SIZE(protocols); p++) {
        if (protocols[p].tcp || has_gso(&protocols[p])) {
            for_each_tags(r, func, &protocols[p]);
        }
    }
}

/* --- Cases: checksums and tags --- */

/* Returns: whether the frame that came out needs its checksum completed. */
static bool is_partial(const Payload *p)
{
    return p->vnet_hdr_len &&
           payload_vnet_hdr(p).flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
}

/* A frame comes out as it went in, or with a checksum that is complete. */
static void do_test_checksum(Rig *r, const Protocol *proto, const Tags *tags)
{
    size_t data_len;

    for (data_len = 0; data_len < 4; data_len++) {
        payload_fill(&r->in, proto, tags, data_len, 0);
        payload_send(&r->in, r->peer);
        payload_read(&r->out, &r->relay);
        if (is_partial(&r->out)) {
            expect_same_vnet_hdr(&r->out, &r->in);
        } else {
            payload_complete(&r->in);
        }
        expect_same_frame(&r->out, &r->in);
    }
}

static void test_checksum(const void *opaque)
{
    Rig *r = rig_new("capture", GPOINTER_TO_INT(opaque), 1500, "user");

    for_each_kind(r, do_test_checksum);
    rig_free(r);
}

/* --- Cases: segmentation offload --- */

#define GSO_SIZE 1400

/* The kernel itself cuts what is longer (6.18: gso_max_size of a veth) */
#define GSO_FRAME_MAX 65535

/* Make a super-frame, as long as may be. */
static void payload_fill_gso(Payload *p, const Protocol *proto,
                             const Tags *tags, size_t gso_size)
{
    payload_fill(p, proto, tags, GSO_FRAME_MAX - ip_start(tags) -
                 ip_hlen(proto) - l4_hlen(proto), gso_size);
}

typedef struct GsoCase {
    const char *name;
    size_t vnet_hdr_len;
    const char *netdev;
} GsoCase;

/* With vnet headers a super-frame goes through as it is. */
static void do_test_gso_capture(Rig *r, const Protocol *proto,
                                const Tags *tags)
{
    payload_fill_gso(&r->in, proto, tags, GSO_SIZE);
    payload_send(&r->in, r->peer);
    payload_read(&r->out, &r->relay);
    expect_same_frame(&r->out, &r->in);
    expect_same_vnet_hdr(&r->out, &r->in);
}

static void test_gso_capture(const void *opaque)
{
    const GsoCase *c = opaque;
    Rig *r = rig_new("capture", c->vnet_hdr_len, 1500, c->netdev);

    for_each_gso_kind(r, do_test_gso_capture);
    rig_free(r);
}

/* The kernel may have put a tag of what arrived elsewhere. */
static void expect_same_packet(Rig *r, const Tags *tags)
{
    size_t len = r->in.len - ip_start(tags);

    g_assert_cmpuint(r->out.len, >, len);
    g_assert_cmpmem(payload_frame(&r->out) + r->out.len - len, len,
                    payload_frame(&r->in) + ip_start(tags), len);
    g_assert_cmpint(payload_vnet_hdr(&r->out).gso_type, ==,
                    payload_vnet_hdr(&r->in).gso_type);
    g_assert_cmpint(payload_vnet_hdr(&r->out).gso_size, ==, GSO_SIZE);
}

static void do_test_gso_inject(Rig *r, const Protocol *proto,
                               const Tags *tags)
{
    const uint32_t stated[] = { 0, r->vnet_hdr_len };
    int i;

    payload_fill_gso(&r->in, proto, tags, GSO_SIZE);
    rig_resize_vnet_hdr(r, r->vnet_hdr_len);
    for (i = 0; i < ARRAY_SIZE(stated); i++) {
        payload_write(&r->in, &r->relay, stated[i]);
        payload_recv(&r->out, r->peer);
        expect_same_packet(r, tags);
    }
}

static void test_gso_inject(const void *opaque)
{
    const GsoCase *c = opaque;
    Rig *r = rig_new("inject", c->vnet_hdr_len, 1500, c->netdev);

    for_each_gso_kind(r, do_test_gso_inject);
    rig_free(r);
}

/* Without them it is captured as one frame, with a complete checksum, */
static void do_test_gso_plain_capture(Rig *r, const Protocol *proto,
                                      const Tags *tags)
{
    uint64_t counted = chardev_stat(r->relay.qts, "gso-frames");

    payload_fill_gso(&r->in, proto, tags, GSO_SIZE);
    payload_send(&r->in, r->peer);
    payload_read(&r->out, &r->relay);
    payload_complete(&r->in);
    expect_same_frame(&r->out, &r->in);
    g_assert_cmpuint(chardev_stat(r->relay.qts, "gso-frames"), ==,
                     counted + 1);
}

static void test_gso_plain_capture(const void *opaque)
{
    Rig *r = rig_new("capture", 0, 1500, "user");

    for_each_gso_kind(r, do_test_gso_plain_capture);
    rig_free(r);
}

/* but is too long for the interface that it is to be injected into. */
static void do_test_gso_plain_inject(Rig *r, const Protocol *proto,
                                     const Tags *tags)
{
    QTestState *qts = r->relay.qts;
    uint64_t dropped = chardev_stat(qts, "dropped-too-long");

    payload_fill_gso(&r->in, proto, tags, 0);
    rig_resize_vnet_hdr(r, 0);
    payload_write(&r->in, &r->relay, 0);
    chardev_wait_stat(qts, "dropped-too-long", dropped + 1);
}

static void test_gso_plain_inject(const void *opaque)
{
    Rig *r = rig_new("inject", 0, 1500, "user");

    for_each_kind(r, do_test_gso_plain_inject);
    relay_check(&r->relay, FEW_FRAMES);
    rig_free(r);
}

/* --- Cases: vnet headers that are not what they should be --- */

#define HAS_ENDED "the connection has ended"

static void expect_ended(Relay *relay, const char *reason)
{
    chardev_wait_disconnected(relay->qts);
    g_assert_cmpuint(relay_count_messages(relay, reason), ==, 1);
    g_assert_cmpuint(relay_count_messages(relay, HAS_ENDED), ==, 1);
}

/* The socket has headers, the records don't. */
static void test_vnet_mismatch_plain(const void *opaque)
{
    Rig *r = rig_new("inject", VNET_HDR_LEN, 1500, "user");

    relay_detach(&r->relay);
    r->relay.vnet_hdr = false;
    relay_attach(&r->relay);
    records_write(r->relay.rec, 0, 1);
    expect_ended(&r->relay, "vnet_hdr_support");
    rig_free(r);
}

/* Those who read records expect headers or not, the other way round. */
static void do_test_vnet_mismatch_capture(bool filters, size_t vnet_hdr_len)
{
    Rig *r = rig_new("capture", vnet_hdr_len, 1500, "user");
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;
    int tx = packet_endpoint(TEST_IF, 0);

    relay_detach(&r->relay);
    r->relay.vnet_hdr = filters;
    relay_attach(&r->relay);
    frame_send(tx, 1);
    frame_send(tx, 2);
    while (!relay_count_messages(&r->relay, "vnet headers")) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        qemu_expect_prompt(r->relay.qts);
    }
    g_assert_cmpuint(relay_count_messages(&r->relay, "vnet headers"), ==, 1);
    close(tx);
    rig_free(r);
}

static void test_vnet_mismatch_capture(const void *opaque)
{
    do_test_vnet_mismatch_capture(false, VNET_HDR_LEN);
    do_test_vnet_mismatch_capture(true, 0);
}

/* Both have, but of different lengths. */
static void test_vnet_mismatch_length(const void *opaque)
{
    static const uint8_t head[] = { 0, 0, 0, 60, 0, 0, 0, 12 };
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_serial(&relay, "inject", open_with_vnet_hdr(VNET_HDR_LEN));
    serial_write(relay.qts, head, sizeof(head));
    expect_ended(&relay, "12 bytes");
    relay_stop(&relay);
    link_remove(QEMU_IF);
}

/* --- Cases: lengths --- */

static const size_t long_lens[] = {
    ETH_HLEN + JUMBO_MTU, ETH_HLEN + MTU_MAX,
};

/* Make a frame of @len bytes, without a vnet header. */
static void fill_len(Rig *r, size_t len)
{
    const Protocol *udp4 = &protocols[0];

    payload_fill(&r->in, udp4, &all_tags[0], len - ETH_HLEN - 28, 0);
    payload_complete(&r->in);
}

/* Nothing is cut. */
static void test_long(const void *mode)
{
    Rig *r = rig_new(mode, 0, MTU_MAX, "user");
    int i;

    for (i = 0; i < ARRAY_SIZE(long_lens); i++) {
        fill_len(r, long_lens[i]);
        if (relay_is_capture(&r->relay)) {
            memset(r->in.buf, 0, VNET_HDR_LEN);
            payload_send(&r->in, r->peer);
            payload_read(&r->out, &r->relay);
        } else {
            rig_resize_vnet_hdr(r, 0);
            payload_write(&r->in, &r->relay, 0);
            payload_recv(&r->out, r->peer);
        }
        g_assert_cmpuint(r->in.len, ==, long_lens[i]);
        expect_same_frame(&r->out, &r->in);
    }
    rig_free(r);
}

/* --- Cases: direction --- */

typedef struct DirectionCase {
    const char *name;
    PacketHearing hearing;
    bool in, out;           /* what is heard */
} DirectionCase;

static const DirectionCase direction_cases[] = {
    { "both", HEAR_BOTH, true, true },
    { "incoming", HEAR_INCOMING, true, false },
    { "outgoing", HEAR_OUTGOING, false, true },
    { "ignore-outgoing", HEAR_BUT_OUTGOING, true, false },
};

/*
 * A capture socket hears what the one who opened it wants to hear; and
 * nothing of what passes other interfaces, or passed this one before, even if
 * there is time between socket() and bind().
 */
static void test_direction(const void *opaque)
{
    const DirectionCase *c = opaque;
    int in, out, other, fd;
    Relay relay;
    int i;

    veth_add(QEMU_IF, TEST_IF);
    veth_add("veth2", "veth3");
    in = packet_endpoint(TEST_IF, 0);
    out = packet_endpoint(QEMU_IF, 0);
    other = packet_endpoint("veth3", 0);

    fd = packet_socket_hearing(c->hearing);
    for (i = 0; i < FEW_FRAMES; i++) {
        frame_send(in, UINT32_MAX);
        frame_send(out, UINT32_MAX);
        frame_send(other, UINT32_MAX);
    }
    packet_bind(fd, QEMU_IF, ETH_P_ALL);

    relay_start_inherited(&relay, "capture", fd);
    relay_attach(&relay);
    for (i = 0; i < FEW_FRAMES; i++) {
        frame_send(other, UINT32_MAX);
        frame_send(in, 2 * i);
        frame_send(out, 2 * i + 1);
        if (c->in) {
            record_expect(record_read_socket, &relay.rec, 2 * i);
        }
        if (c->out) {
            record_expect(record_read_socket, &relay.rec, 2 * i + 1);
        }
    }
    g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==,
                     FEW_FRAMES * (c->in + c->out));
    close(in);
    close(out);
    close(other);
    relay_stop(&relay);
    link_remove("veth2");
    link_remove(QEMU_IF);
}

/* --- Cases: loops --- */

static const PacketHearing no_loop_cases[] = {
    HEAR_INCOMING, HEAR_BUT_OUTGOING, HEAR_UNMARKED,
};

/*
 * On one interface, QEMU sends back what it receives: each frame once, for what
 * is injected isn't heard.
 */
static void test_no_loop(const void *opaque)
{
    int capture = packet_socket_hearing(GPOINTER_TO_INT(opaque));
    int inject, peer, mark = TEST_MARK, i;
    g_autofree char *args = NULL;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    packet_bind(capture, QEMU_IF, ETH_P_ALL);
    inject = packet_open(QEMU_IF, 0);
    g_assert_cmpint(setsockopt(inject, SOL_SOCKET, SO_MARK, &mark,
                               sizeof(mark)), ==, 0);
    fd_set_inherited(capture);
    fd_set_inherited(inject);
    args = g_strdup_printf(
        "-chardev socket,id=pkt,fd=%d,af-packet-mode=capture "
        "-chardev socket,id=inj,fd=%d,af-packet-mode=inject "
        "-object filter-redirector,id=in,netdev=hub0,queue=tx,indev=pkt "
        "-object filter-redirector,id=out,netdev=hub0,queue=tx,outdev=inj",
        capture, inject);
    relay_start(&relay, "capture", args);
    close(capture);
    close(inject);

    peer = packet_endpoint(TEST_IF, TEST_ETHERTYPE);
    for (i = 0; i < FEW_FRAMES; i++) {
        frame_send(peer, i);
        frame_expect(peer, i);
    }
    g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==, FEW_FRAMES);
    close(peer);
    relay_stop(&relay);
    link_remove(QEMU_IF);
}

/* --- Registration --- */

static void add_test(const char *group, const char *name, const void *data,
                     void (*func)(const void *))
{
    g_autofree char *path = g_strdup_printf("/af-packet/%s/%s", group, name);

    qtest_add_data_func(path, data, func);
}

static const GsoCase gso_cases[] = {
    { "gso/10/user", VNET_HDR_LEN, "user" },
    { "gso/10/hubport", VNET_HDR_LEN, "hubport,hubid=3" },
    { "gso/12/user", VNET_HDR_MAX, "user" },
    { "gso/12/hubport", VNET_HDR_MAX, "hubport,hubid=3" },
};

static void add_vnet_tests(size_t vnet_hdr_len)
{
    g_autofree char *name = g_strdup_printf("%zu", vnet_hdr_len);
    int i;

    add_test("checksum", name, GINT_TO_POINTER(vnet_hdr_len), test_checksum);
    for (i = 0; i < ARRAY_SIZE(gso_cases); i++) {
        const GsoCase *c = &gso_cases[i];

        if (c->vnet_hdr_len == vnet_hdr_len) {
            add_test(c->name, "capture", c, test_gso_capture);
            add_test(c->name, "inject", c, test_gso_inject);
        }
    }
}

static void add_plain_tests(void)
{
    int i;

    add_test("checksum", "plain", GINT_TO_POINTER(0), test_checksum);
    add_test("gso/plain", "capture", NULL, test_gso_plain_capture);
    add_test("gso/plain", "inject", NULL, test_gso_plain_inject);
    add_test("long", "capture", "capture", test_long);
    add_test("long", "inject", "inject", test_long);
    for (i = 0; i < ARRAY_SIZE(direction_cases); i++) {
        add_test("direction", direction_cases[i].name, &direction_cases[i],
                 test_direction);
    }
    for (i = 0; i < ARRAY_SIZE(no_loop_cases); i++) {
        g_autofree char *name = g_strdup_printf("%d", i);

        add_test("no-loop", name, GINT_TO_POINTER(no_loop_cases[i]),
                 test_no_loop);
    }
}

/* Linux 6.4 has headers of other lengths than 10. */
static bool has_vnet_hdr_len(int len)
{
    int fd = packet_open("lo", 0);
    bool ok = packet_set_vnet_hdr(fd, len);

    close(fd);
    return ok;
}

int main(int argc, char **argv)
{
    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    add_plain_tests();
    add_vnet_tests(VNET_HDR_LEN);
    if (has_vnet_hdr_len(VNET_HDR_MAX)) {
        add_vnet_tests(VNET_HDR_MAX);
    }
    add_test("vnet-mismatch", "plain", NULL, test_vnet_mismatch_plain);
    add_test("vnet-mismatch", "capture", NULL, test_vnet_mismatch_capture);
    if (qtest_has_machine("isapc")) {
        add_test("vnet-mismatch", "length", NULL, test_vnet_mismatch_length);
    }
    return g_test_run();
}
