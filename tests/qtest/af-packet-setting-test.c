/*
 * QTest testcase for af-packet-mode: in a confined QEMU, in an iothread, and in
 * a VM that is migrated or saved
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * See af-packet-relay.h for the setup.
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include "af-packet-relay.h"
#include "libqos/libqos.h"
#include "qobject/qlist.h"

/* Protocol 0 is for injection only. */
static uint16_t usual_proto(const char *mode)
{
    return g_str_equal(mode, "capture") ? ETH_P_ALL : 0;
}

/* --- Cases: a confined QEMU --- */

/* LeakSanitizer needs operations that a confined process may not perform */
#ifdef __SANITIZE_ADDRESS__
static const bool can_confine;
#else
static const bool can_confine = true;
#endif

#define SANDBOX "-sandbox on,obsolete=deny,elevateprivileges=deny," \
                "spawn=deny,resourcecontrol=deny"

typedef struct ConfinedCase {
    const char *name;
    const char *args;
    bool unprivileged;
} ConfinedCase;

static const ConfinedCase confined_cases[] = {
    { "sandbox", SANDBOX, false },
    { "unprivileged", "", true },
    { "both", SANDBOX, true },
};

/* Returns: whether QEMU has CAP_NET_RAW, or any other capability */
static bool qemu_is_capable(QTestState *qts)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", qtest_pid(qts));
    g_autofree char *status = NULL;
    const char *line;

    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    line = strstr(status, "\nCapEff:");
    g_assert_nonnull(line);
    return g_ascii_strtoull(line + strlen("\nCapEff:"), NULL, 16) != 0;
}

static void relay_start_confined(Relay *relay, const ConfinedCase *c,
                                 const char *mode, int fd)
{
    g_autofree char *option = chardev_option(fd, mode, NULL);
    g_autofree char *args = g_strdup_printf("%s %s", option, c->args);

    if (c->unprivileged) {
        /* Programs that are executed get no capabilities from being root */
        g_assert_cmpint(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT), ==, 0);
    }
    relay_start(relay, mode, args);
    g_assert_cmpint(prctl(PR_SET_SECUREBITS, 0), ==, 0);
    g_assert_cmpint(qemu_is_capable(relay->qts), ==, !c->unprivileged);
    close(fd);
}

/* The lifecycle of a chardev, in a confined QEMU */
static void do_test_confined(const ConfinedCase *c, const char *mode)
{
    uint16_t proto = usual_proto(mode);
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    relay_start_confined(&relay, c, mode, packet_open(QEMU_IF, proto));
    relay_attach(&relay);
    relay_check(&relay, FEW_FRAMES);
    link_set_up(QEMU_IF, false);
    qemu_expect_idle(relay.qts);
    veth_bring_up(QEMU_IF, TEST_IF);
    relay_check(&relay, FEW_FRAMES);
    link_remove(QEMU_IF);
    chardev_wait_disconnected(relay.qts);

    veth_add(QEMU_IF, TEST_IF);
    qmp_expect_success(chardev_add_client(relay.qts,
                                          packet_open(QEMU_IF, proto)));
    relay_check(&relay, FEW_FRAMES);
    relay_detach(&relay);
    chardev_remove(relay.qts);
    qemu_getfd(relay.qts, packet_open(QEMU_IF, proto));
    qmp_expect_success(chardev_add(relay.qts,
                                   chardev_data(mode, QMP_CLIENT)));
    relay_attach(&relay);
    relay_check(&relay, FEW_FRAMES);
    relay_stop(&relay);
}

static void test_confined(const void *opaque)
{
    do_test_confined(opaque, "capture");
    do_test_confined(opaque, "inject");
}

/* --- Cases: a context other than the main one --- */

/*
 * Two captured links are compared by an iothread, which injects into a third.
 *
 * +-------+  +-------+      +-------+  +-----+
 * | frame +--> veth1 +------> veth0 +--> pkt +--+ +---------+
 * +-------+  +-------+      +-------+  +-----+  +->         |
 *                                                 | compare |
 * +-------+  +-------+      +-------+  +-----+  +->         |
 * | frame +--> veth3 +------> veth2 +--> sec +--+ +----+----+
 * +-------+  +-------+      +-------+  +-----+         |
 *                                                      |
 * +-------+  +-------+      +-------+  +-----+         |
 * | frame <--+ veth5 <------+ veth4 <--+ out <---------+
 * +-------+  +-------+      +-------+  +-----+
 */
typedef struct Compare {
    QTestState *qts;
    int pri, sec, out;
} Compare;

