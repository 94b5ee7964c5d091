/*
 * Unit tests for the queue of packet records between two byte streams
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "net/packet-records.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"

#define VNET_HDR_LEN 12
#define N_RECORDS 300
#define N_ROUNDS 2000

/* --- Streams --- */

static size_t head_len(bool vnet_hdr)
{
    return vnet_hdr ? 8 : 4;
}

static void put_word(GByteArray *stream, uint32_t word)
{
    word = cpu_to_be32(word);
    g_byte_array_append(stream, (uint8_t *)&word, sizeof(word));
}

/* Append a record with a payload of @len bytes, all of them @seq. */
static void put_record(GByteArray *stream, bool vnet_hdr, size_t len,
                       uint8_t seq)
{
    put_word(stream, len);
    if (vnet_hdr) {
        put_word(stream, MIN(len, VNET_HDR_LEN));
    }
    g_byte_array_set_size(stream, stream->len + len);
    memset(stream->data + stream->len - len, seq, len);
}

/* Random lengths: 0, the maximum, and usual ones */
static size_t any_len(void)
{
    static const size_t lens[] = { 0, 1, 14, 60, 1514, 9014, NET_BUFSIZE };

    return lens[g_test_rand_int_range(0, ARRAY_SIZE(lens))];
}

static GByteArray *any_stream(bool vnet_hdr)
{
    GByteArray *stream = g_byte_array_new();
    int i;

    for (i = 0; i < N_RECORDS; i++) {
        put_record(stream, vnet_hdr, any_len(), i);
    }
    return stream;
}

/* --- From stream to stream --- */

/* Receive @len bytes of a stream of records. */
static void receive_bytes(PacketRecords *records, const uint8_t *buf,
                          size_t len)
{
    struct iovec in = { (void *)buf, len }, whole;

    g_assert_true(packet_records_next(records, &in, &whole, &error_abort));
    packet_records_put(records, whole, 0);
    packet_records_put_partial(records, in);
}

/* Send at most @max queued bytes to @out.  Returns: their number */
static size_t send_bytes_to(PacketRecords *records, GByteArray *out, size_t max)
{
    struct iovec waiting = packet_records_waiting(records);
    size_t len = MIN(max, waiting.iov_len);

    g_byte_array_append(out, waiting.iov_base, len);
    packet_records_sent(records, len);
    return len;
}

/* Bytes pass unchanged, and only in whole records. */
static void test_pieces(const void *opaque)
{
    static const size_t pieces[] = { 1, 2, 3, 4, 5, 7, 8, 9, 64, 1518, 65536 };
    bool vnet_hdr = GPOINTER_TO_INT(opaque);
    g_autoptr(GByteArray) stream = g_byte_array_new();
    PacketRecords records;
    size_t i, pos;

    put_record(stream, vnet_hdr, 60, 1);
    put_record(stream, vnet_hdr, 0, 2);
    put_record(stream, vnet_hdr, 1514, 3);
    put_record(stream, vnet_hdr, NET_BUFSIZE, 4);
    put_record(stream, vnet_hdr, 14, 5);

    for (i = 0; i < ARRAY_SIZE(pieces); i++) {
        g_autoptr(GByteArray) out = g_byte_array_new();

        packet_records_init(&records, vnet_hdr);
        for (pos = 0; pos < stream->len; pos += pieces[i]) {
            receive_bytes(&records, stream->data + pos,
                          MIN(pieces[i], stream->len - pos));
            send_bytes_to(&records, out, SIZE_MAX);
        }
        g_assert_cmpmem(out->data, out->len, stream->data, stream->len);
        g_assert_cmpuint(records.n_records, ==, 5);
        g_assert_cmpuint(records.n_bytes, ==, stream->len);
        packet_records_destroy(&records);
    }
}

/* A record is not forwarded before its last byte. */
static void test_whole(const void *opaque)
{
    bool vnet_hdr = GPOINTER_TO_INT(opaque);
    g_autoptr(GByteArray) stream = g_byte_array_new();
    PacketRecords records;
    size_t len;

    put_record(stream, vnet_hdr, 60, 1);
    for (len = 0; len < stream->len; len++) {
        packet_records_init(&records, vnet_hdr);
        receive_bytes(&records, stream->data, len);
        g_assert_cmpuint(packet_records_waiting(&records).iov_len, ==, 0);
        g_assert_cmpuint(packet_records_drop_partial(&records), ==, len > 0);
        g_assert_false(packet_records_drop_partial(&records));
        packet_records_destroy(&records);
    }
}

