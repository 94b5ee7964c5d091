/*
 * QTest testcase for creating and deleting netdev-handover and netdev-takeover
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "../unit/af-packet-helpers.h"
#include "netdev-handover-rig.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"

/* --- QEMU with objects that can be refused --- */

/* Returns: a packet socket on the tap, for QEMU to inherit */
static int open_inject(const char *ifname, bool vnet_hdr)
{
    int fd = packet_open(ifname, 0);

    if (vnet_hdr) {
        packet_set_vnet_hdr(fd);
    }
    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    return fd;
}

static QTestState *start(const char *more)
{
    int fd = tap_create(SOURCE_TAP, true);
    int inject = open_inject(SOURCE_TAP, true);
    int other_inject = open_inject(SOURCE_TAP, true);
    int plain = open_inject(SOURCE_TAP, false);
    int elsewhere = open_inject("lo", true);
    QTestState *qts;

    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    qts = qtest_initf(
        "-M pc -nodefaults -netdev tap,id=guest,fd=%d "
        "-netdev hubport,id=hub,hubid=0 "
        "-chardev socket,id=stream,host=127.0.0.1,port=0,server=on,wait=off "
        "-chardev socket,id=other,host=127.0.0.1,port=0,server=on,wait=off "
        "-chardev socket,id=mux,host=127.0.0.1,port=0,server=on,wait=off,"
        "mux=on -chardev udp,id=udp,host=127.0.0.1,port=9 "
        "-chardev socket,id=inject,fd=%d,af-packet-mode=inject "
        "-chardev socket,id=other-inject,fd=%d,af-packet-mode=inject "
        "-chardev socket,id=plain,fd=%d,af-packet-mode=inject "
        "-chardev socket,id=elsewhere,fd=%d,af-packet-mode=inject %s",
        fd, inject, other_inject, plain, elsewhere, more);
    close(fd);
    close(inject);
    close(other_inject);
    close(plain);
    close(elsewhere);
    link_set_up(SOURCE_TAP, true);
    return qts;
}

static QDict *add(QTestState *qts, const char *options)
{
    g_autofree char *command = g_strdup_printf(
        "{ 'execute': 'object-add', 'arguments': { %s } }", options);
    QDict *cmd = qdict_from_jsonf_nofail("%p", qobject_from_json(command,
                                                                 NULL));

    return qtest_qmp(qts, "%p", cmd);
}

static void add_ok(QTestState *qts, const char *options)
{
    QDict *rsp = add(qts, options);

    g_assert_true(qdict_haskey(rsp, "return"));
    qobject_unref(rsp);
}

static void add_refused(QTestState *qts, const char *options, const char *why)
{
    QDict *rsp = add(qts, options);
    const char *desc;

    g_assert_true(qdict_haskey(rsp, "error"));
    desc = qdict_get_str(qdict_get_qdict(rsp, "error"), "desc");
    if (!strstr(desc, why)) {
        g_test_message("%s: %s", options, desc);
        g_test_fail();
    }
    qobject_unref(rsp);
}

static void del_object(QTestState *qts, const char *id)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'object-del',"
                             "  'arguments': { 'id': %s } }", id);
}

static void remove_chardev(QTestState *qts, const char *id)
{
    qtest_qmp_assert_success(qts, "{ 'execute': 'chardev-remove',"
                             "  'arguments': { 'id': %s } }", id);
}

/* Returns: how many objects there are */
static size_t count_objects(QTestState *qts)
{
    QDict *rsp = qtest_qmp(qts, "{ 'execute': 'qom-list',"
                           "  'arguments': { 'path': '/objects' } }");
    size_t n = qlist_size(qdict_get_qlist(rsp, "return"));

    qobject_unref(rsp);
    return n;
}

/* --- Refused --- */

