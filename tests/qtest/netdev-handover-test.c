/*
 * QTest testcase for netdev-handover
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What happens to the frames of a guest that migrates, or fails to do so.
 */
#include "qemu/osdep.h"
#include "../unit/af-packet-helpers.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "netdev-handover-rig.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/virtio_net.h"

#define HELD_MAX (70 * KiB)

/* --- A guest that migrates --- */

static bool is_completed(Rig *r)
{
    g_autofree char *status = migrate_query_status(r->source.qts);

    return g_str_equal(status, "completed");
}

/* All frames arrive in order: the guest is announced only after them. */
static void test_completed(const void *return_path)
{
    const uint32_t n = BACKLOG_END + 16;
    Rig r;

    rig_start_behind(&r);
    migrate_set_capability(r.source.qts, "return-path", return_path != NULL);
    migrate_set_capability(r.destination.qts, "return-path",
                           return_path != NULL);
    rig_migrate(&r);
    wait_for_migration_complete(r.source.qts);
    stream_expect(&r, ROOM, BACKLOG_END);
    stream_expect_end(&r);
    g_assert_true(get_state(&r.source, "started"));

    qtest_qmp_eventwait(r.destination.qts, "RESUME");
    stream_send(&r, ROOM, BACKLOG_END);
    guest_expect(&r.guest, &r.destination, BACKLOG_END);
    g_assert_false(is_announced(&r));
    g_assert_false(get_state(&r.destination, "done"));
    stream_send_end(&r);
    takeover_expect_done(&r, true);
    g_assert_true(is_announced(&r));
    stream_expect_answer(&r);

    /* Frames that still arrive at the source, and then at the destination */
    network_send(SOURCE_TAP, BACKLOG_END, n);
    stream_expect(&r, BACKLOG_END, n);
    stream_send(&r, BACKLOG_END, n);
    wait_stat(&r.destination, "frames", n - ROOM);
    network_send(DESTINATION_TAP, n, n + 10);
    guest_expect(&r.guest, &r.destination, n + 10);
    guest_expect_nothing(&r.guest, &r.destination);
    g_assert_cmpuint(get_stat(&r.source, "frames"), ==, n - ROOM);
    g_assert_cmpuint(get_stat(&r.source, "bytes"), ==, (n - ROOM) * FRAME_LEN);
    rig_stop(&r);
}

/* Once the guest is announced, the source drops frames to groups. */
static void test_groups(void)
{
    Rig r;

    rig_start_behind(&r);
    rig_migrate(&r);
    wait_for_migration_complete(r.source.qts);
    stream_expect(&r, ROOM, BACKLOG_END);
    stream_expect_end(&r);
    network_send_group(SOURCE_TAP, BACKLOG_END, BACKLOG_END + 1);
    stream_expect_group(&r, BACKLOG_END);
    stream_answer(&r);
    network_send_group(SOURCE_TAP, BACKLOG_END + 1, BACKLOG_END + 3);
    network_send(SOURCE_TAP, BACKLOG_END + 3, BACKLOG_END + 6);
    stream_expect(&r, BACKLOG_END + 3, BACKLOG_END + 6);
    g_assert_cmpuint(get_stat(&r.source, "dropped-group"), ==, 2);
    rig_stop(&r);
}

/* The guest's own frames, which a bridge floods back, are dropped. */
static void test_own(void)
{
    Rig r;

    rig_start_behind(&r);
    rig_migrate(&r);
    wait_for_migration_complete(r.source.qts);
    stream_expect(&r, ROOM, BACKLOG_END);
    stream_expect_end(&r);
    network_send_as(SOURCE_TAP, BACKLOG_END, BACKLOG_END + 6, group_mac,
                    guest_mac);
    network_send(SOURCE_TAP, BACKLOG_END + 6, BACKLOG_END + 16);
    stream_expect(&r, BACKLOG_END + 6, BACKLOG_END + 16);
    g_assert_cmpuint(get_stat(&r.source, "dropped-own"), ==, 6);
    rig_stop(&r);
}

static void set_link(Vm *vm, const char *name, bool up)
{
    qtest_qmp_assert_success(vm->qts, "{ 'execute': 'set_link',"
                             "  'arguments': { 'name': %s, 'up': %i } }",
                             name, up);
}

