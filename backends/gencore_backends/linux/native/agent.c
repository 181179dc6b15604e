// SPDX-License-Identifier: Apache-2.0
/*
 * The thread blocks all signals through the C library, whose own ones stay unblocked: with those
 * blocked, a setuid() anywhere in the process would wait for this thread for ever.
 */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent_address.h"
#include "clock.h"
#include "descriptors.h"
#include "own_descriptor.h"
#include "reserve.h"
#include "service.h"
#include "triggers.h"

enum {
	SOCKETS = 2,	  /* abstract, and in a directory */
	CONNECTIONS = 8,  /* at a time; another one takes the place of the oldest */
	CLONES = 8,	  /* that have not ended */
	OF_TRIGGERS = 2,
	BACKLOG = 16,
	PATIENCE_MS = 2000, /* for a request, once connected */
	SEND_S = 1,
	LEAST_STACK = 32 * 1024,
	MOST_STACK = 1024 * 1024, /* static TLS of large libraries is a part of it */
	UNHEARD_S = 1, /* for a thread to begin, on a busy machine too */
	NOBODY = 65534, /* what the uid of another user namespace is shown as */
};

struct connection {
	int fd;
	uint64_t deadline;
};

/* What is there is positive: zero is a file of the process's, and memory starts as zeros. */
static struct {
	bool armed;
	bool running;
	bool was_requested; /* by a trigger, before the current answer */
	pthread_t thread;
	_Atomic uintptr_t generation; /* of the thread that is to go on; each one has another */
	struct own_descriptor wake; /* a socket: the thread is to end once it can be read */
	struct own_descriptor sockets[SOCKETS];
	struct connection connections[CONNECTIONS];
	int clones[CLONES];
	struct agent_address path;
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
} agent;

/* -------------------------------------------------------------------------------- the sockets */

static void close_one(int *fd)
{
	if (*fd > 0)
		close(*fd);
	*fd = 0;
}