#define HANDOVER "'qom-type': 'netdev-handover', 'id': 'new', "
#define TAKEOVER "'qom-type': 'netdev-takeover', 'id': 'new', "
#define FILTER "'qom-type': 'filter-mirror', 'id': 'filter', " \
               "'netdev': 'guest', 'queue': 'tx', 'outdev': 'other'"
#define FIRST "'qom-type': 'netdev-handover', 'id': 'first', " \
              "'netdev': 'guest', 'outdev': 'other'"

static const struct {
    const char *name;
    const char *options;
    const char *why;
    const char *before;     /* object to add first */
    const char *more;       /* command line options */
} refused[] = {
    { "no-netdev", HANDOVER "'netdev': 'none', 'outdev': 'stream'",
      "netdev 'none' not found" },
    { "no-tap", HANDOVER "'netdev': 'hub', 'outdev': 'stream'",
      "netdev 'hub' is not of type tap" },
    { "filters", HANDOVER "'netdev': 'guest', 'outdev': 'stream'",
      "netdev 'guest' has filters", FILTER },
    { "second", HANDOVER "'netdev': 'guest', 'outdev': 'stream'",
      "netdev 'guest' has a netdev-handover already", FIRST },
    { "no-chardev", HANDOVER "'netdev': 'guest', 'outdev': 'none'",
      "'outdev' of netdev-handover: chardev 'none' not found" },
    { "shared", HANDOVER "'netdev': 'guest', 'outdev': 'mux'",
      "chardev 'mux' is shared with others" },
    { "datagrams", HANDOVER "'netdev': 'guest', 'outdev': 'udp'",
      "chardev 'udp' can't report when it is writable" },
    { "used", HANDOVER "'netdev': 'hub', 'outdev': 'other'",
      "already in use", FIRST },
    { "takeover/too-late",
      TAKEOVER "'netdev': 'guest', 'indev': 'stream', 'outdev': 'inject'",
      "requires an incoming migration" },
    { "takeover/no-netdev",
      TAKEOVER "'netdev': 'none', 'indev': 'stream', 'outdev': 'inject'",
      "netdev 'none' not found", NULL, "-incoming defer" },
    { "takeover/no-tap",
      TAKEOVER "'netdev': 'hub', 'indev': 'stream', 'outdev': 'inject'",
      "netdev 'hub' is not of type tap", NULL, "-incoming defer" },
    { "takeover/no-indev",
      TAKEOVER "'netdev': 'guest', 'indev': 'none', 'outdev': 'inject'",
      "'indev' of netdev-takeover: chardev 'none' not found", NULL,
      "-incoming defer" },
    { "takeover/no-outdev",
      TAKEOVER "'netdev': 'guest', 'indev': 'stream', 'outdev': 'none'",
      "'outdev' of netdev-takeover: chardev 'none' not found", NULL,
      "-incoming defer" },
    { "takeover/no-inject",
      TAKEOVER "'netdev': 'guest', 'indev': 'stream', 'outdev': 'other'",
      "needs a socket with 'af-packet-mode=inject'", NULL,
      "-incoming defer" },
    { "takeover/datagrams",
      TAKEOVER "'netdev': 'guest', 'indev': 'stream', 'outdev': 'udp'",
      "needs a socket with 'af-packet-mode=inject'", NULL,
      "-incoming defer" },
    { "takeover/no-vnet-hdr",
      TAKEOVER "'netdev': 'guest', 'indev': 'stream', 'outdev': 'plain'",
      "chardev 'plain' has a vnet header of 0 bytes", NULL,
      "-incoming defer" },
    { "takeover/elsewhere",
      TAKEOVER "'netdev': 'guest', 'indev': 'stream', 'outdev': 'elsewhere'",
      "needs one that is bound to the tap of netdev 'guest', " SOURCE_TAP,
      NULL, "-incoming defer" },
    { "takeover/second",
      TAKEOVER "'netdev': 'guest', 'indev': 'stream', 'outdev': 'inject'",
      "netdev 'guest' has a netdev-takeover already", NULL,
      "-incoming defer "
      "-chardev socket,id=in,host=127.0.0.1,port=0,server=on,wait=off "
      "-object netdev-takeover,id=t,netdev=guest,indev=in,"
      "outdev=other-inject" },
    { "takeover/same",
      TAKEOVER "'netdev': 'guest', 'indev': 'stream', 'outdev': 'stream'",
      "already in use", NULL, "-incoming defer" },
};

