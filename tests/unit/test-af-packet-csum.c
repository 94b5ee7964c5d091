/*
 * Unit tests for completion of offloaded checksums
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * They build frames with complete checksums and make some of these partial, as
 * the kernel does; the code under test has to restore the original frame.
 */
#include "qemu/osdep.h"
#include "chardev/af-packet-csum.h"
#include "af-packet-layers.h"

#define PAYLOAD_LEN 101

/*
 * Cases
 */

/* Even and odd lengths of the payload, from empty to maximum */
static const size_t payload_lens[] = {
    0, 1, 2, 3, 100, 101, 1447, 8960, 65000,
};

/* Test headers, of which those with a bit in @partial are partial. */
static void do_test_complete(Frame *f, unsigned partial)
{
    g_autofree uint8_t *expected = g_memdup2(f->start, frame_len(f));
    int i;

    for (i = 0; i < f->n; i++) {
        if (partial & 1 << i) {
            header_put_partial(&f->headers[i]);
        }
    }
    g_assert_cmpint(af_packet_csum_complete(f->start, frame_len(f)), ==,
                    AF_PACKET_CSUM_DONE);
    g_assert_cmpmem(f->start, frame_len(f), expected, frame_len(f));
}

static void test_complete(const void *opaque)
{
    const Layer *layers = opaque;
    unsigned partial;
    Frame f;
    int i;

    for (i = 0; i < ARRAY_SIZE(payload_lens); i++) {
        frame_build(&f, layers, payload_lens[i], 0);
        g_assert_cmpint(f.n, >, 0);
        /* A super-frame has several partial checksums */
        for (partial = 1; partial < 1 << f.n; partial++) {
            do_test_complete(&f, partial);
        }
        frame_free(&f);
    }
}

/* As with a network card, bytes after the packet count: padding is zero, */
static void test_padding(void)
{
    Frame f;
    int i;

    for (i = 0; i < N_LAYER_STACKS; i++) {
        if (layer_stacks[i][1] == IP4_BIG || layer_stacks[i][1] == IP6_BIG) {
            continue; /* its end is the frame's */
        }
        frame_build(&f, layer_stacks[i], 3, 15);
        do_test_complete(&f, 1);
        frame_free(&f);
    }
}

/* but a trailer changes the checksum. */
static void test_trailer(void)
{
    static const Layer layers[] = { ETH, IP4, L4_UDP, END };
    unsigned sum;
    Frame f;

    frame_build(&f, layers, 2, 2);
    header_put_partial(f.headers);
    sum = add_bytes(add_bytes(0, f.headers->start, f.headers->len),
                    (const uint8_t *)"\x12\x34", 2);
    memcpy(f.end - 2, "\x12\x34", 2);
    g_assert_cmpint(af_packet_csum_complete(f.start, frame_len(&f)), ==,
                    AF_PACKET_CSUM_DONE);
    g_assert_cmphex(get_16(f.headers->field), ==, 0xffff & ~sum);
    frame_free(&f);
}

/* A datagram with an independently calculated checksum: 0x6269 */
static void test_known(void)
{
    /* 10.0.0.1:1 to 10.0.0.2:2, "hi!"; 0x141f is the pseudo header's sum */
    uint8_t frame[] = {
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00,
        0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        0, 1, 0, 2, 0, 11, 0x14, 0x1f, 'h', 'i', '!',
    };

    g_assert_cmpint(af_packet_csum_complete(frame, sizeof(frame)), ==,
                    AF_PACKET_CSUM_DONE);
    g_assert_cmphex(get_16(frame + 40), ==, 0x6269);
    /* The check value from the definition of CRC32c */
    g_assert_cmphex(crc_bytes((const uint8_t *)"123456789", 9), ==,
                    0xe3069283);
}

/* In UDP, 0 means "none"; 0xffff is equivalent. */
static void do_test_zero(const Layer *layers)
{
    uint8_t *port;
    Frame f;

    frame_build(&f, layers, PAYLOAD_LEN, 0);
    port = f.headers->start;
    put_16(port, 0);
    frame_complete(&f);
    put_16(port, get_16(f.headers->field));
    frame_complete(&f);
    g_assert_cmphex(get_16(f.headers->field), ==, 0xffff);
    do_test_complete(&f, 1);
    frame_free(&f);
}

/* Checksum fields are compared modulo 0xffff. */
static void do_test_modulo(const Layer *layers)
{
    static const unsigned same[] = { 0, 0xffff };
    uint8_t *addr;
    Frame f;
    int i;

    frame_build(&f, layers, PAYLOAD_LEN, 0);
    addr = (uint8_t *)f.headers->dst;
    put_16(addr, 0);
    put_16(addr, 0xffff - header_pseudo_sum(f.headers));
    g_assert_cmphex(header_pseudo_sum(f.headers), ==, 0xffff);
    frame_complete(&f);
    for (i = 0; i < ARRAY_SIZE(same); i++) {
        g_autofree uint8_t *expected = g_memdup2(f.start, frame_len(&f));

        put_16(f.headers->field, same[i]);
        g_assert_cmpint(af_packet_csum_complete(f.start, frame_len(&f)), ==,
                        AF_PACKET_CSUM_DONE);
        g_assert_cmpmem(f.start, frame_len(&f), expected, frame_len(&f));
    }
    frame_free(&f);
}

