/*
 * Unit tests of the socket chardev's option 'af-packet-mode': connections
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Tests that need a real packet socket run in a network namespace of their own;
 * if this is not possible, they are skipped.
 */
#include "qemu/osdep.h"
#include "qemu/config-file.h"
#include "qemu/lockable.h"
#include "qemu/sockets.h"
#include "qom/qom-qobject.h"
#include "system/system.h"
#include "char-socket-af-packet-rig.h"

static void do_test_accepted(Chardev *chr, int fd, int mode, int n_fds)
{
    g_autofree char *filename =
        g_strdup_printf("af-packet:lo,mode=%s",
                        ChardevSocketAfPacketMode_str(mode));

    g_assert_nonnull(chr);
    g_assert_true(is_connected(chr));
    g_assert_cmpstr(chr->filename, ==, filename);
    g_assert_cmpuint(get_stat(chr, "frames"), ==, 0);
    g_assert_cmpuint(get_stat(chr, "queue-max-bytes"), ==, 0);
    g_assert_cmpint(count_yank_instances(), ==, 1);
    qmp_chardev_remove(ID, &error_abort);
    g_assert_false(fd_is_open(fd));
    assert_nothing_left(n_fds);
}

static void test_accepted(void)
{
    int mode;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        g_autofree char *options =
            g_strdup_printf("af-packet-mode=%s,telnet=off",
                            ChardevSocketAfPacketMode_str(mode));
        int n_fds = count_fds(getpid()), fd = open_good();

        do_test_accepted(add_by_qmp(fd, mode, &error_abort), fd, mode,
                         n_fds);
        fd = open_good();
        do_test_accepted(add_by_options(options, fd, &error_abort), fd, mode,
                         n_fds);
    }
}

/* Inject mode accepts sockets with protocol 0, which are recommended. */
static void test_accepted_deaf(void)
{
    int n_fds = count_fds(getpid()), fd = open_protocol_0();

    do_test_accepted(add_by_qmp(fd, INJECT, &error_abort), fd, INJECT,
                     n_fds);
}

/* Other socket chardevs have no counters. */
static void test_stats_elsewhere(void)
{
    int peer, fd = open_unix(&peer);
    Chardev *chr = add_by_qmp(fd, -1, &error_abort);
    Error *err = NULL;

    g_assert_null(object_property_get_qobject(OBJECT(chr), "af-packet-stats",
                                              &err));
    g_assert_nonnull(err);
    g_assert_nonnull(strstr(error_get_pretty(err), "'" ID "'"));
    g_assert_nonnull(strstr(error_get_pretty(err), "'af-packet-mode'"));
    error_free(err);
    qmp_chardev_remove(ID, &error_abort);
    close(peer);
}

/* query-chardev does not wait for a write that blocks. */
static void test_filename_elsewhere(void)
{
    int peer, fd = open_unix(&peer);
    Chardev *chr = add_by_qmp(fd, -1, &error_abort);

    WITH_QEMU_LOCK_GUARD(&chr->chr_write_lock) {
        qapi_free_ChardevInfoList(qmp_query_chardev(&error_abort));
    }
    qmp_chardev_remove(ID, &error_abort);
    close(peer);
}

/* Whether a frontend handles the end of the connection */
typedef struct EndCase {
    const char *name;
    int room;                /* -1: no frontend */
} EndCase;

static const EndCase end_cases[] = {
    { "no-frontend", -1 },
    { "full-frontend", 0 },
    { "tiny-frontend", 1 },
    { "frontend", 4096 },
};

/* End the connection of @chr in @mode; @room as in EndCase. */
static void do_test_end(Chardev *chr, int mode, int room)
{
    Frontend f;

    if (room >= 0) {
        frontend_init(&f, chr, room);
    }
    if (mode == INJECT) {
        write_nonsense(chr);
    } else {
        link_remove(IFNAME);
    }
    wait_disconnected(chr);
    g_assert_true(g_str_has_prefix(chr->filename, "disconnected:"));
    if (room >= 0) {
        g_assert_cmpint(f.events[CHR_EVENT_OPENED], ==, 1);
        g_assert_cmpint(f.events[CHR_EVENT_CLOSED], ==, 1);
        qemu_chr_fe_deinit(&f.be, false);
    }
}

