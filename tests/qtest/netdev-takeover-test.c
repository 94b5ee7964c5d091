/*
 * QTest testcase for netdev-takeover
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How the destination of a migration handles the stream.
 */
#include "qemu/osdep.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "netdev-handover-rig.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/virtio_net.h"

#define HOLD_US (500 * 1000)

/* If the backlog does not end, the takeover ends after half a second. */
static void test_timeout(void)
{
    int64_t start;
    Rig r;

    rig_start_behind(&r);
    rig_migrate(&r);
    start = g_get_monotonic_time();
    qtest_qmp_eventwait(r.destination.qts, "RESUME");
    stream_send(&r, ROOM, BACKLOG_END);
    takeover_expect_done(&r, false);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, HOLD_US);
    g_assert_true(is_announced(&r));
    guest_expect(&r.guest, &r.destination, BACKLOG_END);

    /* Later frames still pass, and no further event is emitted */
    stream_send(&r, BACKLOG_END, BACKLOG_END + 6);
    stream_send_end(&r);
    guest_expect(&r.guest, &r.destination, BACKLOG_END + 6);
    rig_stop(&r);
}

/* A guest that can announce itself is not asked to do so earlier. */
static void test_guest_announce(void)
{
    Rig r;

    rig_start_behind_with(&r, 1 << VIRTIO_NET_F_STATUS |
                          1 << VIRTIO_NET_F_CTRL_VQ |
                          1 << VIRTIO_NET_F_GUEST_ANNOUNCE);
    rig_migrate(&r);
    qtest_qmp_eventwait(r.destination.qts, "RESUME");
    g_assert_false(guest_is_asked(&r.guest, &r.destination));
    stream_send_end(&r);
    takeover_expect_done(&r, true);
    g_assert_true(guest_is_asked(&r.guest, &r.destination));
    rig_stop(&r);
}

/* An invalid stream ends its connection. */
static void test_noise(void)
{
    uint8_t noise[] = { 0xaf, 0xaf, 0xaf, 0xaf, 0xaf, 0xaf, 0xaf, 0xaf };
    Rig r;

    rig_start_behind(&r);
    rig_migrate(&r);
    qtest_qmp_eventwait(r.destination.qts, "RESUME");
    stream_send(&r, ROOM, BACKLOG_END);
    stream_write(&r, noise, sizeof(noise));
    guest_expect(&r.guest, &r.destination, BACKLOG_END);
    g_assert_cmpint(recv(r.to, noise, sizeof(noise), 0), <=, 0);
    takeover_expect_done(&r, false);
    rig_stop(&r);
}

/* Frames are kept until the state of the NIC is loaded. */
static void test_early(const void *leaves)
{
    Rig r;

    rig_start_behind(&r);
    stream_send(&r, ROOM, BACKLOG_END);
    stream_send_end(&r);
    if (leaves) {
        shutdown(r.to, SHUT_RDWR);
        wait_stat(&r.destination, "frames", BACKLOG_END - ROOM);
    } else {
        g_assert_cmpuint(get_stat(&r.destination, "frames"), ==, 0);
    }
    g_assert_false(get_state(&r.destination, "done"));
    rig_migrate(&r);
    qtest_qmp_eventwait(r.destination.qts, "RESUME");
    takeover_expect_done(&r, true);
    guest_expect(&r.guest, &r.destination, BACKLOG_END);
    rig_stop(&r);
}

/* announce-self before the state is loaded is delayed. */
static void test_announced_early(void)
{
    Rig r;

    rig_start_behind(&r);
    qtest_qmp_assert_success(
        r.destination.qts, "{ 'execute': 'announce-self', 'arguments': {"
        "  'initial': 50, 'max': 50, 'rounds': 1, 'step': 50 } }");
    stream_send(&r, ROOM, BACKLOG_END);
    stream_send_end(&r);
    g_usleep(HOLD_US / 5);
    g_assert_cmpuint(get_stat(&r.destination, "frames"), ==, 0);
    g_assert_false(get_state(&r.destination, "done"));
    g_assert_false(is_announced(&r));
    rig_migrate(&r);
    qtest_qmp_eventwait(r.destination.qts, "RESUME");
    takeover_expect_done(&r, true);
    g_assert_true(is_announced(&r));
    guest_expect(&r.guest, &r.destination, BACKLOG_END);
    rig_stop(&r);
}

/* A record with another vnet header is dropped, and the stream continues. */
static void test_foreign_header(void)
{
    uint8_t record[4 + 4 + 12 + FRAME_LEN] = { };
    Rig r;

    rig_start_behind(&r);
    rig_migrate(&r);
    qtest_qmp_eventwait(r.destination.qts, "RESUME");
    stl_be_p(record, 12 + FRAME_LEN);
    stl_be_p(record + 4, 12);
    stream_write(&r, record, sizeof(record));
    stream_send(&r, ROOM, BACKLOG_END);
    stream_send_end(&r);
    takeover_expect_done(&r, false);
    guest_expect(&r.guest, &r.destination, BACKLOG_END);
    g_assert_cmpuint(get_stat(&r.destination, "dropped"), ==, 1);
    rig_stop(&r);
}

/* A source that has lost the answer in a disconnect gets it again. */
static void test_answer_again(void)
{
    Rig r;

    rig_start_behind(&r);
    rig_migrate(&r);
    qtest_qmp_eventwait(r.destination.qts, "RESUME");
    stream_send_end(&r);
    takeover_expect_done(&r, true);
    rig_reconnect_destination(&r);
    stream_expect_answer(&r);
    rig_stop(&r);
}

int main(int argc, char **argv)
{
    if (!rig_test_init(&argc, &argv)) {
        return g_test_run();
    }
    qtest_add_func("/netdev-takeover/timeout", test_timeout);
    qtest_add_func("/netdev-takeover/guest-announce", test_guest_announce);
    qtest_add_func("/netdev-takeover/noise", test_noise);
    qtest_add_func("/netdev-takeover/foreign-header", test_foreign_header);
    qtest_add_data_func("/netdev-takeover/early", NULL, test_early);
    qtest_add_data_func("/netdev-takeover/early/leaves", "", test_early);
    qtest_add_func("/netdev-takeover/announced-early", test_announced_early);
    qtest_add_func("/netdev-takeover/answer-again", test_answer_again);
    return g_test_run();
}