static void test_numbers(void)
{
    static const Layer layers[][LAYERS_MAX] = {
        { ETH, IP4, L4_TCP }, { ETH, IP4, L4_UDP },
        { ETH, IP6, L4_TCP }, { ETH, IP6, L4_UDP },
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(layers); i++) {
        do_test_zero(layers[i]);
        do_test_modulo(layers[i]);
    }
}

/* Make all checksums wrong, but not partial. */
static void spoil(Frame *f)
{
    int i;

    for (i = 0; i < f->n; i++) {
        const Header *h = &f->headers[i];

        put_16(h->field, get_16(h->field) ^ 0x1111);
        g_assert_cmphex(get_16(h->field) % 0xffff, !=,
                        header_pseudo_sum(h) % 0xffff);
    }
}

/*
 * If a checksum is reported as partial but none is, the innermost one and those
 * around it are recalculated, as are those of an unmarked super-frame.
 */
static void test_unmatched(const void *opaque)
{
    AfPacketCsum (*const funcs[])(uint8_t *, size_t) = {
        af_packet_csum_complete, af_packet_csum_check,
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(funcs); i++) {
        g_autofree uint8_t *expected = NULL;
        Frame f;

        frame_build(&f, opaque, PAYLOAD_LEN, 0);
        expected = g_memdup2(f.start, frame_len(&f));
        spoil(&f);
        g_assert_cmpint(funcs[i](f.start, frame_len(&f)), ==,
                        AF_PACKET_CSUM_UNMATCHED);
        g_assert_cmpmem(f.start, frame_len(&f), expected, frame_len(&f));
        frame_free(&f);
    }
}

/* A super-frame with a valid innermost checksum is not changed. */
static void test_check_right(const void *opaque)
{
    g_autofree uint8_t *expected = NULL;
    Frame f;

    frame_build(&f, opaque, PAYLOAD_LEN, 0);
    spoil(&f);
    header_put_complete(&f.headers[0]);
    expected = g_memdup2(f.start, frame_len(&f));
    g_assert_cmpint(af_packet_csum_check(f.start, frame_len(&f)), ==,
                    AF_PACKET_CSUM_DONE);
    g_assert_cmpmem(f.start, frame_len(&f), expected, frame_len(&f));
    frame_free(&f);
}

/* Neither is a datagram without a checksum */
static void test_check_no_checksum(void)
{
    static const Layer layers[] = { ETH, IP4, L4_UDP_NONE, END };
    g_autofree uint8_t *expected = NULL;
    Frame f;

    frame_build(&f, layers, PAYLOAD_LEN, 0);
    expected = g_memdup2(f.start, frame_len(&f));
    g_assert_cmpint(af_packet_csum_check(f.start, frame_len(&f)), ==,
                    AF_PACKET_CSUM_DONE);
    g_assert_cmpmem(f.start, frame_len(&f), expected, frame_len(&f));
    frame_free(&f);
}

/* The first fragment of a packet: a network card would sum up only that. */
static void do_test_fragment(const Layer *layers, size_t offset)
{
    Frame f;

    frame_build(&f, layers, PAYLOAD_LEN, 0);
    f.start[offset] |= layers[1] == IP4 ? 0x20 : 1;
    do_test_complete(&f, 1);
    frame_free(&f);
}

static void test_fragment(void)
{
    static const Layer ip4[] = { ETH, IP4, L4_UDP, END };
    static const Layer ip6[] = { ETH, IP6_ATOMIC, L4_UDP, END };

    do_test_fragment(ip4, 14 + 6);
    do_test_fragment(ip6, 14 + 40 + 3);
}