static void test_end(const void *opaque)
{
    const EndCase *c = opaque;
    int mode;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        int n_fds = count_fds(getpid()), fd;
        Chardev *chr;

        veth_add(IFNAME, PEER);
        fd = packet_open(IFNAME, TEST_ETHERTYPE);
        chr = add_by_qmp(fd, mode, &error_abort);
        do_test_end(chr, mode, c->room);
        g_assert_false(fd_is_open(fd));
        if (mode == INJECT) {
            link_remove(IFNAME);
        }
        qmp_chardev_remove(ID, &error_abort);
        assert_nothing_left(n_fds);
    }
}

/* Another file may have reused the number of the fd. */
static void do_test_fd_reused(int mode)
{
    int n_fds = count_fds(getpid()), fd, peer, other;
    Chardev *chr = NULL;
    Error *err = NULL;

    if (mode < 0) {
        fd = open_unix(&peer);
        chr = add_by_qmp(fd, mode, &error_abort);
        close(peer);
    } else {
        fd = open_good();
        chr = add_by_qmp(fd, mode, &error_abort);
        qemu_chr_fe_disconnect(&(CharBackend) { .chr = chr });
    }
    wait_disconnected(chr);
    g_assert_false(fd_is_open(fd));

    other = open_unix(&peer);
    g_assert_cmpint(dup2(other, fd), ==, fd);
    g_assert_cmpint(qemu_chr_wait_connected(chr, &err), <, 0);
    g_assert_nonnull(strstr(error_get_pretty(err), "add_client"));
    error_free(err);
    g_assert_false(is_connected(chr));
    g_assert_true(fd_is_open(fd));
    qmp_chardev_remove(ID, &error_abort);
    g_assert_true(fd_is_open(fd));
    g_assert_cmpint(write(peer, "", 1), ==, 1);

    if (fd != other) {
        close(fd);
    }
    close(other);
    close(peer);
    assert_nothing_left(n_fds);
}

static void test_fd_reused_plain(void)
{
    do_test_fd_reused(-1);
}

static void test_fd_reused(void)
{
    do_test_fd_reused(CAPTURE);
    do_test_fd_reused(INJECT);
}

/* Counters accumulate over connections. */
static void test_totals(void)
{
    /* A frame that nobody receives, and half of another */
    static const uint8_t record[] = {
        0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0xb5,
        0, 0, 0, 14, 0, 0,
    };
    Chardev *chr;
    int i;

    chr = add_by_qmp(open_good(), INJECT, &error_abort);
    for (i = 1; i <= 3; i++) {
        g_assert_cmpint(qemu_chr_write_all(chr, record, sizeof(record)), ==,
                        sizeof(record));
        g_assert_cmpuint(get_stat(chr, "frames"), ==, i);
        qemu_chr_fe_disconnect(&(CharBackend) { .chr = chr });
        g_assert_false(is_connected(chr));
        g_assert_cmpuint(get_stat(chr, "frames"), ==, i);
        g_assert_cmpuint(get_stat(chr, "bytes"), ==, 14 * i);
        g_assert_cmpuint(get_stat(chr, "dropped-detach"), ==, i);
        g_assert_cmpint(qemu_chr_add_client(chr, open_good(),
                                            &error_abort), ==, 0);
    }
    qmp_chardev_remove(ID, &error_abort);
}

/*
 * A frontend that removes itself and the chardev
 */

typedef struct Remover {
    CharBackend be;
    bool when_read;          /* otherwise when the connection is closed */
    int removed;
} Remover;

static void remover_remove(Remover *r)
{
    qemu_chr_fe_deinit(&r->be, false);
    qmp_chardev_remove(ID, &error_abort);
    r->removed++;
}

static int remover_can_read(void *opaque)
{
    return ((Remover *)opaque)->when_read;
}

