/*
 * Unit tests of the socket chardev's option 'af-packet-mode'
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What is refused, by which words, and that nothing stays behind.  Tests
 * that take a real packet socket run in a network namespace of their own,
 * and are skipped where there is none.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <malloc.h>
#include <net/if.h>
#include "chardev/char-fe.h"
#include "io/channel-socket.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-char.h"
#include "qapi/qapi-commands-yank.h"
#include "qapi/qapi-types-yank.h"
#include "qemu/config-file.h"
#include "qemu/cutils.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/option.h"
#include "qemu/sockets.h"
#include "qobject/qdict.h"
#include "qom/qom-qobject.h"
#include "system/system.h"
#include "af-packet-helpers.h"

#define ID "pkt"
#define WORDS_MAX 3
#define DEADLINE (10 * G_TIME_SPAN_SECOND)

#define NOT_AF_PACKET "'af-packet-mode' requires an AF_PACKET fd"
#define NOT_AN_FD "'af-packet-mode' option requires 'fd' address type"

/* Why tests with packet sockets can't run, or NULL */
static const char *skip_reason;

/*
 * What is there
 */

static int count_fds(void)
{
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    int n = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        n++;
    }
    g_dir_close(dir);
    return n;
}

static bool fd_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int count_yank_instances(void)
{
    YankInstanceList *list = qmp_query_yank(&error_abort), *l;
    int n = 0;

    for (l = list; l; l = l->next) {
        n++;
    }
    qapi_free_YankInstanceList(list);
    return n;
}

/*
 * Check that a message is @exact, and that it has all the @words there are.
 * Either may be NULL.
 */
static void assert_message(const char *message, const char *exact,
                           const char *const *words)
{
    int i;

    if (exact) {
        g_assert_cmpstr(message, ==, exact);
    }
    for (i = 0; words && i < WORDS_MAX && words[i]; i++) {
        if (!strstr(message, words[i])) {
            g_test_message("\"%s\" is not in: %s", words[i], message);
            g_test_fail();
        }
    }
}

/*
 * File descriptors
 */

/* One of two stream sockets; the other goes to @peer */
static int open_unix(int *peer)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                    ==, 0);
    *peer = fds[1];
    return fds[0];
}

static int open_lonely_unix(void)
{
    int peer, fd = open_unix(&peer);

    close(peer);
    return fd;
}

static int open_unix_dgram(void)
{
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int open_netlink(void)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
}

