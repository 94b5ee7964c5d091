/*
 * Test helpers: frames put together from layers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qemu/host-utils.h"
#include "af-packet-layers.h"

#define FRAME_SIZE 72000
#define BIG -1

const Layer layer_stacks[N_LAYER_STACKS][LAYERS_MAX] = {
    { ETH, IP4, L4_TCP },
    { ETH, IP4, L4_UDP },
    { ETH, IP4, L4_SCTP },
    { ETH, IP6, L4_TCP },
    { ETH, IP6, L4_UDP },
    { ETH, IP6, L4_SCTP },
    /* VLAN tags, and labels */
    { ETH, TAG, IP4, L4_TCP },
    { ETH, TAG, IP6, L4_UDP },
    { ETH, QINQ_TAG, TAG, IP4, L4_UDP },
    { ETH, QINQ_TAG, TAG, TAG, TAG, TAG, IP6, L4_TCP },
    { ETH, MPLS, IP4, L4_TCP },
    { ETH, TAG, MPLS, IP6, L4_UDP },
    /* IP headers of other lengths */
    { ETH, IP4_OPTIONS, L4_TCP },
    { ETH, IP4_OPTIONS, L4_UDP },
    { ETH, IP6_OPTIONS, L4_TCP },
    { ETH, IP6_OPTIONS, L4_UDP },
    { ETH, IP6_ROUTE, L4_TCP },
    { ETH, IP6_ROUTE, L4_UDP },
    { ETH, IP6_SEGMENTS, L4_TCP },
    { ETH, IP6_SEGMENTS, L4_UDP },
    { ETH, IP6_ATOMIC, L4_UDP },
    { ETH, IP4_BIG, L4_TCP },
    { ETH, IP6_BIG, L4_TCP },
    /* IP in IP */
    { ETH, IP4, IP4, L4_TCP },
    { ETH, IP4, IP6, L4_UDP },
    { ETH, IP6, IP4, L4_UDP },
    { ETH, IP6_OPTIONS, IP6, L4_TCP },
    { ETH, IP6_SEGMENTS, IP4, L4_TCP },
    { ETH, IP4, MPLS, IP4, L4_UDP },
    { ETH, IP4, IP4, IP4, IP4, L4_TCP },
    /* GRE */
    { ETH, IP4, GRE_PLAIN, IP4, L4_TCP },
    { ETH, IP4, GRE_CSUM, IP6, L4_UDP },
    { ETH, IP6, GRE_FULL, IP4, L4_TCP },
    { ETH, IP4, GRE_FULL, ETH, TAG, IP4, L4_UDP },
    { ETH, IP4, GRE_PLAIN, ETH, IP6, L4_SCTP },
    { ETH, IP4, GRE_CSUM, MPLS, IP4, L4_TCP },
    /* Tunnels in UDP, with an outer checksum and without */
    { ETH, IP4, L4_UDP, VXLAN, ETH, IP4, L4_TCP },
    { ETH, IP4, L4_UDP, VXLAN, ETH, IP4, L4_UDP },
    { ETH, IP6, L4_UDP, VXLAN, ETH, TAG, IP6, L4_TCP },
    { ETH, TAG, IP4, L4_UDP, VXLAN, ETH, IP6, L4_UDP },
    { ETH, IP4, L4_UDP_NONE, VXLAN, ETH, IP4, L4_TCP },
    { ETH, IP6, L4_UDP_NONE, VXLAN, ETH, IP6, L4_UDP },
    { ETH, IP4, L4_UDP, VXLAN, ETH, IP4, L4_SCTP },
    { ETH, IP4, L4_UDP, VXLAN_GPE, IP4, L4_TCP },
    { ETH, IP4, L4_UDP, VXLAN_GPE, IP6, L4_UDP },
    { ETH, IP4, L4_UDP, VXLAN_GPE, ETH, IP4, L4_TCP },
    { ETH, IP4, L4_UDP, GENEVE, ETH, IP4, L4_TCP },
    { ETH, IP6, L4_UDP, GENEVE, IP4, L4_UDP },
    { ETH, IP4, L4_UDP_NONE, GENEVE, IP6, L4_TCP },
    /* Tunnels in tunnels */
    { ETH, IP4, L4_UDP_NONE, VXLAN, ETH, IP4, L4_UDP, GENEVE, IP6, L4_TCP },
    { ETH, IP4, GRE_CSUM, IP4, L4_UDP, VXLAN, ETH, IP4, L4_TCP },
};

