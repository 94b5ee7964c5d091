/*
 * Unit tests for the headers of records that carry L2 frames
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * As in test-af-packet-record, expected data is written down byte by byte.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "chardev/af-packet-record.h"

/* @stated: length of the vnet header to state in the vnet format */
static GByteArray *head_new(uint32_t len, size_t vnet_hdr_len, uint32_t stated)
{
    const uint8_t be[] = {
        len >> 24, len >> 16, len >> 8, len,
        stated >> 24, stated >> 16, stated >> 8, stated,
    };

    return g_byte_array_append(g_byte_array_new(), be, vnet_hdr_len ? 8 : 4);
}

/* A header, and whether it is valid */
typedef struct HeadCase {
    size_t vnet_hdr_len;
    uint32_t len;
    uint32_t stated;
    const char *error[2]; /* what the message contains; NULL if accepted */
} HeadCase;

static const HeadCase head_cases[] = {
    /* One more than the maximum, and the values of text or random bytes */
    { 0, 69633, 0, { "69633", "69632" } },
    { 0, 0x48545450, 0, { "1213486160", "69632" } },
    { 0, 0x80000000, 0, { "2147483648", "69632" } },
    { 0, UINT32_MAX, 0, { "4294967295", "69632" } },
    { 10, 69633, 10, { "69633", "69632" } },
    { 12, 69633, 12, { "69633", "69632" } },
    { 12, 69633, 0, { "69633", "69632" } },
    { 12, UINT32_MAX, 12, { "4294967295", "69632" } },
    /* Lengths up to the maximum are accepted */
    { 0, 69632, 0, { NULL } },
    { 10, 69632, 10, { NULL } },
    { 12, 69632, 12, { NULL } },
    /* The length of the vnet header: the socket's, or unspecified */
    { 10, 60, 0, { NULL } },
    { 12, 60, 0, { NULL } },
    { 10, 60, 10, { NULL } },
    { 12, 60, 12, { NULL } },
    { 10, 60, 12, { "states a vnet header of 12 ", "socket has 10" } },
    { 12, 60, 10, { "states a vnet header of 10 ", "socket has 12" } },
    { 10, 60, 1, { "states a vnet header of 1 ", "socket has 10" } },
    { 10, 60, 9, { "states a vnet header of 9 ", "socket has 10" } },
    { 10, 60, 11, { "states a vnet header of 11 ", "socket has 10" } },
    { 10, 60, 0x0a000000, { "header of 167772160 ", "socket has 10" } },
    { 12, 60, UINT32_MAX, { "header of 4294967295 ", "socket has 12" } },
    /* 256 * 10 and more: all four bytes count */
    { 10, 60, 0x10a, { "header of 266 ", "socket has 10" } },
    { 10, 60, 0x1000a, { "header of 65546 ", "socket has 10" } },
};

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part)) {
        g_test_message("'%s' is not in: %s", part, text);
        g_test_fail();
    }
}

/* Feed @head in two pieces.  Returns: the result of the last one */
static int split_head(AfPacketSplitter *sp, const GByteArray *head,
                      size_t cut, Error **errp)
{
    struct iovec in = { head->data, cut };
    struct iovec payload;

    if (cut) {
        g_assert_cmpint(af_packet_splitter_next(sp, &in, &payload,
                                                &error_abort), ==, 0);
    }
    in = (struct iovec) { head->data + cut, head->len - cut };
    return af_packet_splitter_next(sp, &in, &payload, errp);
}

static void do_test_head(const HeadCase *c, size_t cut)
{
    AfPacketSplitter sp = { .vnet_hdr_len = c->vnet_hdr_len };
    g_autoptr(GByteArray) head = head_new(c->len, c->vnet_hdr_len, c->stated);
    Error *err = NULL;
    int ret;

    ret = split_head(&sp, head, cut, &err);
    if (c->error[0]) {
        g_assert_cmpint(ret, ==, -1);
        g_assert_nonnull(err);
        assert_contains(error_get_pretty(err), c->error[0]);
        assert_contains(error_get_pretty(err), c->error[1]);
        error_free(err);
        /* The length is checked before allocating memory */
        g_assert_null(sp.partial);
    } else {
        g_assert_cmpint(ret, ==, 0);
        g_assert_null(err);
    }
    af_packet_splitter_reset(&sp);
}

