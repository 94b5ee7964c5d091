/*
 * QTest helpers: a QEMU between a packet socket and a stream of records
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
 *
 * What fails here fails the test.
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

/* Length of frame number @seq: neighbours differ, 1501 frames have them all */
size_t frame_len(uint32_t seq);

/* Write frame number @seq to @frame.  Returns: its length */
size_t frame_fill(uint8_t *frame, uint32_t seq);

/* Write the record of frame number @seq to @record.  Returns: its length */
size_t record_fill(uint8_t *record, uint32_t seq);

/* Send frame number @seq */
void frame_send(int fd, uint32_t seq);

/* Receive a frame and check that it is number @seq, to the byte */
void frame_expect(int fd, uint32_t seq);

/* Take exactly @len bytes from where records come out */
typedef void RecordReadFunc(void *opaque, uint8_t *buf, size_t len);

/* RecordReadFunc: from the socket that @opaque points to */
void record_read_socket(void *opaque, uint8_t *buf, size_t len);

/* Read records up to one of ours, and check that it is number @seq */
void record_expect(RecordReadFunc *read_func, void *opaque, uint32_t seq);

/* Write the records of @count frames from @first on, in odd pieces */
void records_write(int rec, uint32_t first, uint32_t count);

/* --- The relay: QEMU between packet socket and record stream --- */

typedef struct Relay {
    QTestState *qts;
    const char *mode;
    int rec;            /* our end of the record stream */
    int err;            /* what QEMU writes to its standard error */
    const char *netdev; /* where the filters are; NULL: a hub port */
    bool vnet_hdr;      /* they have vnet_hdr_support=on */
} Relay;

/* Start QEMU with @args and the chardev "rec", nothing attached to it */
void relay_start(Relay *relay, const char *mode, const char *args);

/* Have the packet socket @fd inherited by QEMU, and close it here */
void relay_start_inherited(Relay *relay, const char *mode, int fd);

/* Create the links, do that with a socket that hears @proto, and attach */
void relay_start_veth(Relay *relay, const char *mode, uint16_t proto);

/* relay_start_inherited(), in a network namespace that has none of our links */
void relay_start_elsewhere(Relay *relay, const char *mode, int fd);

/* Whether frames become records */
bool relay_is_capture(const Relay *relay);

/* Join the two chardevs */
void relay_attach(Relay *relay);

/* Take them apart */
void relay_detach(Relay *relay);

/* Check that @count frames pass, in the direction that the mode tells */
void relay_check(Relay *relay, uint32_t count);

/* How often QEMU has written @text to its standard error */
unsigned relay_count_messages(const Relay *relay, const char *text);

/* End QEMU, and remove the links if they are still there */
void relay_stop(Relay *relay);

/* --- Machines --- */

/* Create an image, to be removed, that QEMU takes for firmware */
char *bios_create(void);

/* --- A serial port, which takes one byte at a time, or none --- */

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
 * To be called first in main().  Returns: false if nothing is to be run, as
 * in a system without network namespaces; there is a test that says so then.
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
