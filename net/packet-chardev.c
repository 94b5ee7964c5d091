/*
 * Chardevs that an object reads packets from or writes packets to
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "qemu/osdep.h"
#include "packet-chardev.h"
#include "qapi/error.h"

Chardev *packet_chardev_attach(CharBackend *be, const char *type,
                               const char *option, const char *id,
                               Error **errp)
{
    Chardev *chr;

    if (!id) {
        error_setg(errp, "%s needs '%s', the ID of a chardev", type, option);
        return NULL;
    }
    chr = qemu_chr_find(id);
    if (!chr) {
        error_setg(errp, "'%s' of %s: chardev '%s' not found", option, type,
                   id);
        return NULL;
    }
    if (object_dynamic_cast(OBJECT(chr), TYPE_CHARDEV_MUX) ||
        object_dynamic_cast(OBJECT(chr), TYPE_CHARDEV_HUB)) {
        error_setg(errp, "chardev '%s' is shared with others, which would "
                   "consume bytes of the stream: %s needs a chardev of its "
                   "own, without 'mux'", id, type);
        return NULL;
    }
    if (!qemu_chr_fe_init(be, chr, errp)) {
        return NULL;
    }
    object_ref(OBJECT(chr));
    return chr;
}

bool packet_chardev_check_stream(Chardev *chr, const char *type,
                                 const char *option, Error **errp)
{
    if (!CHARDEV_GET_CLASS(chr)->chr_add_watch) {
        error_setg(errp, "chardev '%s' can't report when it is writable: '%s' "
                   "of %s needs a stream, such as a socket", chr->label,
                   option, type);
        return false;
    }
    return true;
}

void packet_chardev_detach(CharBackend *be, Chardev *chr)
{
    if (chr) {
        qemu_chr_fe_deinit(be, false);
        object_unref(OBJECT(chr));
    }
}
