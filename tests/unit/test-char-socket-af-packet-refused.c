/*
 * Unit tests of the socket chardev's option 'af-packet-mode': what is refused
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * They check the error messages, and that no resources leak.  Tests that need a
 * real packet socket run in a network namespace of their own; if this is not
 * possible, they are skipped.
 */
#include "qemu/osdep.h"
#include "qemu/config-file.h"
#include "qemu/error-report.h"
#include "qemu/sockets.h"
#include "system/system.h"
#include "char-socket-af-packet-rig.h"

#define NOT_AN_FD "'af-packet-mode' option requires 'fd' address type"

/* Prefix of all messages of chardev-add */
#define FAILED "Failed to add chardev '" ID "': "

/*
 * Refused options, by -chardev and by chardev-add
 */

typedef struct OptionsCase {
    const char *name;
    const char *options;     /* besides af-packet-mode; NULL: skip -chardev */
    const char *members;     /* for backend_new(); NULL: skip chardev-add */
    bool no_fd;              /* the options have an address of another type */
    const char *exact;       /* the message, or NULL */
    const char *words[WORDS_MAX];
} OptionsCase;

#define CONFLICT(option) \
    .words = { "'af-packet-mode' is incompatible with '" option "'" }

/* Users who rely on the default may not know 'server'. */
#define CONFLICT_SERVER .words = { \
        "'af-packet-mode' is incompatible with 'server'", "false", "default" }

#define INET "host=127.0.0.1,port=1"
#define UNIX "path=/nonexistent/socket"

#define ADDR_INET "'addr': { 'type': 'inet', " \
    "'data': { 'host': '127.0.0.1', 'port': '1' } }"
#define ADDR_UNIX "'addr': { 'type': 'unix', " \
    "'data': { 'path': '/nonexistent/socket' } }"
#define ADDR_VSOCK "'addr': { 'type': 'vsock', " \
    "'data': { 'cid': '1', 'port': '1' } }"

static const OptionsCase options_cases[] = {
    { "server-default", NULL, "{ 'server': null }", CONFLICT_SERVER },
    { "server", "server=on", "{ 'server': true }", CONFLICT_SERVER },
    { "server-nowait", "server=on,wait=off",
      "{ 'server': true, 'wait': false }", CONFLICT_SERVER },
    { "telnet", "telnet=on", "{ 'telnet': true }", CONFLICT("telnet") },
    { "tn3270", "tn3270=on", "{ 'tn3270': true }", CONFLICT("tn3270") },
    { "websocket", "websocket=on", "{ 'websocket': true }",
      CONFLICT("websocket") },
    { "tls-creds", "tls-creds=tls0", "{ 'tls-creds': 'tls0' }",
      CONFLICT("tls-creds") },
    { "reconnect", "reconnect=1", "{ 'reconnect': 1 }",
      CONFLICT("reconnect") },
    { "reconnect-ms", "reconnect-ms=1000", "{ 'reconnect-ms': 1000 }",
      CONFLICT("reconnect-ms") },
    { "mux", "mux=on", NULL, CONFLICT("mux") },

    { "unix", UNIX, "{ " ADDR_UNIX " }", true, NOT_AN_FD },
    { "unix-abstract", "path=socket,abstract=on", NULL, true, NOT_AN_FD },
    { "inet", INET, "{ " ADDR_INET " }", true, NOT_AN_FD },
    { "inet-ipv6", "host=::1,port=1,ipv6=on", NULL, true, NOT_AN_FD },
    { "vsock", NULL, "{ " ADDR_VSOCK " }", true, NOT_AN_FD },

    /* Conflicts are reported before errors in addresses and TLS, */
    { "unix-server", UNIX ",server=on", NULL, true, CONFLICT("server") },
    { "inet-server-default", NULL, "{ 'server': null, " ADDR_INET " }", true,
      CONFLICT_SERVER },
    { "unix-telnet", UNIX ",telnet=on", NULL, true, CONFLICT("telnet") },
    { "unix-tls-creds", UNIX ",tls-creds=tls0",
      "{ 'tls-creds': 'tls0', " ADDR_UNIX " }", true, CONFLICT("tls-creds") },
    { "vsock-tls-creds", NULL, "{ 'tls-creds': 'tls0', " ADDR_VSOCK " }",
      true, CONFLICT("tls-creds") },
    { "inet-tls-creds", INET ",tls-creds=tls0", NULL, true,
      CONFLICT("tls-creds") },
    { "inet-reconnect-ms", INET ",reconnect-ms=1000", NULL, true,
      CONFLICT("reconnect-ms") },
    { "inet-mux", INET ",mux=on", NULL, true, CONFLICT("mux") },
};