/* Frames on a link that is set down are dropped. */
static void test_link_down(const void *name)
{
    Rig r;

    rig_start_behind(&r);
    rig_migrate(&r);
    wait_for_migration_complete(r.source.qts);
    stream_expect(&r, ROOM, BACKLOG_END);
    stream_expect_end(&r);
    set_link(&r.source, name, false);
    network_send(SOURCE_TAP, BACKLOG_END, BACKLOG_END + 6);
    wait_stat(&r.source, "dropped-link-down", 6);
    set_link(&r.source, name, true);
    network_send(SOURCE_TAP, BACKLOG_END + 6, BACKLOG_END + 16);
    stream_expect(&r, BACKLOG_END + 6, BACKLOG_END + 16);
    rig_stop(&r);
}

/* When the interface is removed, QEMU reports an error and keeps running. */
static void test_removed(const void *before)
{
    Rig r;

    rig_start_behind(&r);
    if (before) {
        link_remove(SOURCE_TAP);
    }
    rig_migrate(&r);
    wait_for_migration_complete(r.source.qts);
    stream_expect(&r, ROOM, before ? ROOM + 1 : BACKLOG_END);
    stream_expect_end(&r);
    if (!before) {
        link_remove(SOURCE_TAP);
    }
    stream_expect_nothing(&r);
    qtest_qmp_assert_success(r.source.qts, "{ 'execute': 'object-del',"
                             "  'arguments': { 'id': 'handover' } }");
    rig_stop(&r);
}

/* Hand over the frames up to @n; our end reads some, and a part of one. */
static void start_slow(Rig *r, uint32_t n, uint8_t *part, size_t part_len)
{
    rig_start_behind(r);
    network_send(SOURCE_TAP, BACKLOG_END, n);
    rig_migrate(r);
    wait_for_migration_complete(r->source.qts);
    g_assert_cmpuint(get_stat(&r->source, "waiting-bytes"), >, 0);
    g_assert_cmpuint(get_stat(&r->source, "waiting-bytes"), <, HELD_MAX);
    stream_expect(r, ROOM, 40);
    stream_read(r, part, part_len);
}

/*
 * If nobody reads the stream, most frames stay in the tap, and QEMU queues few
 * and keeps running.  A new connection starts with a whole record.
 */
static void test_slow(void)
{
    const uint32_t n = 900;     /* a tap holds 1000 */
    uint8_t part[RECORD_LEN / 2];
    uint32_t next;
    Rig r;

    start_slow(&r, n, part, sizeof(part));
    rig_reconnect_source(&r);

    /* Data in the socket buffers is lost */
    next = stream_next(&r);
    g_assert_cmpuint(next, >=, 40);
    g_assert_cmpuint(next, <, n);
    stream_expect(&r, next + 1, n);
    stream_expect_end(&r);
    g_assert_cmpuint(get_stat(&r.source, "frames"), ==, n - ROOM);
    rig_stop(&r);
}

/* The backlog ends exactly with QEMU's read budget. */
static void test_turn(void)
{
    const uint32_t n = ROOM + 1 + 50;
    Rig r;

    rig_start(&r, ROOM, 0);
    r.source.send_buffer = 128 * KiB;
    rig_add_source(&r);
    network_send(SOURCE_TAP, 0, n);
    guest_expect(&r.guest, &r.source, ROOM);
    rig_migrate(&r);
    wait_for_migration_complete(r.source.qts);
    stream_expect(&r, ROOM, n);
    stream_expect_end(&r);
    rig_stop(&r);
}

/* --- A guest that does not migrate --- */

/* It receives all frames at the source. */
static void test_cancelled(void)
{
    Rig r;

    rig_start_behind(&r);
    migrate_set_capability(r.source.qts, "pause-before-switchover", true);
    rig_migrate(&r);
    wait_for_migration_status(r.source.qts, "pre-switchover", NULL);
    network_send(SOURCE_TAP, BACKLOG_END, BACKLOG_END + 32);
    stream_expect_nothing(&r);
    migrate_cancel(r.source.qts);
    qtest_qmp_eventwait(r.source.qts, "RESUME");
    guest_kick(&r.guest);
    guest_expect(&r.guest, &r.source, BACKLOG_END + 32);
    stream_expect_nothing(&r);
    g_assert_false(get_state(&r.source, "started"));

    qtest_set_expected_status(r.destination.qts, EXIT_FAILURE);
    qtest_wait_qemu(r.destination.qts);
    qtest_shutdown(r.destination.qs);
    r.destination.qs = NULL;
    rig_stop(&r);
}

/* Stopping and continuing a VM has no effect. */
static void test_stopped(void)
{
    Rig r;

    rig_start_behind(&r);
    qtest_qmp_assert_success(r.source.qts, "{ 'execute': 'stop' }");
    network_send(SOURCE_TAP, BACKLOG_END, BACKLOG_END + 32);
    stream_expect_nothing(&r);
    qtest_qmp_assert_success(r.source.qts, "{ 'execute': 'cont' }");
    guest_kick(&r.guest);
    guest_expect(&r.guest, &r.source, BACKLOG_END + 32);
    stream_expect_nothing(&r);
    rig_stop(&r);
}

