/*
 * Unit tests for the bounded queue of frames that wait for an interface
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "chardev/af-packet-txq.h"

#define MAX_BYTES 1000

/* Memory used by a frame in addition to its bytes */
#define OVERHEAD sizeof(AfPacketTxFrame)

/* Byte @i of frame number @n */
static uint8_t frame_byte(size_t n, size_t i)
{
    return n * 37 + i * 5;
}

/* Push frame number @n, of @len bytes, and free its memory. */
static bool push(AfPacketTxq *txq, size_t n, size_t len)
{
    g_autofree uint8_t *data = g_malloc(MAX(len, 1));
    size_t i;
    bool pushed;

    for (i = 0; i < len; i++) {
        data[i] = frame_byte(n, i);
    }
    pushed = af_packet_txq_push(txq, data, len);
    memset(data, 0, len);
    return pushed;
}

/* Check that frame number @n, of @len bytes, is the oldest. */
static void assert_head(const AfPacketTxq *txq, size_t n, size_t len)
{
    const AfPacketTxFrame *frame = af_packet_txq_head(txq);
    size_t i;

    g_assert_nonnull(frame);
    g_assert_cmpuint(frame->len, ==, len);
    for (i = 0; i < len; i++) {
        g_assert_cmphex(frame->data[i], ==, frame_byte(n, i));
    }
    g_assert_true(af_packet_txq_head(txq) == frame);
}

/* Check that there are @n_frames of @len bytes together. */
static void assert_holds(const AfPacketTxq *txq, size_t n_frames, size_t len)
{
    g_assert_cmpuint(txq->n_frames, ==, n_frames);
    g_assert_cmpuint(txq->n_bytes, ==, n_frames * OVERHEAD + len);
    if (!n_frames) {
        g_assert_null(af_packet_txq_head(txq));
    }
}

static void test_empty(void)
{
    AfPacketTxq txq;

    memset(&txq, 0xa5, sizeof(txq));
    af_packet_txq_init(&txq, MAX_BYTES);
    g_assert_cmpuint(txq.max_bytes, ==, MAX_BYTES);
    assert_holds(&txq, 0, 0);
    af_packet_txq_clear(&txq);
    assert_holds(&txq, 0, 0);
}

/* Frames leave unchanged, in the order in which they were pushed. */
static void test_order(void)
{
    static const size_t lens[] = { 14, 60, 1, 100, 0, 60, 14, 333 };
    size_t n, n_bytes = 0;
    AfPacketTxq txq;

    af_packet_txq_init(&txq, MAX_BYTES);
    for (n = 0; n < ARRAY_SIZE(lens); n++) {
        g_assert_true(push(&txq, n, lens[n]));
        n_bytes += lens[n];
        assert_holds(&txq, n + 1, n_bytes);
        assert_head(&txq, 0, lens[0]);
    }
    for (n = 0; n < ARRAY_SIZE(lens); n++) {
        assert_head(&txq, n, lens[n]);
        af_packet_txq_pop(&txq);
        n_bytes -= lens[n];
        assert_holds(&txq, ARRAY_SIZE(lens) - n - 1, n_bytes);
    }
    assert_holds(&txq, 0, 0);
}

/* Room is reused when frames are pushed and popped for a long time. */
static void test_turnover(void)
{
    AfPacketTxq txq;
    size_t n;

    af_packet_txq_init(&txq, MAX_BYTES + 2 * OVERHEAD);
    g_assert_true(push(&txq, 0, 400));
    for (n = 1; n < 1000; n++) {
        size_t len = 400 + n % 101, last_len = txq.n_bytes - OVERHEAD;

        g_assert_true(push(&txq, n, len));
        assert_holds(&txq, 2, last_len + len);
        g_assert_false(push(&txq, n + 1, 400));
        assert_head(&txq, n - 1, last_len);
        af_packet_txq_pop(&txq);
        assert_head(&txq, n, len);
        assert_holds(&txq, 1, len);
    }
    af_packet_txq_clear(&txq);
    assert_holds(&txq, 0, 0);
}

/* Lengths of queued frames and of another one, and whether that fits */
typedef struct BoundCase {
    size_t max_bytes;        /* in addition to the overhead of all frames */
    size_t lens[3];
    size_t len;
    bool taken;
} BoundCase;