static void remover_read(void *opaque, const uint8_t *buf, int size)
{
    remover_remove(opaque);
}

static void remover_event(void *opaque, QEMUChrEvent event)
{
    Remover *r = opaque;

    if (event == CHR_EVENT_CLOSED && !r->when_read) {
        remover_remove(r);
    }
}

static void remover_init(Remover *r, Chardev *chr, bool when_read)
{
    *r = (Remover) { .when_read = when_read };
    qemu_chr_fe_init(&r->be, chr, &error_abort);
    qemu_chr_fe_set_handlers(&r->be, remover_can_read, remover_read,
                             remover_event, NULL, r, NULL, true);
}

static void remover_wait(Remover *r)
{
    int64_t end = deadline_in(DEADLINE);

    while (!r->removed) {
        g_assert_true(main_loop_step(end));
    }
    g_assert_cmpint(r->removed, ==, 1);
}

/* The context of the removal */
enum { REMOVE_IN_READ, REMOVE_IN_HANGUP, REMOVE_IN_WRITE };

static void do_test_remove(Remover *r, Chardev *chr, int when)
{
    int tx = packet_endpoint(PEER, 0);
    uint8_t frame[60] = { [12] = TEST_ETHERTYPE >> 8, TEST_ETHERTYPE & 0xff };

    remover_init(r, chr, when == REMOVE_IN_READ);
    switch (when) {
    case REMOVE_IN_READ:
        g_assert_cmpint(send(tx, frame, sizeof(frame), 0), ==, sizeof(frame));
        remover_wait(r);
        link_remove(IFNAME);
        break;
    case REMOVE_IN_HANGUP:
        link_remove(IFNAME);
        remover_wait(r);
        break;
    case REMOVE_IN_WRITE:
        write_nonsense(chr); /* ends the channel; the next write fails */
        write_nonsense(chr);
        g_assert_cmpint(r->removed, ==, 1);
        link_remove(IFNAME);
        break;
    }
    close(tx);
}

static void test_remove(const void *opaque)
{
    int when = GPOINTER_TO_INT(opaque), mode;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        int n_fds = count_fds(getpid());
        Chardev *chr;
        Remover r;

        if ((when == REMOVE_IN_READ && mode != CAPTURE) ||
            (when == REMOVE_IN_WRITE && mode != INJECT)) {
            continue;
        }
        veth_add(IFNAME, PEER);
        chr = add_by_qmp(packet_open(IFNAME, TEST_ETHERTYPE), mode,
                         &error_abort);
        do_test_remove(&r, chr, when);
        assert_nothing_left(n_fds);
    }
}

/*
 * A frontend that is replaced in the middle of a record
 */

#define RECORD_LEN (4 + 60)

/* Reads a limited number of bytes. */
typedef struct Reader {
    CharBackend be;
    size_t want, have;
    uint8_t buf[2 * RECORD_LEN];
} Reader;

static int reader_can_read(void *opaque)
{
    Reader *r = opaque;

    return r->want - r->have;
}

static void reader_read(void *opaque, const uint8_t *buf, int size)
{
    Reader *r = opaque;

    g_assert_cmpint(size, <=, r->want - r->have);
    memcpy(r->buf + r->have, buf, size);
    r->have += size;
}

static void reader_run(Reader *r, Chardev *chr, size_t want)
{
    int64_t end = deadline_in(DEADLINE);

    *r = (Reader) { .want = want };
    qemu_chr_fe_init(&r->be, chr, &error_abort);
    qemu_chr_fe_set_handlers(&r->be, reader_can_read, reader_read, NULL,
                             NULL, r, NULL, true);
    while (r->have < want) {
        g_assert_true(main_loop_step(end));
    }
    qemu_chr_fe_deinit(&r->be, false);
}

/* Write the record of a frame that contains @mark. */
static void put_record(uint8_t *record, uint8_t mark)
{
    static const uint8_t head[] = { 0, 0, 0, 60 };

    memcpy(record, head, sizeof(head));
    memset(record + sizeof(head), mark, 60);
    record[4 + 12] = TEST_ETHERTYPE >> 8;
    record[4 + 13] = TEST_ETHERTYPE & 0xff;
}

