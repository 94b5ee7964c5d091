/*
 * QTest testcase for the af-packet-mode option of socket chardevs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Everything happens in a network namespace of the test's own.  There is no
 * guest: two filters on a hub port carry the records between the chardev
 * under test, "pkt", and "rec", a socket pair that the test holds the other
 * end of.
 *
 * capture: a frame sent on veth1 becomes a record
 *
 * test side             | qemu side
 *                       |
 * +-------+  +-------+  |  +-------+  +---------+  +--------+
 * | frame +--> veth1 +-----> veth0 +--> chardev +--> filter |
 * +-------+  +-------+  |  +-------+  |   pkt   |  |   in   |
 *                       |             +---------+  +---+----+
 *                       |                              |
 * +--------+            |             +---------+  +---v----+
 * | record <--------------------------+ chardev <--+ filter |
 * +--------+            |             |   rec   |  |  out   |
 *                       |             +---------+  +--------+
 *
 * inject: a record becomes a frame received on veth1
 *
 * test side             | qemu side
 *                       |
 * +--------+            |             +---------+  +--------+
 * | record +--------------------------> chardev +--> filter |
 * +--------+            |             |   rec   |  |   in   |
 *                       |             +---------+  +---+----+
 *                       |                              |
 * +-------+  +-------+  |  +-------+  +---------+  +---v----+
 * | frame <--+ veth1 <-----+ veth0 <--+ chardev <--+ filter |
 * +-------+  +-------+  |  +-------+  |   pkt   |  |  out   |
 *                       |             +---------+  +--------+
 */

#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/wait.h>
#include "../unit/af-packet-helpers.h"
#include "libqtest.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "qemu/units.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"

#define QEMU_IF "veth0"     /* the end that QEMU's socket is bound to */
#define TEST_IF "veth1"     /* the end that the test sends and receives on */

#define FRAME_MIN 14
#define FRAME_MAX 1514
#define RECORD_HEADER sizeof(uint32_t)
#define RECORD_MAX 69632            /* NET_BUFSIZE */

#define MANY_FRAMES 10000
#define FEW_FRAMES 100
#define WINDOW 64                   /* frames that fit any socket buffer */

#define DEADLINE_SEC 10             /* for anything that has to happen */

/* --- Sockets --- */

/* Make blocking calls on @fd fail when nothing happens for too long */
static void fd_set_deadline(int fd)
{
    const struct timeval tv = { .tv_sec = DEADLINE_SEC };

    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)),
                    ==, 0);
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)),
                    ==, 0);
}

/* Let the QEMU that is started next inherit @fd */
static void fd_set_inherited(int fd)
{
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
}

/* --- Frames and records --- */

/* Length of frame number @seq: neighbours differ, 1501 frames have them all */
static size_t frame_len(uint32_t seq)
{
    return FRAME_MIN + (uint64_t)seq * 691 % (FRAME_MAX - FRAME_MIN + 1);
}

/* Write frame number @seq, which its source address tells, to @frame */
static size_t frame_fill(uint8_t *frame, uint32_t seq)
{
    size_t i, len = frame_len(seq);

    memset(frame, 0xff, ETH_ALEN);
    stw_be_p(frame + ETH_ALEN, 0x0200);
    stl_be_p(frame + ETH_ALEN + 2, seq);
    stw_be_p(frame + 2 * ETH_ALEN, TEST_ETHERTYPE);
    for (i = ETH_HLEN; i < len; i++) {
        frame[i] = seq * 31 + i * 7;
    }
    return len;
}

/* Write the record of frame number @seq to @record */
static size_t record_fill(uint8_t *record, uint32_t seq)
{
    size_t len = frame_fill(record + RECORD_HEADER, seq);

    stl_be_p(record, len);
    return RECORD_HEADER + len;
}

/* Check that @frame is frame number @seq, to the byte */
static void frame_check(const uint8_t *frame, size_t len, uint32_t seq)
{
    uint8_t expected[FRAME_MAX];

    g_assert_cmpuint(ldl_be_p(frame + ETH_ALEN + 2), ==, seq);
    g_assert_cmpmem(frame, len, expected,
                    frame_fill(expected, seq));
}

/* Send frame number @seq */
static void frame_send(int fd, uint32_t seq)
{
    uint8_t frame[FRAME_MAX];
    size_t len = frame_fill(frame, seq);

    g_assert_cmpint(send(fd, frame, len, 0), ==, len);
}

/* Receive a frame and check that it is number @seq */
static void frame_expect(int fd, uint32_t seq)
{
    uint8_t frame[FRAME_MAX + 1];
    ssize_t len = recv(fd, frame, sizeof(frame), 0);

    g_assert_cmpint(len, >=, FRAME_MIN);
    frame_check(frame, len, seq);
}

/* Take exactly @len bytes from where records come out */
typedef void RecordReadFunc(void *opaque, uint8_t *buf, size_t len);

