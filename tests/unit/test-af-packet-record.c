/*
 * Unit tests for records that carry L2 frames in a byte stream
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Expected data is written down byte by byte, without the code under test and
 * without QEMU's byte order helpers.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "chardev/af-packet-record.h"

/* The expected stream of records, with payloads of different lengths */
typedef struct Stream {
    size_t vnet_hdr_len;
    GByteArray *bytes;
    GArray *payload_at;  /* of size_t: where in @bytes payloads start */
} Stream;

/* Empty, one byte, short ones, and one whose length needs two bytes */
static const size_t payload_lens[] = { 14, 0, 1, 25, 0, 0, 3, 300, 60 };

/* The formats of records */
static const size_t vnet_hdr_lens[] = { 0, 10, 12 };

/* Byte @i of payload number @n */
static uint8_t payload_byte(size_t n, size_t i)
{
    return 0x80 + n * 41 + i * 7;
}

/* Append @value in network byte order. */
static void put_be32(GByteArray *bytes, uint32_t value)
{
    const uint8_t be[] = { value >> 24, value >> 16, value >> 8, value };

    g_byte_array_append(bytes, be, sizeof(be));
}

/* Append the header of a record. */
static void put_head(GByteArray *bytes, uint32_t len, size_t vnet_hdr_len,
                     uint32_t stated)
{
    put_be32(bytes, len);
    if (vnet_hdr_len) {
        put_be32(bytes, stated);
    }
}

/* Append record number @n, of @len bytes of payload. */
static void stream_put(Stream *s, size_t n, size_t len)
{
    size_t at, i;

    put_head(s->bytes, len, s->vnet_hdr_len, s->vnet_hdr_len);
    at = s->bytes->len;
    g_array_append_val(s->payload_at, at);
    g_byte_array_set_size(s->bytes, at + len);
    for (i = 0; i < len; i++) {
        s->bytes->data[at + i] = payload_byte(n, i);
    }
}

/* Start a stream with @n_lens records of lengths @lens. */
static void stream_init(Stream *s, size_t vnet_hdr_len, const size_t *lens,
                        size_t n_lens)
{
    size_t n;

    s->vnet_hdr_len = vnet_hdr_len;
    s->bytes = g_byte_array_new();
    s->payload_at = g_array_new(false, false, sizeof(size_t));
    for (n = 0; n < n_lens; n++) {
        stream_put(s, n, lens[n]);
    }
}

static void stream_free(Stream *s)
{
    g_byte_array_unref(s->bytes);
    g_array_unref(s->payload_at);
}

/*
 * Split @len bytes at @data, whose next payload is number @n.  They are copied
 * to a block of exactly this size that is freed afterwards, so that a memory
 * checker notices invalid accesses.
 *
 * Returns: the number of the next expected payload.
 */
static size_t split(AfPacketSplitter *sp, const uint8_t *data, size_t len,
                    size_t n)
{
    g_autofree uint8_t *copy = g_malloc(MAX(len, 1));
    struct iovec in = { copy, len };
    struct iovec payload;
    const uint8_t *base;
    size_t i;
    int ret;

    memcpy(copy, data, len);
    while ((ret = af_packet_splitter_next(sp, &in, &payload,
                                          &error_abort)) > 0) {
        g_assert_cmpint(ret, ==, 1);
        g_assert_cmpuint(n, <, ARRAY_SIZE(payload_lens));
        g_assert_cmpuint(payload.iov_len, ==, payload_lens[n]);
        base = payload.iov_base;
        for (i = 0; i < payload.iov_len; i++) {
            g_assert_cmphex(base[i], ==, payload_byte(n, i));
        }
        n++;
    }
    g_assert_cmpint(ret, ==, 0);
    g_assert_cmpuint(in.iov_len, ==, 0);
    return n;
}

/* Split @s, fed in alternating chunks of @a and @b bytes. */
static void split_by_turns(const Stream *s, size_t a, size_t b)
{
    AfPacketSplitter sp = { .vnet_hdr_len = s->vnet_hdr_len };
    size_t at = 0, n = 0;
    bool turn = false;

    while (at < s->bytes->len) {
        size_t len = MIN(turn ? b : a, s->bytes->len - at);

        n = split(&sp, s->bytes->data + at, len, n);
        at += len;
        turn = !turn;
    }
    g_assert_cmpuint(n, ==, ARRAY_SIZE(payload_lens));
    g_assert_false(af_packet_splitter_reset(&sp));
}

static void test_split_two(const void *opaque)
{
    Stream s;
    size_t cut;

    stream_init(&s, *(const size_t *)opaque, payload_lens,
                ARRAY_SIZE(payload_lens));
    for (cut = 0; cut <= s.bytes->len; cut++) {
        split_by_turns(&s, cut, s.bytes->len);
    }
    stream_free(&s);
}

