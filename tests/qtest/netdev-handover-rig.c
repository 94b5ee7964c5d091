/*
 * QTest helpers: a guest that migrates, and the stream of its frames
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include "../unit/af-packet-helpers.h"
#include "migration/migration-qmp.h"
#include "migration/migration-util.h"
#include "netdev-handover-rig.h"
#include "packet-stream.h"
#include "qemu/bswap.h"
#include "qobject/qdict.h"
#include "standard-headers/linux/virtio_net.h"

#define ETHERTYPE_RARP 0x8035

const uint8_t other_mac[ETH_ALEN] = { 0x02 };
const uint8_t group_mac[ETH_ALEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* --- A VM --- */

void vm_start(Vm *vm, const char *tap, const char *more)
{
    int fd = tap_create(tap, true);

    g_assert_cmpint(fcntl(fd, F_SETFD, 0), ==, 0);
    vm->qs = qtest_pc_boot("-M pc -m 16 -nodefaults "
                           "-netdev tap,id=guest,fd=%d "
                           "-device virtio-net-pci,id=nic,netdev=guest,addr=%d,"
                           "disable-modern=on,romfile= %s",
                           fd, NIC_SLOT, more);
    vm->qts = vm->qs->qts;
    vm->send_buffer = 0;
    close(fd);
    link_set_up(tap, true);
}

/* Returns: our end of a new stream; the other one is for QEMU */
static int vm_stream_pair(Vm *vm, int *theirs)
{
    int fd = pair_create(theirs);

    /* A small buffer makes QEMU queue most of its data */
    g_assert_cmpint(setsockopt(*theirs, SOL_SOCKET, SO_SNDBUF,
                               &vm->send_buffer, sizeof(int)), ==, 0);
    return fd;
}

/* Add the chardev "stream" on a new socket.  Returns: its other end */
static int vm_add_stream(Vm *vm)
{
    int theirs, fd = vm_stream_pair(vm, &theirs);

    qemu_pass_fd(vm->qts, "stream", theirs);
    qtest_qmp_assert_success(vm->qts, "{ 'execute': 'chardev-add',"
                             "  'arguments': { 'id': 'stream', 'backend': {"
                             "    'type': 'socket', 'data': {"
                             "      'addr': { 'type': 'fd',"
                             "                'data': { 'str': 'stream' } },"
                             "      'server': false } } } }");
    return fd;
}

static void vm_add_inject(Vm *vm)
{
    int fd = packet_open(DESTINATION_TAP, 0);

    packet_set_vnet_hdr(fd);
    qemu_pass_fd(vm->qts, "inject", fd);
    qtest_qmp_assert_success(vm->qts, "{ 'execute': 'chardev-add',"
                             "  'arguments': { 'id': 'inject', 'backend': {"
                             "    'type': 'socket', 'data': {"
                             "      'addr': { 'type': 'fd',"
                             "                'data': { 'str': 'inject' } },"
                             "      'server': false,"
                             "      'af-packet-mode': 'inject' } } } }");
}

/* --- The network --- */

static void frame_fill(uint8_t *frame, uint32_t number, const uint8_t *to,
                       const uint8_t *from)
{
    memset(frame, number, FRAME_LEN);
    memcpy(frame, to, ETH_ALEN);
    memcpy(frame + ETH_ALEN, from, ETH_ALEN);
    stw_be_p(frame + 2 * ETH_ALEN, TEST_ETHERTYPE);
    stl_be_p(frame + ETH_HLEN, number);
}

void network_send_as(const char *tap, uint32_t first, uint32_t end,
                     const uint8_t *to, const uint8_t *from)
{
    uint8_t frame[FRAME_LEN];
    int fd = packet_endpoint(tap, 0);

    for (; first < end; first++) {
        frame_fill(frame, first, to, from);
        g_assert_cmpint(send(fd, frame, sizeof(frame), 0), ==, sizeof(frame));
    }
    close(fd);
}

void network_send(const char *tap, uint32_t first, uint32_t end)
{
    network_send_as(tap, first, end, guest_mac, other_mac);
}

void network_send_group(const char *tap, uint32_t first, uint32_t end)
{
    network_send_as(tap, first, end, group_mac, other_mac);
}

void takeover_expect_done(Rig *r, bool complete)
{
    QDict *event = qtest_qmp_eventwait_ref(r->destination.qts,
                                           "NETDEV_TAKEOVER_DONE");
    QDict *data = qdict_get_qdict(event, "data");

    g_assert_cmpstr(qdict_get_str(data, "id"), ==, "handover");
    g_assert_cmpstr(qdict_get_str(data, "netdev-id"), ==, "guest");
    g_assert_cmpint(qdict_get_bool(data, "complete"), ==, complete);
    qobject_unref(event);
}