/* RecordReadFunc: from the socket that @opaque points to */
static void record_read_socket(void *opaque, uint8_t *buf, size_t len)
{
    int *fd = opaque;

    g_assert_cmpint(recv(*fd, buf, len, MSG_WAITALL), ==, len);
}

/* Read a record.  Returns: the length of its frame */
static size_t record_read(RecordReadFunc *read_func, void *opaque,
                          uint8_t *frame)
{
    uint8_t header[RECORD_HEADER];
    size_t len;

    read_func(opaque, header, sizeof(header));
    len = ldl_be_p(header);
    g_assert_cmpuint(len, >=, FRAME_MIN);
    g_assert_cmpuint(len, <=, RECORD_MAX);
    read_func(opaque, frame, len);
    return len;
}

/* Read records up to one of ours, and check that it is number @seq */
static void record_expect(RecordReadFunc *read_func, void *opaque,
                          uint32_t seq)
{
    uint8_t frame[RECORD_MAX];
    size_t len;

    do {
        len = record_read(read_func, opaque, frame);
    } while (lduw_be_p(frame + 2 * ETH_ALEN) != TEST_ETHERTYPE);
    frame_check(frame, len, seq);
}

/* --- QEMU, by QMP --- */

/* Members of ChardevSocket: the fd that qemu_getfd() passes as "pkt-fd" */
#define QMP_FD "'addr': { 'type': 'fd', 'data': { 'str': 'pkt-fd' } }"
#define QMP_CLIENT QMP_FD ", 'server': false"

/* Start QEMU with nothing in it but @args */
static QTestState *qemu_start(const char *args)
{
    return qtest_initf("-nodefaults -machine none %s", args);
}

/* Pass @fd to QEMU as "pkt-fd", and close it here */
static void qemu_getfd(QTestState *qts, int fd)
{
    qtest_qmp_fds_assert_success(qts, &fd, 1,
                                 "{ 'execute': 'getfd',"
                                 "  'arguments': { 'fdname': 'pkt-fd' } }");
    close(fd);
}

/*
 * The -chardev option of "pkt", for the QEMU that is started next and
 * inherits @fd.  @fd may be -1, @mode and @more NULL.
 */
static char *chardev_option(int fd, const char *mode, const char *more)
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

/* The ChardevSocket of "pkt" with the JSON @members; @mode may be NULL */
static QObject *chardev_data(const char *mode, const char *members)
{
    g_autofree char *json = g_strdup_printf("{ %s }", members);
    QObject *data = qobject_from_json(json, &error_abort);

    if (mode) {
        qdict_put_str(qobject_to(QDict, data), "af-packet-mode", mode);
    }
    return data;
}

/* chardev-add of @data, a ChardevSocket, as "pkt".  Returns: the response */
static QDict *chardev_add(QTestState *qts, QObject *data)
{
    return qtest_qmp(qts, "{ 'execute': 'chardev-add', 'arguments': {"
                     "    'id': 'pkt',"
                     "    'backend': { 'type': 'socket', 'data': %p } } }",
                     data);
}

/* add_client of @fd to "pkt".  Returns: the response */
static QDict *chardev_add_client(QTestState *qts, int fd)
{
    qemu_getfd(qts, fd);
    return qtest_qmp(qts, "{ 'execute': 'add_client', 'arguments': {"
                     "    'protocol': 'pkt', 'fdname': 'pkt-fd' } }");
}

/* The filename of chardev "pkt", or NULL if there is no such chardev */
static char *chardev_filename(QTestState *qts)
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

/* Check the filename of chardev "pkt" */
static void chardev_expect_filename(QTestState *qts, const char *expected)
{
    g_autofree char *filename = chardev_filename(qts);

    g_assert_cmpstr(filename, ==, expected);
}

/* Whether chardev "pkt" can be yanked */
static bool chardev_has_yank(QTestState *qts)
{
    g_autoptr(QDict) rsp = qtest_qmp(qts, "{ 'execute': 'query-yank' }");
    QListEntry *entry;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *instance = qobject_to(QDict, qlist_entry_obj(entry));

        if (g_strcmp0(qdict_get_try_str(instance, "id"), "pkt") == 0) {
            return true;
        }
    }
    return false;
}

/* Wait until chardev "pkt" has lost its connection */
static void chardev_wait_disconnected(QTestState *qts)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;

    while (qtest_qom_get_bool(qts, "/chardevs/pkt", "connected")) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* Check that @rsp is a success, and free it */
static void qmp_expect_success(QDict *rsp)
{
    g_assert_null(qdict_get_qdict(rsp, "error"));
    qobject_unref(rsp);
}

/* Check that @text has all of the NULL-terminated @words in it */
static void expect_words(const char *text, const char *const *words)
{
    for (; *words; words++) {
        g_test_message("looking for \"%s\" in \"%s\"", *words, text);
        g_assert_nonnull(strstr(text, *words));
    }
}