static int open_listening(void)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    /* Autobind: an abstract name of the kernel's choice */
    g_assert_cmpint(bind(fd, (struct sockaddr *)&sun, sizeof(sa_family_t)),
                    ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

/*
 * Making chardevs
 */

/* -chardev socket,id=pkt,@options; fd=@fd is added unless it is -1 */
static Chardev *add_by_options(const char *options, int fd, Error **errp)
{
    g_autofree char *text = g_strdup_printf("socket,id=" ID "%s%s",
                                            *options ? "," : "", options);
    g_autofree char *number = g_strdup_printf("%d", fd);
    QemuOpts *opts;
    Chardev *chr;

    opts = qemu_opts_parse(qemu_find_opts("chardev"), text, true,
                           &error_abort);
    g_assert_nonnull(opts);
    if (fd >= 0) {
        qemu_opt_set(opts, "fd", number, &error_abort);
    }
    chr = qemu_chr_new_from_opts(opts, NULL, errp);
    qemu_opts_del(opts);
    return chr;
}

static SocketAddressLegacy *fd_address(int fd)
{
    SocketAddressLegacy *addr = g_new0(SocketAddressLegacy, 1);

    addr->type = SOCKET_ADDRESS_TYPE_FD;
    addr->u.fd.data = g_new0(FdSocketAddress, 1);
    addr->u.fd.data->str = g_strdup_printf("%d", fd);
    return addr;
}

/* What management software gives for @fd in @mode, -1 for none */
static ChardevBackend *backend_new(int fd, int mode)
{
    ChardevBackend *backend = g_new0(ChardevBackend, 1);
    ChardevSocket *sock = g_new0(ChardevSocket, 1);

    backend->type = CHARDEV_BACKEND_KIND_SOCKET;
    backend->u.socket.data = sock;
    sock->addr = fd_address(fd);
    sock->has_server = true;
    sock->server = false;
    if (mode >= 0) {
        sock->has_af_packet_mode = true;
        sock->af_packet_mode = mode;
    }
    return backend;
}

/* chardev-add; @edit, unless NULL, changes what is given */
static Chardev *add_by_qmp(int fd, int mode, void (*edit)(ChardevSocket *),
                           Error **errp)
{
    ChardevBackend *backend = backend_new(fd, mode);
    ChardevReturn *ret;

    if (edit) {
        edit(backend->u.socket.data);
    }
    ret = qmp_chardev_add(ID, backend, errp);
    qapi_free_ChardevReturn(ret);
    qapi_free_ChardevBackend(backend);
    return ret ? qemu_chr_find(ID) : NULL;
}

/* The id serves an ordinary socket chardev, which works. */
static void assert_id_usable(void)
{
    Chardev *chr;
    int peer, fd = open_unix(&peer);
    char buf[2];

    chr = add_by_qmp(fd, -1, NULL, &error_abort);
    g_assert_nonnull(chr);
    g_assert_cmpint(count_yank_instances(), ==, 1);
    g_assert_cmpint(qemu_chr_write_all(chr, (const uint8_t *)"hi", 2), ==, 2);
    g_assert_cmpint(read(peer, buf, sizeof(buf)), ==, 2);
    qmp_chardev_remove(ID, &error_abort);
    close(peer);
    g_assert_false(fd_is_open(fd));
}

/* Nothing of the chardev is left, and its id can be used again at once. */
static void assert_nothing_left(int n_fds)
{
    g_assert_null(qemu_chr_find(ID));
    g_assert_cmpint(count_yank_instances(), ==, 0);
    g_assert_cmpint(count_fds(), ==, n_fds);
    assert_id_usable();
    g_assert_null(qemu_chr_find(ID));
    g_assert_cmpint(count_yank_instances(), ==, 0);
    g_assert_cmpint(count_fds(), ==, n_fds);
}

/*
 * Refused options, by command line
 */

typedef struct OptionsCase {
    const char *name;
    const char *options;     /* after af-packet-mode */
    bool no_fd;              /* the options have an address of another type */
    const char *exact;       /* the message, or NULL */
    const char *words[WORDS_MAX];
} OptionsCase;

#define CONFLICT(option) \
    { "'af-packet-mode' is incompatible with '" option "'" }

static const OptionsCase options_cases[] = {
    { "server", "server=on", .words = CONFLICT("server") },
    { "server-nowait", "server=on,wait=off", .words = CONFLICT("server") },
    { "telnet", "telnet=on", .words = CONFLICT("telnet") },
    { "tn3270", "tn3270=on", .words = CONFLICT("tn3270") },
    { "websocket", "websocket=on", .words = CONFLICT("websocket") },
    { "tls-creds", "tls-creds=tls0", .words = CONFLICT("tls-creds") },
    { "reconnect", "reconnect=1", .words = CONFLICT("reconnect") },
    { "reconnect-ms", "reconnect-ms=1000",
      .words = CONFLICT("reconnect-ms") },
    { "mux", "mux=on", .words = CONFLICT("mux") },

    { "unix", "path=/nonexistent/socket", true, NOT_AN_FD },
    { "unix-abstract", "path=socket,abstract=on", true, NOT_AN_FD },
    { "inet", "host=127.0.0.1,port=1", true, NOT_AN_FD },
    { "inet-ipv6", "host=::1,port=1,ipv6=on", true, NOT_AN_FD },

    /* Conflicts are told before anything about addresses, */
    { "unix-server", "path=/nonexistent/socket,server=on", true,
      .words = CONFLICT("server") },
    { "unix-telnet", "path=/nonexistent/socket,telnet=on", true,
      .words = CONFLICT("telnet") },
    { "unix-tls-creds", "path=/nonexistent/socket,tls-creds=tls0", true,
      .words = CONFLICT("tls-creds") },
    { "inet-tls-creds", "host=127.0.0.1,port=1,tls-creds=tls0", true,
      .words = CONFLICT("tls-creds") },
    { "inet-reconnect-ms", "host=127.0.0.1,port=1,reconnect-ms=1000", true,
      .words = CONFLICT("reconnect-ms") },
    { "inet-mux", "host=127.0.0.1,port=1,mux=on", true,
      .words = CONFLICT("mux") },
};

/* and so are unknown values. */
static const OptionsCase value_cases[] = {
    { "unknown", "af-packet-mode=both", .words = { "'af-packet-mode'",
                                                   "'both'" } },
    { "empty", "af-packet-mode=", .words = { "'af-packet-mode'", "''" } },
    { "upper", "af-packet-mode=Capture", .words = { "'af-packet-mode'",
                                                    "'Capture'" } },
    { "prefix", "af-packet-mode=inj", .words = { "'af-packet-mode'",
                                                 "'inj'" } },
    { "number", "af-packet-mode=0", .words = { "'af-packet-mode'", "'0'" } },
    { "no-value", "af-packet-mode", .words = { "'af-packet-mode'", "'on'" } },
    { "no-address", "af-packet-mode=capture", true, NOT_AN_FD },
    { "unix", "path=/nonexistent/socket,af-packet-mode=both", true,
      .words = { "'af-packet-mode'", "'both'" } },
};

static void refuse_options(const char *options, const OptionsCase *c)
{
    int n_fds = count_fds();
    int fd = c->no_fd ? -1 : open_lonely_unix();
    Error *err = NULL;

    g_assert_null(add_by_options(options, fd, &err));
    g_assert_nonnull(err);
    assert_message(error_get_pretty(err), c->exact, c->words);
    error_free(err);
    if (fd >= 0) {
        /* It has not been looked at yet */
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

/* Who types an unknown value is told the known ones. */
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

/*
 * Refused members, by QMP
 */

static void edit_server_default(ChardevSocket *sock)
{
    sock->has_server = false;
}

static void edit_server(ChardevSocket *sock)
{
    sock->server = true;
}

static void edit_server_nowait(ChardevSocket *sock)
{
    sock->server = sock->has_wait = true;
}

static void edit_telnet(ChardevSocket *sock)
{
    sock->has_telnet = sock->telnet = true;
}

static void edit_tn3270(ChardevSocket *sock)
{
    sock->has_tn3270 = sock->tn3270 = true;
}

static void edit_websocket(ChardevSocket *sock)
{
    sock->has_websocket = sock->websocket = true;
}

static void edit_tls_creds(ChardevSocket *sock)
{
    sock->tls_creds = g_strdup("tls0");
}

static void edit_reconnect(ChardevSocket *sock)
{
    sock->has_reconnect = true;
    sock->reconnect = 1;
}

static void edit_reconnect_ms(ChardevSocket *sock)
{
    sock->has_reconnect_ms = true;
    sock->reconnect_ms = 1000;
}

static void edit_unix(ChardevSocket *sock)
{
    qapi_free_SocketAddressLegacy(sock->addr);
    sock->addr = g_new0(SocketAddressLegacy, 1);
    sock->addr->type = SOCKET_ADDRESS_TYPE_UNIX;
    sock->addr->u.q_unix.data = g_new0(UnixSocketAddress, 1);
    sock->addr->u.q_unix.data->path = g_strdup("/nonexistent/socket");
}

static void edit_inet(ChardevSocket *sock)
{
    qapi_free_SocketAddressLegacy(sock->addr);
    sock->addr = g_new0(SocketAddressLegacy, 1);
    sock->addr->type = SOCKET_ADDRESS_TYPE_INET;
    sock->addr->u.inet.data = g_new0(InetSocketAddress, 1);
    sock->addr->u.inet.data->host = g_strdup("127.0.0.1");
    sock->addr->u.inet.data->port = g_strdup("1");
}

static void edit_vsock(ChardevSocket *sock)
{
    qapi_free_SocketAddressLegacy(sock->addr);
    sock->addr = g_new0(SocketAddressLegacy, 1);
    sock->addr->type = SOCKET_ADDRESS_TYPE_VSOCK;
    sock->addr->u.vsock.data = g_new0(VsockSocketAddress, 1);
    sock->addr->u.vsock.data->cid = g_strdup("1");
    sock->addr->u.vsock.data->port = g_strdup("1");
}

static void edit_unix_tls_creds(ChardevSocket *sock)
{
    edit_unix(sock);
    edit_tls_creds(sock);
}

static void edit_vsock_tls_creds(ChardevSocket *sock)
{
    edit_vsock(sock);
    edit_tls_creds(sock);
}

static void edit_inet_server_default(ChardevSocket *sock)
{
    edit_inet(sock);
    edit_server_default(sock);
}

typedef struct MembersCase {
    const char *name;
    void (*edit)(ChardevSocket *sock);
    const char *exact;
    const char *words[WORDS_MAX];
} MembersCase;

/* Who relies on the default has never heard of it. */
#define CONFLICT_SERVER \
    { "'af-packet-mode' is incompatible with 'server'", "false", "default" }

/* Added to all messages of chardev-add */
#define FAILED "Failed to add chardev '" ID "': "

static const MembersCase members_cases[] = {
    { "server-default", edit_server_default, .words = CONFLICT_SERVER },
    { "server", edit_server, .words = CONFLICT_SERVER },
    { "server-nowait", edit_server_nowait, .words = CONFLICT_SERVER },
    { "telnet", edit_telnet, .words = CONFLICT("telnet") },
    { "tn3270", edit_tn3270, .words = CONFLICT("tn3270") },
    { "websocket", edit_websocket, .words = CONFLICT("websocket") },
    { "tls-creds", edit_tls_creds, .words = CONFLICT("tls-creds") },
    { "reconnect", edit_reconnect, .words = CONFLICT("reconnect") },
    { "reconnect-ms", edit_reconnect_ms, .words = CONFLICT("reconnect-ms") },

    { "unix", edit_unix, FAILED NOT_AN_FD },
    { "inet", edit_inet, FAILED NOT_AN_FD },
    { "vsock", edit_vsock, FAILED NOT_AN_FD },

    /* Conflicts are told before anything about addresses and TLS */
    { "unix-tls-creds", edit_unix_tls_creds,
      .words = CONFLICT("tls-creds") },
    { "vsock-tls-creds", edit_vsock_tls_creds,
      .words = CONFLICT("tls-creds") },
    { "inet-server-default", edit_inet_server_default,
      .words = CONFLICT_SERVER },
};

static void test_members(const void *opaque)
{
    const MembersCase *c = opaque;
    int mode;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        int n_fds = count_fds(), fd = open_lonely_unix();
        Error *err = NULL;

        g_assert_null(add_by_qmp(fd, mode, c->edit, &err));
        g_assert_nonnull(err);
        assert_message(error_get_pretty(err), c->exact, c->words);
        error_free(err);
        g_assert_true(fd_is_open(fd));
        close(fd);
        assert_nothing_left(n_fds);
    }
}

/*
 * Refused file descriptors
 */

typedef struct FdCase {
    const char *name;
    int (*open)(void);
    int mode;                /* -1: not given */
    bool packet;             /* it takes a network namespace */
    const char *exact;
    const char *words[WORDS_MAX];
} FdCase;

#define CAPTURE CHARDEV_SOCKET_AF_PACKET_MODE_CAPTURE
#define INJECT CHARDEV_SOCKET_AF_PACKET_MODE_INJECT

static const FdCase fd_cases[] = {
    { "unix/capture", open_lonely_unix, CAPTURE, false, NOT_AF_PACKET },
    { "unix/inject", open_lonely_unix, INJECT, false, NOT_AF_PACKET },
    { "unix-dgram", open_unix_dgram, CAPTURE, false, NOT_AF_PACKET },
    { "netlink", open_netlink, INJECT, false, NOT_AF_PACKET },
    { "listening", open_listening, CAPTURE, false, NOT_AF_PACKET },
    { "no-mode", open_good, -1, true,
      .words = { "AF_PACKET", "'af-packet-mode", "requires" } },
    { "unbound", open_unbound, CAPTURE, true,
      .words = { "'af-packet-mode'", "bound", "bind()" } },
    { "dgram", open_dgram, INJECT, true,
      .words = { "'af-packet-mode'", "SOCK_RAW" } },
    { "deaf", open_protocol_0, CAPTURE, true,
      .words = { "'af-packet-mode=capture'", "sll_protocol", "ETH_P_ALL" } },
    { "ring", open_rx_ring, CAPTURE, true,
      .words = { "'af-packet-mode'", "ring", "PACKET_RX_RING" } },
};

/* By chardev-add.  The fd goes, as that of any connection that fails. */
static void test_fd_qmp(const void *opaque)
{
    const FdCase *c = opaque;
    g_autofree char *exact = c->exact ? g_strdup_printf(FAILED "%s", c->exact)
                                      : NULL;
    int n_fds = count_fds(), fd = c->open();
    Error *err = NULL;

    g_assert_null(add_by_qmp(fd, c->mode, NULL, &err));
    g_assert_nonnull(err);
    assert_message(error_get_pretty(err), exact, c->words);
    error_free(err);
    g_assert_false(fd_is_open(fd));
    assert_nothing_left(n_fds);
}

static void test_fd_options(const void *opaque)
{
    const FdCase *c = opaque;
    g_autofree char *options = c->mode < 0 ? g_strdup("") :
        g_strdup_printf("af-packet-mode=%s",
                        ChardevSocketAfPacketMode_str(c->mode));
    int n_fds = count_fds(), fd = c->open();
    Error *err = NULL;

    g_assert_null(add_by_options(options, fd, &err));
    g_assert_nonnull(err);
    assert_message(error_get_pretty(err), c->exact, c->words);
    error_free(err);
    g_assert_false(fd_is_open(fd));
    assert_nothing_left(n_fds);
}

/* Options that are off are no conflict: it is the fd that is refused. */
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
        int n_fds = count_fds(), fd = open_lonely_unix();
        Error *err = NULL;

        g_assert_null(add_by_options(text, fd, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, NOT_AF_PACKET);
        error_free(err);
        g_assert_false(fd_is_open(fd));
        assert_nothing_left(n_fds);
    }
}

/* chardev-change that is refused leaves what was there, and at work. */
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

    chr = add_by_qmp(fd, -1, NULL, &error_abort);
    qemu_chr_fe_init(&be, chr, &error_abort);
    qemu_chr_fe_set_handlers(&be, NULL, NULL, NULL, on_change, NULL, NULL,
                             true);

    bad = open_lonely_unix();
    backend = backend_new(bad, CAPTURE);
    g_assert_null(qmp_chardev_change(ID, backend, &err));
    g_assert_cmpstr(error_get_pretty(err), ==, NOT_AF_PACKET);
    error_free(err);
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

/*
 * With packet sockets
 */

#define IFNAME "veth0"
#define PEER "veth1"

/* A frontend, and what it has seen */
typedef struct Frontend {
    CharBackend be;
    int room;                /* what it takes at a time */
    int events[CHR_EVENT_CLOSED + 1];
} Frontend;

static int frontend_can_read(void *opaque)
{
    return ((Frontend *)opaque)->room;
}

static void frontend_read(void *opaque, const uint8_t *buf, int size)
{
}

static void frontend_event(void *opaque, QEMUChrEvent event)
{
    ((Frontend *)opaque)->events[event]++;
}

static void frontend_init(Frontend *f, Chardev *chr, int room)
{
    *f = (Frontend) { .room = room };
    qemu_chr_fe_init(&f->be, chr, &error_abort);
    qemu_chr_fe_set_handlers(&f->be, frontend_can_read, frontend_read,
                             frontend_event, NULL, f, NULL, true);
}

static bool is_connected(Chardev *chr)
{
    return object_property_get_bool(OBJECT(chr), "connected", &error_abort);
}

static gboolean on_tick(gpointer opaque)
{
    return G_SOURCE_CONTINUE;
}

static void wait_disconnected(Chardev *chr)
{
    int64_t end = g_get_monotonic_time() + DEADLINE;
    guint tick = g_timeout_add(100, on_tick, NULL);

    while (is_connected(chr)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_main_context_iteration(NULL, true);
    }
    g_source_remove(tick);
}

/* Write what can't be a record, which ends an inject connection. */
static void write_nonsense(Chardev *chr)
{
    qemu_chr_write_all(chr, (const uint8_t *)"\xff\xff\xff\xff", 4);
}

static uint64_t get_stat(Chardev *chr, const char *name)
{
    QObject *obj = object_property_get_qobject(OBJECT(chr),
                                               "af-packet-stats",
                                               &error_abort);
    int64_t value = qdict_get_int(qobject_to(QDict, obj), name);

    qobject_unref(obj);
    return value;
}

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
        int n_fds = count_fds(), fd = open_good();

        do_test_accepted(add_by_qmp(fd, mode, NULL, &error_abort), fd, mode,
                         n_fds);
        fd = open_good();
        do_test_accepted(add_by_options(options, fd, &error_abort), fd, mode,
                         n_fds);
    }
}

