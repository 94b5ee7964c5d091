/*
 * af-packet-exec: interfaces that the system administrator allows to all users
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The file is like qemu-bridge-helper's bridge.conf: lines with "allow NAME",
 * "deny NAME" or "include FILE", where NAME may be "all".  Interfaces that are
 * not allowed are denied, and "deny" takes precedence over "allow".
 *
 * The file is read with the permissions of the caller.  Therefore, an included
 * file applies only to users who may read it, and messages do not disclose its
 * contents to anyone else.
 */
#include "qemu/osdep.h"
#include <net/if.h>
#include "qapi/error.h"
#include "acl.h"

/* Not relative to the executable, as the caller may run it through a link. */
#define ACL_FILE CONFIG_QEMU_CONFDIR "/af-packet.conf"

/* Limit for files that include each other */
#define MAX_DEPTH 16

typedef struct Acl {
    const char *ifname;
    int depth;          /* of inclusion */
    bool allowed;
    bool denied;
} Acl;

static bool read_file(Acl *acl, const char *path, Error **errp);

/* Ignore included files that do not exist or that this user may not read. */
static bool is_optional(const char *path)
{
    return access(path, R_OK) < 0 && (errno == EACCES || errno == ENOENT);
}

static bool include(Acl *acl, const char *from, const char *name, Error **errp)
{
    g_autofree char *folder = g_path_get_dirname(from);
    g_autofree char *path = g_canonicalize_filename(name, folder);
    bool ok;

    if (acl->depth == MAX_DEPTH) {
        error_setg(errp, "'%s' is nested more than %d includes deep: use fewer",
                   path, MAX_DEPTH);
        return false;
    }
    if (is_optional(path)) {
        return true;
    }
    acl->depth++;
    ok = read_file(acl, path, errp);
    acl->depth--;
    return ok;
}

static bool is_name(const char *text)
{
    return *text && strlen(text) < IFNAMSIZ && !strpbrk(text, " \t");
}

static bool matches(Acl *acl, const char *name)
{
    return !strcmp(name, "all") || !strcmp(name, acl->ifname);
}

/* @line: without leading and trailing white space */
static bool read_line(Acl *acl, const char *path, char *line, Error **errp)
{
    char *argument = line + strcspn(line, " \t");

    if (!*line || *line == '#') {
        return true;
    }
    if (*argument) {
        *argument++ = '\0';
        argument = g_strchug(argument);
    }
    if (!strcmp(line, "include") && *argument) {
        return include(acl, path, argument, errp);
    }
    if (!strcmp(line, "allow") && is_name(argument)) {
        acl->allowed |= matches(acl, argument);
        return true;
    }
    if (!strcmp(line, "deny") && is_name(argument)) {
        acl->denied |= matches(acl, argument);
        return true;
    }
    error_setg(errp, "'%s' has an invalid line '%s %s': use 'allow NAME', "
               "'deny NAME' or 'include FILE'", path, line, argument);
    return false;
}

static bool read_file(Acl *acl, const char *path, Error **errp)
{
    g_autoptr(GError) gerr = NULL;
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    int i;

    if (!g_file_get_contents(path, &text, NULL, &gerr)) {
        error_setg(errp, "with a file capability, '%s' must allow the "
                   "interface (with a line 'allow NAME'), but: %s",
                   path, gerr->message);
        return false;
    }
    lines = g_strsplit(text, "\n", -1);
    for (i = 0; lines[i]; i++) {
        if (!read_line(acl, path, g_strstrip(lines[i]), errp)) {
            return false;
        }
    }
    return true;
}

bool acl_allows(const char *ifname, Error **errp)
{
    Acl acl = { .ifname = ifname };

    if (!read_file(&acl, ACL_FILE, errp)) {
        return false;
    }
    if (acl.denied || !acl.allowed) {
        error_setg(errp, "'%s' %s '%s': run as root, or let root %s",
                   ifname, acl.denied ? "is denied by" : "is not allowed by",
                   ACL_FILE, acl.denied ? "remove the line"
                                        : "add 'allow NAME'");
        return false;
    }
    return true;
}
