/*
 * QTest testcase for the af-packet-mode option: leaks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * In a QEMU that runs for long, chardevs come and go, and so do interfaces
 * under them.  After a thousand times there must be as many descriptors and
 * as much memory as there was after a few.
 *
 * What a chardev itself leaves behind, test-char-socket-af-packet tells more
 * exactly, with the sources of the main loop; here are QEMU's monitor and the
 * filters as well.
 */

#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include "qemu/units.h"
#include "af-packet-relay.h"

#define CYCLES 1000
#define RECONNECT_CYCLES 500        /* in each mode: interfaces take time */
#define FIRST_CYCLES 100            /* what they leave in caches stays there */
#define ROUNDS 4                    /* that the cycles come in */

/* Less than the least that malloc() takes, 32 bytes */
#define SLACK 24                    /* bytes per cycle */

typedef struct Footprint {
    unsigned fds;
    long rss_kib;
} Footprint;

static unsigned count_fds(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        count++;
    }
    g_dir_close(dir);
    return count;
}

/* Memory of its own that the process has touched */
static long count_rss(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", pid);
    g_autofree char *status = NULL;
    const char *line;

    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    line = strstr(status, "RssAnon:");
    g_assert_nonnull(line);
    return atol(line + strlen("RssAnon:"));
}

static Footprint footprint(Relay *relay)
{
    pid_t pid = qtest_pid(relay->qts);

    return (Footprint) { count_fds(pid), count_rss(pid) };
}

static void repeat(Relay *relay, void (*cycle)(Relay *), int cycles)
{
    while (cycles--) {
        cycle(relay);
    }
}

/*
 * Run @cycle many times, and check that nothing stays from one to the next.
 * What leaks takes memory in most rounds; malloc() touches some more of it now
 * and then.
 */
static void check_leaks(Relay *relay, void (*cycle)(Relay *), int cycles)
{
    Footprint before, after;
    int round, n_grown = 0;

    repeat(relay, cycle, FIRST_CYCLES);
    before = footprint(relay);
    for (round = 0; round < ROUNDS; round++) {
        repeat(relay, cycle, cycles / ROUNDS);
        after = footprint(relay);
        g_test_message("%d cycles: %u to %u fds, %ld to %ld KiB",
                       cycles / ROUNDS, before.fds, after.fds,
                       before.rss_kib, after.rss_kib);
        g_assert_cmpuint(after.fds, ==, before.fds);
        n_grown += (after.rss_kib - before.rss_kib) * KiB >
                   cycles / ROUNDS * SLACK;
        before = after;
    }
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed, and looks itself */
    g_assert_cmpint(n_grown, <=, ROUNDS / 2);
#endif
}

/* Add the chardev and its filters, pass a frame, remove them */
static void cycle_add(Relay *relay)
{
    qemu_getfd(relay->qts, packet_open(QEMU_IF, ETH_P_ALL));
    qmp_expect_success(chardev_add(relay->qts,
                                   chardev_data(relay->mode, QMP_CLIENT)));
    relay_attach(relay);
    relay_check(relay, 1);
    relay_detach(relay);
    chardev_remove(relay->qts);
}

static void test_add(const void *mode)
{
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    relay_start(&relay, mode, "");
    check_leaks(&relay, cycle_add, CYCLES);
    relay_stop(&relay);
    link_remove(QEMU_IF);
}

/* Pass a frame, remove the interface, go on with another */
static void cycle_reconnect(Relay *relay)
{
    relay_check(relay, 1);
    link_remove(QEMU_IF);
    chardev_wait_disconnected(relay->qts);
    veth_add(QEMU_IF, TEST_IF);
    qmp_expect_success(chardev_add_client(relay->qts,
                                          packet_open(QEMU_IF, ETH_P_ALL)));
}

static void test_reconnect(const void *mode)
{
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_inherited(&relay, mode, packet_open(QEMU_IF, ETH_P_ALL));
    relay_attach(&relay);
    check_leaks(&relay, cycle_reconnect, RECONNECT_CYCLES);
    relay_stop(&relay);
    link_remove(QEMU_IF);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = { "capture", "inject" };
    int i;

    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    for (i = 0; i < ARRAY_SIZE(modes); i++) {
        g_autofree char *add = g_strdup_printf("/af-packet-leak/add/%s",
                                               modes[i]);
        g_autofree char *reconnect =
            g_strdup_printf("/af-packet-leak/reconnect/%s", modes[i]);

        qtest_add_data_func(add, modes[i], test_add);
        qtest_add_data_func(reconnect, modes[i], test_reconnect);
    }
    return g_test_run();
}