static bool has_colo_compare(void)
{
    QTestState *qts = qemu_start("");
    g_autoptr(QDict) rsp = qtest_qmp(qts, "{ 'execute': 'qom-list-types',"
                                     " 'arguments': {"
                                     "  'implements': 'user-creatable' } }");
    const QListEntry *entry;
    bool found = false;

    QLIST_FOREACH_ENTRY(qdict_get_qlist(rsp, "return"), entry) {
        QDict *type = qobject_to(QDict, qlist_entry_obj(entry));

        found |= g_str_equal(qdict_get_str(type, "name"), "colo-compare");
    }
    qtest_quit(qts);
    return found;
}

static void compare_start(Compare *c)
{
    g_autofree char *args = NULL;
    int pri, sec, out;

    veth_add("veth0", "veth1");
    veth_add("veth2", "veth3");
    veth_add("veth4", "veth5");
    pri = packet_open("veth0", ETH_P_ALL);
    sec = packet_open("veth2", ETH_P_ALL);
    out = packet_open("veth4", 0);
    fd_set_inherited(pri);
    fd_set_inherited(sec);
    fd_set_inherited(out);
    args = g_strdup_printf(
        "-chardev socket,id=pkt,fd=%d,af-packet-mode=capture "
        "-chardev socket,id=sec,fd=%d,af-packet-mode=capture "
        "-chardev socket,id=out,fd=%d,af-packet-mode=inject "
        "-object iothread,id=io0 "
        "-object colo-compare,id=cmp0,primary_in=pkt,secondary_in=sec,"
        "outdev=out,iothread=io0", pri, sec, out);
    c->qts = qemu_start(args);
    close(pri);
    close(sec);
    close(out);
    c->pri = packet_endpoint("veth1", 0);
    c->sec = packet_endpoint("veth3", 0);
    c->out = packet_endpoint("veth5", ETH_P_IP);
}

static void compare_stop(Compare *c)
{
    close(c->pri);
    close(c->sec);
    close(c->out);
    qtest_quit(c->qts);
    link_remove("veth0");
    link_remove("veth2");
    link_remove("veth4");
}

/* A UDP packet that both sides agree on is passed; 60 bytes, unpadded. */
static void compare_check(Compare *c)
{
    uint8_t frame[60] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 0,
        0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        4, 0, 4, 1, 0, 26, 0, 0, 'd', 'a', 't', 'a',
    };
    uint8_t got[FRAME_MAX];
    ssize_t len;
    int i;

    for (i = 0; i < FEW_FRAMES; i++) {
        frame[sizeof(frame) - 1] = i;
        g_assert_cmpint(send(c->pri, frame, sizeof(frame), 0), ==,
                        sizeof(frame));
        g_assert_cmpint(send(c->sec, frame, sizeof(frame), 0), ==,
                        sizeof(frame));
        len = recv(c->out, got, sizeof(got), 0);
        g_assert_cmpint(len, >, 0);
        g_assert_cmpmem(got, len, frame, sizeof(frame));
    }
}

static void test_iothread(const void *opaque)
{
    Compare c;

    if (!has_colo_compare()) {
        g_test_skip("QEMU was built without colo-compare");
        return;
    }
    compare_start(&c);
    compare_check(&c);
    link_set_up("veth0", false);
    qemu_expect_idle(c.qts);
    g_assert_true(chardev_is_connected(c.qts));
    veth_bring_up("veth0", "veth1");
    close(c.pri);
    c.pri = packet_endpoint("veth1", 0);
    compare_check(&c);

    link_remove("veth0");
    chardev_wait_disconnected(c.qts);
    qemu_expect_idle(c.qts);
    veth_add("veth0", "veth1");
    close(c.pri);
    c.pri = packet_endpoint("veth1", 0);
    qmp_expect_success(chardev_add_client(c.qts,
                                          packet_open("veth0", ETH_P_ALL)));
    compare_check(&c);

    qtest_qmp_assert_success(c.qts, "{ 'execute': 'object-del',"
                             "  'arguments': { 'id': 'cmp0' } }");
    chardev_remove(c.qts);
    compare_stop(&c);
}

/* --- Cases: a VM --- */

/* Start a machine that has state to save in addition to the relay */
static void relay_start_vm(Relay *relay, const char *mode, const char *bios,
                           const char *more)
{
    g_autofree char *option = NULL, *args = NULL;
    int fd;

    veth_add(QEMU_IF, TEST_IF);
    fd = packet_open(QEMU_IF, usual_proto(mode));
    option = chardev_option(fd, mode, NULL);
    args = g_strdup_printf("-machine isapc -m 16 -bios %s %s %s", bios,
                           option, more);
    relay_start(relay, mode, args);
    close(fd);
    relay_attach(relay);
}

