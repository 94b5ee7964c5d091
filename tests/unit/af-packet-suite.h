/*
 * Test helpers: cases that take a network namespace, and a main loop
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_UNIT_AF_PACKET_SUITE_H
#define TESTS_UNIT_AF_PACKET_SUITE_H

/**
 * suite_init:
 * @argc: main()'s
 * @argv: main()'s
 * @path: what the paths of the cases start with
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
 * @needs: whether the cases that are added next are skipped where there is no
 *         network namespace, as they are by default
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
 * @group: what the names are prefixed with
 * @table: an array of structures, whose first member is the case's name
 * @func: called with a row of it
 */
#define SUITE_ADD_TABLE(group, table, func) \
    suite_add_rows(group, table, sizeof(*(table)), ARRAY_SIZE(table), func)

/* What a message has to have in it; the rest are NULL */
#define WORDS_MAX 4

/**
 * assert_words:
 * @message: what somebody is told
 * @words: up to WORDS_MAX of them, then NULL
 */
void assert_words(const char *message, const char *const *words);

/* For anything that has to happen, in microseconds */
#define DEADLINE (10 * G_TIME_SPAN_SECOND)
/* To see that nothing happens */
#define A_WHILE (60 * G_TIME_SPAN_MILLISECOND)

/**
 * deadline_in:
 * @usec: microseconds
 *
 * Returns: when these will be over, for main_loop_step().
 */
int64_t deadline_in(int64_t usec);

/**
 * main_loop_step:
 * @end: when there is no time left
 *
 * Run the main loop once, for 10 ms at most.
 *
 * Returns: whether there is time left.
 */
bool main_loop_step(int64_t end);

#endif
