/*
 * QTest helper: what a QEMU holds after many times the same
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_QTEST_LEAK_CHECK_H
#define TESTS_QTEST_LEAK_CHECK_H

#include "libqtest.h"

/**
 * leak_check:
 * @qts: the QEMU
 * @cycle: what to do, which has to leave QEMU as it was
 * @opaque: for @cycle
 * @cycles: how often to do it
 *
 * Check that nothing stays from one cycle to the next: no descriptor, and no
 * memory.
 */
void leak_check(QTestState *qts, void (*cycle)(void *opaque), void *opaque,
                int cycles);

#endif