/* Create a file name, in a directory of its own */
static char *file_create(char **dir)
{
    *dir = g_dir_make_tmp("af-packet-test-XXXXXX", NULL);
    g_assert_nonnull(*dir);
    return g_build_filename(*dir, "file", NULL);
}

static void file_remove(char *path, char *dir)
{
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_cmpint(rmdir(dir), ==, 0);
    g_free(path);
    g_free(dir);
}

/* Wait until a member of a QMP command's answer is @value. */
static void wait_status(QTestState *qts, const char *command,
                        const char *value)
{
    const int64_t end = deadline();
    bool reached;

    do {
        g_autoptr(QDict) ret = qtest_qmp_assert_success_ref(qts,
            "{ 'execute': %s }", command);
        const char *status = qdict_get_try_str(ret, "status") ?: "";

        g_assert_cmpstr(status, !=, "failed");
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        reached = g_str_equal(status, value);
    } while (!reached);
}

/*
 * Migration does not affect the chardev: it keeps working at the source, and
 * the chardev at the destination works with its own socket.
 */
static void test_migration(const void *mode)
{
    g_autofree char *bios = bios_create(), *incoming = NULL, *uri = NULL;
    char *dir, *path = file_create(&dir);
    Relay relay;

    relay_start_vm(&relay, mode, bios, "");
    relay_check(&relay, FEW_FRAMES);
    uri = g_strdup_printf("file:%s", path);
    qtest_qmp_assert_success(relay.qts, "{ 'execute': 'migrate',"
                             "  'arguments': { 'uri': %s } }", uri);
    wait_status(relay.qts, "query-migrate", "completed");
    relay_check(&relay, FEW_FRAMES);
    g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==, 2 * FEW_FRAMES);
    relay_stop(&relay);

    incoming = g_strdup_printf("-incoming %s", uri);
    relay_start_vm(&relay, mode, bios, incoming);
    wait_status(relay.qts, "query-status", "running");
    relay_check(&relay, FEW_FRAMES);
    g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==, FEW_FRAMES);
    relay_stop(&relay);
    file_remove(path, dir);
    unlink(bios);
}

static void expect_hmp_silent(QTestState *qts, const char *command)
{
    g_autofree char *out = qtest_hmp(qts, "%s", command);

    g_assert_cmpstr(out, ==, "");
}

/* Neither do snapshots. */
static void test_snapshot(const void *mode)
{
    g_autofree char *bios = NULL, *drive = NULL;
    char *dir, *path;
    Relay relay;

    if (!have_qemu_img()) {
        g_test_skip("qemu-img is missing");
        return;
    }
    /* savevm and loadvm have leaks of their own (QEMU 10.0) */
    g_setenv("LSAN_OPTIONS", "detect_leaks=0", true);
    path = file_create(&dir);
    mkqcow2(path, 1);
    bios = bios_create();
    drive = g_strdup_printf("-drive if=none,id=disk,format=qcow2,file=%s",
                            path);
    relay_start_vm(&relay, mode, bios, drive);
    relay_check(&relay, FEW_FRAMES);
    expect_hmp_silent(relay.qts, "savevm saved");
    relay_check(&relay, FEW_FRAMES);
    expect_hmp_silent(relay.qts, "loadvm saved");
    relay_check(&relay, FEW_FRAMES);
    g_assert_cmpuint(chardev_stat(relay.qts, "frames"), ==, 3 * FEW_FRAMES);
    relay_stop(&relay);
    file_remove(path, dir);
    unlink(bios);
    g_unsetenv("LSAN_OPTIONS");
}

int main(int argc, char **argv)
{
    static const char *const modes[] = { "capture", "inject" };
    int i;

    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    for (i = 0; i < ARRAY_SIZE(confined_cases) && can_confine; i++) {
        add_test("confined", confined_cases[i].name, &confined_cases[i],
                 test_confined);
    }
    add_test("iothread", "compare", NULL, test_iothread);
    for (i = 0; i < ARRAY_SIZE(modes) && qtest_has_machine("isapc"); i++) {
        add_test("migration", modes[i], modes[i], test_migration);
        add_test("snapshot", modes[i], modes[i], test_snapshot);
    }
    return g_test_run();
}
