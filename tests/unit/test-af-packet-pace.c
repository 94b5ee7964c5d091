/*
 * Unit tests for receive moderation
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <poll.h>
#include "qemu/timer.h"
#include "chardev/af-packet-pace.h"

#define REST_NS (100 * SCALE_US)
#define DEADLINE_MS 10000

/* Dense even if a slow machine takes a minute to count them */
#define MANY_FRAMES 10000000

/* Wait long enough to measure the density of traffic. */
static void spend_a_rest(void)
{
    int64_t end = get_clock() + REST_NS;

    while (get_clock() <= end) {
        continue;
    }
}

static void count(AfPacketPace *pace, int n)
{
    while (n--) {
        af_packet_pace_count(pace);
    }
}

static bool timer_readable(AfPacketPace *pace, int timeout_ms)
{
    struct pollfd pfd = { .fd = pace->timer_fd, .events = POLLIN };

    return poll(&pfd, 1, timeout_ms) == 1;
}

static void assert_rests(AfPacketPace *pace)
{
    count(pace, MANY_FRAMES);
    spend_a_rest();
    af_packet_pace_update(pace);
    g_assert_true(pace->resting);
}

static void test_thin(void)
{
    AfPacketPace pace;
    int i;

    af_packet_pace_init(&pace);
    g_assert_false(pace.resting);
    for (i = 0; i < 100; i++) {
        spend_a_rest();
        af_packet_pace_count(&pace);
        af_packet_pace_update(&pace);
        g_assert_false(pace.resting);
    }
    g_assert_false(timer_readable(&pace, 0));
    af_packet_pace_destroy(&pace);
}

/* A rest ends, and so does the next one. */
static void test_dense(void)
{
    AfPacketPace pace;
    int i;

    af_packet_pace_init(&pace);
    for (i = 0; i < 10; i++) {
        int64_t start = get_clock();

        assert_rests(&pace);
        g_assert_true(timer_readable(&pace, DEADLINE_MS));
        g_assert_cmpint(get_clock() - start, >=, 2 * REST_NS);
    }
    af_packet_pace_destroy(&pace);
}

/* No rest once dense traffic has ended. */
static void test_end(void)
{
    AfPacketPace pace;

    af_packet_pace_init(&pace);
    assert_rests(&pace);
    spend_a_rest();
    af_packet_pace_update(&pace);
    g_assert_false(pace.resting);
    af_packet_pace_destroy(&pace);
}

/* A burst after a long silence is a burst, not dense traffic. */
static void test_burst(void)
{
    AfPacketPace pace;

    af_packet_pace_init(&pace);
    g_usleep(10 * 1000);
    count(&pace, 100);
    af_packet_pace_update(&pace);
    g_assert_false(pace.resting);
    af_packet_pace_destroy(&pace);
}

/* Without a timer there is no rest, as nothing would end it. */
static void test_no_timer(void)
{
    AfPacketPace pace;

    af_packet_pace_init(&pace);
    af_packet_pace_destroy(&pace);
    pace.timer_fd = -1;
    count(&pace, MANY_FRAMES);
    spend_a_rest();
    af_packet_pace_update(&pace);
    g_assert_false(pace.resting);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/af-packet-pace/thin", test_thin);
    g_test_add_func("/af-packet-pace/dense", test_dense);
    g_test_add_func("/af-packet-pace/end", test_end);
    g_test_add_func("/af-packet-pace/burst", test_burst);
    g_test_add_func("/af-packet-pace/no-timer", test_no_timer);

    return g_test_run();
}
