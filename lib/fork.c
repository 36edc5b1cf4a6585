#include <pthread.h>
#include <unistd.h>

#include "layer.h"

/*
 * A child of fork() shares its parent's open file descriptions, so the
 * kernel would go on seeing a killed parent's slot as alive.  The child
 * closes them before anything else can run in it.
 */
static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct kevo *list;
static uint32_t fork_count;
static int registered;

static void
before_fork(void)
{
	pthread_mutex_lock(&list_mutex);
}

static void
after_fork_in_parent(void)
{
	pthread_mutex_unlock(&list_mutex);
}

static void
close_if_open(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void
after_fork_in_child(void)
{
	fork_count++;
	for (struct kevo *db = list; db != NULL; db = db->next) {
		close_if_open(&db->lock_fd);
		close_if_open(&db->pin_fd);
		for (struct kv_layer *l = db->layers; l != NULL; l = l->next) {
			close_if_open(&l->ops.fd);
			close_if_open(&l->own.arena.fd);
			close_if_open(&l->common.arena.fd);
		}
	}
	pthread_mutex_unlock(&list_mutex);
}

void
kv_fork_enlist(struct kevo *db)
{
	pthread_mutex_lock(&list_mutex);
	if (!registered) {
		pthread_atfork(before_fork, after_fork_in_parent,
		    after_fork_in_child);
		registered = 1;
	}
	db->fork_count = fork_count;
	db->next = list;
	db->prevp = &list;
	if (list != NULL)
		list->prevp = &db->next;
	list = db;
	pthread_mutex_unlock(&list_mutex);
}

void
kv_fork_delist(struct kevo *db)
{
	pthread_mutex_lock(&list_mutex);
	*db->prevp = db->next;
	if (db->next != NULL)
		db->next->prevp = db->prevp;
	pthread_mutex_unlock(&list_mutex);
}

int
kv_forked(const struct kevo *db)
{
	return db->fork_count != fork_count;
}