bool is_announced(Rig *r)
{
    uint8_t frame[FRAME_LEN];

    return recv(r->announcements, frame, sizeof(frame), MSG_DONTWAIT) > 0;
}

/* --- The stream --- */

static void record_fill(uint8_t *record, uint32_t number, const uint8_t *to)
{
    memset(record, 0, RECORD_LEN);
    stl_be_p(record, VNET_HDR_LEN + FRAME_LEN);
    stl_be_p(record + 4, VNET_HDR_LEN);
    frame_fill(record + 8 + VNET_HDR_LEN, number, to, other_mac);
}

static void end_fill(uint8_t *end)
{
    memset(end, 0, END_LEN);
    stl_be_p(end, VNET_HDR_LEN);
    stl_be_p(end + 4, VNET_HDR_LEN);
}

void stream_read(Rig *r, void *buf, size_t len)
{
    g_assert_cmpint(recv(r->from, buf, len, MSG_WAITALL), ==, len);
}

/* Returns: the number of the next record, which is to @mac */
static uint32_t stream_next_to(Rig *r, const uint8_t *mac)
{
    uint8_t record[RECORD_LEN], expected[RECORD_LEN];
    uint32_t number;

    stream_read(r, record, sizeof(record));
    number = ldl_be_p(record + 8 + VNET_HDR_LEN + ETH_HLEN);
    record_fill(expected, number, mac);
    g_assert_cmpmem(record, sizeof(record), expected, sizeof(expected));
    return number;
}

uint32_t stream_next(Rig *r)
{
    return stream_next_to(r, guest_mac);
}

void stream_expect_group(Rig *r, uint32_t number)
{
    g_assert_cmpuint(stream_next_to(r, group_mac), ==, number);
}

void stream_expect(Rig *r, uint32_t first, uint32_t end)
{
    for (; first < end; first++) {
        g_assert_cmpuint(stream_next(r), ==, first);
    }
}

void stream_expect_end(Rig *r)
{
    uint8_t end[END_LEN], expected[END_LEN];

    end_fill(expected);
    stream_read(r, end, sizeof(end));
    g_assert_cmpmem(end, sizeof(end), expected, sizeof(expected));
}