/* Three chunks, cut anywhere */
static void test_split_three(const void *opaque)
{
    size_t first, second;
    Stream s;

    stream_init(&s, *(const size_t *)opaque, payload_lens,
                ARRAY_SIZE(payload_lens));
    for (first = 0; first <= s.bytes->len; first++) {
        for (second = first; second <= s.bytes->len; second++) {
            AfPacketSplitter sp = { .vnet_hdr_len = s.vnet_hdr_len };
            size_t n;

            n = split(&sp, s.bytes->data, first, 0);
            n = split(&sp, s.bytes->data + first, second - first, n);
            n = split(&sp, s.bytes->data + second, s.bytes->len - second, n);
            g_assert_cmpuint(n, ==, ARRAY_SIZE(payload_lens));
            g_assert_false(af_packet_splitter_reset(&sp));
        }
    }
    stream_free(&s);
}

/* Alternating chunks of two lengths, including single bytes */
static void test_split_chunks(const void *opaque)
{
    Stream s;
    size_t a, b;

    stream_init(&s, *(const size_t *)opaque, payload_lens,
                ARRAY_SIZE(payload_lens));
    for (a = 1; a <= 32; a++) {
        for (b = 1; b <= 32; b++) {
            split_by_turns(&s, a, b);
        }
    }
    stream_free(&s);
}

/* Payloads that arrive in one piece are not copied. */
static void test_no_copy(const void *opaque)
{
    AfPacketSplitter sp = { .vnet_hdr_len = *(const size_t *)opaque };
    struct iovec in, payload;
    size_t n;
    Stream s;

    stream_init(&s, sp.vnet_hdr_len, payload_lens, ARRAY_SIZE(payload_lens));
    in = (struct iovec) { s.bytes->data, s.bytes->len };
    for (n = 0; n < ARRAY_SIZE(payload_lens); n++) {
        g_assert_cmpint(af_packet_splitter_next(&sp, &in, &payload,
                                                &error_abort), ==, 1);
        g_assert_true(payload.iov_base == s.bytes->data +
                      g_array_index(s.payload_at, size_t, n));
        g_assert_cmpuint(payload.iov_len, ==, payload_lens[n]);
    }
    g_assert_cmpint(af_packet_splitter_next(&sp, &in, &payload,
                                            &error_abort), ==, 0);
    g_assert_null(sp.partial);
    g_assert_false(af_packet_splitter_reset(&sp));
    stream_free(&s);
}

/* Neither are they if all or part of the header came before. */
static void test_no_copy_after_head(const void *opaque)
{
    AfPacketSplitter sp = { .vnet_hdr_len = *(const size_t *)opaque };
    struct iovec in, payload;
    size_t cut, head_len;
    Stream s;

    stream_init(&s, sp.vnet_hdr_len, payload_lens, 1);
    head_len = g_array_index(s.payload_at, size_t, 0);
    for (cut = 1; cut <= head_len; cut++) {
        g_assert_cmpuint(split(&sp, s.bytes->data, cut, 0), ==, 0);
        in = (struct iovec) { s.bytes->data + cut, s.bytes->len - cut };
        g_assert_cmpint(af_packet_splitter_next(&sp, &in, &payload,
                                                &error_abort), ==, 1);
        g_assert_true(payload.iov_base == s.bytes->data + head_len);
        g_assert_cmpuint(payload.iov_len, ==, payload_lens[0]);
    }
    g_assert_false(af_packet_splitter_reset(&sp));
    stream_free(&s);
}

/* An empty record is complete as soon as its header is. */
static void test_empty(const void *opaque)
{
    AfPacketSplitter sp = { .vnet_hdr_len = *(const size_t *)opaque };
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct iovec in, payload;
    int i;

    put_head(bytes, 0, sp.vnet_hdr_len, sp.vnet_hdr_len);
    for (i = 0; i < bytes->len; i++) {
        in = (struct iovec) { bytes->data + i, 1 };
        payload = (struct iovec) { NULL, 1 };
        g_assert_cmpint(af_packet_splitter_next(&sp, &in, &payload,
                                                &error_abort),
                        ==, i == bytes->len - 1);
        g_assert_cmpuint(in.iov_len, ==, 0);
    }
    g_assert_cmpuint(payload.iov_len, ==, 0);
    g_assert_false(af_packet_splitter_reset(&sp));
}

/* Empty input has no effect. */
static void test_no_input(const void *opaque)
{
    AfPacketSplitter sp = { .vnet_hdr_len = *(const size_t *)opaque };
    size_t i, n = 0;
    Stream s;

    stream_init(&s, sp.vnet_hdr_len, payload_lens, 1);
    for (i = 0; i < s.bytes->len; i++) {
        g_assert_cmpuint(split(&sp, s.bytes->data + i, 0, n), ==, n);
        n = split(&sp, s.bytes->data + i, 1, n);
    }
    g_assert_cmpuint(n, ==, 1);
    g_assert_false(af_packet_splitter_reset(&sp));
    stream_free(&s);
}

