// SPDX-License-Identifier: Apache-2.0
/*
 * The load of soak.py: threads that transfer, sleep, poll, take signals, start others and fork.
 * Each counts what should never happen to it. A shared library; nothing here calls Python.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 256 * 1024, PIECE = 16 * 1024, MOST_THREADS = 16, LATE_MS = 500 };

/* What soak.py reads, in this order. */
struct counts {
	_Atomic int sent;     /* real-time signals, by another process */
	_Atomic int taken;    /* of them, by sigwaitinfo(2) */
	_Atomic int handled;  /* of the second kind, by a handler */
	_Atomic int woken;    /* by EINTR out of that: known, see docs/explanation/threads.md */
	_Atomic int wrong;    /* out of order */
	_Atomic int eintr;    /* of a call that no signal of the application interrupts */
	_Atomic int cut;      /* short transfers */
	_Atomic int garbled;
	_Atomic int early_or_late;
	_Atomic int transfers;
	_Atomic int waits;
	_Atomic int threads;  /* started and ended */
	_Atomic int forks;
	_Atomic int stop;
};

static struct counts *counts;
static char pattern[BLOCK];
static pthread_t all[MOST_THREADS];
static int started;

static long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void rest_us(long us)
{
	struct timespec span = {.tv_nsec = us * 1000};

	if (nanosleep(&span, NULL) && errno == EINTR)
		atomic_fetch_add(&counts->eintr, 1);
}

static void block_all(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	sigaddset(&set, SIGRTMIN + 2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void note_transfer(ssize_t moved)
{
	if (moved < 0 && errno == EINTR)
		atomic_fetch_add(&counts->eintr, 1);
	else if (moved != BLOCK)
		atomic_fetch_add(&counts->cut, 1);
	atomic_fetch_add(&counts->transfers, 1);
}

/* What a short transfer has left, so that the other end sees the pattern go on. */
static void move_rest(int fd, ssize_t done, bool to_socket)
{
	while (done > 0 && done < BLOCK) {
		size_t left = (size_t)(BLOCK - done);
		ssize_t part = to_socket ? send(fd, pattern + done, left, MSG_NOSIGNAL)
					 : write(fd, pattern + done, left);

		if (part <= 0)
			return;
		done += part;
	}
}

static void *send_blocks(void *fd)
{
	while (!atomic_load(&counts->stop)) {
		ssize_t done = send((int)(intptr_t)fd, pattern, BLOCK, MSG_NOSIGNAL);

		note_transfer(done);
		move_rest((int)(intptr_t)fd, done, true);
	}
	shutdown((int)(intptr_t)fd, SHUT_RDWR);
	return NULL;
}

static void *write_blocks(void *fd)
{
	while (!atomic_load(&counts->stop)) {
		ssize_t done = write((int)(intptr_t)fd, pattern, BLOCK);

		note_transfer(done);
		move_rest((int)(intptr_t)fd, done, false);
	}
	close((int)(intptr_t)fd);
	return NULL;
}

static void *take_whole(void *fd)
{
	static _Thread_local char bytes[BLOCK];
	ssize_t got;

	while ((got = recv((int)(intptr_t)fd, bytes, BLOCK, MSG_WAITALL)) > 0) {
		if (atomic_load(&counts->stop))
			continue;
		note_transfer(got);
		while (got > 0 && got < BLOCK) {
			ssize_t part = recv((int)(intptr_t)fd, bytes + got, (size_t)(BLOCK - got), 0);

			got = part > 0 ? got + part : -1;
		}
		if (memcmp(bytes, pattern, BLOCK))
			atomic_fetch_add(&counts->garbled, 1);
		rest_us(1000);
	}
	close((int)(intptr_t)fd);
	return NULL;
}

static void *take_pieces(void *fd)
{
	char piece[PIECE];
	size_t done = 0;
	ssize_t got;

	while ((got = read((int)(intptr_t)fd, piece, PIECE < BLOCK - done ? PIECE : BLOCK - done)) > 0) {
		if (memcmp(piece, pattern + done, (size_t)got))
			atomic_fetch_add(&counts->garbled, 1);
		done = (done + (size_t)got) % BLOCK;
		rest_us(100);
	}
	close((int)(intptr_t)fd);
	return NULL;
}

static void *wait_and_wait(void *argument)
{
	while (!atomic_load(&counts->stop)) {
		long ms = 20 + rand() % 80, begin = now_ms(), took;

		if (argument)
			rest_us(ms * 1000);
		else if (poll(NULL, 0, (int)ms))
			atomic_fetch_add(&counts->eintr, 1);
		took = now_ms() - begin;
		if (took < ms - 1 || took > ms + LATE_MS)
			atomic_fetch_add(&counts->early_or_late, 1);
		atomic_fetch_add(&counts->waits, 1);
	}
	return NULL;
}

static void *live_shortly(void *argument)
{
	rest_us(rand() % 500);
	return argument;
}

static void *start_threads(void *argument)
{
	pthread_t thread;

	while (!atomic_load(&counts->stop)) {
		if (!pthread_create(&thread, NULL, live_shortly, NULL)) {
			pthread_join(thread, NULL);
			atomic_fetch_add(&counts->threads, 1);
		}
		rest_us(500);
	}
	return argument;
}

static void *fork_workers(void *argument)
{
	while (!atomic_load(&counts->stop)) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (waitpid(pid, NULL, 0) != pid)
			atomic_fetch_add(&counts->eintr, 1);
		atomic_fetch_add(&counts->forks, 1);
		rest_us(50000);
	}
	return argument;
}

static void *take_signals(void *argument)
{
	siginfo_t info;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 1);
	for (;;) {
		if (sigwaitinfo(&set, &info) < 0) {
			atomic_fetch_add(&counts->woken, 1);
			continue;
		}
		if (info.si_value.sival_int < 0)
			return argument;
		if (info.si_value.sival_int != atomic_fetch_add(&counts->taken, 1))
			atomic_fetch_add(&counts->wrong, 1);
	}
}