void stream_expect_nothing(Rig *r)
{
    char byte;

    /* QEMU runs everything that is pending before it answers */
    qtest_qmp_assert_success(r->source.qts, "{ 'execute': 'query-status' }");
    g_assert_cmpint(recv(r->from, &byte, 1, MSG_DONTWAIT), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
}

void stream_write(Rig *r, const void *buf, size_t len)
{
    g_assert_cmpint(send(r->to, buf, len, MSG_NOSIGNAL), ==, len);
}

void stream_send(Rig *r, uint32_t first, uint32_t end)
{
    uint8_t record[RECORD_LEN];

    for (; first < end; first++) {
        record_fill(record, first, guest_mac);
        stream_write(r, record, sizeof(record));
    }
}

void stream_send_end(Rig *r)
{
    uint8_t end[END_LEN];

    end_fill(end);
    stream_write(r, end, sizeof(end));
}

void stream_expect_answer(Rig *r)
{
    uint8_t answer[END_LEN], expected[END_LEN];

    end_fill(expected);
    g_assert_cmpint(recv(r->to, answer, sizeof(answer), MSG_WAITALL), ==,
                    sizeof(answer));
    g_assert_cmpmem(answer, sizeof(answer), expected, sizeof(expected));
}

void stream_answer(Rig *r)
{
    const int64_t end = deadline();
    uint8_t answer[END_LEN];

    end_fill(answer);
    g_assert_cmpint(send(r->from, answer, sizeof(answer), MSG_NOSIGNAL), ==,
                    sizeof(answer));
    while (!get_state(&r->source, "announced")) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* --- The objects --- */

static QDict *get_stats(Vm *vm)
{
    return qtest_qmp_assert_success_ref(
        vm->qts, "{ 'execute': 'qom-get', 'arguments': {"
        "    'path': '/objects/handover', 'property': 'stats' } }");
}

uint64_t get_stat(Vm *vm, const char *name)
{
    QDict *stats = get_stats(vm);
    uint64_t value = qdict_get_int(stats, name);

    qobject_unref(stats);
    return value;
}

bool get_state(Vm *vm, const char *name)
{
    QDict *stats = get_stats(vm);
    bool value = qdict_get_bool(stats, name);

    qobject_unref(stats);
    return value;
}

void wait_stat(Vm *vm, const char *name, uint64_t at_least)
{
    const int64_t end = deadline();

    while (get_stat(vm, name) < at_least) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

/* --- All of it --- */

void rig_start(Rig *r, uint32_t room, uint64_t features)
{
    vm_start(&r->source, SOURCE_TAP, "");
    vm_start(&r->destination, DESTINATION_TAP, "-incoming defer");
    r->announcements = packet_endpoint(DESTINATION_TAP, ETHERTYPE_RARP);
    r->from = r->to = -1;
    guest_start(&r->guest, &r->source, features);
    guest_add_buffers(&r->guest, &r->source, room);
    guest_kick(&r->guest);
}

static int vm_reconnect(Vm *vm, int fd)
{
    int theirs;

    close(fd);
    chardev_wait_connected(vm->qts, "stream", false);
    fd = vm_stream_pair(vm, &theirs);
    chardev_connect(vm->qts, "stream", theirs);
    return fd;
}

void rig_reconnect_source(Rig *r)
{
    r->from = vm_reconnect(&r->source, r->from);
}

void rig_reconnect_destination(Rig *r)
{
    r->to = vm_reconnect(&r->destination, r->to);
}

void rig_add_source(Rig *r)
{
    r->from = vm_add_stream(&r->source);
    qtest_qmp_assert_success(r->source.qts, "{ 'execute': 'object-add',"
                             "  'arguments': { 'id': 'handover',"
                             "    'qom-type': 'netdev-handover',"
                             "    'netdev': 'guest', 'outdev': 'stream' } }");
}

static void rig_add_destination(Rig *r)
{
    vm_add_inject(&r->destination);
    r->to = vm_add_stream(&r->destination);
    qtest_qmp_assert_success(r->destination.qts, "{ 'execute': 'object-add',"
                             "  'arguments': { 'id': 'handover',"
                             "    'qom-type': 'netdev-takeover',"
                             "    'netdev': 'guest', 'indev': 'stream',"
                             "    'outdev': 'inject' } }");
}

void rig_add_handover(Rig *r)
{
    rig_add_destination(r);
    rig_add_source(r);
}

void rig_start_behind_with(Rig *r, uint64_t features)
{
    rig_start(r, ROOM, features);
    rig_add_handover(r);
    network_send(SOURCE_TAP, 0, BACKLOG_END);
    guest_expect(&r->guest, &r->source, ROOM);
    guest_add_buffers(&r->guest, &r->source, 200);
}

void rig_start_behind(Rig *r)
{
    rig_start_behind_with(r, 0);
}

void rig_migrate(Rig *r)
{
    migrate_incoming_qmp(r->destination.qts, "tcp:127.0.0.1:0", NULL, "{}");
    migrate_qmp(r->source.qts, r->destination.qts, NULL, NULL, "{}");
}

void rig_stop(Rig *r)
{
    close(r->announcements);
    close(r->from);
    close(r->to);
    if (r->destination.qs && r->to >= 0) {
        /* When QEMU exits, the interface is removed before the chardev */
        qtest_qmp_assert_success(r->destination.qts,
                                 "{ 'execute': 'object-del',"
                                 "  'arguments': { 'id': 'handover' } }");
        qtest_qmp_assert_success(r->destination.qts,
                                 "{ 'execute': 'chardev-remove',"
                                 "  'arguments': { 'id': 'inject' } }");
    }
    if (r->destination.qs) {
        qtest_shutdown(r->destination.qs);
    }
    guest_end(&r->guest, &r->source);
    qtest_shutdown(r->source.qs);
}

static const char *skip_reason(void)
{
    const char *reason = netns_skip_reason();
    int fd;

    if (reason) {
        return reason;
    }
    fd = tap_create(SOURCE_TAP, true);
    if (fd < 0) {
        return "no tap: neither privileges nor access to /dev/net/tun";
    }
    close(fd);
    return NULL;
}

static void test_skip(const void *reason)
{
    g_test_skip(reason);
}

bool rig_test_init(int *argc, char ***argv)
{
    const char *reason = skip_reason();

    /* Let assertions report that QEMU has exited */
    signal(SIGPIPE, SIG_IGN);
    g_test_init(argc, argv, NULL);
    if (reason) {
        qtest_add_data_func("/netdev-handover", reason, test_skip);
    }
    return !reason;
}
