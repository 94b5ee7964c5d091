/*
 * A library that starts a thread when it is preloaded
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include <pthread.h>

static void *do_nothing(void *opaque)
{
    pause();
    return NULL;
}

static void __attribute__((constructor)) start(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, do_nothing, NULL);
}