/* Inject takes a socket that hears nothing: it is the recommended one. */
static void test_accepted_deaf(void)
{
    int n_fds = count_fds(), fd = open_protocol_0();

    do_test_accepted(add_by_qmp(fd, INJECT, NULL, &error_abort), fd, INJECT,
                     n_fds);
}

/* Other socket chardevs have no counters. */
static void test_stats_elsewhere(void)
{
    int peer, fd = open_unix(&peer);
    Chardev *chr = add_by_qmp(fd, -1, NULL, &error_abort);
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

/* Who looks after the connection when it ends: nobody, or a frontend */
static const struct {
    const char *name;
    int room;                /* -1: no frontend */
} end_cases[] = {
    { "no-frontend", -1 },
    { "full-frontend", 0 },
    { "tiny-frontend", 1 },
    { "frontend", 4096 },
};

/* End the connection of @chr in @mode, to @room. */
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
    int i = GPOINTER_TO_INT(opaque), mode;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        int n_fds = count_fds(), fd;
        Chardev *chr;

        veth_add(IFNAME, PEER);
        fd = packet_open(IFNAME, TEST_ETHERTYPE);
        chr = add_by_qmp(fd, mode, NULL, &error_abort);
        do_test_end(chr, mode, end_cases[i].room);
        g_assert_false(fd_is_open(fd));
        if (mode == INJECT) {
            link_remove(IFNAME);
        }
        qmp_chardev_remove(ID, &error_abort);
        assert_nothing_left(n_fds);
    }
}