/*
 * A snapshot whose driver uses a longer header: packets that are queued with
 * the shorter one are dropped, and the tap's frames have the longer one.
 */
static void test_loadvm(void)
{
    g_autofree char *disk = g_strdup_printf("%s/qtest-%d.qcow2",
                                            g_get_tmp_dir(), getpid());
    g_autofree char *drive = g_strdup_printf("-drive if=none,format=qcow2,"
                                             "file=%s", disk);
    Guest guest, other;
    Vm vm;

    if (!have_qemu_img()) {
        g_test_skip("no qemu-img");
        return;
    }
    mkqcow2(disk, 16);
    vm_start(&vm, SOURCE_TAP, drive);
    guest_start(&guest, &vm, 1 << VIRTIO_NET_F_MRG_RXBUF);
    g_free(qtest_hmp(vm.qts, "savevm there"));
    guest_start(&other, &vm, 0);
    network_send(SOURCE_TAP, 0, 10);
    qtest_qmp_assert_success(vm.qts, "{ 'execute': 'stop' }");
    g_free(qtest_hmp(vm.qts, "loadvm there"));
    guest_add_buffers(&guest, &vm, ROOM);
    qtest_qmp_assert_success(vm.qts, "{ 'execute': 'cont' }");
    guest_kick(&guest);
    /* QEMU had read the first frame */
    guest.next = 1;
    guest_expect(&guest, &vm, 10);
    guest_end(&other, &vm);
    guest_end(&guest, &vm);
    qtest_shutdown(vm.qs);
    unlink(disk);
}

/* A paused guest is handed over, too, and announced when it runs. */
static void test_paused(void)
{
    Rig r;

    rig_start_behind(&r);
    qtest_qmp_assert_success(r.source.qts, "{ 'execute': 'stop' }");
    rig_migrate(&r);
    wait_for_migration_complete(r.source.qts);
    stream_expect(&r, ROOM, BACKLOG_END);
    stream_expect_end(&r);
    stream_send(&r, ROOM, BACKLOG_END);
    stream_send_end(&r);
    takeover_expect_done(&r, true);
    qtest_qmp_assert_success(r.destination.qts, "{ 'execute': 'cont' }");
    g_assert_true(is_announced(&r));
    guest_expect(&r.guest, &r.destination, BACKLOG_END);
    rig_stop(&r);
}

/*
 * With postcopy, the guest runs at the destination long before the migration
 * has completed, and receives its frames at that time.
 */
static void test_postcopy(void)
{
    Rig r;

    rig_start_behind(&r);
    migrate_set_capability(r.source.qts, "postcopy-ram", true);
    migrate_set_capability(r.destination.qts, "postcopy-ram", true);
    /* Prevent the migration from converging before or completing at once */
    qtest_memset(r.source.qts, 8 * MiB, 0xaf, 4 * MiB);
    migrate_set_parameter_int(r.source.qts, "downtime-limit", 1);
    migrate_set_parameter_int(r.source.qts, "max-bandwidth", 200000);
    migrate_set_parameter_int(r.source.qts, "max-postcopy-bandwidth",
                              200000);
    rig_migrate(&r);
    wait_for_migration_status(r.source.qts, "active", NULL);
    stream_expect_nothing(&r);
    qtest_qmp_assert_success(r.source.qts,
                             "{ 'execute': 'migrate-start-postcopy' }");
    stream_expect(&r, ROOM, BACKLOG_END);
    stream_expect_end(&r);
    g_assert_false(is_completed(&r));
    stream_send(&r, ROOM, BACKLOG_END);
    stream_send_end(&r);
    takeover_expect_done(&r, true);
    g_assert_true(is_announced(&r));

    migrate_set_parameter_int(r.source.qts, "max-postcopy-bandwidth", 0);
    guest_expect(&r.guest, &r.destination, BACKLOG_END);
    wait_for_migration_complete(r.source.qts);
    stream_expect_nothing(&r);
    rig_stop(&r);
}

/* The object may be added late, until the guest's frames fill the tap. */
static void test_late(void)
{
    Rig r;

    rig_start(&r, ROOM, 0);
    network_send(SOURCE_TAP, 0, BACKLOG_END);
    guest_expect(&r.guest, &r.source, ROOM);
    rig_migrate(&r);
    wait_for_migration_complete(r.source.qts);
    network_send(SOURCE_TAP, BACKLOG_END, BACKLOG_END + 16);
    rig_add_source(&r);
    stream_expect(&r, ROOM, BACKLOG_END + 16);
    stream_expect_end(&r);
    rig_stop(&r);
}