/* Check that @rsp is an error that says @words, and free it */
static void qmp_expect_error(QDict *rsp, const char *const *words)
{
    QDict *error = qdict_get_qdict(rsp, "error");

    g_assert_nonnull(error);
    g_assert_cmpstr(qdict_get_str(error, "class"), ==, "GenericError");
    expect_words(qdict_get_str(error, "desc"), words);
    qobject_unref(rsp);
}

/* --- QEMU, as a process --- */

/* The number of descriptors that QEMU has open */
static unsigned qemu_count_fds(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", qtest_pid(qts));
    GDir *dir = g_dir_open(path, 0, NULL);
    unsigned count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        count++;
    }
    g_dir_close(dir);
    return count;
}

/* The CPU time that QEMU has used, in clock ticks */
static unsigned long qemu_cpu_ticks(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", qtest_pid(qts));
    g_autofree char *stat = NULL;
    unsigned long utime, stime;

    g_assert_true(g_file_get_contents(path, &stat, NULL, NULL));
    g_assert_cmpint(sscanf(strrchr(stat, ')'), ") %*c %*d %*d %*d %*d %*d "
                           "%*u %*u %*u %*u %*u %lu %lu", &utime, &stime),
                    ==, 2);
    return utime + stime;
}

/* Check that QEMU uses next to no CPU time for a second */
static void qemu_expect_idle(QTestState *qts)
{
    unsigned long ticks = qemu_cpu_ticks(qts);

    g_usleep(G_USEC_PER_SEC);
    g_assert_cmpuint(qemu_cpu_ticks(qts) - ticks, <,
                     sysconf(_SC_CLK_TCK) / 10);
}

/* --- The relay: QEMU between packet socket and record stream --- */

typedef struct Relay {
    QTestState *qts;
    const char *mode;
    int rec;            /* our end of the record stream */
} Relay;

/* Start QEMU with @args and the chardev "rec", nothing attached to it */
static void relay_start(Relay *relay, const char *mode, const char *args)
{
    g_autofree char *all_args = NULL;
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                    ==, 0);
    fd_set_deadline(fds[0]);
    fd_set_inherited(fds[1]);
    all_args = g_strdup_printf("-netdev hubport,id=hub0,hubid=0 "
                               "-netdev hubport,id=hub1,hubid=1,netdev=hub0 "
                               "-chardev socket,id=rec,fd=%d %s",
                               fds[1], args);
    *relay = (Relay) {
        .qts = qemu_start(all_args),
        .mode = mode,
        .rec = fds[0],
    };
    close(fds[1]);
}

/* Have the packet socket @fd inherited by QEMU */
static void relay_start_inherited(Relay *relay, const char *mode, int fd)
{
    g_autofree char *option = chardev_option(fd, mode, NULL);

    relay_start(relay, mode, option);
    close(fd);
}

/* Pass the packet socket @fd to QEMU by QMP */
static void relay_start_getfd(Relay *relay, const char *mode, int fd)
{
    relay_start(relay, mode, "");
    qemu_getfd(relay->qts, fd);
    qmp_expect_success(chardev_add(relay->qts,
                                   chardev_data(mode, QMP_CLIENT)));
}

/* Whether frames become records */
static bool relay_is_capture(const Relay *relay)
{
    return g_str_equal(relay->mode, "capture");
}

/* Add the filter that takes records in, before the other */
static void relay_add_filter_in(Relay *relay)
{
    qtest_qmp_assert_success(relay->qts,
                             "{ 'execute': 'object-add', 'arguments': {"
                             "    'qom-type': 'filter-redirector',"
                             "    'id': 'in', 'netdev': 'hub0',"
                             "    'queue': 'tx', 'position': 'head',"
                             "    'indev': %s } }",
                             relay_is_capture(relay) ? "pkt" : "rec");
}

/* Add the filter that puts records out */
static void relay_add_filter_out(Relay *relay)
{
    qtest_qmp_assert_success(relay->qts,
                             "{ 'execute': 'object-add', 'arguments': {"
                             "    'qom-type': 'filter-redirector',"
                             "    'id': 'out', 'netdev': 'hub0',"
                             "    'queue': 'tx', 'outdev': %s } }",
                             relay_is_capture(relay) ? "rec" : "pkt");
}

/* Join the two chardevs */
static void relay_attach(Relay *relay)
{
    relay_add_filter_out(relay);
    relay_add_filter_in(relay);
}

/* End QEMU */
static void relay_stop(Relay *relay)
{
    qtest_quit(relay->qts);
    close(relay->rec);
}

/* Send @count frames, and check that their records come out */
static void capture_check(int rec, uint32_t count)
{
    int tx = packet_endpoint(TEST_IF, 0);
    uint32_t sent = 0, received;

    for (received = 0; received < count; received++) {
        while (sent < count && sent - received < WINDOW) {
            frame_send(tx, sent++);
        }
        record_expect(record_read_socket, &rec, received);
    }
    close(tx);
}