/* Make a chardev in @mode whose connection has ended. */
static Chardev *add_ended(int mode)
{
    Chardev *chr;
    int fd;

    veth_add(IFNAME, PEER);
    fd = packet_open(IFNAME, TEST_ETHERTYPE);
    chr = add_by_qmp(fd, mode, NULL, &error_abort);
    link_remove(IFNAME);
    wait_disconnected(chr);
    g_assert_false(fd_is_open(fd));
    return chr;
}

/* add_client of @fd is refused, and the fd stays with who gave it. */
static void refuse_client(Chardev *chr, int fd, const char *exact,
                          const char *const *words)
{
    int n_fds = count_fds();
    Error *err = NULL;

    g_assert_cmpint(qemu_chr_add_client(chr, fd, &err), ==, -1);
    g_assert_nonnull(err);
    assert_message(error_get_pretty(err), exact, words);
    error_free(err);
    g_assert_true(fd_is_open(fd));
    g_assert_cmpint(count_fds(), ==, n_fds);
}

static void test_add_client_refused(void)
{
    int mode, i;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        int n_fds = count_fds();
        Chardev *chr = add_ended(mode);

        for (i = 0; i < ARRAY_SIZE(fd_cases); i++) {
            const FdCase *c = &fd_cases[i];
            int fd;

            if (c->mode != mode) {
                continue;
            }
            fd = c->open();
            refuse_client(chr, fd, c->exact, c->words);
            refuse_client(chr, fd, c->exact, c->words);
            g_assert_false(is_connected(chr));
            close(fd);
        }
        qmp_chardev_remove(ID, &error_abort);
        assert_nothing_left(n_fds);
    }
}

