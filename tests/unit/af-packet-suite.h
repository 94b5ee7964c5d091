/*
 * Test helpers: test cases that need a network namespace, and a main loop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_AF_PACKET_SUITE_H
#define TESTS_UNIT_AF_PACKET_SUITE_H

/**
 * suite_init:
 * @argc: main()'s
 * @argv: main()'s
 * @path: common prefix of the test cases' paths
 *
 * Enter a network namespace, and set up GLib's tests, the main loop and QOM.
 */
void suite_init(int *argc, char ***argv, const char *path);

/**
 * suite_has_netns:
 *
 * Returns: whether the cases can have packet sockets.
 */
bool suite_has_netns(void);

/**
 * suite_set_needs_netns:
 * @needs: whether to skip the test cases that are added next if there is no
 *         network namespace; this is the default
 */
void suite_set_needs_netns(bool needs);

/**
 * suite_add:
 * @name: the rest of the case's path
 * @func: the case
 */
void suite_add(const char *name, GTestFunc func);

/**
 * suite_add_data:
 * @name: the rest of the case's path
 * @data: what @func is called with
 * @func: the case
 */
void suite_add_data(const char *name, const void *data, GTestDataFunc func);

void suite_add_rows(const char *group, const void *rows, size_t size, size_t n,
                    GTestDataFunc func);

/**
 * SUITE_ADD_TABLE:
 * @group: prefix of the names
 * @table: an array of structures, whose first member is the case's name
 * @func: called with a row of it
 */
#define SUITE_ADD_TABLE(group, table, func) \
    suite_add_rows(group, table, sizeof(*(table)), ARRAY_SIZE(table), func)

/* Maximum number of words that a message must contain */
#define WORDS_MAX 4

/**
 * assert_words:
 * @message: a message
 * @words: up to WORDS_MAX words that it must contain, then NULL
 */
void assert_words(const char *message, const char *const *words);

/* For all events that a test waits for, in microseconds */
#define DEADLINE (10 * G_TIME_SPAN_SECOND)
/* Time to wait for an event that must not happen */
#define QUIET_TIME (60 * G_TIME_SPAN_MILLISECOND)

/**
 * deadline_in:
 * @usec: microseconds
 *
 * Returns: the end of this time span, for main_loop_step().
 */
int64_t deadline_in(int64_t usec);

/**
 * main_loop_step:
 * @end: the deadline
 *
 * Run the main loop once, for 10 ms at most.
 *
 * Returns: whether there is time left.
 */
bool main_loop_step(int64_t end);

#endif
