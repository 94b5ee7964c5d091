/*
 * QTest helpers: a QEMU between a packet socket and a stream of records
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Everything runs in a network namespace of the test's own.  There is no guest:
 * two filters on a hub port pass the records between the chardev under test,
 * "pkt", and "rec", a socket pair whose other end belongs to the test.
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
 *
 * Any failure here fails the test.
 */
#ifndef TESTS_QTEST_AF_PACKET_RELAY_H
#define TESTS_QTEST_AF_PACKET_RELAY_H

#include "af-packet-qemu.h"

#define QEMU_IF "veth0"     /* the end that QEMU's socket is bound to */
#define TEST_IF "veth1"     /* the end that the test sends and receives on */

#define FRAME_MIN 14
#define FRAME_MAX 1514
#define RECORD_HEADER sizeof(uint32_t)
#define RECORD_MAX 69632            /* NET_BUFSIZE */

#define FEW_FRAMES 100
#define WINDOW 64                   /* frames that fit any socket buffer */

/* --- Frames and records --- */

/* Length of frame number @seq: neighbors differ, 1501 frames cover them all */
size_t frame_len(uint32_t seq);

/* Write frame number @seq to @frame.  Returns: its length */
size_t frame_fill(uint8_t *frame, uint32_t seq);

/* Write the record of frame number @seq to @record.  Returns: its length */
size_t record_fill(uint8_t *record, uint32_t seq);

/* Send frame number @seq */
void frame_send(int fd, uint32_t seq);

/* Receive a frame and check that it is number @seq, to the byte */
void frame_expect(int fd, uint32_t seq);

/* Read exactly @len bytes from the stream of records */
typedef void RecordReadFunc(void *opaque, uint8_t *buf, size_t len);

/* RecordReadFunc: from the socket that @opaque points to */
void record_read_socket(void *opaque, uint8_t *buf, size_t len);

/* Read records up to one with a test frame, and check that it is number @seq */
void record_expect(RecordReadFunc *read_func, void *opaque, uint32_t seq);

/* Write the records of @count frames from @first on, in irregular chunks */
void records_write(int rec, uint32_t first, uint32_t count);

/* --- The relay: QEMU between packet socket and record stream --- */

typedef struct Relay {
    QTestState *qts;
    const char *mode;
    int rec;            /* our end of the record stream */
    int err;            /* QEMU's standard error */
    const char *netdev; /* where the filters are; NULL: a hub port */
    bool vnet_hdr;      /* they have vnet_hdr_support=on */
} Relay;

/* Start QEMU with @args and the chardev "rec", nothing attached to it */
void relay_start(Relay *relay, const char *mode, const char *args);

/* Start QEMU, let it inherit the packet socket @fd, and close @fd here */
void relay_start_inherited(Relay *relay, const char *mode, int fd);

/* The same with new links and a socket for @proto, and relay_attach() */
void relay_start_veth(Relay *relay, const char *mode, uint16_t proto);

/* relay_start_inherited(), in a network namespace without our links */
void relay_start_elsewhere(Relay *relay, const char *mode, int fd);

/* Whether frames become records */
bool relay_is_capture(const Relay *relay);

/* Connect the two chardevs with filters */
void relay_attach(Relay *relay);

/* Remove these filters */
void relay_detach(Relay *relay);

/* Check that @count frames pass, in the direction of the mode */
void relay_check(Relay *relay, uint32_t count);

/* Returns: how often QEMU's standard error contains @text */
unsigned relay_count_messages(const Relay *relay, const char *text);

/* End QEMU, and remove the links if they are still there */
void relay_stop(Relay *relay);

/* --- Machines --- */

/* Create a firmware image; the caller removes it */
char *bios_create(void);

/* --- A serial port, which accepts one byte at a time, or none --- */

/*
 * Like relay_start_inherited(), on a machine whose serial port is "pkt";
 * there is no "rec".
 */
void relay_start_serial(Relay *relay, const char *mode, int fd);

/* RecordReadFunc: from the serial port of the QEMU @opaque */
void serial_read(void *opaque, uint8_t *buf, size_t len);

/* Write @len bytes to the serial port */
void serial_write(QTestState *qts, const uint8_t *buf, size_t len);

/* Write the record of frame number @seq to the serial port */
void serial_write_record(QTestState *qts, uint32_t seq);

/* --- Registration --- */

/*
 * Must be called first in main().  Returns: false if the tests can't run, for
 * example without network namespaces; then there is one test that is skipped.
 */
bool tests_init(int *argc, char ***argv);

/* Add /af-packet/@group/@name */
void add_test(const char *group, const char *name, const void *data,
              void (*func)(const void *opaque));

void add_test_rows(const char *group, const void *rows, size_t size, size_t n,
                   void (*func)(const void *opaque));

/*
 * Add a test with each row of @table, an array of structures whose first
 * member is the name
 */
#define ADD_TESTS(group, table, func) \
    add_test_rows(group, table, sizeof(*(table)), ARRAY_SIZE(table), func)

#endif