/* The destination may have answered before the source is ready. */
static void test_answered_early(void)
{
    Rig r;

    rig_start_behind(&r);
    stream_answer(&r);
    rig_migrate(&r);
    wait_for_migration_complete(r.source.qts);
    stream_expect(&r, ROOM, BACKLOG_END);
    stream_expect_end(&r);
    network_send_group(SOURCE_TAP, BACKLOG_END, BACKLOG_END + 2);
    wait_stat(&r.source, "dropped-group", 2);
    stream_expect_nothing(&r);
    rig_stop(&r);
}

/* Any data other than the answer ends the connection. */
static void test_foreign_answer(void)
{
    const char noise[] = "HTTP/1.1 400 Bad Request";
    char byte;
    Rig r;

    rig_start_behind(&r);
    g_assert_cmpint(send(r.from, noise, sizeof(noise), MSG_NOSIGNAL), ==,
                    sizeof(noise));
    g_assert_cmpint(recv(r.from, &byte, 1, 0), <=, 0);
    g_assert_false(get_state(&r.source, "announced"));
    rig_stop(&r);
}

/* A guest that is resumed at the source loses no frames there. */
static void test_continued(void)
{
    Rig r;

    rig_start_behind(&r);
    rig_migrate(&r);
    wait_for_migration_complete(r.source.qts);
    stream_expect(&r, ROOM, BACKLOG_END);
    stream_expect_end(&r);
    qtest_qmp_assert_success(r.source.qts, "{ 'execute': 'cont' }");
    g_assert_false(get_state(&r.source, "started"));
    network_send(SOURCE_TAP, BACKLOG_END, BACKLOG_END + 6);
    guest_kick(&r.guest);
    guest_expect(&r.guest, &r.source, BACKLOG_END + 6);
    stream_expect_nothing(&r);
    rig_stop(&r);
}

/* Frames that were not read until then are not sent to another destination. */
static void test_continued_slow(void)
{
    const uint32_t n = 200;
    uint8_t part[RECORD_LEN / 2];
    ssize_t len;
    Rig r;

    start_slow(&r, n, part, sizeof(part));
    g_assert_cmpuint(get_stat(&r.source, "waiting-bytes"), >, 0);
    qtest_qmp_assert_success(r.source.qts, "{ 'execute': 'cont' }");
    g_assert_cmpuint(get_stat(&r.source, "waiting-bytes"), ==, 0);
    guest_kick(&r.guest);
    guest_expect(&r.guest, &r.source, n);

    /* A record was partially sent, so that the connection is closed */
    do {
        len = recv(r.from, part, sizeof(part), 0);
    } while (len > 0);
    g_assert_cmpint(len, ==, 0);
    rig_reconnect_source(&r);
    stream_expect_nothing(&r);
    rig_stop(&r);
}

int main(int argc, char **argv)
{
    if (!rig_test_init(&argc, &argv)) {
        return g_test_run();
    }
    qtest_add_data_func("/netdev-handover/completed", NULL, test_completed);
    qtest_add_data_func("/netdev-handover/completed/return-path", "",
                        test_completed);
    qtest_add_func("/netdev-handover/groups", test_groups);
    qtest_add_func("/netdev-handover/own", test_own);
    qtest_add_data_func("/netdev-handover/link-down/netdev", "guest",
                        test_link_down);
    qtest_add_data_func("/netdev-handover/link-down/nic", "nic",
                        test_link_down);
    qtest_add_data_func("/netdev-handover/removed", NULL, test_removed);
    qtest_add_data_func("/netdev-handover/removed/before", "", test_removed);
    qtest_add_func("/netdev-handover/slow", test_slow);
    qtest_add_func("/netdev-handover/turn", test_turn);
    qtest_add_func("/netdev-handover/cancelled", test_cancelled);
    qtest_add_func("/netdev-handover/stopped", test_stopped);
    qtest_add_func("/netdev-handover/loadvm", test_loadvm);
    qtest_add_func("/netdev-handover/paused", test_paused);
    qtest_add_func("/netdev-handover/late", test_late);
    qtest_add_func("/netdev-handover/answered-early", test_answered_early);
    qtest_add_func("/netdev-handover/foreign-answer", test_foreign_answer);
    qtest_add_func("/netdev-handover/continued", test_continued);
    qtest_add_func("/netdev-handover/continued/slow", test_continued_slow);
    if (ufd_version_check(NULL)) {
        qtest_add_func("/netdev-handover/postcopy", test_postcopy);
    }
    return g_test_run();
}
