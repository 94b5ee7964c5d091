/*
 * QTest testcase for a filter-redirector whose packets find no room
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test side           | qemu side
 *                     |
 * +-----------+       |  +--------+  +----+  +-----+  +---------+
 * |  packets  +---------->   in   +--> rd +--> rd  +-->   out   |
 * +-----------+       |  +--------+  | in |  | out |  +----+----+
 *                     |              +----+  +-----+       |
 * +-----------+       |                                    |
 * |   reads   <--------------------------------------------+
 * |  slowly   |       |
 * +-----------+       |
 */

#include "qemu/osdep.h"
#include "packet-stream.h"

#define PACKET_LEN 1000
#define RECORD_LEN (HEAD_LEN + PACKET_LEN)
/* Far more than all queues and buffers in the path hold */
#define N_PACKETS 20000

typedef struct Rig {
    QTestState *qts;
    int in;             /* our end of "in" */
    int out;            /* our end of "out" */
    uint32_t n_sent;
    uint32_t n_received;
    size_t torn;        /* bytes of the next packet sent so far */
} Rig;

/* @queue: the filters' queue; with "rx", they see packets in reverse order */
static void rig_init(Rig *r, const char *queue)
{
    int in, out;

    *r = (Rig) { .in = pair_create(&in), .out = pair_create(&out) };
    r->qts = qtest_initf(
        "-nodefaults -machine none "
        "-netdev hubport,id=hub0,hubid=0 "
        "-netdev hubport,id=hub1,hubid=1,netdev=hub0 "
        "-chardev socket,id=in,fd=%d "
        "-chardev socket,id=out,fd=%d "
        "-object filter-redirector,id=rd0,netdev=hub0,queue=%s,indev=in "
        "-object filter-redirector,id=rd1,netdev=hub0,queue=%s,outdev=out,"
        "position=%s",
        in, out, queue, queue, g_str_equal(queue, "rx") ? "head" : "tail");
    close(in);
    close(out);
}

static void rig_free(Rig *r)
{
    qtest_quit(r->qts);
    close(r->in);
    close(r->out);
}

/* Send as much as possible.  Returns: whether any data was sent */
static bool send_some(Rig *r)
{
    uint8_t record[RECORD_LEN];
    bool any = false;
    ssize_t len;

    while (r->n_sent < N_PACKETS) {
        packet_record_fill(record, PACKET_LEN, r->n_sent);
        len = send(r->in, record + r->torn, sizeof(record) - r->torn,
                   MSG_DONTWAIT);
        if (len < 0) {
            g_assert_cmpint(errno, ==, EAGAIN);
            break;
        }
        any = true;
        r->torn += len;
        if (r->torn == sizeof(record)) {
            r->torn = 0;
            r->n_sent++;
        }
    }
    return any;
}

static void receive_next(Rig *r)
{
    g_assert_cmpuint(packet_record_receive(r->out, PACKET_LEN), ==,
                     r->n_received++);
}

/* Send until QEMU stops reading; its monitor must keep working */
static void fill(Rig *r)
{
    int idle;

    for (idle = 0; idle < 10; idle++) {
        g_assert_true(chardev_connected(r->qts, "in"));
        if (send_some(r)) {
            idle = 0;
        }
    }
    g_assert_cmpuint(r->n_sent, <, N_PACKETS);
}

/* Receive one packet whenever there is no room to send. */
static void test_slow(const void *queue)
{
    Rig r;

    rig_init(&r, queue);
    fill(&r);
    while (r.n_received < N_PACKETS) {
        send_some(&r);
        receive_next(&r);
    }
    rig_free(&r);
}

/*
 * Packets sent before the sender disconnected are still delivered, and do not
 * keep the connection open.
 */
static void test_hang_up(void)
{
    Rig r;

    rig_init(&r, "tx");
    fill(&r);
    g_assert_cmpint(shutdown(r.in, SHUT_RDWR), ==, 0);
    chardev_wait_connected(r.qts, "in", false);
    while (r.n_received < r.n_sent) {
        receive_next(&r);
    }
    rig_free(&r);
}

static void wait_until_read(Rig *r)
{
    const int64_t end = deadline();

    while (!send_some(r)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* A closed connection does not block senders. */
static void test_closed(void)
{
    Rig r;

    rig_init(&r, "tx");
    fill(&r);
    g_assert_cmpint(shutdown(r.out, SHUT_RDWR), ==, 0);
    wait_until_read(&r);
    rig_free(&r);
}

/* Neither does a filter that is off or removed. */
static void test_off(void)
{
    Rig r;

    rig_init(&r, "tx");
    fill(&r);
    qtest_qmp_assert_success(r.qts, "{'execute': 'qom-set', 'arguments': {"
                             "'path': '/objects/rd1', 'property': 'status', "
                             "'value': 'off'}}");
    wait_until_read(&r);
    rig_free(&r);
}

static void test_remove(void)
{
    Rig r;

    rig_init(&r, "tx");
    fill(&r);
    qtest_qmp_assert_success(r.qts, "{'execute': 'object-del', "
                             "'arguments': {'id': 'rd1'}}");
    wait_until_read(&r);
    rig_free(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    qtest_add_data_func("/filter-redirector/pressure/tx", "tx", test_slow);
    qtest_add_data_func("/filter-redirector/pressure/rx", "rx", test_slow);
    qtest_add_func("/filter-redirector/pressure/hang-up", test_hang_up);
    qtest_add_func("/filter-redirector/pressure/closed", test_closed);
    qtest_add_func("/filter-redirector/pressure/off", test_off);
    qtest_add_func("/filter-redirector/pressure/remove", test_remove);
    return g_test_run();
}
