/*
 * Unit tests of putting back into a frame what the kernel reports beside it
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Checksums are checked as the receiver of a frame would do it, pseudo
 * header and all, one byte after the other.
 */
#include "qemu/osdep.h"
#include "chardev/af-packet-frame.h"

#define ETH_LEN 14
#define VLAN_LEN 4
#define TCP 6
#define UDP 17
#define CANARY 0xa5

/*
 * VLAN tags
 */

/* A vnet header, as far as a tag matters to it */
typedef struct VnetCase {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t hdr_len;
    uint16_t csum_start;
    /* What they become */
    uint16_t hdr_len_after;
    uint16_t csum_start_after;
} VnetCase;

static const VnetCase vnet_cases[] = {
    /* Neither field means a thing: whatever they hold stays */
    { 0, VIRTIO_NET_HDR_GSO_NONE, 0, 0, 0, 0 },
    { 0, VIRTIO_NET_HDR_GSO_NONE, 54, 34, 54, 34 },
    { VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_GSO_NONE, 54, 34, 54, 34 },
    { VIRTIO_NET_HDR_F_RSC_INFO, VIRTIO_NET_HDR_GSO_NONE, 1, 2, 1, 2 },
    /* A partial checksum */
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, 0, 34, 0, 38 },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, 66, 54, 66, 58 },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID,
      VIRTIO_NET_HDR_GSO_NONE, 0, 34, 0, 38 },
    /* Frames to be segmented, with one and without */
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 66, 34, 70, 38 },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV6, 86, 54, 90, 58 },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM,
      VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, 66, 34, 70, 38 },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP_L4, 42, 34, 46, 38 },
    { 0, VIRTIO_NET_HDR_GSO_UDP, 42, 34, 46, 34 },
    { VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_GSO_TCPV4, 66, 34, 70, 34 },
    /* Sums above 255 */
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV6,
      0x01fe, 0x00fd, 0x0202, 0x0101 },
};

static const struct {
    uint16_t tpid;
    uint16_t tci;
    uint8_t bytes[VLAN_LEN];
} tags[] = {
    { 0x8100, 0x0001, { 0x81, 0x00, 0x00, 0x01 } },
    { 0x8100, 0x0fff, { 0x81, 0x00, 0x0f, 0xff } },
    { 0x8100, 0xf234, { 0x81, 0x00, 0xf2, 0x34 } },
    { 0x8100, 0x0000, { 0x81, 0x00, 0x00, 0x00 } },
    { 0x8100, 0xe000, { 0x81, 0x00, 0xe0, 0x00 } },
    { 0x88a8, 0x0064, { 0x88, 0xa8, 0x00, 0x64 } },
    { 0x88a8, 0x0000, { 0x88, 0xa8, 0x00, 0x00 } },
    { 0x9100, 0x1abc, { 0x91, 0x00, 0x1a, 0xbc } },
};

/* The least that may be there, a bare header, the usual ones, a long one */
static const size_t frame_lens[] = { 12, 14, 18, 60, 1514, 65549 };

static const size_t vnet_hdr_lens[] = { 0, 10, 12 };

/* Write the vnet header of @c as it is before or after. */
static void put_vnet_hdr(uint8_t *buf, size_t len, const VnetCase *c,
                         bool after)
{
    struct virtio_net_hdr hdr = {
        .flags = c->flags,
        .gso_type = c->gso_type,
        .hdr_len = after ? c->hdr_len_after : c->hdr_len,
        .gso_size = 1448,
        .csum_start = after ? c->csum_start_after : c->csum_start,
        .csum_offset = 16,
    };

    g_assert_cmpuint(sizeof(hdr), ==, 10);
    memset(buf, 0x3c, len); /* num_buffers, where there is one */
    memcpy(buf, &hdr, MIN(len, sizeof(hdr)));
}

/* Write a frame that differs everywhere. */
static void put_frame(uint8_t *buf, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        buf[i] = i * 13 + (i >> 8) + 1;
    }
}

static void do_test_vlan(size_t vnet_hdr_len, size_t len, int tag,
                         const VnetCase *c)
{
    size_t room = 16, total = room + vnet_hdr_len + len + room;
    g_autofree uint8_t *buf = g_malloc(total);
    g_autofree uint8_t *expected = g_malloc(total);
    g_autofree uint8_t *frame = g_malloc(len);
    uint8_t *p = expected + room - VLAN_LEN;

    put_frame(frame, len);
    memset(buf, CANARY, total);
    put_vnet_hdr(buf + room, vnet_hdr_len, c, false);
    memcpy(buf + room + vnet_hdr_len, frame, len);

    memset(expected, CANARY, total);
    put_vnet_hdr(p, vnet_hdr_len, c, true);
    p += vnet_hdr_len;
    memcpy(p, frame, 12);
    memcpy(p + 12, tags[tag].bytes, VLAN_LEN);
    memcpy(p + 12 + VLAN_LEN, frame + 12, len - 12);

    g_assert_true(af_packet_frame_put_vlan(buf + room, vnet_hdr_len,
                                           tags[tag].tpid, tags[tag].tci)
                  == buf + room - VLAN_LEN);
    g_assert_cmpmem(buf, total, expected, total);
}