void put_16(uint8_t *p, unsigned value)
{
    p[0] = value >> 8;
    p[1] = value;
}

unsigned get_16(const uint8_t *p)
{
    return p[0] << 8 | p[1];
}

size_t frame_len(const Frame *f)
{
    return f->end - f->start;
}

/* Length without the padding */
static size_t packet_len(const Frame *f)
{
    return frame_len(f) - f->padding;
}

uint8_t *frame_push(Frame *f, size_t len)
{
    f->start -= len;
    g_assert_true(f->start >= f->mem);
    memset(f->start, 0, len);
    return f->start;
}

static void push_bytes(Frame *f, const void *bytes, size_t len)
{
    memcpy(frame_push(f, len), bytes, len);
}

static void push_l4(Frame *f, int proto)
{
    const size_t hlen = proto == TCP ? 20 : proto == UDP ? 8 : 12;
    const size_t field = proto == TCP ? 16 : proto == UDP ? 6 : 8;
    uint8_t *p = frame_push(f, hlen);
    size_t i;

    for (i = 0; i < hlen; i++) {
        p[i] = 0x51 + i * 3;
    }
    memset(p + field, 0, proto == SCTP ? 4 : 2);
    f->headers[f->n++] = (Header) {
        .proto = proto,
        .start = p,
        .field = p + field,
        .len = packet_len(f),
    };
    if (proto == UDP) {
        put_16(p + 4, packet_len(f));
    }
    f->next = proto;
}

static void push_udp_none(Frame *f, int unused)
{
    push_l4(f, UDP);
    f->n--;
}

/* Set the addresses for the pseudo headers of the layers pushed so far. */
static void set_addresses(Frame *f, const uint8_t *src, const uint8_t *dst,
                          size_t len)
{
    for (; f->n_addressed < f->n; f->n_addressed++) {
        Header *h = &f->headers[f->n_addressed];

        if (h->proto == TCP || h->proto == UDP) {
            h->src = src;
            h->dst = dst;
            h->addr_len = len;
        }
    }
}

static void push_ip4(Frame *f, int options)
{
    const bool big = options == BIG;
    uint8_t *p;

    options = big ? 0 : options;
    p = frame_push(f, 20 + options);

    p[0] = 0x45 + options / 4;
    put_16(p + 2, big ? 0 : packet_len(f));
    p[8] = 64;
    p[9] = f->next;
    memcpy(p + 12, "\x0a\x01\xfe\x07\x0a\x80\x03\xff", 8);
    memset(p + 20, 1, options);
    set_addresses(f, p + 12, p + 16, 4);
    f->next = 0x0800;
}

static void push_extension(Frame *f, int type, const uint8_t *bytes,
                           size_t len)
{
    push_bytes(f, bytes, len);
    f->start[0] = f->next;
    f->next = type;
}

static void push_ip6_to(Frame *f, const uint8_t *last_dst, bool big)
{
    size_t len = packet_len(f);
    uint8_t *p = frame_push(f, 40);
    int i;

    p[0] = 0x60;
    put_16(p + 4, big ? 0 : len);
    p[6] = f->next;
    p[7] = 64;
    for (i = 8; i < 40; i++) {
        p[i] = 0xfd - i * i;
    }
    set_addresses(f, p + 8, last_dst ?: p + 24, 16);
    f->next = 0x86dd;
}

static void push_ip6(Frame *f, int big)
{
    push_ip6_to(f, NULL, big);
}

static void push_ip6_options(Frame *f, int unused)
{
    static const uint8_t options[] = { 0, 1, 1, 12, [15] = 0 };

    push_extension(f, 60, options, 16);
    push_extension(f, 0, options, 16);
    push_ip6_to(f, NULL, false);
}