/* Frames without a checksum that can be recalculated: changed word at offset */
static const struct {
    const char *name;
    Layer layers[LAYERS_MAX];
    size_t offset;
    unsigned value;
} no_checksum[] = {
    { "arp", { ETH, IP4, L4_UDP }, 12, 0x0806 },
    { "llc", { ETH, IP4, L4_UDP }, 12, 100 },
    { "icmp", { ETH, IP4, L4_UDP }, 14 + 8, 0x4001 },
    { "esp", { ETH, IP4, L4_UDP }, 14 + 8, 0x4032 },
    { "ip4-version", { ETH, IP4, L4_UDP }, 14, 0x5500 },
    { "ip4-header", { ETH, IP4, L4_UDP }, 14, 0x4400 },
    { "ip4-short", { ETH, IP4, L4_UDP }, 14 + 2, 19 },
    { "ip4-long", { ETH, IP4, L4_UDP }, 14 + 2, 0xffff },
    { "ip4-fragment", { ETH, IP4, L4_UDP }, 14 + 6, 0x0001 },
    { "ip4-last-fragment", { ETH, IP4, L4_TCP }, 14 + 6, 0x1fff },
    { "ip4-first-fragment", { ETH, IP4, L4_UDP }, 14 + 6, 0x2000 },
    { "ip4-no-udp", { ETH, IP4, L4_UDP }, 14 + 2, 20 + 7 },
    { "ip4-no-tcp", { ETH, IP4, L4_TCP }, 14 + 2, 20 + 19 },
    { "ip4-no-sctp", { ETH, IP4, L4_SCTP }, 14 + 2, 20 + 11 },
    { "ip6-version", { ETH, IP6, L4_UDP }, 14, 0x5000 },
    { "ip6-long", { ETH, IP6, L4_UDP }, 14 + 4, 0xffff },
    { "ip6-icmp", { ETH, IP6, L4_UDP }, 14 + 6, 0x3a40 },
    { "ip6-none", { ETH, IP6, L4_UDP }, 14 + 6, 0x3b40 },
    { "ip6-option", { ETH, IP6_OPTIONS, L4_UDP }, 14 + 40, 0x11ff },
    { "ip6-fragment", { ETH, IP6_ATOMIC, L4_UDP }, 14 + 42, 8 },
    { "ip6-first-fragment", { ETH, IP6_ATOMIC, L4_UDP }, 14 + 42, 1 },
    { "gre-version", { ETH, IP4, GRE_PLAIN, IP4, L4_TCP }, 34, 1 },
    { "gre-proto", { ETH, IP4, GRE_PLAIN, IP4, L4_TCP }, 36, 0x880b },
    { "mpls-proto", { ETH, MPLS, IP4, L4_TCP }, 22, 0 },
    { "inner-long", { ETH, IP4, IP4, L4_TCP }, 34 + 2, 1000 },
};

static void test_none(const void *opaque)
{
    int i = GPOINTER_TO_INT(opaque);
    g_autofree uint8_t *expected = NULL;
    Frame f;

    frame_build(&f, no_checksum[i].layers, PAYLOAD_LEN, 0);
    spoil(&f);
    put_16(f.start + no_checksum[i].offset, no_checksum[i].value);
    expected = g_memdup2(f.start, frame_len(&f));
    g_assert_cmpint(af_packet_csum_complete(f.start, frame_len(&f)), ==,
                    AF_PACKET_CSUM_NONE);
    g_assert_cmpint(af_packet_csum_check(f.start, frame_len(&f)), ==,
                    AF_PACKET_CSUM_NONE);
    g_assert_cmpmem(f.start, frame_len(&f), expected, frame_len(&f));
    frame_free(&f);
}

/* A vnet header states the offset of the checksum. */
static void test_sctp(void)
{
    static const Layer sctp[] = { ETH, TAG, IP6_OPTIONS, L4_SCTP, END };
    static const Layer tcp[] = { ETH, IP4, L4_TCP, END };
    g_autofree uint8_t *expected = NULL;
    size_t start, i;
    Frame f;

    frame_build(&f, sctp, PAYLOAD_LEN, 5);
    start = f.headers->start - f.start;
    expected = g_memdup2(f.start, frame_len(&f));
    put_16(f.headers->field, 0x1234);
    for (i = 0; i <= frame_len(&f); i++) {
        g_assert_true(i == start ||
                      !af_packet_csum_complete_sctp(f.start, frame_len(&f),
                                                    i));
        g_assert_cmphex(get_16(f.headers->field), ==, 0x1234);
    }
    g_assert_true(af_packet_csum_complete_sctp(f.start, frame_len(&f), start));
    g_assert_cmpmem(f.start, frame_len(&f), expected, frame_len(&f));
    frame_free(&f);

    frame_build(&f, tcp, PAYLOAD_LEN, 0);
    g_assert_false(af_packet_csum_complete_sctp(f.start, frame_len(&f), 34));
    frame_free(&f);
}

/*
 * Registration
 */

static void add_stack_tests(const char *group, GTestDataFunc func)
{
    int i;

    for (i = 0; i < N_LAYER_STACKS; i++) {
        g_autofree char *name = layers_name(layer_stacks[i]);
        g_autofree char *path = g_strdup_printf("/af-packet-csum/%s/%s",
                                                group, name);

        g_test_add_data_func(path, layer_stacks[i], func);
    }
}

int main(int argc, char **argv)
{
    int i;

    g_test_init(&argc, &argv, NULL);

    add_stack_tests("complete", test_complete);
    add_stack_tests("unmatched", test_unmatched);
    add_stack_tests("check", test_check_right);
    g_test_add_func("/af-packet-csum/padding", test_padding);
    g_test_add_func("/af-packet-csum/trailer", test_trailer);
    g_test_add_func("/af-packet-csum/known", test_known);
    g_test_add_func("/af-packet-csum/numbers", test_numbers);
    g_test_add_func("/af-packet-csum/check/no-checksum",
                    test_check_no_checksum);
    g_test_add_func("/af-packet-csum/fragment", test_fragment);
    for (i = 0; i < ARRAY_SIZE(no_checksum); i++) {
        g_autofree char *path = g_strdup_printf("/af-packet-csum/none/%s",
                                                no_checksum[i].name);

        g_test_add_data_func(path, GINT_TO_POINTER(i), test_none);
    }
    g_test_add_func("/af-packet-csum/sctp", test_sctp);

    return g_test_run();
}
