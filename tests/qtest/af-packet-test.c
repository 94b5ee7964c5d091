/*
 * QTest testcase for the af-packet-mode option of socket chardevs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See af-packet-relay.h for the setup.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <sys/wait.h>
#include "../unit/af-packet-candidates.h"
#include "af-packet-relay.h"
#include "qobject/qlist.h"

#define MANY_FRAMES 10000

/* --- QEMU --- */

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

/* Pass the packet socket @fd to QEMU with QMP */
static void relay_start_getfd(Relay *relay, const char *mode, int fd)
{
    relay_start(relay, mode, "");
    qemu_getfd(relay->qts, fd);
    qmp_expect_success(chardev_add(relay->qts,
                                   chardev_data(mode, QMP_CLIENT)));
}

/* --- Cases: traffic --- */

typedef void StartFunc(Relay *relay, const char *mode, int fd);

static void do_test_traffic(const char *mode, StartFunc *start)
{
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    start(&relay, mode, packet_open(QEMU_IF, ETH_P_ALL));
    relay_attach(&relay);
    relay_check(&relay, MANY_FRAMES);
    relay_stop(&relay);
}

/* Through a socket that QEMU inherits */
static void test_traffic_inherited(const void *mode)
{
    do_test_traffic(mode, relay_start_inherited);
}

/* Through a socket that is passed to QEMU later */
static void test_traffic_getfd(const void *mode)
{
    do_test_traffic(mode, relay_start_getfd);
}

/* --- Cases: a serial port, which moves one byte at a time --- */

#define SERIAL_FRAMES 6

/* A frontend that reads single bytes gets the same records */
static void test_serial_capture(const void *opaque)
{
    Relay relay;
    uint32_t i;
    int tx;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_serial(&relay, "capture", packet_open(QEMU_IF, ETH_P_ALL));
    tx = packet_endpoint(TEST_IF, 0);
    for (i = 0; i < SERIAL_FRAMES; i++) {
        frame_send(tx, i);
    }
    for (i = 0; i < SERIAL_FRAMES; i++) {
        record_expect(serial_read, relay.qts, i);
    }
    close(tx);
    relay_stop(&relay);
}

/* Records that arrive in single bytes become the same frames */
static void test_serial_inject(const void *opaque)
{
    Relay relay;
    uint32_t i;
    int rx;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_serial(&relay, "inject", packet_open(QEMU_IF, 0));
    rx = packet_endpoint(TEST_IF, TEST_ETHERTYPE);
    for (i = 0; i < SERIAL_FRAMES; i++) {
        serial_write_record(relay.qts, i);
        frame_expect(rx, i);
    }
    close(rx);
    relay_stop(&relay);
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

/* QMP and HMP report interface and mode, whichever namespace QEMU is in */
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

/* --- Cases: a second client --- */

/* add_client while connected is an error and has no side effects */
static void test_add_client_connected(const void *mode)
{
    static const char *const words[] = { "'pkt'", "connection", NULL };
    unsigned fds;
    Relay relay;

    relay_start_veth(&relay, mode, ETH_P_ALL);
    fds = count_fds(qtest_pid(relay.qts));
    qmp_expect_error(chardev_add_client(relay.qts,
                                        packet_open(QEMU_IF, ETH_P_ALL)),
                     words);
    g_assert_cmpuint(count_fds(qtest_pid(relay.qts)), ==, fds);
    relay_check(&relay, FEW_FRAMES);
    relay_stop(&relay);
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
    const char *mode;               /* NULL: no af-packet-mode */
    int (*open_fd)(void);           /* NULL: no fd */
    const char *words[WORDS_MAX];   /* that the error must contain */
    const char *options;            /* of -chardev, with a leading comma */
    const char *members;            /* of ChardevSocket; NULL: QMP_CLIENT */
    bool only_command_line;
    bool only_qmp;
} Refusal;

/* The fd is unsuitable, so that add_client refuses it as well */
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

/* The combination of options is invalid */
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

/* Open the fd of @r, if any.  Returns: false if this is not supported */
static bool refusal_open(const Refusal *r, int *fd)
{
    *fd = r->open_fd ? r->open_fd() : -1;
    if (r->open_fd && *fd < 0) {
        g_test_skip("a link of another type requires /dev/net/tun");
        return false;
    }
    return true;
}

/*
 * Run QEMU with a -chardev option, and return its exit status and stderr.
 *
 * If the option is accepted, QEMU exits at once because of another error.
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

/* QEMU reports the problem and exits, it doesn't crash */
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

/* Close the fd that a refused command may have left in the monitor */
static void qemu_closefd(QTestState *qts)
{
    qobject_unref(qtest_qmp(qts, "{ 'execute': 'closefd',"
                            "  'arguments': { 'fdname': 'pkt-fd' } }"));
}

/* Check that "pkt" can still be added and removed */
static void chardev_check_id_free(QTestState *qts)
{
    unsigned fds = count_fds(qtest_pid(qts));

    g_assert_null(chardev_filename(qts));
    g_assert_false(chardev_has_yank(qts));

    qemu_getfd(qts, open_good());
    qmp_expect_success(chardev_add(qts,
                                   chardev_data("capture", QMP_CLIENT)));
    chardev_expect_filename(qts, "af-packet:lo,mode=capture");
    g_assert_true(chardev_has_yank(qts));
    chardev_remove(qts);

    g_assert_false(chardev_has_yank(qts));
    g_assert_cmpuint(count_fds(qtest_pid(qts)), ==, fds);
}

/* chardev-add reports the problem, and has no side effects */
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
    fds = count_fds(qtest_pid(qts));
    if (fd >= 0) {
        qemu_getfd(qts, fd);
    }
    qmp_expect_error(chardev_add(qts, chardev_data(r->mode, members)),
                     r->words);
    qemu_closefd(qts);
    g_assert_cmpuint(count_fds(qtest_pid(qts)), ==, fds);
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

/* add_client reports the problem, and does not change the chardev */
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
    fds = count_fds(qtest_pid(qts));
    qmp_expect_error(chardev_add_client(qts, fd), r->words);
    g_assert_cmpuint(count_fds(qtest_pid(qts)), ==, fds);
    g_assert_false(chardev_is_connected(qts));
    if (r->mode) {
        qmp_expect_success(chardev_add_client(qts, open_good()));
        g_assert_true(chardev_is_connected(qts));
    }
    qtest_quit(qts);
}

/* chardev-add of HMP supports the option */
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

/* Add the test cases for a refusal, for all applicable commands */
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
    static const char *const modes[] = { "capture", "inject" };
    int i;

    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    for (i = 0; i < ARRAY_SIZE(modes); i++) {
        add_test("traffic/inherited", modes[i], modes[i],
                 test_traffic_inherited);
        add_test("traffic/getfd", modes[i], modes[i], test_traffic_getfd);
        add_test("add-client/connected", modes[i], modes[i],
                 test_add_client_connected);
    }
    ADD_TESTS("filename", filename_cases, test_filename);
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