/* Whole records are returned without copying. */
static void test_in_place(const void *opaque)
{
    bool vnet_hdr = GPOINTER_TO_INT(opaque);
    g_autoptr(GByteArray) stream = g_byte_array_new();
    size_t first = head_len(vnet_hdr) + 60;
    struct iovec in, whole;
    PacketRecords records;

    put_record(stream, vnet_hdr, 60, 1);
    put_record(stream, vnet_hdr, 1514, 2);
    put_record(stream, vnet_hdr, 14, 3);

    packet_records_init(&records, vnet_hdr);
    receive_bytes(&records, stream->data, 10);
    in = (struct iovec) { stream->data + 10, stream->len - 11 };
    g_assert_true(packet_records_next(&records, &in, &whole, &error_abort));
    g_assert_cmpuint(packet_records_waiting(&records).iov_len, ==, first);
    g_assert_true(whole.iov_base == stream->data + first);
    g_assert_cmpuint(whole.iov_len, ==, head_len(vnet_hdr) + 1514);
    g_assert_cmpuint(in.iov_len, ==, head_len(vnet_hdr) + 13);
    packet_records_destroy(&records);
}

/* --- Ends of connections --- */

/* Drop a partial record at the end of @out, like its reader. */
static void keep_whole(GByteArray *out, bool vnet_hdr)
{
    size_t pos = 0, next;

    while (out->len - pos >= head_len(vnet_hdr)) {
        next = pos + head_len(vnet_hdr) + (uint32_t)ldl_be_p(out->data + pos);
        if (next > out->len) {
            break;
        }
        pos = next;
    }
    g_byte_array_set_size(out, pos);
}

/* Send part of @whole without copying, as far as there is room. */
static void send_whole_to(PacketRecords *records, GByteArray *out,
                          struct iovec whole)
{
    size_t len = 0;

    if (!records->bytes->len) {
        len = g_test_rand_int_range(0, whole.iov_len + 1);
        g_byte_array_append(out, whole.iov_base, len);
    }
    packet_records_put(records, whole, len);
}

/*
 * However the stream is split, and however often the output connection ends,
 * each record is sent once, in order.
 */
static void test_reconnect_out(const void *opaque)
{
    bool vnet_hdr = GPOINTER_TO_INT(opaque);
    g_autoptr(GByteArray) stream = any_stream(vnet_hdr);
    g_autoptr(GByteArray) out = g_byte_array_new();
    struct iovec in, whole;
    PacketRecords records;
    size_t pos, len;

    packet_records_init(&records, vnet_hdr);
    for (pos = 0; pos < stream->len; pos += len) {
        len = MIN(g_test_rand_int_range(1, 100000), stream->len - pos);
        in = (struct iovec) { stream->data + pos, len };
        g_assert_true(packet_records_next(&records, &in, &whole,
                                          &error_abort));
        send_whole_to(&records, out, whole);
        packet_records_put_partial(&records, in);
        send_bytes_to(&records, out, g_test_rand_int_range(0, 100000));
        if (g_test_rand_int_range(0, 3) == 0) {
            size_t before = out->len;

            keep_whole(out, vnet_hdr);
            g_assert_cmpint(packet_records_rewind(&records), ==,
                            out->len < before);
            g_assert_false(packet_records_rewind(&records));
        }
    }
    send_bytes_to(&records, out, SIZE_MAX);
    g_assert_cmpmem(out->data, out->len, stream->data, stream->len);
    packet_records_destroy(&records);
}

/* If a connection ends within a record, all records before it are sent. */
static void test_reconnect_in(const void *opaque)
{
    bool vnet_hdr = GPOINTER_TO_INT(opaque);
    g_autoptr(GByteArray) stream = g_byte_array_new();
    g_autoptr(GByteArray) out = g_byte_array_new();
    PacketRecords records;

    put_record(stream, vnet_hdr, 60, 1);
    put_record(stream, vnet_hdr, 1514, 2);
    packet_records_init(&records, vnet_hdr);
    receive_bytes(&records, stream->data, stream->len - 1);
    g_assert_true(packet_records_drop_partial(&records));
    receive_bytes(&records, stream->data, stream->len);
    send_bytes_to(&records, out, SIZE_MAX);

    g_byte_array_prepend(stream, stream->data, head_len(vnet_hdr) + 60);
    g_assert_cmpmem(out->data, out->len, stream->data, stream->len);
    packet_records_destroy(&records);
}

/* --- Invalid streams --- */

