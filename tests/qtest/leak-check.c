/*
 * QTest helper: check for leaks over many cycles
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qemu/units.h"
#include "../unit/af-packet-helpers.h"
#include "leak-check.h"

#define FIRST_CYCLES 100            /* to fill caches */
#define ROUNDS 4                    /* that the cycles are divided into */

/* Less than the minimum size of a malloc() block, 32 bytes */
#define SLACK 24                    /* bytes per cycle */

typedef struct Footprint {
    unsigned fds;
    long rss_kib;
} Footprint;

/* Returns: private memory that the process has touched, in KiB */
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

static Footprint footprint(QTestState *qts)
{
    pid_t pid = qtest_pid(qts);

    return (Footprint) { count_fds(pid), count_rss(pid) };
}

static void repeat(void (*cycle)(void *opaque), void *opaque, int cycles)
{
    while (cycles--) {
        cycle(opaque);
    }
}

/*
 * A leak grows memory in most rounds; malloc() touches more memory only from
 * time to time.
 */
void leak_check(QTestState *qts, void (*cycle)(void *opaque), void *opaque,
                int cycles)
{
    Footprint before, after;
    int round, n_grown = 0;

    repeat(cycle, opaque, FIRST_CYCLES);
    before = footprint(qts);
    for (round = 0; round < ROUNDS; round++) {
        repeat(cycle, opaque, cycles / ROUNDS);
        after = footprint(qts);
        g_test_message("%d cycles: %u to %u fds, %ld to %ld KiB",
                       cycles / ROUNDS, before.fds, after.fds,
                       before.rss_kib, after.rss_kib);
        g_assert_cmpuint(after.fds, ==, before.fds);
        n_grown += (after.rss_kib - before.rss_kib) * KiB >
                   cycles / ROUNDS * SLACK;
        before = after;
    }
#ifndef __SANITIZE_ADDRESS__ /* which keeps freed memory, and checks itself */
    g_assert_cmpint(n_grown, <=, ROUNDS / 2);
#endif
}