static void test_vlan(const void *opaque)
{
    size_t vnet_hdr_len = *(const size_t *)opaque;
    int tag, i, k;

    for (tag = 0; tag < ARRAY_SIZE(tags); tag++) {
        for (i = 0; i < ARRAY_SIZE(frame_lens); i++) {
            for (k = 0; k < ARRAY_SIZE(vnet_cases); k++) {
                do_test_vlan(vnet_hdr_len, frame_lens[i], tag,
                             &vnet_cases[k]);
            }
        }
    }
}

/* The kernel takes the outer tag only: the inner one is in the frame. */
static void test_vlan_stacked(void)
{
    uint8_t buf[] = {
        CANARY, CANARY, CANARY, CANARY, CANARY,
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2,
        0x81, 0x00, 0x00, 0x07, 0x88, 0xb5, 0x11, 0x22,
    };
    const uint8_t expected[] = {
        CANARY,
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xa8, 0x20, 0x03,
        0x81, 0x00, 0x00, 0x07, 0x88, 0xb5, 0x11, 0x22,
    };

    g_assert_true(af_packet_frame_put_vlan(buf + 5, 0, 0x88a8, 0x2003)
                  == buf + 1);
    g_assert_cmpmem(buf, sizeof(buf), expected, sizeof(expected));
}

/*
 * Checksums
 */

/* An IP packet in a frame */
typedef struct Packet {
    int tags;           /* VLAN tags in the frame */
    bool v6;
    int options;        /* bytes of IPv4 options, of an IPv6 extension */
    int proto;
    size_t payload;     /* bytes after the TCP or UDP header */
    size_t padding;     /* zeroes to the least length of a frame */
    bool want_zero;     /* make it so that the checksum comes out as 0 */
} Packet;

static const Packet packets[] = {
    { .proto = TCP },
    { .proto = UDP },
    { .proto = TCP, .v6 = true },
    { .proto = UDP, .v6 = true },
    /* Odd lengths, and all the short ones */
    { .proto = TCP, .payload = 1 },
    { .proto = UDP, .payload = 1 },
    { .proto = UDP, .payload = 2 },
    { .proto = UDP, .payload = 3 },
    { .proto = TCP, .v6 = true, .payload = 1 },
    { .proto = UDP, .v6 = true, .payload = 17 },
    { .proto = TCP, .payload = 1447 },
    { .proto = UDP, .payload = 1471 },
    { .proto = TCP, .v6 = true, .payload = 1427 },
    { .proto = UDP, .v6 = true, .payload = 1451 },
    /* Full frames, jumbo frames, and what is to be segmented */
    { .proto = TCP, .payload = 1460 },
    { .proto = UDP, .payload = 1472 },
    { .proto = TCP, .v6 = true, .payload = 1440 },
    { .proto = UDP, .v6 = true, .payload = 1452 },
    { .proto = TCP, .payload = 8960 },
    { .proto = TCP, .payload = 65160 },
    { .proto = UDP, .payload = 65507 },
    { .proto = TCP, .v6 = true, .payload = 65141 },
    /* IP headers of other lengths */
    { .proto = TCP, .options = 4, .payload = 100 },
    { .proto = UDP, .options = 40, .payload = 101 },
    { .proto = UDP, .v6 = true, .options = 8, .payload = 101 },
    /* VLAN tags */
    { .proto = TCP, .tags = 1, .payload = 100 },
    { .proto = UDP, .tags = 1, .payload = 101 },
    { .proto = TCP, .tags = 1, .v6 = true, .payload = 101 },
    { .proto = UDP, .tags = 1, .v6 = true, .payload = 100 },
    { .proto = TCP, .tags = 2, .payload = 101 },
    { .proto = UDP, .tags = 2, .v6 = true, .payload = 101 },
    /* Padding isn't in the pseudo header, and adds nothing */
    { .proto = UDP, .payload = 3, .padding = 15 },
    { .proto = TCP, .payload = 0, .padding = 6 },
    /* 0 is "none" in UDP; 0xffff is the same number */
    { .proto = UDP, .payload = 2, .want_zero = true },
    { .proto = UDP, .payload = 101, .want_zero = true },
    { .proto = UDP, .v6 = true, .payload = 100, .want_zero = true },
    { .proto = UDP, .tags = 1, .payload = 100, .want_zero = true },
    { .proto = TCP, .payload = 100, .want_zero = true },
    { .proto = TCP, .v6 = true, .payload = 101, .want_zero = true },
};