static const BoundCase bound_cases[] = {
    { 1000, { 0 }, 999, true },
    { 1000, { 0 }, 1000, true },
    { 1000, { 0 }, 1001, false },
    { 1000, { 0 }, 69632, false },
    { 1000, { 1 }, 999, true },
    { 1000, { 1 }, 1000, false },
    { 1000, { 300, 300, 300 }, 99, true },
    { 1000, { 300, 300, 300 }, 100, true },
    { 1000, { 300, 300, 300 }, 101, false },
    { 1000, { 1000 }, 0, true },
    { 1000, { 1000 }, 1, false },
    { 1000, { 999 }, 1, true },
    { 0, { 0 }, 0, true },
    { 0, { 0 }, 1, false },
};

static void do_test_bound(const BoundCase *c)
{
    size_t n_frames = 0, n_bytes = 0, n;
    AfPacketTxq txq;

    while (n_frames < ARRAY_SIZE(c->lens) && c->lens[n_frames]) {
        n_frames++;
    }
    af_packet_txq_init(&txq, c->max_bytes + (n_frames + 1) * OVERHEAD);
    for (n = 0; n < n_frames; n++) {
        g_assert_true(push(&txq, n, c->lens[n]));
        n_bytes += c->lens[n];
    }

    if (c->taken) {
        g_assert_true(push(&txq, n_frames, c->len));
        assert_holds(&txq, n_frames + 1, n_bytes + c->len);
    } else {
        /* A frame that does not fit is not even read, */
        g_assert_false(af_packet_txq_push(&txq, NULL, c->len));
        assert_holds(&txq, n_frames, n_bytes);
    }

    /* and the queued frames stay. */
    for (n = 0; n < n_frames; n++) {
        assert_head(&txq, n, c->lens[n]);
        af_packet_txq_pop(&txq);
    }
    if (c->taken) {
        assert_head(&txq, n_frames, c->len);
        af_packet_txq_pop(&txq);
    }
    assert_holds(&txq, 0, 0);
}

static void test_bound(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(bound_cases); i++) {
        do_test_bound(&bound_cases[i]);
    }
}

/* Empty frames use memory, too. */
static void test_overhead(void)
{
    AfPacketTxq txq;
    size_t n;

    af_packet_txq_init(&txq, 10 * OVERHEAD);
    for (n = 0; n < 10; n++) {
        g_assert_true(push(&txq, n, 0));
    }
    g_assert_false(push(&txq, n, 0));
    assert_holds(&txq, 10, 0);
    af_packet_txq_clear(&txq);
}

/* A shorter frame fits where a longer one did not. */
static void test_refused_then_shorter(void)
{
    AfPacketTxq txq;

    af_packet_txq_init(&txq, MAX_BYTES + 2 * OVERHEAD);
    g_assert_true(push(&txq, 0, 600));
    g_assert_false(push(&txq, 1, 401));
    g_assert_true(push(&txq, 2, 400));
    g_assert_false(push(&txq, 3, 1));
    assert_holds(&txq, 2, MAX_BYTES);
    assert_head(&txq, 0, 600);
    af_packet_txq_pop(&txq);
    assert_head(&txq, 2, 400);
    af_packet_txq_pop(&txq);
    assert_holds(&txq, 0, 0);
}

/* A cleared queue is like a new one. */
static void test_clear(void)
{
    AfPacketTxq txq;
    size_t n;

    af_packet_txq_init(&txq, MAX_BYTES + 10 * OVERHEAD);
    for (n = 0; n < 10; n++) {
        g_assert_true(push(&txq, n, 100));
    }
    assert_holds(&txq, 10, MAX_BYTES);
    af_packet_txq_clear(&txq);
    assert_holds(&txq, 0, 0);

    g_assert_true(push(&txq, 11, MAX_BYTES));
    assert_holds(&txq, 1, MAX_BYTES);
    assert_head(&txq, 11, MAX_BYTES);
    af_packet_txq_clear(&txq);
    assert_holds(&txq, 0, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/af-packet-txq/empty", test_empty);
    g_test_add_func("/af-packet-txq/order", test_order);
    g_test_add_func("/af-packet-txq/turnover", test_turnover);
    g_test_add_func("/af-packet-txq/bound", test_bound);
    g_test_add_func("/af-packet-txq/overhead", test_overhead);
    g_test_add_func("/af-packet-txq/refused-then-shorter",
                    test_refused_then_shorter);
    g_test_add_func("/af-packet-txq/clear", test_clear);

    return g_test_run();
}
