/*
 * QTest helpers: a QEMU between a packet socket and a stream of records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <net/if.h>
#include <sys/mman.h>
#include "af-packet-relay.h"
#include "qemu/bswap.h"
#include "qemu/units.h"

#define SERIAL_DATA 0x3f8
#define SERIAL_LSR 0x3fd
#define SERIAL_LSR_DR 1

#define BIOS_SIZE (64 * KiB)

/* --- Frames and records --- */

size_t frame_len(uint32_t seq)
{
    return FRAME_MIN + (uint64_t)seq * 691 % (FRAME_MAX - FRAME_MIN + 1);
}

/* The source address contains the number */
size_t frame_fill(uint8_t *frame, uint32_t seq)
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

size_t record_fill(uint8_t *record, uint32_t seq)
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

void frame_send(int fd, uint32_t seq)
{
    uint8_t frame[FRAME_MAX];
    size_t len = frame_fill(frame, seq);

    g_assert_cmpint(send(fd, frame, len, 0), ==, len);
}

void frame_expect(int fd, uint32_t seq)
{
    uint8_t frame[FRAME_MAX + 1];
    ssize_t len = recv(fd, frame, sizeof(frame), 0);

    g_assert_cmpint(len, >=, FRAME_MIN);
    frame_check(frame, len, seq);
}

void record_read_socket(void *opaque, uint8_t *buf, size_t len)
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

void record_expect(RecordReadFunc *read_func, void *opaque, uint32_t seq)
{
    uint8_t frame[RECORD_MAX];
    size_t len;

    do {
        len = record_read(read_func, opaque, frame);
    } while (lduw_be_p(frame + 2 * ETH_ALEN) != TEST_ETHERTYPE);
    frame_check(frame, len, seq);
}

/* Write @len bytes in chunks of various lengths */
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

void records_write(int rec, uint32_t first, uint32_t count)
{
    g_autofree uint8_t *buf = g_malloc(count * (RECORD_HEADER + FRAME_MAX));
    size_t len = 0;
    uint32_t i;

    for (i = 0; i < count; i++) {
        len += record_fill(buf + len, first + i);
    }
    stream_write(rec, buf, len);
}

/* --- The relay: QEMU between packet socket and record stream --- */

/* Initialize @relay, with a file for QEMU's standard error */
static void relay_init(Relay *relay, const char *mode)
{
    *relay = (Relay) {
        .mode = mode,
        .rec = -1,
        .err = memfd_create("stderr", 0), /* for QEMU to inherit */
    };
    g_assert_cmpint(relay->err, >=, 0);
}

/* Returns: shell code that redirects standard error to the file */
static char *relay_redirection(const Relay *relay)
{
    return g_strdup_printf("2>>/proc/self/fd/%d", relay->err);
}

static void relay_do_start(Relay *relay, const char *mode, const char *args,
                           QTestState *(*start_func)(const char *args))
{
    g_autofree char *all_args = NULL, *redirection = NULL;
    int rec, fd;

    rec = pair_create(&fd);
    relay_init(relay, mode);
    relay->rec = rec;
    redirection = relay_redirection(relay);
    all_args = g_strdup_printf("-netdev hubport,id=hub0,hubid=0 "
                               "-netdev hubport,id=hub1,hubid=1,netdev=hub0 "
                               "-chardev socket,id=rec,fd=%d %s %s",
                               fd, args, redirection);
    relay->qts = start_func(all_args);
    close(fd);
}

void relay_start(Relay *relay, const char *mode, const char *args)
{
    relay_do_start(relay, mode, args, qemu_start);
}

void relay_start_inherited(Relay *relay, const char *mode, int fd)
{
    g_autofree char *option = chardev_option(fd, mode, NULL);

    relay_do_start(relay, mode, option, qemu_start);
    close(fd);
}

void relay_start_veth(Relay *relay, const char *mode, uint16_t proto)
{
    veth_add(QEMU_IF, TEST_IF);
    relay_start_inherited(relay, mode, packet_open(QEMU_IF, proto));
    relay_attach(relay);
}

void relay_start_elsewhere(Relay *relay, const char *mode, int fd)
{
    g_autofree char *option = chardev_option(fd, mode, NULL);

    relay_do_start(relay, mode, option, qemu_start_elsewhere);
    close(fd);
}

bool relay_is_capture(const Relay *relay)
{
    return g_str_equal(relay->mode, "capture");
}

/*
 * Add a filter-redirector before the existing filters.  @end is "indev" or
 * "outdev".
 */