/* A socket of the right kind is taken, after others were refused too. */
static void test_add_client(void)
{
    const char *const connected[WORDS_MAX] = { "already", "connection" };
    int mode;

    for (mode = 0; mode < CHARDEV_SOCKET_AF_PACKET_MODE__MAX; mode++) {
        int n_fds = count_fds(), bad = open_lonely_unix(), fd;
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

/* Without the option a packet socket is refused, another one is taken. */
static void test_add_client_plain(void)
{
    static const char *const words[WORDS_MAX] = { "AF_PACKET",
                                                  "'af-packet-mode" };
    int n_fds = count_fds(), peer, fd = open_unix(&peer), packet;
    Chardev *chr = add_by_qmp(fd, -1, NULL, &error_abort);

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

/* The number of the fd that was given may be another file's by now. */
static void do_test_fd_reused(int mode)
{
    int n_fds = count_fds(), fd, peer, other;
    Chardev *chr = NULL;
    Error *err = NULL;

    if (mode < 0) {
        fd = open_unix(&peer);
        chr = add_by_qmp(fd, mode, NULL, &error_abort);
        close(peer);
    } else {
        fd = open_good();
        chr = add_by_qmp(fd, mode, NULL, &error_abort);
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

/* Totals go on from one connection to the next. */
static void test_totals(void)
{
    /* A frame to where nobody listens, and half of another */
    static const uint8_t record[] = {
        0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0xb5,
        0, 0, 0, 14, 0, 0,
    };
    Chardev *chr;
    int i;

    chr = add_by_qmp(open_good(), INJECT, NULL, &error_abort);
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
    bool when_read;          /* or else when the connection is closed */
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
    int64_t end = g_get_monotonic_time() + DEADLINE;
    guint tick = g_timeout_add(100, on_tick, NULL);

    while (!r->removed) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_main_context_iteration(NULL, true);
    }
    g_source_remove(tick);
    g_assert_cmpint(r->removed, ==, 1);
}

/* What a removal happens in */
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
        int n_fds = count_fds();
        Chardev *chr;
        Remover r;

        if ((when == REMOVE_IN_READ && mode != CAPTURE) ||
            (when == REMOVE_IN_WRITE && mode != INJECT)) {
            continue;
        }
        veth_add(IFNAME, PEER);
        chr = add_by_qmp(packet_open(IFNAME, TEST_ETHERTYPE), mode, NULL,
                         &error_abort);
        do_test_remove(&r, chr, when);
        assert_nothing_left(n_fds);
    }
}

/*
 * A frontend that is replaced in the middle of a record
 */

#define RECORD_LEN (4 + 60)

/* Reads so many bytes, and no more. */
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
    int64_t end = g_get_monotonic_time() + DEADLINE;
    guint tick = g_timeout_add(100, on_tick, NULL);

    *r = (Reader) { .want = want };
    qemu_chr_fe_init(&r->be, chr, &error_abort);
    qemu_chr_fe_set_handlers(&r->be, reader_can_read, reader_read, NULL,
                             NULL, r, NULL, true);
    while (r->have < want) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_main_context_iteration(NULL, true);
    }
    g_source_remove(tick);
    qemu_chr_fe_deinit(&r->be, false);
}

