/*
 * QTest testcase for the af-packet-mode option: leaks
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Chardevs and their interfaces are added and removed repeatedly.  After a
 * thousand cycles, QEMU must use as many descriptors and as much memory as
 * after a few.
 *
 * test-char-socket-af-packet-leaks checks the chardev alone more precisely,
 * including main loop sources; this test includes the monitor and filters.
 */

#include "qemu/osdep.h"
#include <linux/if_ether.h>
#include "af-packet-relay.h"
#include "leak-check.h"

#define CYCLES 1000
#define RECONNECT_CYCLES 500        /* per mode: interfaces are slow */

/* Add the chardev and its filters, pass a frame, remove them */
static void cycle_add(void *opaque)
{
    Relay *relay = opaque;

    qemu_getfd(relay->qts, packet_open(QEMU_IF, ETH_P_ALL));
    qmp_expect_success(chardev_add(relay->qts,
                                   chardev_data(relay->mode, QMP_CLIENT)));
    relay_attach(relay);
    relay_check(relay, 1);
    relay_detach(relay);
    chardev_remove(relay->qts);
}

static void test_add(const void *mode)
{
    Relay relay;

    veth_add(QEMU_IF, TEST_IF);
    relay_start(&relay, mode, "");
    leak_check(relay.qts, cycle_add, &relay, CYCLES);
    relay_stop(&relay);
}

/* Pass a frame, remove the interface, go on with another */
static void cycle_reconnect(void *opaque)
{
    Relay *relay = opaque;

    relay_check(relay, 1);
    link_remove(QEMU_IF);
    chardev_wait_disconnected(relay->qts);
    veth_add(QEMU_IF, TEST_IF);
    qmp_expect_success(chardev_add_client(relay->qts,
                                          packet_open(QEMU_IF, ETH_P_ALL)));
}

static void test_reconnect(const void *mode)
{
    Relay relay;

    relay_start_veth(&relay, mode, ETH_P_ALL);
    leak_check(relay.qts, cycle_reconnect, &relay, RECONNECT_CYCLES);
    relay_stop(&relay);
}

int main(int argc, char **argv)
{
    static const char *const modes[] = { "capture", "inject" };
    int i;

    if (!tests_init(&argc, &argv)) {
        return g_test_run();
    }
    for (i = 0; i < ARRAY_SIZE(modes); i++) {
        g_autofree char *add = g_strdup_printf("/af-packet-leak/add/%s",
                                               modes[i]);
        g_autofree char *reconnect =
            g_strdup_printf("/af-packet-leak/reconnect/%s", modes[i]);

        qtest_add_data_func(add, modes[i], test_add);
        qtest_add_data_func(reconnect, modes[i], test_reconnect);
    }
    return g_test_run();
}