/* A frame with its parts */
typedef struct Frame {
    uint8_t *data;
    size_t len;
    size_t ip;          /* where the IP header starts */
    size_t l4;          /* where the TCP or UDP header starts */
    size_t l4_len;      /* up to the padding */
    size_t field;       /* of the checksum, counted from @l4 */
} Frame;

/* Ones' complement sum, byte by byte.  Returns: the sum, never 0x10000 */
static uint32_t add_bytes(uint32_t sum, const uint8_t *data, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        sum += i % 2 ? data[i] : data[i] * 256;
        if (sum > 0xffff) {
            sum -= 0xffff;
        }
    }
    return sum;
}

/* The sum of the pseudo header: addresses, length, protocol */
static uint32_t pseudo_sum(const Frame *f, const Packet *p)
{
    const uint8_t rest[] = {
        0, p->proto, f->l4_len >> 24, f->l4_len >> 16, f->l4_len >> 8,
        f->l4_len,
    };
    uint32_t sum;

    sum = p->v6 ? add_bytes(0, f->data + f->ip + 8, 32) :
                  add_bytes(0, f->data + f->ip + 12, 8);
    return add_bytes(sum, rest, sizeof(rest));
}

static void put_16(uint8_t *p, uint16_t value)
{
    p[0] = value >> 8;
    p[1] = value;
}

static uint16_t get_16(const uint8_t *p)
{
    return p[0] << 8 | p[1];
}

static void put_ip(Frame *f, const Packet *p)
{
    uint8_t *ip = f->data + f->ip;

    if (p->v6) {
        ip[0] = 0x60;
        put_16(ip + 4, p->options + f->l4_len);
        ip[6] = p->options ? 60 : p->proto; /* destination options */
        if (p->options) {
            ip[40] = p->proto;
            ip[41] = p->options / 8 - 1;
        }
    } else {
        ip[0] = 0x40 + 5 + p->options / 4;
        put_16(ip + 2, 20 + p->options + f->l4_len);
        ip[9] = p->proto;
    }
}

/* Build @p, with 0 for a checksum. */
static void frame_init(Frame *f, const Packet *p)
{
    static const uint8_t tag[] = { 0x81, 0x00, 0x00, 0x2a };
    size_t l4_hdr_len = p->proto == TCP ? 20 : 8;
    int i;

    f->ip = ETH_LEN + p->tags * VLAN_LEN;
    f->l4 = f->ip + (p->v6 ? 40 : 20) + p->options;
    f->l4_len = l4_hdr_len + p->payload;
    f->field = p->proto == TCP ? 16 : 6;
    f->len = f->l4 + f->l4_len + p->padding;
    f->data = g_malloc(f->len);

    put_frame(f->data, f->len);
    for (i = 0; i < p->tags; i++) {
        memcpy(f->data + 12 + i * VLAN_LEN, tag, sizeof(tag));
    }
    put_16(f->data + f->ip - 2, p->v6 ? 0x86dd : 0x0800);
    put_ip(f, p);
    put_16(f->data + f->l4 + f->field, 0);
    memset(f->data + f->l4 + f->l4_len, 0, p->padding);
}

/* The checksum that belongs into the field, which is 0 */
static uint16_t full_checksum(const Frame *f, const Packet *p)
{
    return ~add_bytes(pseudo_sum(f, p), f->data + f->l4, f->l4_len);
}

static void do_test_checksum(const Packet *p)
{
    g_autofree uint8_t *expected = NULL;
    struct virtio_net_hdr hdr;
    uint16_t checksum;
    Frame f;

    frame_init(&f, p);
    if (p->want_zero) {
        uint8_t *spare = f.data + f.l4 + (p->proto == TCP ? 20 : 8);

        put_16(spare, 0);
        put_16(spare, full_checksum(&f, p));
        g_assert_cmphex(full_checksum(&f, p), ==, 0);
    }
    checksum = full_checksum(&f, p);
    expected = g_memdup2(f.data, f.len);
    put_16(expected + f.l4 + f.field, checksum ?: 0xffff);

    /* As the kernel leaves it to a network card, */
    put_16(f.data + f.l4 + f.field, pseudo_sum(&f, p));
    hdr = (struct virtio_net_hdr) {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = f.l4,
        .csum_offset = f.field,
    };
    g_assert_true(af_packet_frame_complete_csum(f.data, f.len, &hdr));
    g_assert_cmpmem(f.data, f.len, expected, f.len);

    /* and as a receiver looks at it */
    g_assert_cmphex(get_16(f.data + f.l4 + f.field), !=, 0);
    g_assert_cmphex(add_bytes(pseudo_sum(&f, p), f.data + f.l4, f.l4_len),
                    ==, 0xffff);
    g_free(f.data);
}