/* The record of a frame that has @mark in it */
static void put_record(uint8_t *record, uint8_t mark)
{
    static const uint8_t head[] = { 0, 0, 0, 60 };

    memcpy(record, head, sizeof(head));
    memset(record + sizeof(head), mark, 60);
    record[4 + 12] = TEST_ETHERTYPE >> 8;
    record[4 + 13] = TEST_ETHERTYPE & 0xff;
}

/* What was left of a record is dropped, and the next one is whole. */
static void test_replaced_reader(void)
{
    uint8_t record[RECORD_LEN];
    size_t want;
    Chardev *chr;
    Reader r;
    int tx;

    veth_add(IFNAME, PEER);
    tx = packet_endpoint(PEER, 0);
    chr = add_by_qmp(packet_open(IFNAME, TEST_ETHERTYPE), CAPTURE, NULL,
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

/* Half a record of one writer is not the start of the next one's first. */
static void test_replaced_writer(void)
{
    uint8_t record[RECORD_LEN], frame[RECORD_LEN];
    Chardev *chr;
    CharBackend be;
    size_t len;
    int rx;

    veth_add(IFNAME, PEER);
    rx = packet_endpoint(PEER, TEST_ETHERTYPE);
    chr = add_by_qmp(packet_open(IFNAME, 0), INJECT, NULL, &error_abort);
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

/*
 * Leaks: after many cycles there is what there was after a few
 */

#define CYCLES 1000
#define FIRST_CYCLES 50      /* what they leave in caches stays there */
#define HEAP_SLACK (8 * CYCLES) /* bytes; the least malloc() takes is 32 */

typedef struct Footprint {
    int fds;
    int sources;
    int64_t heap;
} Footprint;

/* Inject on the one end of a link, capture on the other */
typedef struct Line {
    Chardev *inject;
    Chardev *capture;
    Frontend f;
} Line;

/* Sources in the default context have numbers, which only grow. */
static int count_sources(void)
{
    guint id, end = g_timeout_add(0, on_tick, NULL);
    int n = 0;

    for (id = 1; id < end; id++) {
        n += !!g_main_context_find_source_by_id(NULL, id);
    }
    g_source_remove(end);
    return n;
}

/* Bytes that were allocated and not freed, where that can be told. */
static int64_t count_heap(void)
{
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
    return mallinfo2().uordblks;
#else
    return 0;
#endif
}

static Footprint footprint(void)
{
    return (Footprint) {
        .fds = count_fds(),
        .sources = count_sources(),
        .heap = count_heap(),
    };
}

/* Run @cycle many times, and check that nothing stays from one to the next. */
static void check_leaks(void (*cycle)(Line *), Line *line)
{
    Footprint before, after;
    int i;

    for (i = 0; i < FIRST_CYCLES; i++) {
        cycle(line);
    }
    before = footprint();
    for (i = 0; i < CYCLES; i++) {
        cycle(line);
    }
    after = footprint();
    g_test_message("%d cycles: %d to %d fds, %d to %d sources, heap grows "
                   "by %" PRId64 " bytes", CYCLES, before.fds, after.fds,
                   before.sources, after.sources, after.heap - before.heap);
    g_assert_cmpint(after.fds, ==, before.fds);
    g_assert_cmpint(after.sources, ==, before.sources);
    g_assert_cmpint(after.heap - before.heap, <, HEAP_SLACK);
}

static Chardev *line_add(const char *id, const char *ifname, int mode)
{
    ChardevBackend *backend = backend_new(packet_open(ifname, TEST_ETHERTYPE),
                                          mode);

    qapi_free_ChardevReturn(qmp_chardev_add(id, backend, &error_abort));
    qapi_free_ChardevBackend(backend);
    return qemu_chr_find(id);
}

/* Add the chardevs. */
static void line_open(Line *line)
{
    line->inject = line_add("inject", PEER, INJECT);
    line->capture = line_add("capture", IFNAME, CAPTURE);
    frontend_init(&line->f, line->capture, 4096);
}

static void line_close(Line *line)
{
    qemu_chr_fe_deinit(&line->f.be, false);
    qmp_chardev_remove("capture", &error_abort);
    qmp_chardev_remove("inject", &error_abort);
}

/* Write records until one of them has been read, and half of another. */
static void line_use(Line *line)
{
    static const uint8_t record[] = {
        0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0xb5,
    };
    const int half = sizeof(record) / 2;
    int64_t end = g_get_monotonic_time() + DEADLINE;
    uint64_t before = get_stat(line->capture, "frames");
    guint tick = g_timeout_add(1, on_tick, NULL);

    qemu_chr_write_all(line->inject, record, half);
    while (get_stat(line->capture, "frames") == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        qemu_chr_write_all(line->inject, record + half, sizeof(record) - half);
        qemu_chr_write_all(line->inject, record, half);
        g_main_context_iteration(NULL, true);
    }
    g_source_remove(tick);
}

/* A cycle of adding, using and removing */
static void cycle_add(Line *line)
{
    line_open(line);
    line_use(line);
    line_close(line);
}

static void test_leaks_add(void)
{
    Line line;

    veth_add(IFNAME, PEER);
    check_leaks(cycle_add, &line);
    link_remove(IFNAME);
}

/* A cycle of use, removal of the interfaces, and new sockets */
static void cycle_reconnect(Line *line)
{
    line_use(line);
    link_remove(IFNAME);
    wait_disconnected(line->capture);
    wait_disconnected(line->inject);

    g_assert_cmpint(veth_create(IFNAME, PEER), ==, 0);
    qemu_chr_add_client(line->inject, packet_open(PEER, TEST_ETHERTYPE),
                        &error_abort);
    qemu_chr_add_client(line->capture, packet_open(IFNAME, TEST_ETHERTYPE),
                        &error_abort);
    link_set_up(IFNAME, true);
    link_set_up(PEER, true);
}

static void test_leaks_reconnect(void)
{
    Line line;

    veth_add(IFNAME, PEER);
    line_open(&line);
    check_leaks(cycle_reconnect, &line);
    line_close(&line);
    link_remove(IFNAME);
}

/*
 * Registration
 */

static void test_skip(const void *opaque)
{
    g_test_skip(skip_reason);
}

static void add_test(const char *group, const char *name, const void *data,
                     GTestDataFunc func, bool packet)
{
    g_autofree char *path = g_strdup_printf("/char-socket-af-packet/%s/%s",
                                            group, name);

    g_test_add_data_func(path, data,
                         packet && skip_reason ? test_skip : func);
}

static void call(const void *opaque)
{
    ((GTestFunc)opaque)();
}

static void add_simple_test(const char *group, const char *name,
                            GTestFunc func, bool packet)
{
    add_test(group, name, func, call, packet);
}

static void add_option_tests(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(options_cases); i++) {
        add_test("options", options_cases[i].name, &options_cases[i],
                 test_options, false);
    }
    for (i = 0; i < ARRAY_SIZE(value_cases); i++) {
        add_test("value", value_cases[i].name, &value_cases[i], test_value,
                 false);
    }
    for (i = 0; i < ARRAY_SIZE(members_cases); i++) {
        add_test("members", members_cases[i].name, &members_cases[i],
                 test_members, false);
    }
    add_simple_test("value", "hint", test_value_hint, false);
    add_simple_test("options", "off", test_off, false);
}

static void add_fd_tests(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(fd_cases); i++) {
        add_test("fd/qmp", fd_cases[i].name, &fd_cases[i], test_fd_qmp,
                 fd_cases[i].packet);
        add_test("fd/options", fd_cases[i].name, &fd_cases[i],
                 test_fd_options, fd_cases[i].packet);
    }
    add_simple_test("fd", "change", test_change, false);
    add_simple_test("fd", "reused-plain", test_fd_reused_plain, false);
    add_simple_test("fd", "reused", test_fd_reused, true);
}

static void add_packet_tests(void)
{
    int i;

    for (i = 0; i < ARRAY_SIZE(end_cases); i++) {
        add_test("end", end_cases[i].name, GINT_TO_POINTER(i), test_end,
                 true);
    }
    add_simple_test("accepted", "any", test_accepted, true);
    add_simple_test("accepted", "deaf", test_accepted_deaf, true);
    add_test("remove", "in-read", GINT_TO_POINTER(REMOVE_IN_READ),
             test_remove, true);
    add_test("remove", "in-hangup", GINT_TO_POINTER(REMOVE_IN_HANGUP),
             test_remove, true);
    add_test("remove", "in-write", GINT_TO_POINTER(REMOVE_IN_WRITE),
             test_remove, true);
    add_simple_test("replaced", "reader", test_replaced_reader, true);
    add_simple_test("replaced", "writer", test_replaced_writer, true);
    add_simple_test("stats", "elsewhere", test_stats_elsewhere, false);
    add_simple_test("stats", "totals", test_totals, true);
    add_simple_test("add-client", "refused", test_add_client_refused, true);
    add_simple_test("add-client", "taken", test_add_client, true);
    add_simple_test("add-client", "plain", test_add_client_plain, true);
    add_simple_test("leaks", "add", test_leaks_add, true);
    add_simple_test("leaks", "reconnect", test_leaks_reconnect, true);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    skip_reason = netns_skip_reason();

    qemu_init_main_loop(&error_abort);
    socket_init();
    g_test_init(&argc, &argv, NULL);
    module_call_init(MODULE_INIT_QOM);
    qemu_add_opts(&qemu_chardev_opts);

    add_option_tests();
    add_fd_tests();
    add_packet_tests();
    return g_test_run();
}