static const struct {
    const char *name;
    bool vnet_hdr;
    uint32_t len;
    uint32_t vnet_hdr_len;
    const char *message;        /* NULL: valid */
} heads[] = {
    { "longest", false, NET_BUFSIZE, 0, NULL },
    { "too-long", false, NET_BUFSIZE + 1, 0, "record length 69633" },
    { "negative", false, UINT32_MAX, 0, "record length 4294967295" },
    { "vnet/none", true, 60, 0, NULL },
    { "vnet/longest", true, NET_BUFSIZE, 20, NULL },
    { "vnet/too-long", true, NET_BUFSIZE + 1, 12, "record length 69633" },
    { "vnet/too-long-header", true, 60, 21, "vnet header of 21 bytes" },
    { "vnet/negative", true, 60, UINT32_MAX, "header of 4294967295 bytes" },
    { "vnet/longer-than-record", true, 11, 12, "record of 11 bytes" },
};

/* @split: number of bytes of the header that arrive separately */
static void check_head(int i, size_t split)
{
    g_autoptr(GByteArray) stream = g_byte_array_new();
    struct iovec in, whole;
    PacketRecords records;
    Error *err = NULL;

    put_record(stream, heads[i].vnet_hdr, 60, 1);
    put_word(stream, heads[i].len);
    if (heads[i].vnet_hdr) {
        put_word(stream, heads[i].vnet_hdr_len);
    }
    split += head_len(heads[i].vnet_hdr) + 60;

    packet_records_init(&records, heads[i].vnet_hdr);
    receive_bytes(&records, stream->data, split);
    in = (struct iovec) { stream->data + split, stream->len - split };
    g_assert_cmpint(packet_records_next(&records, &in, &whole, &err), ==,
                    !heads[i].message);
    if (heads[i].message) {
        g_assert_nonnull(strstr(error_get_pretty(err), heads[i].message));
        error_free(err);
        /* All records before it are sent, and nothing of it remains */
        g_assert_false(packet_records_drop_partial(&records));
    }
    g_assert_cmpuint(whole.iov_len, ==, 0);
    g_assert_cmpuint(packet_records_waiting(&records).iov_len, ==,
                     head_len(heads[i].vnet_hdr) + 60);
    packet_records_destroy(&records);
}

static void test_head(const void *opaque)
{
    int i = GPOINTER_TO_INT(opaque);
    size_t split;

    for (split = 0; split < head_len(heads[i].vnet_hdr); split++) {
        check_head(i, split);
    }
}

/* Noise is either refused or passes unchanged. */
static void test_noise(const void *opaque)
{
    PacketRecords records;
    uint8_t noise[64];
    int round;
    size_t i;

    packet_records_init(&records, GPOINTER_TO_INT(opaque));
    for (round = 0; round < N_ROUNDS; round++) {
        size_t len = g_test_rand_int_range(1, sizeof(noise));
        struct iovec in = { noise, len }, whole;

        for (i = 0; i < len; i++) {
            /* Small lengths are valid from time to time */
            noise[i] = g_test_rand_int_range(0, 8) ? 0 :
                       g_test_rand_int_range(0, 256);
        }
        if (packet_records_next(&records, &in, &whole, NULL)) {
            packet_records_put(&records, whole, 0);
            packet_records_put_partial(&records, in);
        } else {
            packet_records_put(&records, whole, 0);
        }
        packet_records_sent(&records,
                            packet_records_waiting(&records).iov_len / 2);
        if (round % 16 == 0) {
            packet_records_rewind(&records);
        }
    }
    packet_records_destroy(&records);
}

static void add_both(const char *name, void (*func)(const void *opaque))
{
    g_autofree char *plain = g_strdup_printf("/packet-records/%s", name);
    g_autofree char *vnet = g_strdup_printf("/packet-records/%s/vnet", name);

    g_test_add_data_func(plain, GINT_TO_POINTER(false), func);
    g_test_add_data_func(vnet, GINT_TO_POINTER(true), func);
}

int main(int argc, char **argv)
{
    int i;

    g_test_init(&argc, &argv, NULL);
    add_both("pieces", test_pieces);
    add_both("whole", test_whole);
    add_both("in-place", test_in_place);
    add_both("reconnect-out", test_reconnect_out);
    add_both("reconnect-in", test_reconnect_in);
    add_both("noise", test_noise);
    for (i = 0; i < ARRAY_SIZE(heads); i++) {
        g_autofree char *path = g_strdup_printf("/packet-records/head/%s",
                                                heads[i].name);

        g_test_add_data_func(path, GINT_TO_POINTER(i), test_head);
    }
    return g_test_run();
}
