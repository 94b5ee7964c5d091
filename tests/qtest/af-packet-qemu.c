/*
 * QTest helpers: a QEMU with a chardev on a packet socket
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "af-packet-qemu.h"
#include "qapi/error.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"

#define IDLE_USEC (200 * 1000)
#define IDLE_TRIES 5

void fd_set_inherited(int fd)
{
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
}

/* --- QEMU, by QMP --- */

QTestState *qemu_start(const char *args)
{
    return qtest_initf("-nodefaults -machine none %s", args);
}

QTestState *qemu_start_elsewhere(const char *args)
{
    int netns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    QTestState *qts;

    g_assert_cmpint(netns, >=, 0);
    g_assert_cmpint(unshare(CLONE_NEWNET), ==, 0);
    qts = qemu_start(args);
    g_assert_cmpint(setns(netns, CLONE_NEWNET), ==, 0);
    close(netns);
    return qts;
}

void qemu_getfd(QTestState *qts, int fd)
{
    qemu_pass_fd(qts, "pkt-fd", fd);
}

char *chardev_option(int fd, const char *mode, const char *more)
{
    GString *option = g_string_new("-chardev socket,id=pkt");

    if (fd >= 0) {
        fd_set_inherited(fd);
        g_string_append_printf(option, ",fd=%d", fd);
    }
    if (mode) {
        g_string_append_printf(option, ",af-packet-mode=%s", mode);
    }
    g_string_append(option, more ?: "");
    return g_string_free(option, false);
}

QObject *chardev_data(const char *mode, const char *members)
{
    g_autofree char *json = g_strdup_printf("{ %s }", members);
    QObject *data = qobject_from_json(json, &error_abort);

    if (mode) {
        qdict_put_str(qobject_to(QDict, data), "af-packet-mode", mode);
    }
    return data;
}

QDict *chardev_add(QTestState *qts, QObject *data)
{
    return qtest_qmp(qts, "{ 'execute': 'chardev-add', 'arguments': {"
                     "    'id': 'pkt',"
                     "    'backend': { 'type': 'socket', 'data': %p } } }",
                     data);
}

QDict *chardev_add_client(QTestState *qts, int fd)
{
    qemu_getfd(qts, fd);
    return qtest_qmp(qts, "{ 'execute': 'add_client', 'arguments': {"
                     "    'protocol': 'pkt', 'fdname': 'pkt-fd' } }");
}

void chardev_remove(QTestState *qts)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'chardev-remove',"
                             "  'arguments': { 'id': 'pkt' } }");
}

char *chardev_filename(QTestState *qts)
{
    g_autoptr(QDict) rsp = qtest_qmp(qts, "{ 'execute': 'query-chardev' }");
    QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *info = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_str_equal(qdict_get_str(info, "label"), "pkt")) {
            return g_strdup(qdict_get_str(info, "filename"));
        }
    }
    return NULL;
}

void chardev_expect_filename(QTestState *qts, const char *expected)
{
    g_autofree char *filename = chardev_filename(qts);

    g_assert_cmpstr(filename, ==, expected);
}

bool chardev_is_connected(QTestState *qts)
{
    return chardev_connected(qts, "pkt");
}

void chardev_wait_disconnected(QTestState *qts)
{
    chardev_wait_connected(qts, "pkt", false);
}

uint64_t chardev_stat(QTestState *qts, const char *name)
{
    g_autoptr(QDict) stats = qtest_qmp_assert_success_ref(qts,
        "{ 'execute': 'qom-get', 'arguments': {"
        "    'path': '/chardevs/pkt', 'property': 'af-packet-stats' } }");

    return qdict_get_int(stats, name);
}

void chardev_wait_stat(QTestState *qts, const char *name, uint64_t value)
{
    const int64_t end = deadline();
    uint64_t now;

    while ((now = chardev_stat(qts, name)) != value) {
        g_assert_cmpuint(now, <, value);
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

void expect_words(const char *text, const char *const *words)
{
    for (; *words; words++) {
        g_test_message("looking for \"%s\" in \"%s\"", *words, text);
        g_assert_nonnull(strstr(text, *words));
    }
}

void qmp_expect_success(QDict *rsp)
{
    g_assert_null(qdict_get_qdict(rsp, "error"));
    qobject_unref(rsp);
}

void qmp_expect_error(QDict *rsp, const char *const *words)
{
    QDict *error = qdict_get_qdict(rsp, "error");

    g_assert_nonnull(error);
    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    expect_words(qdict_get_str(error, "desc"), words);
    qobject_unref(rsp);
}

/* --- QEMU, as a process --- */

/* The CPU time that QEMU has used, in microseconds */
static int64_t qemu_cpu_usec(QTestState *qts)
{
    struct timespec ts;
    clockid_t clock;

    g_assert_cmpint(clock_getcpuclockid(qtest_pid(qts), &clock), ==, 0);
    g_assert_cmpint(clock_gettime(clock, &ts), ==, 0);
    return ts.tv_sec * G_USEC_PER_SEC + ts.tv_nsec / 1000;
}

void qemu_expect_cpu_below(QTestState *qts, unsigned percent)
{
    int64_t usec;
    int tries = 0;

    /* QEMU handles pending events within one main loop iteration */
    qobject_unref(qtest_qmp(qts, "{ 'execute': 'query-status' }"));
    /* On slow machines, work after the answer takes time, too */
    do {
        g_assert_cmpint(++tries, <=, IDLE_TRIES);
        usec = qemu_cpu_usec(qts);
        g_usleep(IDLE_USEC);
    } while (qemu_cpu_usec(qts) - usec >= IDLE_USEC * percent / 100);
}

void qemu_expect_idle(QTestState *qts)
{
    qemu_expect_cpu_below(qts, 5);
}