static void test_checksum(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(packets); i++) {
        do_test_checksum(&packets[i]);
    }
}

/* A datagram that somebody else computed the checksum of: 0x6269 */
static void test_checksum_known(void)
{
    /* 10.0.0.1:1 to 10.0.0.2:2, "hi!"; 0x141f is the pseudo header's sum */
    uint8_t frame[] = {
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00,
        0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        0, 1, 0, 2, 0, 11, 0x14, 0x1f, 'h', 'i', '!',
    };
    struct virtio_net_hdr hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = 34,
        .csum_offset = 6,
    };

    g_assert_true(af_packet_frame_complete_csum(frame, sizeof(frame), &hdr));
    g_assert_cmphex(get_16(frame + 40), ==, 0x6269);
}

/* What is left alone, and with what result */
static const struct {
    uint8_t flags;
    uint16_t start;
    uint16_t offset;
    bool ret;
} left_alone[] = {
    /* Nothing to do, whatever the other fields hold */
    { 0, 34, 6, true },
    { 0, 0, 0, true },
    { 0, UINT16_MAX, UINT16_MAX, true },
    { VIRTIO_NET_HDR_F_DATA_VALID, 34, 6, true },
    { VIRTIO_NET_HDR_F_RSC_INFO, 34, 6, true },
    /* Out of the frame, which has 45 bytes */
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, 45, 0, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, 44, 0, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, 46, 0, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, 34, 10, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, 34, 11, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, 34, 12, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 44, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, UINT16_MAX, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, UINT16_MAX, 0, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, UINT16_MAX, UINT16_MAX, false },
    /* A sum of 16 bits would be back in the frame */
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, 34, UINT16_MAX, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, 34, UINT16_MAX - 27, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM, UINT16_MAX, 35, false },
    { VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID,
      34, 10, false },
};

static void test_checksum_left_alone(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(left_alone); i++) {
        const size_t len = 45;
        g_autofree uint8_t *frame = g_malloc(len);
        g_autofree uint8_t *expected = g_malloc(len);
        struct virtio_net_hdr hdr = {
            .flags = left_alone[i].flags,
            .csum_start = left_alone[i].start,
            .csum_offset = left_alone[i].offset,
        };

        put_frame(frame, len);
        put_frame(expected, len);
        g_assert_cmpint(af_packet_frame_complete_csum(frame, len, &hdr), ==,
                        left_alone[i].ret);
        g_assert_cmpmem(frame, len, expected, len);
    }
}

/* The last place where a field fits, in a frame that ends there */
static void test_checksum_at_end(void)
{
    static const uint8_t expected[] = { 1, 2, 3, 4, 0xfb, 0xfa };
    g_autofree uint8_t *frame = g_malloc(6);
    struct virtio_net_hdr hdr = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = 4,
        .csum_offset = 0,
    };

    memcpy(frame, "\1\2\3\4\4\5", 6);
    g_assert_true(af_packet_frame_complete_csum(frame, 6, &hdr));
    g_assert_cmpmem(frame, 6, expected, sizeof(expected));

    memcpy(frame, "\1\2\3\4\0\0", 6);
    hdr.csum_start = 2;
    hdr.csum_offset = 2;
    g_assert_true(af_packet_frame_complete_csum(frame, 6, &hdr));
    g_assert_cmpmem(frame, 6, "\1\2\3\4\xfc\xfb", 6);
}

static void add_vlan_tests(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(vnet_hdr_lens); i++) {
        g_autofree char *path = g_strdup_printf("/af-packet-frame/vlan/%zu",
                                                vnet_hdr_lens[i]);

        g_test_add_data_func(path, &vnet_hdr_lens[i], test_vlan);
    }
    g_test_add_func("/af-packet-frame/vlan/stacked", test_vlan_stacked);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    add_vlan_tests();
    g_test_add_func("/af-packet-frame/checksum/table", test_checksum);
    g_test_add_func("/af-packet-frame/checksum/known", test_checksum_known);
    g_test_add_func("/af-packet-frame/checksum/left-alone",
                    test_checksum_left_alone);
    g_test_add_func("/af-packet-frame/checksum/at-end",
                    test_checksum_at_end);

    return g_test_run();
}