/* A route with two hops, the last of which comes last or first */
static void push_ip6_route(Frame *f, int type)
{
    uint8_t route[40] = { 0, 4, type, 1 };
    int i;

    for (i = 8; i < sizeof(route); i++) {
        route[i] = 0xe1 - i * 5;
    }
    push_extension(f, 43, route, sizeof(route));
    push_ip6_to(f, f->start + (type == 4 ? 8 : 24), false);
}

static void push_ip6_atomic(Frame *f, int unused)
{
    static const uint8_t fragment[] = { 0, 0, 0, 0, 1, 2, 3, 4 };

    push_extension(f, 44, fragment, sizeof(fragment));
    push_ip6_to(f, NULL, false);
}

static void push_ethernet(Frame *f, int unused)
{
    uint8_t *p = frame_push(f, 14);

    memcpy(p, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
    put_16(p + 12, f->next);
    f->next = 0x6558;
}

/* A tag follows the MAC addresses, which are pushed later. */
static void push_tag(Frame *f, int tpid)
{
    uint8_t *p = frame_push(f, 4);

    put_16(p, 0x2005);
    put_16(p + 2, f->next);
    f->next = tpid;
}

static void push_mpls(Frame *f, int unused)
{
    push_bytes(f, "\0\1\x20\x40\0\1\x31\x40", 8);
    f->next = 0x8847;
}

static void push_gre(Frame *f, int flags)
{
    const size_t len = 4 + 4 * ctpop16(flags & 0xb000);
    uint8_t *p = frame_push(f, len);

    put_16(p, flags);
    put_16(p + 2, f->next);
    f->next = GRE;
    if (flags & 0x8000) {
        set_addresses(f, NULL, NULL, 0);
        f->headers[f->n++] = (Header) {
            .proto = GRE,
            .start = p,
            .field = p + 4,
            .len = packet_len(f),
        };
    }
}

static void push_geneve(Frame *f, int unused)
{
    uint8_t *p = frame_push(f, 16);

    p[0] = 2;
    put_16(p + 2, f->next);
    put_16(p + 8, 0xffff);
}

static void push_vxlan(Frame *f, int gpe)
{
    uint8_t *p = frame_push(f, 8);

    p[0] = gpe ? 0x0c : 0x08;
    p[3] = !gpe ? 0 : f->next == 0x0800 ? 1 : f->next == 0x86dd ? 2 : 3;
    p[6] = 42;
}

static const struct {
    const char *name;
    void (*push)(Frame *f, int arg);
    int arg;
} kinds[] = {
    [ETH] = { "eth", push_ethernet },
    [TAG] = { "tag", push_tag, 0x8100 },
    [QINQ_TAG] = { "qinq", push_tag, 0x88a8 },
    [MPLS] = { "mpls", push_mpls },
    [IP4] = { "ip4", push_ip4, 0 },
    [IP4_OPTIONS] = { "ip4-options", push_ip4, 40 },
    [IP4_BIG] = { "ip4-big", push_ip4, BIG },
    [IP6] = { "ip6", push_ip6, false },
    [IP6_BIG] = { "ip6-big", push_ip6, true },
    [IP6_OPTIONS] = { "ip6-options", push_ip6_options },
    [IP6_ROUTE] = { "ip6-route", push_ip6_route, 0 },
    [IP6_SEGMENTS] = { "ip6-segments", push_ip6_route, 4 },
    [IP6_ATOMIC] = { "ip6-atomic", push_ip6_atomic },
    [L4_UDP] = { "udp", push_l4, UDP },
    [L4_UDP_NONE] = { "udp-none", push_udp_none },
    [L4_TCP] = { "tcp", push_l4, TCP },
    [L4_SCTP] = { "sctp", push_l4, SCTP },
    [VXLAN] = { "vxlan", push_vxlan, false },
    [VXLAN_GPE] = { "vxlan-gpe", push_vxlan, true },
    [GENEVE] = { "geneve", push_geneve },
    [GRE_PLAIN] = { "gre", push_gre, 0 },
    [GRE_CSUM] = { "gre-csum", push_gre, 0x8000 },
    [GRE_FULL] = { "gre-full", push_gre, 0xb000 },
};

char *layers_name(const Layer *layers)
{
    GString *name = g_string_new(NULL);

    for (; *layers != END; layers++) {
        g_string_append_printf(name, "%s%s", name->len ? "+" : "",
                               kinds[*layers].name);
    }
    return g_string_free(name, FALSE);
}

/* The protocol number or ethertype of an IP header that follows */
static void name_inner_ip(Frame *f, Layer outer)
{
    if (outer >= IP4 && outer <= IP6_ATOMIC) {
        f->next = f->next == 0x0800 ? 4 : f->next == 0x86dd ? 41 :
                  f->next == 0x8847 ? 137 : f->next;
    }
}

static void push_layers(Frame *f, const Layer *layers)
{
    int i, n = 0;

    while (layers[n] != END) {
        n++;
    }
    for (i = n - 1; i >= 0; i--) {
        name_inner_ip(f, layers[i]);
        kinds[layers[i]].push(f, kinds[layers[i]].arg);
    }
}

static void push_payload(Frame *f, size_t len)
{
    uint8_t *p = frame_push(f, len);
    size_t i;

    for (i = 0; i < len; i++) {
        p[i] = i * 13 + (i >> 8) + 1;
    }
}

void frame_free(Frame *f)
{
    munmap(f->mem, ROUND_UP(FRAME_SIZE, qemu_real_host_page_size()) +
                   qemu_real_host_page_size());
}

void frame_alloc(Frame *f)
{
    size_t page = qemu_real_host_page_size();
    size_t size = ROUND_UP(FRAME_SIZE, page);

    f->mem = mmap(NULL, size + page, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(f->mem != MAP_FAILED);
    g_assert_cmpint(mprotect(f->mem + size, page, PROT_NONE), ==, 0);
    f->end = f->start = f->mem + size;
}

/*
 * Checksums, calculated byte by byte
 */

uint32_t add_bytes(uint32_t sum, const uint8_t *data, size_t len)
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

/* CRC32c, calculated bit by bit */
uint32_t crc_bytes(const uint8_t *data, size_t len)
{
    uint32_t crc = UINT32_MAX;
    size_t i;
    int bit;

    for (i = 0; i < len; i++) {
        crc ^= data[i];
        for (bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        }
    }
    return ~crc;
}

uint32_t header_pseudo_sum(const Header *h)
{
    const uint8_t rest[] = {
        0, h->proto, h->len >> 24, h->len >> 16, h->len >> 8, h->len,
    };
    uint32_t sum;

    if (!h->addr_len) {
        return 0;
    }
    sum = add_bytes(0, h->src, h->addr_len);
    sum = add_bytes(sum, h->dst, h->addr_len);
    return add_bytes(sum, rest, sizeof(rest));
}

void header_put_complete(const Header *h)
{
    uint32_t sum;

    if (h->proto == SCTP) {
        memset(h->field, 0, 4);
        sum = crc_bytes(h->start, h->len);
        memcpy(h->field, (uint8_t []) { sum, sum >> 8, sum >> 16, sum >> 24 },
               4);
        return;
    }
    put_16(h->field, 0);
    sum = add_bytes(header_pseudo_sum(h), h->start, h->len);
    put_16(h->field, sum == 0xffff ? sum : ~sum);
}

void header_put_partial(const Header *h)
{
    if (h->proto == SCTP) {
        memset(h->field, 0, 4);
    } else {
        put_16(h->field, header_pseudo_sum(h));
    }
}

void frame_complete(Frame *f)
{
    int i;

    for (i = 0; i < f->n; i++) {
        header_put_complete(&f->headers[i]);
    }
}

void frame_build(Frame *f, const Layer *layers, size_t payload,
                        size_t padding)
{
    *f = (Frame) { .padding = padding };
    frame_alloc(f);
    frame_push(f, padding);
    push_payload(f, payload);
    push_layers(f, layers);
    frame_complete(f);
}