/* A record of maximum length, in chunks of @chunk bytes */
static void do_test_longest(size_t vnet_hdr_len, size_t chunk)
{
    AfPacketSplitter sp = { .vnet_hdr_len = vnet_hdr_len };
    const size_t len = 69632;
    struct iovec payload = {};
    size_t at, got = 0, i;
    Stream s;

    stream_init(&s, vnet_hdr_len, &len, 1);
    for (at = 0; at < s.bytes->len; at += chunk) {
        struct iovec in = {
            s.bytes->data + at, MIN(chunk, s.bytes->len - at)
        };

        while (af_packet_splitter_next(&sp, &in, &payload,
                                       &error_abort) > 0) {
            got++;
            g_assert_cmpuint(payload.iov_len, ==, len);
            for (i = 0; i < len; i++) {
                g_assert_cmphex(((uint8_t *)payload.iov_base)[i], ==,
                                payload_byte(0, i));
            }
        }
    }
    g_assert_cmpuint(got, ==, 1);
    g_assert_false(af_packet_splitter_reset(&sp));
    stream_free(&s);
}

static void test_longest(const void *opaque)
{
    static const size_t chunks[] = { 1, 3, 4096, 69631, 69632, 100000 };
    int i;

    g_assert_cmpuint(AF_PACKET_RECORD_MAX, ==, 69632);
    for (i = 0; i < ARRAY_SIZE(chunks); i++) {
        do_test_longest(*(const size_t *)opaque, chunks[i]);
    }
}

/* After a reset anywhere in a record, the next byte starts a new one. */
static void test_reset(const void *opaque)
{
    AfPacketSplitter sp = { .vnet_hdr_len = *(const size_t *)opaque };
    Stream s, half;
    size_t cut;

    stream_init(&s, sp.vnet_hdr_len, payload_lens, ARRAY_SIZE(payload_lens));
    stream_init(&half, sp.vnet_hdr_len, payload_lens, 1);
    g_assert_false(af_packet_splitter_reset(&sp));
    for (cut = 1; cut < half.bytes->len; cut++) {
        g_assert_cmpuint(split(&sp, half.bytes->data, cut, 0), ==, 0);
        g_assert_true(af_packet_splitter_reset(&sp));
        g_assert_null(sp.partial);
        g_assert_false(af_packet_splitter_reset(&sp));
        g_assert_cmpuint(split(&sp, s.bytes->data, s.bytes->len, 0), ==,
                         ARRAY_SIZE(payload_lens));
        g_assert_false(af_packet_splitter_reset(&sp));
    }
    stream_free(&half);
    stream_free(&s);
}

/* The same after an error */
static void test_reset_after_error(const void *opaque)
{
    AfPacketSplitter sp = { .vnet_hdr_len = *(const size_t *)opaque };
    g_autoptr(GByteArray) head = g_byte_array_new();
    struct iovec in, payload;
    Stream s;

    put_head(head, UINT32_MAX, sp.vnet_hdr_len, sp.vnet_hdr_len);
    in = (struct iovec) { head->data, head->len };
    g_assert_cmpint(af_packet_splitter_next(&sp, &in, &payload, NULL), ==,
                    -1);
    in = (struct iovec) { head->data, head->len };
    g_assert_cmpint(af_packet_splitter_next(&sp, &in, &payload, NULL), ==,
                    -1);
    g_assert_true(af_packet_splitter_reset(&sp));

    stream_init(&s, sp.vnet_hdr_len, payload_lens, ARRAY_SIZE(payload_lens));
    g_assert_cmpuint(split(&sp, s.bytes->data, s.bytes->len, 0), ==,
                     ARRAY_SIZE(payload_lens));
    g_assert_false(af_packet_splitter_reset(&sp));
    stream_free(&s);
}

static void add_tests(const char *name, GTestDataFunc func)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(vnet_hdr_lens); i++) {
        g_autofree char *path = g_strdup_printf("/af-packet-record/%s/%zu",
                                                name, vnet_hdr_lens[i]);

        g_test_add_data_func(path, &vnet_hdr_lens[i], func);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    add_tests("split/two", test_split_two);
    add_tests("split/three", test_split_three);
    add_tests("split/chunks", test_split_chunks);
    add_tests("split/no-copy", test_no_copy);
    add_tests("split/no-copy-after-head", test_no_copy_after_head);
    add_tests("split/empty", test_empty);
    add_tests("split/no-input", test_no_input);
    add_tests("split/longest", test_longest);
    add_tests("reset/anywhere", test_reset);
    add_tests("reset/after-error", test_reset_after_error);

    return g_test_run();
}