/* Write @len bytes in pieces of all kinds of lengths */
static void stream_write(int rec, const uint8_t *buf, size_t len)
{
    static const size_t pieces[] = { 1, 3, 20000, 2, 600, 5, 17, 1600, 4 };
    size_t i, piece;

    for (i = 0; len; i++) {
        piece = MIN(pieces[i % ARRAY_SIZE(pieces)], len);
        g_assert_cmpint(send(rec, buf, piece, 0), ==, piece);
        buf += piece;
        len -= piece;
    }
}

/* Write the records of @count frames from @first on */
static void records_write(int rec, uint32_t first, uint32_t count)
{
    g_autofree uint8_t *buf = g_malloc(count * (RECORD_HEADER + FRAME_MAX));
    size_t len = 0;
    uint32_t i;

    for (i = 0; i < count; i++) {
        len += record_fill(buf + len, first + i);
    }
    stream_write(rec, buf, len);
}

/* Write @count records, and check that their frames arrive */
static void inject_check(int rec, uint32_t count)
{
    int rx = packet_endpoint(TEST_IF, TEST_ETHERTYPE);
    uint32_t first, burst, i;

    for (first = 0; first < count; first += burst) {
        burst = MIN(WINDOW, count - first);
        records_write(rec, first, burst);
        for (i = 0; i < burst; i++) {
            frame_expect(rx, first + i);
        }
    }
    close(rx);
}

/* Check that @count frames pass, in the direction that the mode tells */
static void relay_check(Relay *relay, uint32_t count)
{
    if (relay_is_capture(relay)) {
        capture_check(relay->rec, count);
    } else {
        inject_check(relay->rec, count);
    }
}

/* --- Cases: traffic --- */

/* 10,000 frames, by a socket that QEMU inherits */
static void test_traffic_inherited(const void *mode)
{
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_inherited(&relay, mode, packet_open(QEMU_IF, ETH_P_ALL));
    relay_attach(&relay);
    relay_check(&relay, MANY_FRAMES);
    relay_stop(&relay);
    link_remove(QEMU_IF);
}

/* 10,000 frames, by a socket that QEMU is passed later */
static void test_traffic_getfd(const void *mode)
{
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_getfd(&relay, mode, packet_open(QEMU_IF, ETH_P_ALL));
    relay_attach(&relay);
    relay_check(&relay, MANY_FRAMES);
    relay_stop(&relay);
    link_remove(QEMU_IF);
}

/* --- Cases: a serial port, which moves one byte at a time --- */

#define SERIAL_DATA 0x3f8
#define SERIAL_LSR 0x3fd
#define SERIAL_LSR_DR 1

#define SERIAL_FRAMES 6
#define BIOS_SIZE (64 * KiB)

