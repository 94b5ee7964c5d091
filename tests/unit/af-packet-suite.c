/*
 * Test helpers: test cases that need a network namespace, and a main loop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/sockets.h"
#include "af-packet-helpers.h"
#include "af-packet-suite.h"

static const char *suite_path;
static const char *skip_reason;
static bool needs_netns = true;

void suite_init(int *argc, char ***argv, const char *path)
{
    signal(SIGPIPE, SIG_IGN);
    suite_path = path;
    skip_reason = netns_skip_reason();
    qemu_init_main_loop(&error_abort);
    socket_init();
    g_test_init(argc, argv, NULL);
    module_call_init(MODULE_INIT_QOM);
}

bool suite_has_netns(void)
{
    return !skip_reason;
}

void suite_set_needs_netns(bool needs)
{
    needs_netns = needs;
}

static void skip(const void *opaque)
{
    g_test_skip(skip_reason);
}

static void call(const void *opaque)
{
    ((GTestFunc)opaque)();
}

void suite_add(const char *name, GTestFunc func)
{
    suite_add_data(name, func, call);
}

void suite_add_data(const char *name, const void *data, GTestDataFunc func)
{
    g_autofree char *path = g_strdup_printf("%s/%s", suite_path, name);

    g_test_add_data_func(path, data, needs_netns && skip_reason ? skip : func);
}

void suite_add_rows(const char *group, const void *rows, size_t size, size_t n,
                    GTestDataFunc func)
{
    const char *row;

    for (row = rows; n--; row += size) {
        g_autofree char *name = g_strdup_printf("%s/%s", group,
                                                *(const char *const *)row);

        suite_add_data(name, row, func);
    }
}

void assert_words(const char *message, const char *const *words)
{
    int i;

    for (i = 0; i < WORDS_MAX && words[i]; i++) {
        if (!strstr(message, words[i])) {
            g_test_message("\"%s\" is not in: %s", words[i], message);
            g_test_fail();
        }
    }
}

int64_t deadline_in(int64_t usec)
{
    return g_get_monotonic_time() + usec;
}

static gboolean on_tick(gpointer opaque)
{
    return G_SOURCE_CONTINUE;
}

bool main_loop_step(int64_t end)
{
    guint tick = g_timeout_add(10, on_tick, NULL);

    g_main_context_iteration(NULL, true);
    g_source_remove(tick);
    return g_get_monotonic_time() < end;
}