static void relay_add_filter(Relay *relay, const char *id, const char *end,
                             const char *chardev)
{
    qtest_qmp_assert_success(relay->qts,
                             "{ 'execute': 'object-add', 'arguments': {"
                             "    'qom-type': 'filter-redirector',"
                             "    'id': %s, 'netdev': %s,"
                             "    'queue': 'tx', 'position': 'head',"
                             "    'vnet_hdr_support': %i, %s: %s } }",
                             id, relay->netdev ?: "hub0", relay->vnet_hdr,
                             end, chardev);
}

void relay_attach(Relay *relay)
{
    bool capture = relay_is_capture(relay);

    relay_add_filter(relay, "out", "outdev", capture ? "rec" : "pkt");
    relay_add_filter(relay, "in", "indev", capture ? "pkt" : "rec");
}

static void relay_del_filter(Relay *relay, const char *id)
{
    qtest_qmp_assert_success(relay->qts, "{ 'execute': 'object-del',"
                             "  'arguments': { 'id': %s } }", id);
}

void relay_detach(Relay *relay)
{
    relay_del_filter(relay, "in");
    relay_del_filter(relay, "out");
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

void relay_check(Relay *relay, uint32_t count)
{
    if (relay_is_capture(relay)) {
        capture_check(relay->rec, count);
    } else {
        inject_check(relay->rec, count);
    }
}

unsigned relay_count_messages(const Relay *relay, const char *text)
{
    g_autofree char *all = g_malloc0(64 * KiB);

    g_assert_cmpint(pread(relay->err, all, 64 * KiB - 1, 0), >=, 0);
    return count_in_text(all, text);
}

void relay_stop(Relay *relay)
{
    qtest_quit(relay->qts);
    if (relay->rec >= 0) {
        close(relay->rec);
    }
    close(relay->err);
    if (if_nametoindex(QEMU_IF)) {
        link_remove(QEMU_IF);
    }
}

/* --- A serial port, which accepts one byte at a time, or none --- */

char *bios_create(void)
{
    char *path;
    int fd = g_file_open_tmp("af-packet-test-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, BIOS_SIZE), ==, 0);
    close(fd);
    return path;
}

void relay_start_serial(Relay *relay, const char *mode, int fd)
{
    g_autofree char *bios = bios_create(), *redirection = NULL;
    g_autofree char *option = chardev_option(fd, mode, NULL);

    relay_init(relay, mode);
    redirection = relay_redirection(relay);
    relay->qts = qtest_initf("-nodefaults -machine isapc -bios %s "
                             "%s -serial chardev:pkt %s",
                             bios, option, redirection);
    close(fd);
    unlink(bios);
}

void serial_read(void *opaque, uint8_t *buf, size_t len)
{
    QTestState *qts = opaque;
    size_t i;

    for (i = 0; i < len; i++) {
        const int64_t end = g_get_monotonic_time() +
                            DEADLINE_SEC * G_TIME_SPAN_SECOND;

        while (!(qtest_inb(qts, SERIAL_LSR) & SERIAL_LSR_DR)) {
            g_assert_cmpint(g_get_monotonic_time(), <, end);
        }
        buf[i] = qtest_inb(qts, SERIAL_DATA);
    }
}

void serial_write(QTestState *qts, const uint8_t *buf, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        qtest_outb(qts, SERIAL_DATA, buf[i]);
    }
}

void serial_write_record(QTestState *qts, uint32_t seq)
{
    uint8_t record[RECORD_HEADER + FRAME_MAX];

    serial_write(qts, record, record_fill(record, seq));
}

/* --- Registration --- */

static const char *skip_reason;

/* Replaces all tests where they can't run */
static void test_skip(void)
{
    g_test_skip(skip_reason);
}

bool tests_init(int *argc, char ***argv)
{
    /* Let assertions report that QEMU has exited */
    signal(SIGPIPE, SIG_IGN);

    skip_reason = netns_skip_reason();
    g_test_init(argc, argv, NULL);
    if (skip_reason) {
        qtest_add_func("/af-packet", test_skip);
    }
    return !skip_reason;
}

void add_test(const char *group, const char *name, const void *data,
              void (*func)(const void *opaque))
{
    g_autofree char *path = g_strdup_printf("/af-packet/%s/%s", group, name);

    qtest_add_data_func(path, data, func);
}

void add_test_rows(const char *group, const void *rows, size_t size, size_t n,
                   void (*func)(const void *opaque))
{
    const char *row;

    for (row = rows; n--; row += size) {
        add_test(group, *(const char *const *)row, row, func);
    }
}
