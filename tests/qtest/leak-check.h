/*
 * QTest helper: check for leaks over many cycles
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_QTEST_LEAK_CHECK_H
#define TESTS_QTEST_LEAK_CHECK_H

#include "libqtest.h"

/**
 * leak_check:
 * @qts: the QEMU
 * @cycle: the operation, which must restore QEMU's state
 * @opaque: passed to @cycle
 * @cycles: number of calls
 *
 * Check that neither descriptors nor memory leak.
 */
void leak_check(QTestState *qts, void (*cycle)(void *opaque), void *opaque,
                int cycles);

#endif