/* Create an image, to be removed, that QEMU takes for firmware */
static char *bios_create(void)
{
    char *path;
    int fd = g_file_open_tmp("af-packet-test-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, BIOS_SIZE), ==, 0);
    close(fd);
    return path;
}

/* Start a machine whose serial port is the packet socket @fd */
static QTestState *serial_start(const char *mode, int fd)
{
    g_autofree char *bios = bios_create();
    g_autofree char *option = chardev_option(fd, mode, NULL);
    QTestState *qts;

    qts = qtest_initf("-nodefaults -machine isapc -bios %s "
                      "%s -serial chardev:pkt", bios, option);
    close(fd);
    unlink(bios);
    return qts;
}

/* RecordReadFunc: from the serial port of the QEMU @opaque */
static void serial_read(void *opaque, uint8_t *buf, size_t len)
{
    const int64_t end = g_get_monotonic_time() +
                        DEADLINE_SEC * G_TIME_SPAN_SECOND;
    QTestState *qts = opaque;
    size_t i;

    for (i = 0; i < len; i++) {
        while (!(qtest_inb(qts, SERIAL_LSR) & SERIAL_LSR_DR)) {
            g_assert_cmpint(g_get_monotonic_time(), <, end);
        }
        buf[i] = qtest_inb(qts, SERIAL_DATA);
    }
}

/* Write the record of frame number @seq to the serial port */
static void serial_write_record(QTestState *qts, uint32_t seq)
{
    uint8_t record[RECORD_HEADER + FRAME_MAX];
    size_t i, len = record_fill(record, seq);

    for (i = 0; i < len; i++) {
        qtest_outb(qts, SERIAL_DATA, record[i]);
    }
}

/* A frontend that takes single bytes gets the same records */
static void test_serial_capture(const void *opaque)
{
    QTestState *qts;
    uint32_t i;
    int tx;

    veth_add(QEMU_IF, TEST_IF);
    qts = serial_start("capture", packet_open(QEMU_IF, ETH_P_ALL));
    tx = packet_endpoint(TEST_IF, 0);
    for (i = 0; i < SERIAL_FRAMES; i++) {
        frame_send(tx, i);
    }
    for (i = 0; i < SERIAL_FRAMES; i++) {
        record_expect(serial_read, qts, i);
    }
    close(tx);
    qtest_quit(qts);
    link_remove(QEMU_IF);
}

/* Records that arrive in single bytes become the same frames */
static void test_serial_inject(const void *opaque)
{
    QTestState *qts;
    uint32_t i;
    int rx;

    veth_add(QEMU_IF, TEST_IF);
    qts = serial_start("inject", packet_open(QEMU_IF, 0));
    rx = packet_endpoint(TEST_IF, TEST_ETHERTYPE);
    for (i = 0; i < SERIAL_FRAMES; i++) {
        serial_write_record(qts, i);
        frame_expect(rx, i);
    }
    close(rx);
    qtest_quit(qts);
    link_remove(QEMU_IF);
}

/* --- Cases: query-chardev --- */

typedef struct FilenameCase {
    const char *name;
    const char *ifname;
    uint16_t proto;
    const char *mode;
    const char *filename;
} FilenameCase;

static const FilenameCase filename_cases[] = {
    { "capture", QEMU_IF, ETH_P_ALL, "capture",
      "af-packet:" QEMU_IF ",mode=capture" },
    { "inject", QEMU_IF, ETH_P_ALL, "inject",
      "af-packet:" QEMU_IF ",mode=inject" },
    { "inject-protocol-0", QEMU_IF, 0, "inject",
      "af-packet:" QEMU_IF ",mode=inject" },
    { "loopback", "lo", ETH_P_ALL, "capture",
      "af-packet:lo,mode=capture" },
};

/* Start QEMU in a network namespace that has none of our links */
static QTestState *qemu_start_elsewhere(const char *args)
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

/* QMP and HMP tell interface and mode, whichever namespace QEMU is in */
static void test_filename(const void *opaque)
{
    const FilenameCase *c = opaque;
    g_autofree char *option = NULL, *info = NULL;
    const char *words[] = { "pkt: filename=", c->filename, NULL };
    QTestState *qts;
    int fd;

    veth_add(QEMU_IF, TEST_IF);
    fd = packet_open(c->ifname, c->proto);
    option = chardev_option(fd, c->mode, NULL);
    qts = qemu_start_elsewhere(option);
    close(fd);
    chardev_expect_filename(qts, c->filename);
    info = qtest_hmp(qts, "info chardev");
    expect_words(info, words);
    qtest_quit(qts);
    link_remove(QEMU_IF);
}

/* --- Cases: idle --- */

typedef struct IdleCase {
    const char *name;
    const char *mode;
    uint16_t proto;
    bool attached;      /* a filter uses the chardev while the link is down */
} IdleCase;

static const IdleCase idle_cases[] = {
    { "capture", "capture", ETH_P_ALL, true },
    { "capture-unused", "capture", ETH_P_ALL, false },
    { "inject", "inject", ETH_P_ALL, true },
    { "inject-unused", "inject", ETH_P_ALL, false },
    { "inject-protocol-0", "inject", 0, true },
};

/* A link that is down or gone costs nothing; traffic goes on when it is up */
static void test_idle(const void *opaque)
{
    const IdleCase *c = opaque;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_inherited(&relay, c->mode, packet_open(QEMU_IF, c->proto));
    if (c->attached) {
        relay_attach(&relay);
    }
    link_set_up(QEMU_IF, false);
    qemu_expect_idle(relay.qts);
    veth_bring_up(QEMU_IF, TEST_IF);
    if (!c->attached) {
        relay_attach(&relay);
    }
    relay_check(&relay, FEW_FRAMES);
    link_remove(QEMU_IF);
    chardev_wait_disconnected(relay.qts);
    qemu_expect_idle(relay.qts);
    relay_stop(&relay);
}

/* --- Cases: reconnection --- */

typedef struct ReconnectCase {
    const char *name;
    const char *mode;
    uint16_t proto;
    bool down_first;    /* the link is down when it is removed */
} ReconnectCase;

static const ReconnectCase reconnect_cases[] = {
    { "capture", "capture", ETH_P_ALL, false },
    { "capture-down", "capture", ETH_P_ALL, true },
    { "inject", "inject", ETH_P_ALL, false },
    { "inject-down", "inject", ETH_P_ALL, true },
    { "inject-protocol-0", "inject", 0, false },
    { "inject-protocol-0-down", "inject", 0, true },
};

/* Remove the link under the chardev, which ends its connection */
static void relay_disconnect(Relay *relay, bool down_first)
{
    g_autofree char *filename = NULL;

    if (down_first) {
        link_set_up(QEMU_IF, false);
        g_assert_true(qtest_qom_get_bool(relay->qts, "/chardevs/pkt",
                                         "connected"));
    }
    link_remove(QEMU_IF);
    chardev_wait_disconnected(relay->qts);
    filename = chardev_filename(relay->qts);
    g_assert_true(g_str_has_prefix(filename, "disconnected:"));
}

/* After the link's removal, add_client with a socket on a new link */
static void test_reconnect(const void *opaque)
{
    const ReconnectCase *c = opaque;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_inherited(&relay, c->mode, packet_open(QEMU_IF, c->proto));
    relay_attach(&relay);
    relay_check(&relay, FEW_FRAMES);
    relay_disconnect(&relay, c->down_first);

    veth_add(QEMU_IF, TEST_IF);
    qmp_expect_success(chardev_add_client(relay.qts,
                                          packet_open(QEMU_IF, c->proto)));
    relay_check(&relay, FEW_FRAMES);
    relay_stop(&relay);
    link_remove(QEMU_IF);
}

/* add_client while connected is an error and disturbs nothing */
static void test_add_client_connected(const void *mode)
{
    static const char *const words[] = { "'pkt'", "connection", NULL };
    unsigned fds;
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_inherited(&relay, mode, packet_open(QEMU_IF, ETH_P_ALL));
    relay_attach(&relay);
    fds = qemu_count_fds(relay.qts);
    qmp_expect_error(chardev_add_client(relay.qts,
                                        packet_open(QEMU_IF, ETH_P_ALL)),
                     words);
    g_assert_cmpuint(qemu_count_fds(relay.qts), ==, fds);
    relay_check(&relay, FEW_FRAMES);
    relay_stop(&relay);
    link_remove(QEMU_IF);
}

/* --- Descriptors that are refused, and one that isn't --- */

/* A connected socket of another family */
static int open_unix(void)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                    ==, 0);
    close(fds[0]);
    return fds[1];
}

