/*
 * af-packet-exec: what it may do, and giving that up
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef AF_PACKET_EXEC_PRIVILEGES_H
#define AF_PACKET_EXEC_PRIVILEGES_H

/* Whom to become */
typedef struct User {
    uid_t uid;
    gid_t gid;
    char *name;     /* of an account, for its supplementary groups, or NULL */
} User;

/**
 * privileges_check_start:
 * @errp: set when this is a setuid or setgid program
 *
 * What another user's identity lets one do can't be told apart from what the
 * caller may do; capabilities can.  If all is well, other processes of the
 * caller can't trace this one from now on.
 *
 * Returns: true when it is not.
 */
bool privileges_check_start(Error **errp);

/**
 * privileges_raise:
 *
 * Put to use what was permitted only, for sockets: file capabilities without
 * the effective bit.
 */
void privileges_raise(void);

/**
 * privileges_of_file:
 *
 * Returns: true when the privileges are this program's file capabilities, and
 *          the caller has none.
 */
bool privileges_of_file(void);

/**
 * privileges_own_system:
 *
 * Returns: true when the system's files belong to this process, which needs no
 *          capability to be as powerful as root then.
 */
bool privileges_own_system(void);

/**
 * privileges_to_become:
 * @errp: set when the caller is not user 0
 *
 * Returns: true when the caller may ask for another user, whether or not this
 *          process could become one.
 */
bool privileges_to_become(Error **errp);

/**
 * user_parse:
 * @text: the name of an account, or UID:GID
 * @user: where to put it
 * @errp: set when there is none
 *
 * To look up an account may load libraries, as nsswitch.conf(5) wants it.
 *
 * Returns: true on success.
 */
bool user_parse(const char *text, User *user, Error **errp);

/**
 * user_parse_id:
 * @text: the name of an account, or its number
 * @uid: where to put the number
 * @errp: set when there is no such account
 *
 * Returns: true on success.
 */
bool user_parse_id(const char *text, uid_t *uid, Error **errp);

/**
 * privileges_drop:
 * @user: whom to become, or NULL to stay who one is
 * @errp: set when that is not possible, or this process has several threads
 *
 * Give up all capabilities of this process, and every way for it and what it
 * executes to gain some: file capabilities, setuid programs, being user 0.
 *
 * Returns: true on success; on failure something may have been given up.
 */
bool privileges_drop(const User *user, Error **errp);

#endif
