/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A doubly linked list whose links lie in its members: nothing is allocated, a member leaves in
 * constant time. The head is a link of its own. A link that is in no list points at itself.
 */
#ifndef VMM_BASE_LIST_H
#define VMM_BASE_LIST_H

#include <stdbool.h>

#include "base/compiler.h"

struct list {
	struct list *next, *prev;
};

/* Heads and links alike, before anything else. */
static inline void list_init(struct list *link)
{
	link->next = link->prev = link;
}

/* True for a head without members, and for a link that is in no list. */
static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_add_tail(struct list *head, struct list *link)
{
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}

/* Also for one that is in no list. */
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/* The object around a link. */
#define list_entry(link, type, member) container_of(link, type, member)

#endif