static void test_head(void)
{
    size_t i, cut;

    for (i = 0; i < ARRAY_SIZE(head_cases); i++) {
        const HeadCase *c = &head_cases[i];

        for (cut = 0; cut < (c->vnet_hdr_len ? 8 : 4); cut++) {
            do_test_head(c, cut);
        }
    }
}

/* The message for the plain format hints at the other format. */
static void do_test_length_hint(size_t vnet_hdr_len, bool hint)
{
    AfPacketSplitter sp = { .vnet_hdr_len = vnet_hdr_len };
    g_autoptr(GByteArray) head = head_new(100000, vnet_hdr_len, vnet_hdr_len);
    Error *err = NULL;

    g_assert_cmpint(split_head(&sp, head, 0, &err), ==, -1);
    g_assert_true(!!strstr(error_get_pretty(err), "vnet header") == hint);
    error_free(err);
    af_packet_splitter_reset(&sp);
}

static void test_length_hint(void)
{
    do_test_length_hint(0, true);
    do_test_length_hint(12, false);
}

/* A record that states 0 has a payload like any other. */
static void test_unstated(void)
{
    static const uint8_t stream[] = {
        0, 0, 0, 15, 0, 0, 0, 0,
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
        0, 0, 0, 13, 0, 0, 0, 12,
        20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
    };
    AfPacketSplitter sp = { .vnet_hdr_len = 12 };
    struct iovec in = { (void *)stream, sizeof(stream) };
    struct iovec payload;

    g_assert_cmpint(af_packet_splitter_next(&sp, &in, &payload,
                                            &error_abort), ==, 1);
    g_assert_cmpmem(payload.iov_base, payload.iov_len, stream + 8, 15);
    g_assert_cmpint(af_packet_splitter_next(&sp, &in, &payload,
                                            &error_abort), ==, 1);
    g_assert_cmpmem(payload.iov_base, payload.iov_len, stream + 31, 13);
    g_assert_cmpint(af_packet_splitter_next(&sp, &in, &payload,
                                            &error_abort), ==, 0);
    g_assert_false(af_packet_splitter_reset(&sp));
}

static const struct {
    size_t vnet_hdr_len;
    size_t len;
    size_t head_len;
    uint8_t head[8];
} put_head_cases[] = {
    { 0, 0, 4, { 0x00, 0x00, 0x00, 0x00 } },
    { 0, 60, 4, { 0x00, 0x00, 0x00, 0x3c } },
    { 0, 1514, 4, { 0x00, 0x00, 0x05, 0xea } },
    { 0, 69632, 4, { 0x00, 0x01, 0x10, 0x00 } },
    { 10, 70, 8, { 0x00, 0x00, 0x00, 0x46, 0x00, 0x00, 0x00, 0x0a } },
    { 12, 72, 8, { 0x00, 0x00, 0x00, 0x48, 0x00, 0x00, 0x00, 0x0c } },
    { 12, 65550, 8, { 0x00, 0x01, 0x00, 0x0e, 0x00, 0x00, 0x00, 0x0c } },
    { 12, 69632, 8, { 0x00, 0x01, 0x10, 0x00, 0x00, 0x00, 0x00, 0x0c } },
};

static void test_put_head(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(put_head_cases); i++) {
        size_t head_len = put_head_cases[i].head_len;
        uint8_t buf[16], expected[16];

        memset(buf, 0xa5, sizeof(buf));
        memset(expected, 0xa5, sizeof(expected));
        memcpy(expected + 10 - head_len, put_head_cases[i].head, head_len);

        g_assert_cmpuint(
            af_packet_record_hdr_len(put_head_cases[i].vnet_hdr_len),
            ==, head_len);
        g_assert_true(
            af_packet_record_put_hdr(buf + 10, put_head_cases[i].len,
                                     put_head_cases[i].vnet_hdr_len)
            == buf + 10 - head_len);
        g_assert_cmpmem(buf, sizeof(buf), expected, sizeof(expected));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/af-packet-record/split/head", test_head);
    g_test_add_func("/af-packet-record/split/length-hint", test_length_hint);
    g_test_add_func("/af-packet-record/split/unstated", test_unstated);
    g_test_add_func("/af-packet-record/put-head", test_put_head);
    return g_test_run();
}