/* A refusal has no side effects: the chardevs are free. */
static void test_refused(const void *opaque)
{
    const int i = GPOINTER_TO_INT(opaque);
    QTestState *qts = start(refused[i].more ?: "");
    size_t n;

    if (refused[i].before) {
        add_ok(qts, refused[i].before);
    }
    n = count_objects(qts);
    add_refused(qts, refused[i].options, refused[i].why);
    g_assert_cmpuint(count_objects(qts), ==, n);
    remove_chardev(qts, "stream");
    qtest_quit(qts);
}

/* --- Lifecycle --- */

static void test_cycles(void)
{
    QTestState *qts = start("");
    size_t n = count_objects(qts);
    int i;

    for (i = 0; i < 100; i++) {
        add_ok(qts, FIRST);
        del_object(qts, "first");
    }
    g_assert_cmpuint(count_objects(qts), ==, n);
    remove_chardev(qts, "other");
    qtest_quit(qts);
}

/* Options can't be changed after creation. */
static void test_fixed(void)
{
    QTestState *qts = start("");
    QDict *rsp;

    add_ok(qts, FIRST);
    rsp = qtest_qmp(qts, "{ 'execute': 'qom-set', 'arguments': {"
                    "  'path': '/objects/first', 'property': 'outdev',"
                    "  'value': 'stream' } }");
    g_assert_true(qdict_haskey(rsp, "error"));
    qobject_unref(rsp);
    qtest_quit(qts);
}

/* It is deleted with its netdev, even if a NIC keeps the netdev for a while. */
static void test_netdev_del(const void *nic)
{
    QTestState *qts = start(nic);
    size_t n = count_objects(qts);

    add_ok(qts, FIRST);
    g_assert_cmpuint(count_objects(qts), ==, n + 1);
    qtest_qmp_assert_success(qts, "{ 'execute': 'netdev_del',"
                             "  'arguments': { 'id': 'guest' } }");
    g_assert_cmpuint(count_objects(qts), ==, n);
    remove_chardev(qts, "other");
    qtest_quit(qts);
}

/* Both on the command line */
static void test_command_line(void)
{
    QTestState *qts = start(
        "-incoming defer -object netdev-handover,id=h,netdev=guest,outdev=mine "
        "-chardev socket,id=mine,host=127.0.0.1,port=0,server=on,wait=off "
        "-object netdev-takeover,id=t,netdev=guest,indev=stream,outdev=inject");

    del_object(qts, "h");
    del_object(qts, "t");
    remove_chardev(qts, "inject");
    remove_chardev(qts, "stream");
    remove_chardev(qts, "mine");
    qtest_quit(qts);
}

int main(int argc, char **argv)
{
    int i;

    if (!rig_test_init(&argc, &argv)) {
        return g_test_run();
    }
    for (i = 0; i < ARRAY_SIZE(refused); i++) {
        g_autofree char *path = g_strdup_printf("/netdev-handover/refused/%s",
                                                refused[i].name);

        qtest_add_data_func(path, GINT_TO_POINTER(i), test_refused);
    }
    qtest_add_func("/netdev-handover/cycles", test_cycles);
    qtest_add_func("/netdev-handover/fixed", test_fixed);
    qtest_add_data_func("/netdev-handover/netdev-del/without-nic", "",
                        test_netdev_del);
    qtest_add_data_func("/netdev-handover/netdev-del/with-nic",
                        "-device virtio-net-pci,netdev=guest",
                        test_netdev_del);
    qtest_add_func("/netdev-handover/command-line", test_command_line);
    return g_test_run();
}