static int new_socket(int type)
{
	return above_standard_streams(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

static struct own_descriptor listen_at(const struct agent_address *address)
{
	struct own_descriptor own = own_descriptor(new_socket(SOCK_SEQPACKET));

	if (own.fd && (bind(own.fd, (const struct sockaddr *)&address->name, address->size) ||
		       listen(own.fd, BACKLOG)))
		own_close(&own);
	return own;
}

/* Returns 0, or -1 with errno set if there is no way to reach this process. */
static int open_sockets(void)
{
	struct agent_address abstract;
	char identity[80];

	agent.path.size = 0;
	if (agent_identity(identity, sizeof(identity)))
		return -1;
	agent_abstract_address(identity, &abstract);
	agent.sockets[0] = listen_at(&abstract);
	if (*agent.directory && !agent_path_address(agent.directory, identity, &agent.path)) {
		agent.sockets[1] = listen_at(&agent.path);
		if (!agent.sockets[1].fd)
			agent.path.size = 0;
	}
	return agent.sockets[0].fd || agent.sockets[1].fd ? 0 : -1;
}

static void close_sockets(void)
{
	for (int i = 0; i < SOCKETS; i++)
		own_close(&agent.sockets[i]);
}

/* The program has closed some of them, and so most likely all descriptors. */
static bool has_lost_descriptors(void)
{
	bool lost = own_is_lost(&agent.wake);

	for (int i = 0; i < SOCKETS; i++)
		lost |= own_is_lost(&agent.sockets[i]);
	return lost;
}

/* ---------------------------------------------------------------------------------- its peers */

/* The same user or root. A uid that has no name here is shown as NOBODY's. */
static bool may_ask(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return false;
	return peer.uid == 0 || (peer.uid == geteuid() && peer.uid != NOBODY);
}

static struct connection *free_connection(void)
{
	struct connection *oldest = &agent.connections[0];

	for (int i = 0; i < CONNECTIONS; i++) {
		struct connection *connection = &agent.connections[i];

		if (!connection->fd)
			return connection;
		if (connection->deadline < oldest->deadline)
			oldest = connection;
	}
	close_one(&oldest->fd);
	return oldest;
}

static void accept_one(int listener)
{
	const struct timeval limit = {.tv_sec = SEND_S};
	int fd = above_standard_streams(accept4(listener, NULL, NULL, SOCK_CLOEXEC));

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	*free_connection() = (struct connection){fd, now_ns() + PATIENCE_MS * 1000000ull};
}

/* There is room for it, see has_room_for_clone(). */
static void keep_clone(int pidfd)
{
	int *free = agent.clones;

	while (*free)
		free++;
	*free = above_standard_streams(pidfd);
}

/* Whether the thread is to end, or a trigger has just begun a dump, which is waiting for it. */
static bool is_needed(void)
{
	if (can_be_read(agent.wake.fd))
		return true;
	triggers_look();
	return triggers_requester_fd() > 0 && !agent.was_requested;
}

/* The request is read before it is refused: closing with unread data would reset the connection. */
static void answer_one(struct connection *connection)
{
	int fd = connection->fd;
	int pidfd = -1;

	agent.was_requested = triggers_requester_fd() > 0;
	if (may_ask(fd))
		pidfd = service_answer(fd, is_needed);
	else
		service_refuse(fd, "other-user");
	close_one(&connection->fd);
	if (pidfd >= 0) {
		triggers_captured();
		keep_clone(pidfd);
	}
}

static void reap(int *clone)
{
	siginfo_t info;

	waitid(P_PIDFD, (id_t)*clone, &info, WEXITED | __WALL);
	close_one(clone);
}

/* ----------------------------------------------------------------------------------- the loop */

struct poll_set {
	struct pollfd rows[1 + SOCKETS + CONNECTIONS + CLONES + OF_TRIGGERS];
	nfds_t count;
};

static void add(struct poll_set *set, int fd)
{
	set->rows[set->count++] = (struct pollfd){.fd = fd > 0 ? fd : -1, .events = POLLIN};
}

/* Milliseconds until the first connection is given up, or -1. */
static int patience(void)
{
	uint64_t first = UINT64_MAX, now = now_ns();

	for (int i = 0; i < CONNECTIONS; i++)
		if (agent.connections[i].fd && agent.connections[i].deadline < first)
			first = agent.connections[i].deadline;
	if (first == UINT64_MAX)
		return -1;
	return first <= now ? 0 : (int)((first - now) / 1000000 + 1);
}

/* The earlier of two, of which -1 is never. */
static int earlier(int first, int second)
{
	return second < 0 || (first >= 0 && first < second) ? first : second;
}

static void reap_ended_clones(void)
{
	for (int i = 0; i < CLONES; i++)
		if (agent.clones[i] && can_be_read(agent.clones[i]))
			reap(&agent.clones[i]);
}

/* Whether one more clone can be kept, to be reaped. */
static bool has_room_for_clone(void)
{
	for (int i = 0; i < CLONES; i++)
		if (!agent.clones[i])
			return true;
	return false;
}

/* Without room for a clone, requests wait until one has ended. */
static struct poll_set wait_for_something(void)
{
	struct poll_set set = {.count = 0};
	bool room = has_room_for_clone();

	add(&set, agent.wake.fd);
	for (int i = 0; i < SOCKETS; i++)
		add(&set, agent.sockets[i].fd);
	for (int i = 0; i < CONNECTIONS; i++)
		add(&set, room ? agent.connections[i].fd : 0);
	for (int i = 0; i < CLONES; i++)
		add(&set, agent.clones[i]);
	add(&set, triggers_requester_fd());
	add(&set, triggers_asked_fd());
	poll(set.rows, set.count, earlier(patience(), triggers_patience()));
	return set;
}

/* In the order of wait_for_something(). What begins now is looked at the next time. */
static void serve(const struct poll_set *set)
{
	const struct pollfd *row = set->rows + 1;
	const struct pollfd *listeners = row;
	uint64_t now = now_ns();

	row += SOCKETS;
	for (int i = 0; i < CONNECTIONS; i++, row++) {
		if (row->revents && has_room_for_clone())
			answer_one(&agent.connections[i]);
		else if (!row->revents && agent.connections[i].fd && agent.connections[i].deadline <= now)
			close_one(&agent.connections[i].fd);
	}
	row += CLONES;
	reap_ended_clones();
	if (row->revents)
		triggers_requester_ended();
	triggers_look();
	for (int i = 0; i < SOCKETS; i++)
		if (listeners[i].revents)
			accept_one(agent.sockets[i].fd);
}

/* One of them that is open, or -1; both listen to the same requests. */
static int own_socket(void)
{
	const struct own_descriptor *own = &agent.sockets[agent.sockets[0].fd ? 0 : 1];

	return own_is_lost(own) ? -1 : own->fd;
}

static bool is_dumping(void)
{
	for (int i = 0; i < CONNECTIONS; i++)
		if (agent.connections[i].fd)
			return true;
	return triggers_requester_fd() > 0;
}

/*
 * What is kept of descriptors may be those of the next thread already: this one may run for the first
 * time once the process has closed all of them, and the agent was armed anew.
 */
static bool is_to_go_on(uintptr_t generation)
{
	return generation == agent.generation && !has_lost_descriptors();
}

static void *run(void *argument)
{
	const uintptr_t generation = (uintptr_t)argument;
	struct poll_set set;

	prctl(PR_SET_NAME, "gencore-agent");
	if (is_to_go_on(generation))
		reserve_take(own_socket());
	while (is_to_go_on(generation)) {
		set = wait_for_something();
		if (set.rows[0].revents || !is_to_go_on(generation))
			break;
		reserve_lend(own_socket());
		serve(&set);
		if (!is_dumping())
			reserve_take(own_socket());
	}
	return NULL;
}

/* --------------------------------------------------------------------------------- its life */

static int create_thread(size_t stack)
{
	pthread_attr_t attributes;
	int err;

	err = pthread_attr_init(&attributes);
	if (err)
		return err;
	pthread_attr_setstacksize(&attributes, stack);
	err = pthread_create(&agent.thread, &attributes, run, (void *)agent.generation);
	pthread_attr_destroy(&attributes);
	return err;
}

/* A new thread inherits the mask of who creates it. Returns 0, or -1 with errno set. */
static int start_thread(void)
{
	sigset_t all, before;
	size_t stack = LEAST_STACK > PTHREAD_STACK_MIN ? LEAST_STACK : (size_t)PTHREAD_STACK_MIN;
	int err;

	agent.wake = own_descriptor(new_socket(SOCK_DGRAM));
	if (!agent.wake.fd)
		return -1;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	do
		err = create_thread(stack);
	while (err == EINVAL && (stack *= 2) <= MOST_STACK);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	agent.running = !err;
	if (err)
		own_close(&agent.wake);
	errno = err;
	return err ? -1 : 0;
}

/* While the thread waits in poll(2), its sockets listen, whoever has closed their descriptors. */
static bool knock(void)
{
	struct agent_address abstract;
	char identity[80];
	int fd = new_socket(SOCK_SEQPACKET);
	bool heard = false;

	if (fd >= 0 && !agent_identity(identity, sizeof(identity))) {
		agent_abstract_address(identity, &abstract);
		heard = !connect(fd, (const struct sockaddr *)&abstract.name, abstract.size);
	}
	if (fd >= 0)
		close(fd);
	return heard;
}

/* A thread that hears nothing sleeps until the process ends, or ends by itself, if it has not yet. */
static void join_or_leave(void)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += UNHEARD_S;
	if (pthread_timedjoin_np(agent.thread, NULL, &limit))
		pthread_detach(agent.thread);
}

static void end_thread(void)
{
	if (!agent.running)
		return;
	agent.generation++;
	if (!own_is_lost(&agent.wake)) {
		shutdown(agent.wake.fd, SHUT_RD); /* so that it can be read */
		pthread_join(agent.thread, NULL);
	} else if (knock()) {
		pthread_join(agent.thread, NULL);
	} else {
		join_or_leave();
	}
	own_close(&agent.wake);
	agent.running = false;
}

int agent_arm(const char *directory)
{
	int err;

	if (agent.armed && has_lost_descriptors()) {
		agent_pause();
		agent_resume();
	}
	if (agent.armed)
		return 0;
	errno = ENAMETOOLONG;
	if (strlen(directory) >= sizeof(agent.directory))
		return -1;
	strcpy(agent.directory, directory);
	if (open_sockets())
		return -1;
	agent.armed = !start_thread();
	err = errno;
	if (!agent.armed)
		close_sockets();
	errno = err;
	return agent.armed ? 0 : -1;
}

static void forget_connections(void)
{
	if (has_lost_descriptors()) {
		memset(agent.connections, 0, sizeof(agent.connections));
		memset(agent.clones, 0, sizeof(agent.clones));
	}
	for (int i = 0; i < CONNECTIONS; i++)
		close_one(&agent.connections[i].fd);
	for (int i = 0; i < CLONES; i++)
		close_one(&agent.clones[i]);
}

static void leave_sockets(void)
{
	if (agent.path.size)
		unlink(agent.path.name.sun_path);
	reserve_give_back(own_socket());
	forget_connections();
	close_sockets();
}

void agent_disarm(void)
{
	if (!agent.armed)
		return;
	end_thread();
	triggers_end();
	agent.armed = false;
	leave_sockets();
}

bool agent_is_armed(void)
{
	return agent.armed;
}

int agent_set_triggers(const struct trigger *rows, size_t count, const struct cgroup_files *files,
		       const struct requester *requester)
{
	int result, err;

	agent_pause();
	result = triggers_set(rows, count, files, requester);
	err = errno;
	agent_resume();
	errno = err;
	return result;
}

void agent_pause(void)
{
	if (agent.armed)
		end_thread();
}

void agent_resume(void)
{
	if (!agent.armed || agent.running)
		return;
	if (has_lost_descriptors()) {
		leave_sockets();
		open_sockets();
	}
	start_thread();
}

void agent_after_fork(void)
{
	if (!agent.armed)
		return;
	agent.running = false; /* the thread is the parent's */
	own_close(&agent.wake);
	reserve_give_back(own_socket());
	forget_connections();
	close_sockets();
	triggers_after_fork();
	agent.armed = !open_sockets() && !start_thread();
	if (!agent.armed)
		close_sockets();
}