static void on_signal(int number)
{
	(void)number;
	atomic_fetch_add(&counts->handled, 1);
}

static void *be_interrupted(void *argument)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 2);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (!atomic_load(&counts->stop))
		poll(NULL, 0, 50);
	return argument;
}

/* 1,000 signals a second, half of them for the handler, and never more than 1,000 waiting. */
static void send_signals(pid_t pid)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (!atomic_load(&counts->stop)) {
		union sigval value = {.sival_int = atomic_load(&counts->sent)};

		if (!sigqueue(pid, SIGRTMIN + 1, value)) {
			while (sigqueue(pid, SIGRTMIN + 2, value))
				rest_us(1000);
			atomic_fetch_add(&counts->sent, 1);
		}
		rest_us(2000);
	}
	while (sigqueue(pid, SIGRTMIN + 1, (union sigval){.sival_int = -1}))
		rest_us(1000);
	_exit(0);
}

static void start(void *(*run)(void *), intptr_t argument)
{
	if (pthread_create(&all[started++], NULL, run, (void *)argument))
		abort();
}

/* Returns the counts, and the sender's id in *sender. */
struct counts *soak_begin(int *sender);
struct counts *soak_begin(int *sender)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pid_t pid = getpid();
	int fds[2];

	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	for (int i = 0; i < BLOCK; i++)
		pattern[i] = (char)(i * 7 + i / 251);
	block_all(); /* the calling thread, and all that it starts */
	sigaction(SIGRTMIN + 2, &action, NULL);
	*sender = fork();
	if (*sender == 0)
		send_signals(pid);
	socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
	start(send_blocks, fds[0]);
	start(take_whole, fds[1]);
	if (pipe(fds))
		abort();
	start(take_pieces, fds[0]);
	start(write_blocks, fds[1]);
	start(wait_and_wait, 0);
	start(wait_and_wait, 1);
	start(take_signals, 0);
	start(be_interrupted, 0);
	start(start_threads, 0);
	start(fork_workers, 0);
	return counts;
}

void soak_end(int sender);
void soak_end(int sender)
{
	atomic_store(&counts->stop, 1);
	waitpid(sender, NULL, 0);
	for (int i = 0; i < started; i++)
		pthread_join(all[i], NULL);
}