/* A datagram socket of another family */
static int open_udp(void)
{
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

/* --- Cases: refusals --- */

#define WORDS_MAX 4
#define NOT_AF_PACKET "'af-packet-mode' requires an AF_PACKET fd"
#define NOT_AN_FD "'af-packet-mode' option requires 'fd' address type"

/* A chardev that is refused */
typedef struct Refusal {
    const char *name;
    const char *mode;               /* NULL: af-packet-mode isn't given */
    int (*open_fd)(void);           /* NULL: there is no fd */
    const char *words[WORDS_MAX];   /* what the error must say */
    const char *options;            /* of -chardev, with a leading comma */
    const char *members;            /* of ChardevSocket; NULL: QMP_CLIENT */
    bool only_command_line;
    bool only_qmp;
} Refusal;

/* What is wrong is the fd, so that add_client refuses it as well */
static const Refusal fd_refusals[] = {
    { "not-a-socket", "capture", open_file, { "a socket" } },
    { "unix", "capture", open_unix, { NOT_AF_PACKET } },
    { "unix-inject", "inject", open_unix, { NOT_AF_PACKET } },
    { "udp", "capture", open_udp, { NOT_AF_PACKET } },
    { "udp-inject", "inject", open_udp, { NOT_AF_PACKET } },
    { "dgram", "capture", open_dgram, { "SOCK_RAW" } },
    { "unbound", "capture", open_unbound, { "interface" } },
    { "removed", "inject", open_removed, { "interface" } },
    { "protocol-0", "capture", open_protocol_0, { "protocol" } },
    { "link-type", "capture", open_tun, { "link type" } },
    { "rx-ring", "capture", open_rx_ring, { "ring" } },
    { "tx-ring", "inject", open_tx_ring, { "ring" } },
    { "no-mode", NULL, open_good, { "af-packet-mode" } },
};

/* What is wrong is the combination of options */
static const Refusal option_refusals[] = {
    { "inet", "capture", NULL, { NOT_AN_FD },
      ",host=127.0.0.1,port=9",
      "'addr': { 'type': 'inet',"
      "          'data': { 'host': '127.0.0.1', 'port': '9' } },"
      "'server': false" },
    { "path", "inject", NULL, { NOT_AN_FD },
      ",path=/nonexistent",
      "'addr': { 'type': 'unix', 'data': { 'path': '/nonexistent' } },"
      "'server': false" },
    { "vsock", "capture", NULL, { NOT_AN_FD },
      .members = "'addr': { 'type': 'vsock',"
                 "          'data': { 'cid': '1', 'port': '9' } },"
                 "'server': false", .only_qmp = true },
    { "server", "capture", open_good, { "'af-packet-mode'", "server" },
      ",server=on", QMP_FD ", 'server': true" },
    { "server-default", "capture", open_good,
      { "'af-packet-mode'", "server", "false" },
      .members = QMP_FD, .only_qmp = true },
    { "server-path", "capture", NULL, { "'af-packet-mode'", "server" },
      ",server=on,path=/nonexistent",
      "'addr': { 'type': 'unix', 'data': { 'path': '/nonexistent' } }" },
    { "telnet", "capture", open_good, { "'af-packet-mode'", "telnet" },
      ",telnet=on", QMP_CLIENT ", 'telnet': true" },
    { "tn3270", "capture", open_good, { "'af-packet-mode'", "tn3270" },
      ",tn3270=on", QMP_CLIENT ", 'tn3270': true" },
    { "websocket", "capture", open_good, { "'af-packet-mode'", "websocket" },
      ",websocket=on", QMP_CLIENT ", 'websocket': true" },
    { "tls-creds", "capture", open_good, { "'af-packet-mode'", "tls-creds" },
      ",tls-creds=tls0", QMP_CLIENT ", 'tls-creds': 'tls0'" },
    { "reconnect", "capture", open_good,
      { "'af-packet-mode'", "'reconnect'" },
      ",reconnect=1", QMP_CLIENT ", 'reconnect': 1" },
    { "reconnect-ms", "inject", open_good,
      { "'af-packet-mode'", "reconnect-ms" },
      ",reconnect-ms=1000", QMP_CLIENT ", 'reconnect-ms': 1000" },
    { "mux", "capture", open_good, { "'af-packet-mode'", "mux" },
      ",mux=on", .only_command_line = true },
    { "value", "sniff", open_good, { "af-packet-mode", "sniff" } },
    { "value-hint", "sniff", open_good, { "capture", "inject" },
      .only_command_line = true },
};

/* Open the fd of @r, if any.  Returns: false when the test can't have it */
static bool refusal_open(const Refusal *r, int *fd)
{
    *fd = r->open_fd ? r->open_fd() : -1;
    if (r->open_fd && *fd < 0) {
        g_test_skip("no /dev/net/tun to make a link of another type with");
        return false;
    }
    return true;
}

/*
 * Run QEMU with a -chardev option, and take its exit status and stderr.
 *
 * It exits at once even if the option is accepted, by an error of its own.
 */
static void qemu_run(const char *option, int *status, char **err)
{
    g_autofree char *command = g_strdup_printf(
        "exec %s -nodefaults -machine none -display none -accel qtest "
        "%s -device no-such-device",
        getenv("QTEST_QEMU_BINARY"), option);
    char *argv[] = { (char *)"/bin/sh", (char *)"-c", command, NULL };

    g_assert_true(g_spawn_sync(NULL, argv, NULL,
                               G_SPAWN_LEAVE_DESCRIPTORS_OPEN |
                               G_SPAWN_STDOUT_TO_DEV_NULL,
                               NULL, NULL, NULL, err, status, NULL));
}

/* QEMU says what is wrong and exits, it doesn't crash */
static void test_refuse_command_line(const void *opaque)
{
    const Refusal *r = opaque;
    g_autofree char *option = NULL, *err = NULL;
    const char *message;
    int fd, status;

    if (!refusal_open(r, &fd)) {
        return;
    }
    option = chardev_option(fd, r->mode, r->options);
    qemu_run(option, &status, &err);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    message = strstr(err, option);
    g_assert_nonnull(message);
    expect_words(message + strlen(option), r->words);
    if (fd >= 0) {
        close(fd);
    }
}

/* Forget the fd that a refused command may have left with the monitor */
static void qemu_closefd(QTestState *qts)
{
    qobject_unref(qtest_qmp(qts, "{ 'execute': 'closefd',"
                            "  'arguments': { 'fdname': 'pkt-fd' } }"));
}

/* Check that "pkt" can be added and removed as if nothing had happened */
static void chardev_check_id_free(QTestState *qts)
{
    unsigned fds = qemu_count_fds(qts);

    g_assert_null(chardev_filename(qts));
    g_assert_false(chardev_has_yank(qts));

    qemu_getfd(qts, open_good());
    qmp_expect_success(chardev_add(qts,
                                   chardev_data("capture", QMP_CLIENT)));
    chardev_expect_filename(qts, "af-packet:lo,mode=capture");
    g_assert_true(chardev_has_yank(qts));
    qtest_qmp_assert_success(qts, "{ 'execute': 'chardev-remove',"
                             "  'arguments': { 'id': 'pkt' } }");

    g_assert_false(chardev_has_yank(qts));
    g_assert_cmpuint(qemu_count_fds(qts), ==, fds);
}

/* chardev-add says what is wrong, and leaves nothing behind */
static void test_refuse_chardev_add(const void *opaque)
{
    const Refusal *r = opaque;
    const char *members = r->members ?: QMP_CLIENT;
    QTestState *qts;
    unsigned fds;
    int fd;

    if (!refusal_open(r, &fd)) {
        return;
    }
    qts = qemu_start("");
    fds = qemu_count_fds(qts);
    if (fd >= 0) {
        qemu_getfd(qts, fd);
    }
    qmp_expect_error(chardev_add(qts, chardev_data(r->mode, members)),
                     r->words);
    qemu_closefd(qts);
    g_assert_cmpuint(qemu_count_fds(qts), ==, fds);
    chardev_check_id_free(qts);
    qtest_quit(qts);
}

/* Start QEMU with a chardev "pkt" that has lost its connection */
static QTestState *qemu_start_disconnected(const char *mode)
{
    g_autofree char *option = NULL;
    QTestState *qts;
    int fd;

    veth_add(QEMU_IF, TEST_IF);
    fd = mode ? packet_open(QEMU_IF, ETH_P_ALL) : open_unix();
    option = chardev_option(fd, mode, NULL);
    qts = qemu_start(option);
    close(fd);
    link_remove(QEMU_IF);
    chardev_wait_disconnected(qts);
    return qts;
}

/* add_client says what is wrong, and the chardev is as it was */
static void test_refuse_add_client(const void *opaque)
{
    const Refusal *r = opaque;
    QTestState *qts;
    unsigned fds;
    int fd;

    if (!refusal_open(r, &fd)) {
        return;
    }
    qts = qemu_start_disconnected(r->mode);
    fds = qemu_count_fds(qts);
    qmp_expect_error(chardev_add_client(qts, fd), r->words);
    g_assert_cmpuint(qemu_count_fds(qts), ==, fds);
    g_assert_false(qtest_qom_get_bool(qts, "/chardevs/pkt", "connected"));
    if (r->mode) {
        qmp_expect_success(chardev_add_client(qts, open_good()));
        g_assert_true(qtest_qom_get_bool(qts, "/chardevs/pkt", "connected"));
    }
    qtest_quit(qts);
}

/* HMP's chardev-add knows the option */
static void test_refuse_hmp(const void *opaque)
{
    static const char *const words[] = { NOT_AN_FD, NULL };
    QTestState *qts = qemu_start("");
    g_autofree char *out = qtest_hmp(qts, "chardev-add socket,id=pkt,"
                                     "path=/nonexistent,"
                                     "af-packet-mode=capture");

    expect_words(out, words);
    chardev_check_id_free(qts);
    qtest_quit(qts);
}

/* --- Registration --- */

static const char *skip_reason;

/* Stands in for all tests where they can't run */
static void test_skip(const void *opaque)
{
    g_test_skip(skip_reason);
}

/* Add /af-packet/@group/@name */
static void add_test(const char *group, const char *name, const void *data,
                     void (*func)(const void *))
{
    g_autofree char *path = g_strdup_printf("/af-packet/%s/%s", group, name);

    qtest_add_data_func(path, data, skip_reason ? test_skip : func);
}

/* Add the cases about what works */
static void add_working_tests(void)
{
    static const char *const modes[] = { "capture", "inject" };
    size_t i;

    for (i = 0; i < ARRAY_SIZE(modes); i++) {
        add_test("traffic/inherited", modes[i], modes[i],
                 test_traffic_inherited);
        add_test("traffic/getfd", modes[i], modes[i], test_traffic_getfd);
        add_test("add-client/connected", modes[i], modes[i],
                 test_add_client_connected);
    }
    for (i = 0; i < ARRAY_SIZE(filename_cases); i++) {
        add_test("filename", filename_cases[i].name, &filename_cases[i],
                 test_filename);
    }
    for (i = 0; i < ARRAY_SIZE(idle_cases); i++) {
        add_test("idle", idle_cases[i].name, &idle_cases[i], test_idle);
    }
    for (i = 0; i < ARRAY_SIZE(reconnect_cases); i++) {
        add_test("reconnect", reconnect_cases[i].name, &reconnect_cases[i],
                 test_reconnect);
    }
}

/* Add the cases about a refusal, by each way that has it */
static void add_refusal_tests(const Refusal *r, bool by_add_client)
{
    if (!r->only_qmp) {
        add_test("refuse/command-line", r->name, r, test_refuse_command_line);
    }
    if (!r->only_command_line) {
        add_test("refuse/chardev-add", r->name, r, test_refuse_chardev_add);
    }
    if (by_add_client) {
        add_test("refuse/add-client", r->name, r, test_refuse_add_client);
    }
}

int main(int argc, char **argv)
{
    size_t i;

    /* A QEMU that is gone is for an assertion to tell */
    signal(SIGPIPE, SIG_IGN);

    skip_reason = netns_skip_reason();
    g_test_init(&argc, &argv, NULL);

    add_working_tests();
    if (qtest_has_machine("isapc")) {
        add_test("serial", "capture", NULL, test_serial_capture);
        add_test("serial", "inject", NULL, test_serial_inject);
    }
    for (i = 0; i < ARRAY_SIZE(fd_refusals); i++) {
        add_refusal_tests(&fd_refusals[i], true);
    }
    for (i = 0; i < ARRAY_SIZE(option_refusals); i++) {
        add_refusal_tests(&option_refusals[i], false);
    }
    add_test("refuse", "hmp", NULL, test_refuse_hmp);
    return g_test_run();
}