/* and so are unknown values. */
#define UNKNOWN(value) .words = { "'af-packet-mode'", "'" value "'" }

static const OptionsCase value_cases[] = {
    { "unknown", "af-packet-mode=both", UNKNOWN("both") },
    { "empty", "af-packet-mode=", UNKNOWN("") },
    { "upper", "af-packet-mode=Capture", UNKNOWN("Capture") },
    { "prefix", "af-packet-mode=inj", UNKNOWN("inj") },
    { "number", "af-packet-mode=0", UNKNOWN("0") },
    { "no-value", "af-packet-mode", UNKNOWN("on") },
    { "no-address", "af-packet-mode=capture", NULL, true, NOT_AN_FD },
    { "unix", UNIX ",af-packet-mode=both", NULL, true, UNKNOWN("both") },
};

static void refuse_options(const char *options, const OptionsCase *c)
{
    int n_fds = count_fds(getpid());
    int fd = c->no_fd ? -1 : open_lonely_unix();
    Error *err = NULL;

    g_assert_null(add_by_options(options, fd, &err));
    assert_error(err, c->exact, c->words);
    if (fd >= 0) {
        /* The fd has not been used yet */
        g_assert_true(fd_is_open(fd));
        close(fd);
    }
    assert_nothing_left(n_fds);
}

static void test_options(const void *opaque)
{
    const OptionsCase *c = opaque;
    g_autofree char *capture = g_strdup_printf("af-packet-mode=capture,%s",
                                               c->options);
    g_autofree char *inject = g_strdup_printf("%s,af-packet-mode=inject",
                                              c->options);

    refuse_options(capture, c);
    refuse_options(inject, c);
}

static void test_value(const void *opaque)
{
    const OptionsCase *c = opaque;

    refuse_options(c->options, c);
}

/* The error for an unknown value lists the known ones. */
static void test_value_hint(void)
{
    if (g_test_subprocess()) {
        Error *err = NULL;

        add_by_options("af-packet-mode=both", 0, &err);
        error_report_err(err);
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("*'capture'*'inject'*");
}

static void test_members(const void *opaque)
{
    const OptionsCase *c = opaque;
    g_autofree char *exact = c->exact ? g_strdup_printf(FAILED "%s", c->exact)
                                      : NULL;
    int mode;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        int n_fds = count_fds(getpid()), fd = open_lonely_unix();
        Error *err = NULL;

        g_assert_null(add_backend(ID, backend_new(fd, mode, c->members),
                                  &err));
        assert_error(err, exact, c->words);
        g_assert_true(fd_is_open(fd));
        close(fd);
        assert_nothing_left(n_fds);
    }
}

/* Options that are off do not conflict: only the fd is refused. */
static void test_off(void)
{
    static const char *const options[] = {
        "server=off", "telnet=off", "tn3270=off", "websocket=off", "mux=off",
        "nodelay=on", "delay=off",
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(options); i++) {
        g_autofree char *text = g_strdup_printf("af-packet-mode=inject,%s",
                                                options[i]);
        int n_fds = count_fds(getpid()), fd = open_lonely_unix();
        Error *err = NULL;

        g_assert_null(add_by_options(text, fd, &err));
        assert_error(err, NOT_AF_PACKET, NULL);
        g_assert_false(fd_is_open(fd));
        assert_nothing_left(n_fds);
    }
}

/*
 * Refused file descriptors
 */

