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

#include "../unit/af-packet-helpers.h"
#include "libqtest.h"
#include "qobject/qdict.h"

#define QEMU_IF "veth0"     /* the end that QEMU's socket is bound to */
#define TEST_IF "veth1"     /* the end that the test sends and receives on */

#define FRAME_MIN 14
#define FRAME_MAX 1514
#define RECORD_HEADER sizeof(uint32_t)
#define RECORD_MAX 69632            /* NET_BUFSIZE */

#define FEW_FRAMES 100
#define WINDOW 64                   /* frames that fit any socket buffer */

#define DEADLINE_SEC 10             /* for anything that has to happen */

/* Members of ChardevSocket: the fd that qemu_getfd() passes as "pkt-fd" */
#define QMP_FD "'addr': { 'type': 'fd', 'data': { 'str': 'pkt-fd' } }"
#define QMP_CLIENT QMP_FD ", 'server': false"

/* --- Sockets --- */

/* Let the QEMU that is started next inherit @fd */
void fd_set_inherited(int fd);

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

/* --- QEMU, by QMP --- */

/* Start QEMU with nothing in it but @args */
QTestState *qemu_start(const char *args);

/* The same, in a network namespace that has none of our links */
QTestState *qemu_start_elsewhere(const char *args);

/* Pass @fd to QEMU as "pkt-fd", and close it here */
void qemu_getfd(QTestState *qts, int fd);

/*
 * The -chardev option of "pkt", for the QEMU that is started next and
 * inherits @fd.  @fd may be -1, @mode and @more NULL.
 */
char *chardev_option(int fd, const char *mode, const char *more);

/* The ChardevSocket of "pkt" with the JSON @members; @mode may be NULL */
QObject *chardev_data(const char *mode, const char *members);

/* chardev-add of @data, a ChardevSocket, as "pkt".  Returns: the response */
QDict *chardev_add(QTestState *qts, QObject *data);

/* add_client of @fd to "pkt".  Returns: the response */
QDict *chardev_add_client(QTestState *qts, int fd);

/* chardev-remove of "pkt" */
void chardev_remove(QTestState *qts);

/* The filename of chardev "pkt", or NULL if there is no such chardev */
char *chardev_filename(QTestState *qts);

/* Check the filename of chardev "pkt" */
void chardev_expect_filename(QTestState *qts, const char *expected);

/* Whether chardev "pkt" has a connection */
bool chardev_is_connected(QTestState *qts);

/* Wait until chardev "pkt" has lost its connection */
void chardev_wait_disconnected(QTestState *qts);

/* The counter @name of chardev "pkt" */
uint64_t chardev_stat(QTestState *qts, const char *name);

/* Wait until the counter @name of chardev "pkt" is @value */
void chardev_wait_stat(QTestState *qts, const char *name, uint64_t value);

/* Check that @text has all of the NULL-terminated @words in it */
void expect_words(const char *text, const char *const *words);

/* Check that @rsp is a success, and free it */
void qmp_expect_success(QDict *rsp);

/* Check that @rsp is an error that says @words, and free it */
void qmp_expect_error(QDict *rsp, const char *const *words);

/* --- QEMU, as a process --- */

/* Check that QEMU uses less than @percent of a processor for a while */
void qemu_expect_cpu_below(QTestState *qts, unsigned percent);

/* Check that it uses next to nothing */
void qemu_expect_idle(QTestState *qts);

/* Check that the monitor answers within a second */
void qemu_expect_prompt(QTestState *qts);

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

/* The same, with QEMU in a network namespace that has none of our links */
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

/* End QEMU */
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

#endif