/* The rest of a record is dropped, and the next one is whole. */
static void test_replaced_reader(void)
{
    uint8_t record[RECORD_LEN];
    size_t want;
    Chardev *chr;
    Reader r;
    int tx;

    veth_add(IFNAME, PEER);
    tx = packet_endpoint(PEER, 0);
    chr = add_by_qmp(packet_open(IFNAME, TEST_ETHERTYPE), CAPTURE,
                     &error_abort);
    for (want = 1; want < RECORD_LEN; want += 9) {
        put_record(record, 0);
        g_assert_cmpint(send(tx, record + 4, 60, 0), ==, 60);
        reader_run(&r, chr, want);
        g_assert_cmpmem(r.buf, r.have, record, want);

        put_record(record, want);
        g_assert_cmpint(send(tx, record + 4, 60, 0), ==, 60);
        reader_run(&r, chr, RECORD_LEN);
        g_assert_cmpmem(r.buf, r.have, record, RECORD_LEN);
    }
    g_assert_cmpuint(get_stat(chr, "dropped-detach"), ==, 7);
    g_assert_cmpuint(get_stat(chr, "frames"), ==, 7);
    qmp_chardev_remove(ID, &error_abort);
    close(tx);
    link_remove(IFNAME);
}

/* Half a record of one writer is not continued by the next one. */
static void test_replaced_writer(void)
{
    uint8_t record[RECORD_LEN], frame[RECORD_LEN];
    Chardev *chr;
    CharBackend be;
    size_t len;
    int rx;

    veth_add(IFNAME, PEER);
    rx = packet_endpoint(PEER, TEST_ETHERTYPE);
    chr = add_by_qmp(packet_open(IFNAME, 0), INJECT, &error_abort);
    for (len = 1; len < RECORD_LEN; len += 9) {
        put_record(record, 0);
        qemu_chr_fe_init(&be, chr, &error_abort);
        g_assert_cmpint(qemu_chr_fe_write_all(&be, record, len), ==, len);
        qemu_chr_fe_deinit(&be, false);

        put_record(record, len);
        qemu_chr_fe_init(&be, chr, &error_abort);
        g_assert_cmpint(qemu_chr_fe_write_all(&be, record, RECORD_LEN), ==,
                        RECORD_LEN);
        qemu_chr_fe_deinit(&be, false);
        g_assert_cmpint(recv(rx, frame, sizeof(frame), 0), ==, 60);
        g_assert_cmpmem(frame, 60, record + 4, 60);
    }
    g_assert_cmpuint(get_stat(chr, "dropped-detach"), ==, 7);
    g_assert_cmpuint(get_stat(chr, "frames"), ==, 7);
    qmp_chardev_remove(ID, &error_abort);
    close(rx);
    link_remove(IFNAME);
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/char-socket-af-packet");
    qemu_add_opts(&qemu_chardev_opts);

    SUITE_ADD_TABLE("end", end_cases, test_end);
    suite_add("accepted/any", test_accepted);
    suite_add("accepted/deaf", test_accepted_deaf);
    suite_add("fd/reused", test_fd_reused);
    suite_add_data("remove/in-read", GINT_TO_POINTER(REMOVE_IN_READ),
                   test_remove);
    suite_add_data("remove/in-hangup", GINT_TO_POINTER(REMOVE_IN_HANGUP),
                   test_remove);
    suite_add_data("remove/in-write", GINT_TO_POINTER(REMOVE_IN_WRITE),
                   test_remove);
    suite_add("replaced/reader", test_replaced_reader);
    suite_add("replaced/writer", test_replaced_writer);
    suite_add("stats/totals", test_totals);
    suite_set_needs_netns(false);
    suite_add("fd/reused-plain", test_fd_reused_plain);
    suite_add("stats/elsewhere", test_stats_elsewhere);
    suite_add("filename/elsewhere", test_filename_elsewhere);
    return g_test_run();
}