static int open_unix_dgram(void)
{
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int open_netlink(void)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static int open_udp(void)
{
    return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int open_listening(void)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    /* Autobind: the kernel chooses an abstract name */
    g_assert_cmpint(bind(fd, (struct sockaddr *)&sun, sizeof(sa_family_t)),
                    ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

typedef struct FdCase {
    const char *name;
    int (*open)(void);
    int mode;                /* -1: not given */
    bool packet;             /* needs a network namespace */
    const char *exact;
    const char *words[WORDS_MAX];
} FdCase;

static const FdCase fd_cases[] = {
    { "unix/capture", open_lonely_unix, CAPTURE, false, NOT_AF_PACKET },
    { "unix/inject", open_lonely_unix, INJECT, false, NOT_AF_PACKET },
    { "unix-dgram", open_unix_dgram, CAPTURE, false, NOT_AF_PACKET },
    { "udp/capture", open_udp, CAPTURE, false, NOT_AF_PACKET },
    { "udp/inject", open_udp, INJECT, false, NOT_AF_PACKET },
    { "netlink", open_netlink, INJECT, false, NOT_AF_PACKET },
    { "listening", open_listening, CAPTURE, false, NOT_AF_PACKET },
    { "no-mode", open_good, -1, true,
      .words = { "AF_PACKET", "'af-packet-mode", "requires" } },
    { "unbound", open_unbound, CAPTURE, true,
      .words = { "'af-packet-mode'", "bound", "bind()" } },
    { "removed", open_removed, INJECT, true,
      .words = { "'af-packet-mode'", "interface" } },
    { "tun", open_tun, CAPTURE, true,
      .words = { "'af-packet-mode'", "link type" } },
    { "dgram", open_dgram, INJECT, true,
      .words = { "'af-packet-mode'", "SOCK_RAW" } },
    { "deaf", open_protocol_0, CAPTURE, true,
      .words = { "'af-packet-mode=capture'", "sll_protocol", "ETH_P_ALL" } },
    { "ring", open_rx_ring, CAPTURE, true,
      .words = { "'af-packet-mode'", "ring", "PACKET_RX_RING" } },
    { "tx-ring", open_tx_ring, INJECT, true,
      .words = { "'af-packet-mode'", "ring", "PACKET_TX_RING" } },
};

/* The fd of @c is refused, and closed like after any failed connection. */
static void refuse_fd(const FdCase *c, bool by_qmp)
{
    g_autofree char *exact = c->exact && by_qmp ?
        g_strdup_printf(FAILED "%s", c->exact) : g_strdup(c->exact);
    g_autofree char *options = c->mode < 0 ? g_strdup("") :
        g_strdup_printf("af-packet-mode=%s",
                        ChardevSocketAfPacketMode_str(c->mode));
    int n_fds = count_fds(getpid()), fd = c->open();
    Error *err = NULL;

    if (fd < 0) {
        g_test_skip("a link of another type requires /dev/net/tun");
        return;
    }
    g_assert_null(by_qmp ? add_by_qmp(fd, c->mode, &err) :
                           add_by_options(options, fd, &err));
    assert_error(err, exact, c->words);
    g_assert_false(fd_is_open(fd));
    assert_nothing_left(n_fds);
}

static void test_fd_qmp(const void *opaque)
{
    refuse_fd(opaque, true);
}

static void test_fd_options(const void *opaque)
{
    refuse_fd(opaque, false);
}

/* Create a chardev in @mode whose connection has ended. */
static Chardev *add_ended(int mode)
{
    Chardev *chr;
    int fd;

    veth_add(IFNAME, PEER);
    fd = packet_open(IFNAME, TEST_ETHERTYPE);
    chr = add_by_qmp(fd, mode, &error_abort);
    link_remove(IFNAME);
    wait_disconnected(chr);
    g_assert_false(fd_is_open(fd));
    return chr;
}

/* add_client of @fd is refused, and the caller still owns @fd. */
static void refuse_client(Chardev *chr, int fd, const char *exact,
                          const char *const *words)
{
    int n_fds = count_fds(getpid());
    Error *err = NULL;

    g_assert_cmpint(qemu_chr_add_client(chr, fd, &err), ==, -1);
    assert_error(err, exact, words);
    g_assert_true(fd_is_open(fd));
    g_assert_cmpint(count_fds(getpid()), ==, n_fds);
}

static void test_add_client_refused(void)
{
    int mode, i;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        int n_fds = count_fds(getpid());
        Chardev *chr = add_ended(mode);

        for (i = 0; i < ARRAY_SIZE(fd_cases); i++) {
            const FdCase *c = &fd_cases[i];
            int fd;

            if (c->mode != mode) {
                continue;
            }
            fd = c->open();
            if (fd < 0) {
                continue;
            }
            refuse_client(chr, fd, c->exact, c->words);
            refuse_client(chr, fd, c->exact, c->words);
            g_assert_false(is_connected(chr));
            close(fd);
        }
        qmp_chardev_remove(ID, &error_abort);
        assert_nothing_left(n_fds);
    }
}

/* A suitable socket is accepted, even after others were refused. */
static void test_add_client(void)
{
    const char *const connected[WORDS_MAX] = { "already", "connection" };
    int mode;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        int n_fds = count_fds(getpid()), bad = open_lonely_unix(), fd;
        Chardev *chr = add_ended(mode);

        refuse_client(chr, bad, NOT_AF_PACKET, NULL);
        fd = open_good();
        g_assert_cmpint(qemu_chr_add_client(chr, fd, &error_abort), ==, 0);
        g_assert_true(is_connected(chr));
        g_assert_true(g_str_has_prefix(chr->filename, "af-packet:lo,mode="));

        /* One at a time */
        refuse_client(chr, bad, NULL, connected);
        g_assert_true(is_connected(chr));
        close(bad);
        qmp_chardev_remove(ID, &error_abort);
        g_assert_false(fd_is_open(fd));
        assert_nothing_left(n_fds);
    }
}

/* Without the option, a packet socket is refused, another one accepted. */
static void test_add_client_plain(void)
{
    static const char *const words[WORDS_MAX] = { "AF_PACKET",
                                                  "'af-packet-mode" };
    int n_fds = count_fds(getpid()), peer, fd = open_unix(&peer), packet;
    Chardev *chr = add_by_qmp(fd, -1, &error_abort);

    close(peer);
    wait_disconnected(chr);

    packet = open_good();
    refuse_client(chr, packet, NULL, words);
    close(packet);

    fd = open_unix(&peer);
    g_assert_cmpint(qemu_chr_add_client(chr, fd, &error_abort), ==, 0);
    g_assert_true(is_connected(chr));
    close(peer);
    qmp_chardev_remove(ID, &error_abort);
    assert_nothing_left(n_fds);
}

/* A refused chardev-change leaves the old chardev in place, and working. */
static int on_change(void *opaque)
{
    g_assert_not_reached();
}

static void test_change(void)
{
    int peer, bad, fd = open_unix(&peer);
    ChardevBackend *backend;
    CharBackend be;
    Chardev *chr;
    Error *err = NULL;
    char buf[2];

    chr = add_by_qmp(fd, -1, &error_abort);
    qemu_chr_fe_init(&be, chr, &error_abort);
    qemu_chr_fe_set_handlers(&be, NULL, NULL, NULL, on_change, NULL, NULL,
                             true);

    bad = open_lonely_unix();
    backend = backend_new(bad, CAPTURE, NULL);
    g_assert_null(qmp_chardev_change(ID, backend, &err));
    assert_error(err, NOT_AF_PACKET, NULL);
    qapi_free_ChardevBackend(backend);
    g_assert_false(fd_is_open(bad));

    g_assert_true(qemu_chr_find(ID) == chr);
    g_assert_cmpint(count_yank_instances(), ==, 1);
    g_assert_cmpint(qemu_chr_fe_write_all(&be, (const uint8_t *)"hi", 2),
                    ==, 2);
    g_assert_cmpint(read(peer, buf, sizeof(buf)), ==, 2);

    qemu_chr_fe_deinit(&be, true);
    close(peer);
    g_assert_cmpint(count_yank_instances(), ==, 0);
}

static void add_option_tests(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(options_cases); i++) {
        const OptionsCase *c = &options_cases[i];
        g_autofree char *options = g_strdup_printf("options/%s", c->name);
        g_autofree char *members = g_strdup_printf("members/%s", c->name);

        if (c->options) {
            suite_add_data(options, c, test_options);
        }
        if (c->members) {
            suite_add_data(members, c, test_members);
        }
    }
    SUITE_ADD_TABLE("value", value_cases, test_value);
    suite_add("value/hint", test_value_hint);
    suite_add("options/off", test_off);
}

static void add_fd_tests(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(fd_cases); i++) {
        const FdCase *c = &fd_cases[i];
        g_autofree char *qmp = g_strdup_printf("fd/qmp/%s", c->name);
        g_autofree char *options = g_strdup_printf("fd/options/%s", c->name);

        suite_set_needs_netns(c->packet);
        suite_add_data(qmp, c, test_fd_qmp);
        suite_add_data(options, c, test_fd_options);
    }
}

int main(int argc, char **argv)
{
    suite_init(&argc, &argv, "/char-socket-af-packet");
    qemu_add_opts(&qemu_chardev_opts);

    if (suite_has_netns()) {
        /* Keeps a descriptor open, so must not run within a test */
        close(open_tun());
    }
    suite_set_needs_netns(false);
    add_option_tests();
    suite_add("fd/change", test_change);
    add_fd_tests();
    suite_set_needs_netns(true);
    suite_add("add-client/refused", test_add_client_refused);
    suite_add("add-client/taken", test_add_client);
    suite_add("add-client/plain", test_add_client_plain);
    return g_test_run();
}
