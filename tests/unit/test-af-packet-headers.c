/*
 * Unit tests for finding headers in a frame
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test-af-packet-csum also tests their offsets.
 */
#include "qemu/osdep.h"
#include "chardev/af-packet-csum.h"
#include "chardev/af-packet-headers.h"
#include "af-packet-layers.h"

/* The payload of the outermost IP header */
static const struct {
    Layer layers[LAYERS_MAX];
    int proto;
    size_t start;
} outer_cases[] = {
    { { ETH, IP4, L4_TCP }, TCP, 34 },
    { { ETH, TAG, IP6_OPTIONS, L4_UDP }, UDP, 14 + 4 + 40 + 32 },
    { { ETH, IP4, L4_UDP, VXLAN, ETH, IP4, L4_TCP }, UDP, 34 },
    { { ETH, IP4, GRE_PLAIN, ETH, IP4, L4_TCP }, GRE, 34 },
    { { ETH, IP4_OPTIONS, IP6, L4_TCP }, 41, 74 },
    { { ETH, END }, -1, 0 },
    { { END }, -1, 0 },
};

static void test_outer(void)
{
    AfPacketHeaders headers;
    Frame f;
    int i;

    for (i = 0; i < ARRAY_SIZE(outer_cases); i++) {
        frame_build(&f, outer_cases[i].layers, 10, 0);
        af_packet_headers_find(&headers, f.start, frame_len(&f));
        g_assert_cmpint(headers.outer_proto, ==, outer_cases[i].proto);
        g_assert_cmpuint(headers.outer_start, ==, outer_cases[i].start);
        frame_free(&f);
    }
}

/*
 * Invalid frames
 */

/*
 * Call all functions with @len bytes at @data.  @f: a frame to copy them to, so
 * that reading beyond the end crashes
 */
static void try_everything(Frame *f, const uint8_t *data, size_t len)
{
    uint8_t *start = f->end - len;
    size_t i, changed = 0;

    memcpy(start, data, len);
    if (af_packet_csum_complete(start, len) == AF_PACKET_CSUM_NONE) {
        g_assert_cmpmem(start, len, data, len);
    }
    for (i = 0; i < len; i++) {
        changed += start[i] != data[i];
    }
    g_assert_cmpuint(changed, <=, 4 * AF_PACKET_HEADERS_MAX);

    memcpy(start, data, len);
    af_packet_csum_check(start, len);
    af_packet_csum_complete_sctp(start, len, 34);
}

/* Frames may be truncated anywhere. */
static void test_cut(void)
{
    Frame f, scratch;
    size_t len;
    int i, k;

    frame_alloc(&scratch);
    for (i = 0; i < N_LAYER_STACKS; i++) {
        frame_build(&f, layer_stacks[i], 20, 0);
        for (k = 0; k < f.n; k++) {
            header_put_partial(&f.headers[k]);
        }
        for (len = 0; len <= frame_len(&f); len++) {
            try_everything(&scratch, f.start, len);
        }
        frame_free(&f);
    }
    frame_free(&scratch);
}

/* Frames may contain anything. */
static void test_random(void)
{
    Frame f, scratch;
    int i, round, n;

    frame_alloc(&scratch);
    for (i = 0; i < N_LAYER_STACKS; i++) {
        for (round = 0; round < 3000; round++) {
            frame_build(&f, layer_stacks[i], 20, 0);
            for (n = g_test_rand_int_range(1, 5); n > 0; n--) {
                f.start[g_test_rand_int_range(0, frame_len(&f))] =
                    g_test_rand_int_range(0, 256);
            }
            try_everything(&scratch, f.start, frame_len(&f));
            frame_free(&f);
        }
    }
    frame_free(&scratch);
}

/* Headers that are nested without end */
static void do_test_endless(const uint8_t *header, size_t len, int ethertype)
{
    const size_t n = 69000;
    Frame f;
    size_t i;

    frame_alloc(&f);
    frame_push(&f, n);
    memset(f.start, 0, 12);
    put_16(f.start + 12, ethertype);
    for (i = 14; i + len <= n; i += len) {
        memcpy(f.start + i, header, len);
    }
    g_assert_cmpint(af_packet_csum_complete(f.start, n), ==,
                    AF_PACKET_CSUM_NONE);
    frame_free(&f);
}

static void test_endless(void)
{
    static const uint8_t tag[] = { 0, 1, 0x81, 0x00 };
    static const uint8_t label[4] = {};
    static const uint8_t ip4[20] = { 0x45, [9] = 4 };
    static const uint8_t ip6[40] = { 0x60, [6] = 41 };
    static const uint8_t ip6_options[40] = { 0x60 };

    do_test_endless(tag, sizeof(tag), 0x8100);
    do_test_endless(label, sizeof(label), 0x8847);
    do_test_endless(ip4, sizeof(ip4), 0x0800);
    do_test_endless(ip6, sizeof(ip6), 0x86dd);
    do_test_endless(ip6_options, sizeof(ip6_options), 0x86dd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/af-packet-headers/outer", test_outer);
    g_test_add_func("/af-packet-headers/cut", test_cut);
    g_test_add_func("/af-packet-headers/random", test_random);
    g_test_add_func("/af-packet-headers/endless", test_endless);
    return g_test_run();
}
