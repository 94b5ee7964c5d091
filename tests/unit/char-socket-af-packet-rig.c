/*
 * Test helpers: socket chardevs with 'af-packet-mode', and without
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "block/qdict.h"
#include "qapi/qapi-commands-yank.h"
#include "qapi/qapi-types-yank.h"
#include "qapi/qapi-visit-char.h"
#include "qapi/qobject-input-visitor.h"
#include "qemu/config-file.h"
#include "qemu/option.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qom/qom-qobject.h"
#include "char-socket-af-packet-rig.h"

int open_unix(int *peer)
{
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                    ==, 0);
    *peer = fds[1];
    return fds[0];
}

int open_lonely_unix(void)
{
    int peer, fd = open_unix(&peer);

    close(peer);
    return fd;
}

bool fd_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

int count_yank_instances(void)
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
 * Creating chardevs
 */

static ChardevBackend *backend_from_qdict(QDict *args)
{
    Visitor *v = qobject_input_visitor_new(QOBJECT(args));
    ChardevBackend *backend;

    visit_type_ChardevBackend(v, NULL, &backend, &error_abort);
    visit_free(v);
    return backend;
}

ChardevBackend *backend_from(const char *json)
{
    g_autoptr(QDict) args = qobject_to(QDict, qobject_from_json(json,
                                                             &error_abort));

    return backend_from_qdict(args);
}

/* Replace members of @data, and drop those that are null. */
static void edit_members(QDict *data, const char *members)
{
    g_autoptr(QDict) edits = qobject_to(QDict, qobject_from_json(members,
                                                              &error_abort));
    const QDictEntry *e;

    qdict_join(data, edits, true);
    for (e = qdict_first(data); e; ) {
        const char *key = qdict_entry_key(e);
        bool none = qobject_type(qdict_entry_value(e)) == QTYPE_QNULL;

        e = qdict_next(data, e);
        if (none) {
            qdict_del(data, key);
        }
    }
}

ChardevBackend *backend_new(int fd, int mode, const char *members)
{
    g_autofree char *number = g_strdup_printf("%d", fd);
    g_autoptr(QDict) args = NULL;
    QDict *data = qdict_from_jsonf_nofail(
        "{ 'addr': { 'type': 'fd', 'data': { 'str': %s } },"
        "  'server': false }", number);

    if (mode >= 0) {
        qdict_put_str(data, "af-packet-mode",
                      ChardevSocketAfPacketMode_str(mode));
    }
    if (members) {
        edit_members(data, members);
    }
    args = qdict_from_jsonf_nofail("{ 'type': 'socket', 'data': %p }", data);
    return backend_from_qdict(args);
}

Chardev *add_backend(const char *id, ChardevBackend *backend, Error **errp)
{
    ChardevReturn *ret = qmp_chardev_add(id, backend, errp);

    qapi_free_ChardevReturn(ret);
    qapi_free_ChardevBackend(backend);
    return ret ? qemu_chr_find(id) : NULL;
}

Chardev *add_by_qmp(int fd, int mode, Error **errp)
{
    return add_backend(ID, backend_new(fd, mode, NULL), errp);
}

Chardev *add_by_options(const char *options, int fd, Error **errp)
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

/*
 * Checking state and messages
 */

/* The ID can be used for an ordinary socket chardev, which works. */
static void assert_id_usable(void)
{
    Chardev *chr;
    int peer, fd = open_unix(&peer);
    char buf[2];

    chr = add_by_qmp(fd, -1, &error_abort);
    g_assert_nonnull(chr);
    g_assert_cmpint(count_yank_instances(), ==, 1);
    g_assert_cmpint(qemu_chr_write_all(chr, (const uint8_t *)"hi", 2), ==, 2);
    g_assert_cmpint(read(peer, buf, sizeof(buf)), ==, 2);
    qmp_chardev_remove(ID, &error_abort);
    close(peer);
    g_assert_false(fd_is_open(fd));
}

void assert_nothing_left(int n_fds)
{
    g_assert_null(qemu_chr_find(ID));
    g_assert_cmpint(count_yank_instances(), ==, 0);
    g_assert_cmpint(count_fds(getpid()), ==, n_fds);
    assert_id_usable();
    g_assert_null(qemu_chr_find(ID));
    g_assert_cmpint(count_yank_instances(), ==, 0);
    g_assert_cmpint(count_fds(getpid()), ==, n_fds);
}

void assert_error(Error *err, const char *exact, const char *const *words)
{
    g_assert_nonnull(err);
    if (exact) {
        g_assert_cmpstr(error_get_pretty(err), ==, exact);
    }
    if (words) {
        assert_words(error_get_pretty(err), words);
    }
    error_free(err);
}

/*
 * Using chardevs
 */

bool is_connected(Chardev *chr)
{
    return object_property_get_bool(OBJECT(chr), "connected", &error_abort);
}

void wait_disconnected(Chardev *chr)
{
    int64_t end = deadline_in(DEADLINE);

    while (is_connected(chr)) {
        g_assert_true(main_loop_step(end));
    }
}

void write_nonsense(Chardev *chr)
{
    qemu_chr_write_all(chr, (const uint8_t *)"\xff\xff\xff\xff", 4);
}

uint64_t get_stat(Chardev *chr, const char *name)
{
    QObject *obj = object_property_get_qobject(OBJECT(chr),
                                               "af-packet-stats",
                                               &error_abort);
    int64_t value = qdict_get_int(qobject_to(QDict, obj), name);

    qobject_unref(obj);
    return value;
}

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

void frontend_init(Frontend *f, Chardev *chr, int room)
{
    *f = (Frontend) { .room = room };
    qemu_chr_fe_init(&f->be, chr, &error_abort);
    qemu_chr_fe_set_handlers(&f->be, frontend_can_read, frontend_read,
                             frontend_event, NULL, f, NULL, true);
}
