/*
 * QTest testcase for packet-relay: leaks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Relays are added and removed, and the connections of their chardevs opened
 * and closed, a thousand times, in the main loop and in an iothread.
 */
#include "qemu/osdep.h"
#include "leak-check.h"
#include "packet-relay-rig.h"

#define CYCLES 1000

static void replace_iothread(Rig *r)
{
    qtest_qmp_assert_success(r->qts, "{'execute': 'object-del', "
                             "'arguments': {'id': 'io0'}}");
    qtest_qmp_assert_success(r->qts, "{'execute': 'object-add', 'arguments': {"
                             "'qom-type': 'iothread', 'id': 'io0'}}");
}

static void replace_outdev(Rig *r)
{
    int theirs;

    qtest_qmp_assert_success(r->qts, "{'execute': 'chardev-remove', "
                             "'arguments': {'id': 'out'}}");
    close(r->out);
    r->out = small_pair_create(&theirs);
    qemu_pass_fd(r->qts, "new", theirs);
    qtest_qmp_assert_success(r->qts, "{'execute': 'chardev-add', "
                             "'arguments': {'id': 'out', 'backend': {"
                             "'type': 'socket', 'data': {'server': false, "
                             "'addr': {'type': 'fd', 'data': {"
                             "'str': 'new'}}}}}}");
}

/* The relay is deleted; then its chardevs can be removed. */
static void cycle_add(void *opaque)
{
    Rig *r = opaque;

    object_add(r);
    expect_pass(r, 0);
    object_del(r);
    replace_iothread(r);
    replace_outdev(r);
}

static void test_add(const void *iothread)
{
    Rig r;

    rig_init(&r, iothread);
    object_del(&r);
    leak_check(r.qts, cycle_add, &r, CYCLES);
    rig_free(&r);
}

/* Connections end in the middle of a record. */
static void cycle_reconnect(void *opaque)
{
    uint8_t record[RECORD_LEN];
    Rig *r = opaque;

    expect_pass(r, 0);
    record_fill(record, 1);
    send_bytes(r->in, record, sizeof(record) / 2);
    r->in = reconnect(r, "in", r->in);
    r->out = reconnect(r, "out", r->out);
}

static void test_reconnect(const void *iothread)
{
    Rig r;

    rig_init(&r, iothread);
    leak_check(r.qts, cycle_reconnect, &r, CYCLES);
    rig_free(&r);
}

int main(int argc, char **argv)
{
    static const TestRow rows[] = {
        { "add", test_add },
        { "reconnect", test_reconnect },
    };

    signal(SIGPIPE, SIG_IGN);
    g_test_init(&argc, &argv, NULL);
    add_relay_rows("packet-relay-leak", rows, ARRAY_SIZE(rows));
    return g_test_run();
}
