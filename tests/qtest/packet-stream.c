/*
 * QTest helpers: packet streams to and from chardevs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "packet-stream.h"
#include "qemu/bswap.h"
#include "qemu/sockets.h"
#include "qobject/qdict.h"

int64_t deadline(void)
{
    return g_get_monotonic_time() + DEADLINE_SEC * G_TIME_SPAN_SECOND;
}

/* --- Sockets --- */

void fd_set_deadline(int fd)
{
    const struct timeval tv = { .tv_sec = DEADLINE_SEC };

    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO,
                               &tv, sizeof(tv)), ==, 0);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO,
                               &tv, sizeof(tv)), ==, 0);
}

int pair_create(int *theirs)
{
    int fds[2];

    g_assert_cmpint(qemu_socketpair(PF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    g_assert_cmpint(fcntl(fds[1], F_SETFD, 0), ==, 0);
    fd_set_deadline(fds[0]);
    *theirs = fds[1];
    return fds[0];
}

int small_pair_create(int *theirs)
{
    int fd = pair_create(theirs), least = 1;

    g_assert_cmpint(setsockopt(*theirs, SOL_SOCKET, SO_SNDBUF,
                               &least, sizeof(least)), ==, 0);
    return fd;
}

/* --- QEMU --- */

bool chardev_connected(QTestState *qts, const char *id)
{
    g_autofree char *path = g_strdup_printf("/chardevs/%s", id);

    return qtest_qom_get_bool(qts, path, "connected");
}

void chardev_wait_connected(QTestState *qts, const char *id, bool connected)
{
    const int64_t end = deadline();

    while (chardev_connected(qts, id) != connected) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

void qemu_pass_fd(QTestState *qts, const char *name, int fd)
{
    qtest_qmp_fds_assert_success(qts, &fd, 1, "{'execute': 'getfd', "
                                 "'arguments': {'fdname': %s}}", name);
    close(fd);
}

void chardev_connect(QTestState *qts, const char *id, int fd)
{
    qemu_pass_fd(qts, "new", fd);
    qtest_qmp_assert_success(qts, "{'execute': 'add_client', 'arguments': {"
                             "'protocol': %s, 'fdname': 'new'}}", id);
}

uint64_t filter_dropped(QTestState *qts)
{
    QDict *reply = qtest_qmp(qts, "{'execute': 'qom-get', 'arguments': {"
                             "'path': '/objects/f0', "
                             "'property': 'dropped-packets'}}");
    uint64_t n;

    g_assert(qdict_haskey(reply, "return"));
    n = qdict_get_int(reply, "return");
    qobject_unref(reply);
    return n;
}

void qemu_expect_prompt(QTestState *qts)
{
    int64_t start = g_get_monotonic_time();

    qtest_qmp_assert_success(qts, "{'execute': 'query-status'}");
    g_assert_cmpint(g_get_monotonic_time() - start, <, G_USEC_PER_SEC);
}

unsigned count_in_text(const char *text, const char *what)
{
    unsigned count = 0;

    g_test_message("looking for \"%s\" in \"%s\"", what, text);
    while ((text = strstr(text, what))) {
        text += strlen(what);
        count++;
    }
    return count;
}

unsigned count_in_file(const char *path, const char *what)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return count_in_text(text, what);
}

/* --- Records --- */

void packet_record_fill(uint8_t *record, size_t len, uint32_t seq)
{
    size_t i;

    stl_be_p(record, len);
    stl_be_p(record + HEAD_LEN, seq);
    for (i = 2 * sizeof(uint32_t); i < HEAD_LEN + len; i++) {
        record[i] = seq * 31 + i;
    }
}

void packet_records_send(int fd, size_t len, uint32_t first, uint32_t n)
{
    g_autofree uint8_t *record = g_malloc(HEAD_LEN + len);
    uint32_t seq;

    for (seq = first; seq < first + n; seq++) {
        packet_record_fill(record, len, seq);
        g_assert_cmpint(send(fd, record, HEAD_LEN + len, 0), ==,
                        HEAD_LEN + len);
    }
}

uint32_t packet_record_receive(int fd, size_t len)
{
    g_autofree uint8_t *record = g_malloc(HEAD_LEN + len);
    g_autofree uint8_t *expected = g_malloc(HEAD_LEN + len);
    uint32_t seq;

    g_assert_cmpint(recv(fd, record, HEAD_LEN + len, MSG_WAITALL), ==,
                    HEAD_LEN + len);
    seq = ldl_be_p(record + HEAD_LEN);
    packet_record_fill(expected, len, seq);
    g_assert_cmpmem(record, HEAD_LEN + len, expected, HEAD_LEN + len);
    return seq;
}

/* --- Registration --- */

void add_rows(const char *group, const TestRow *rows, size_t n,
              const char *suffix, const void *opaque)
{
    size_t i;

    for (i = 0; i < n; i++) {
        g_autofree char *path = g_strdup_printf("/%s/%s%s", group,
                                                rows[i].name, suffix);

        qtest_add_data_func(path, opaque, rows[i].func);
    }
}
