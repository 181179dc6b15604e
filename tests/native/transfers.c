// SPDX-License-Identifier: Apache-2.0
/*
 * Threads that move much data in one call each, and captures meanwhile.
 *
 *   transfers CAPTURES                  a slow peer each, and children that end: nothing returns
 *                                       early, nothing is garbled
 *   transfers CAPTURES interrupted FLAGS
 *                                       signals of the application, SA_RESTART or 0: they still
 *                                       end the call
 *
 * Prints one line of JSON for each kind of transfer. Every stream repeats one pattern of SIZE
 * bytes, one call of it after the other.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "capture.h"
#include "threads.h"

enum {
	SIZE = 512 * 1024 + 40, /* of one call; no multiple of what the kernel moves at once */
	CHUNK = 24 * 1024,
	MESSAGES = 4,
	MESSAGE = SIZE / MESSAGES,
};

static char pattern[SIZE];

static void fill_pattern(void)
{
	for (uint32_t i = 0; i < SIZE; i++)
		pattern[i] = (char)(i * 2654435761u >> 23);
}

/* One end of a stream, and the call that moves SIZE bytes at it. */
struct transfer {
	const char *name;
	long (*move)(struct transfer *transfer); /* returns bytes, or -1 */
	int (*open)(struct transfer *transfer);
	bool receives;
	int fd, peer;
	int file;   /* of sendfile(2), or the pipe of splice(2) */
	int feeder; /* the other end of that pipe */
	char *buffer;
	_Atomic int calls;
	int early;
	int failed;
	int garbled;
};

static int open_pipe(struct transfer *transfer)
{
	int fds[2];

	if (pipe(fds))
		return -1;
	transfer->fd = fds[1];
	transfer->peer = fds[0];
	return 0;
}

static int open_pair(struct transfer *transfer, int type)
{
	int fds[2];

	if (socketpair(AF_UNIX, type, 0, fds))
		return -1;
	transfer->fd = fds[0];
	transfer->peer = fds[1];
	return 0;
}

static int open_socket(struct transfer *transfer)
{
	return open_pair(transfer, SOCK_STREAM);
}

static int open_packets(struct transfer *transfer)
{
	int size = 4 * SIZE;

	if (open_pair(transfer, SOCK_SEQPACKET))
		return -1;
	return setsockopt(transfer->receives ? transfer->peer : transfer->fd, SOL_SOCKET, SO_SNDBUF,
			  &size, sizeof(size));
}

static int open_tcp(struct transfer *transfer)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);
	int server = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(server, (void *)&address, size) || listen(server, 1) ||
	    getsockname(server, (void *)&address, &size))
		return -1;
	transfer->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(transfer->fd, (void *)&address, size))
		return -1;
	transfer->peer = accept(server, NULL, NULL);
	return close(server);
}

static int open_terminal(struct transfer *transfer)
{
	struct termios raw;

	transfer->peer = posix_openpt(O_RDWR | O_NOCTTY);
	if (transfer->peer < 0 || grantpt(transfer->peer) || unlockpt(transfer->peer))
		return -1;
	transfer->fd = open(ptsname(transfer->peer), O_RDWR | O_NOCTTY);
	if (tcgetattr(transfer->fd, &raw))
		return -1;
	cfmakeraw(&raw);
	return tcsetattr(transfer->fd, TCSANOW, &raw);
}

static int open_file(struct transfer *transfer)
{
	transfer->file = memfd_create("pattern", 0);
	return write(transfer->file, pattern, SIZE) == SIZE ? open_socket(transfer) : -1;
}

static int open_feeder(struct transfer *transfer)
{
	int fds[2];

	if (pipe(fds) || fcntl(fds[1], F_SETPIPE_SZ, 1 << 20) < SIZE)
		return -1;
	transfer->file = fds[0];
	transfer->feeder = fds[1];
	return open_socket(transfer);
}

/* ---------------------------------------------------------------------------------- the calls */

static long by_write(struct transfer *transfer)
{
	return write(transfer->fd, pattern, SIZE);
}

/* Pieces of many sizes, also empty ones. */
static int pieces(char *memory, struct iovec *ret)
{
	static const size_t sizes[] = {1, 0, 70000, 4096, 200000, 0, 13};
	size_t done = 0;
	int count = 0;

	for (; count < 7; done += sizes[count++])
		ret[count] = (struct iovec){memory + done, sizes[count]};
	ret[count++] = (struct iovec){memory + done, SIZE - done};
	return count;
}

static long by_writev(struct transfer *transfer)
{
	struct iovec vector[8];

	return writev(transfer->fd, vector, pieces(pattern, vector));
}

static long by_send(struct transfer *transfer)
{
	return send(transfer->fd, pattern, SIZE, 0);
}

static long by_sendto(struct transfer *transfer)
{
	return sendto(transfer->fd, pattern, SIZE, 0, NULL, 0);
}

static long by_sendmsg(struct transfer *transfer)
{
	struct iovec vector[8];
	struct msghdr message = {.msg_iov = vector};

	message.msg_iovlen = (size_t)pieces(pattern, vector);
	return sendmsg(transfer->fd, &message, 0);
}

static void divide(char *memory, struct mmsghdr *messages, struct iovec *vector)
{
	memset(messages, 0, MESSAGES * sizeof(*messages));
	for (int i = 0; i < MESSAGES; i++) {
		vector[i] = (struct iovec){memory + i * MESSAGE, MESSAGE};
		messages[i].msg_hdr.msg_iov = &vector[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
}

/* The bytes of the messages that a call says it has moved. */
static long count_bytes(int count, const struct mmsghdr *messages)
{
	long bytes = 0;

	for (int i = 0; i < count; i++)
		bytes += messages[i].msg_len;
	return count < 0 ? -1 : bytes;
}

static long by_sendmmsg(struct transfer *transfer)
{
	struct mmsghdr messages[MESSAGES];
	struct iovec vector[MESSAGES];

	divide(pattern, messages, vector);
	return count_bytes(sendmmsg(transfer->fd, messages, MESSAGES, 0), messages);
}

static long by_recvmmsg(struct transfer *transfer)
{
	struct mmsghdr messages[MESSAGES];
	struct iovec vector[MESSAGES];

	divide(transfer->buffer, messages, vector);
	return count_bytes(recvmmsg(transfer->fd, messages, MESSAGES, 0, NULL), messages);
}

static long by_sendfile(struct transfer *transfer)
{
	lseek(transfer->file, 0, SEEK_SET);
	return sendfile(transfer->fd, transfer->file, NULL, SIZE);
}

static long by_sendfile_at(struct transfer *transfer)
{
	off_t offset = 0;
	long result = sendfile(transfer->fd, transfer->file, &offset, SIZE);

	return result > 0 && offset != result ? -1 : result;
}

static long by_splice(struct transfer *transfer)
{
	if (write(transfer->feeder, pattern, SIZE) != SIZE)
		return -1;
	return splice(transfer->file, NULL, transfer->fd, NULL, SIZE, 0);
}

static long by_recv(struct transfer *transfer)
{
	return recv(transfer->fd, transfer->buffer, SIZE, MSG_WAITALL);
}

static long by_recvfrom(struct transfer *transfer)
{
	return recvfrom(transfer->fd, transfer->buffer, SIZE, MSG_WAITALL, NULL, NULL);
}

static long by_recvmsg(struct transfer *transfer)
{
	struct iovec vector[8];
	struct msghdr message = {.msg_iov = vector};

	message.msg_iovlen = (size_t)pieces(transfer->buffer, vector);
	return recvmsg(transfer->fd, &message, MSG_WAITALL);
}

static long by_getrandom(struct transfer *transfer)
{
	memset(transfer->buffer, 0, SIZE);
	return getrandom(transfer->buffer, SIZE, 0);
}

static int open_nothing(struct transfer *transfer)
{
	(void)transfer;
	return 0;
}

static struct transfer transfers[] = {
	{.name = "write to a pipe", .move = by_write, .open = open_pipe},
	{.name = "write to a socket", .move = by_write, .open = open_socket},
	{.name = "write to a terminal", .move = by_write, .open = open_terminal},
	{.name = "writev to a pipe", .move = by_writev, .open = open_pipe},
	{.name = "send", .move = by_send, .open = open_socket},
	{.name = "send by TCP", .move = by_send, .open = open_tcp},
	{.name = "sendto", .move = by_sendto, .open = open_socket},
	{.name = "sendmsg", .move = by_sendmsg, .open = open_socket},
	{.name = "sendmmsg", .move = by_sendmmsg, .open = open_socket},
	{.name = "sendmmsg of packets", .move = by_sendmmsg, .open = open_packets},
	{.name = "sendfile", .move = by_sendfile, .open = open_file},
	{.name = "sendfile from an offset", .move = by_sendfile_at, .open = open_file},
	{.name = "splice", .move = by_splice, .open = open_feeder},
	{.name = "recv", .move = by_recv, .open = open_socket, .receives = true},
	{.name = "recvfrom", .move = by_recvfrom, .open = open_socket, .receives = true},
	{.name = "recvmsg", .move = by_recvmsg, .open = open_socket, .receives = true},
	{.name = "recvmmsg of packets", .move = by_recvmmsg, .open = open_packets, .receives = true},
	{.name = "getrandom", .move = by_getrandom, .open = open_nothing},
};

enum { TRANSFERS = sizeof(transfers) / sizeof(*transfers) };

/* ------------------------------------------------------------------------- movers and their peers */

/* What a call has left undone, so that the stream goes on at its begin. */
static void make_up_for(struct transfer *transfer, long done)
{
	while (done >= 0 && done < SIZE) {
		size_t left = (size_t)(SIZE - done);
		long part = transfer->receives ? read(transfer->fd, transfer->buffer + done, left)
			    : transfer->feeder ? splice(transfer->file, NULL, transfer->fd, NULL, left, 0)
					       : write(transfer->fd, pattern + done, left);

		if (part <= 0)
			break;
		done += part;
	}
}

static bool is_zero(const char *memory, size_t size)
{
	return !memory[0] && !memcmp(memory, memory + 1, size - 1);
}

static void *mover(void *argument)
{
	struct transfer *transfer = argument;

	for (;;) {
		long result = transfer->move(transfer);

		if (result < 0)
			transfer->failed = errno ? errno : -1;
		if (transfer->failed)
			return NULL;
		transfer->early += result != SIZE;
		if (transfer->move != by_getrandom)
			make_up_for(transfer, result);
		if (transfer->receives)
			transfer->garbled += memcmp(transfer->buffer, pattern, SIZE) != 0;
		else if (transfer->move == by_getrandom)
			transfer->garbled += is_zero(transfer->buffer + SIZE - 64, 64);
		atomic_fetch_add(&transfer->calls, 1);
	}
}

static unsigned int next_random(unsigned int *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 8;
}

/* Reads what comes, a little at a time, and looks whether it is the pattern. */
static void *reader(void *argument)
{
	struct transfer *transfer = argument;
	unsigned int seed = 1;
	size_t at = 0;
	char *chunk = malloc(SIZE);

	for (;;) {
		size_t wanted = transfer->open == open_packets ? SIZE : next_random(&seed) % CHUNK + 1;
		long size = read(transfer->peer, chunk, wanted);

		for (long i = 0; i < size; i++, at = (at + 1) % SIZE)
			transfer->garbled += chunk[i] != pattern[at];
		if (size <= 0)
			transfer->failed = errno;
		if (next_random(&seed) % 4 == 0)
			usleep(50);
	}
	return NULL;
}

static void *writer(void *argument)
{
	struct transfer *transfer = argument;
	unsigned int seed = 1;
	size_t at = 0;

	for (;;) {
		size_t some = next_random(&seed) % CHUNK + 1;
		size_t size = transfer->open == open_packets ? MESSAGE : some;
		long part = write(transfer->peer, pattern + at, size < SIZE - at ? size : SIZE - at);

		at = (at + (size_t)part) % SIZE;
		if (next_random(&seed) % 4 == 0)
			usleep(50);
	}
	return NULL;
}

static int start(struct transfer *transfer)
{
	pthread_t thread;

	transfer->buffer = malloc(SIZE);
	if (transfer->open(transfer))
		return -1;
	if (transfer->peer)
		pthread_create(&thread, NULL, transfer->receives ? writer : reader, transfer);
	return pthread_create(&thread, NULL, mover, transfer);
}

static int capture(void)
{
	struct thread_table table;

	return capture_threads(THREADS_AUTO, &table, NULL);
}

static bool all_have_moved(void)
{
	for (int i = 0; i < TRANSFERS; i++)
		if (!transfers[i].calls && !transfers[i].failed)
			return false;
	return true;
}

/* Signals to the process that nobody handles: the end of a child, and one that it sends. */
static void *forker(void *argument)
{
	for (;;) {
		pid_t pid = fork();

		if (pid == 0) {
			kill(getppid(), SIGWINCH);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	return argument;
}

static int move_much(int captures)
{
	pthread_t thread;

	pthread_create(&thread, NULL, forker, NULL);
	for (int i = 0; i < TRANSFERS; i++)
		if (start(&transfers[i])) {
			perror(transfers[i].name);
			return 1;
		}
	for (int i = 0; i < captures || !all_have_moved(); i++) {
		if (capture())
			return 1;
		usleep(1000);
	}
	for (int i = 0; i < TRANSFERS; i++)
		printf("{\"transfer\": \"%s\", \"calls\": %d, \"early\": %d, \"garbled\": %d, "
		       "\"failed\": %d}\n",
		       transfers[i].name, transfers[i].calls, transfers[i].early,
		       transfers[i].garbled, transfers[i].failed);
	return 0;
}

/* -------------------------------------------------------------- signals of the application's own */

static struct transfer broken = {.name = "write", .move = by_write, .open = open_pipe};
static _Atomic bool finished;
static _Atomic long moved; /* by the last call */

static void handle(int number)
{
	(void)number;
}

/* Calls that were ended by the signal, one after the other. */
static void *interrupted_mover(void *argument)
{
	while (!finished) {
		long result = by_write(&broken);

		broken.early += result > 0 && result < SIZE;
		broken.failed += result <= 0 || result == SIZE;
		moved = result;
		atomic_fetch_add(&broken.calls, 1);
	}
	return argument;
}

static _Atomic int sent, lost;

/*
 * Wait for the first bytes of a call, so that it has begun, make room, and send the signal while the
 * rest is moved there. One second is long enough to call it lost.
 */
static void *interrupter(void *argument)
{
	pthread_t mover = *(pthread_t *)argument;
	char *drain = malloc(SIZE);
	unsigned int seed = 1;

	while (!finished) {
		int before = atomic_load(&broken.calls);
		long taken;
		struct pollfd readable = {.fd = broken.peer, .events = POLLIN};

		poll(&readable, 1, -1);
		taken = read(broken.peer, drain, 4096 * (1 + next_random(&seed) % 16));
		for (unsigned int spin = next_random(&seed) % 20000; spin; spin--)
			__asm__ volatile("");
		pthread_kill(mover, SIGUSR1);
		sent++;
		for (int i = 0; i < 1000 && broken.calls == before; i++)
			usleep(1000);
		lost += broken.calls == before;
		while (broken.calls == before) {
			pthread_kill(mover, SIGUSR1);
			usleep(1000);
		}
		while (taken < moved)
			taken += read(broken.peer, drain, (size_t)(moved - taken));
	}
	return NULL;
}

static int be_interrupted(int captures, int flags)
{
	struct sigaction action = {.sa_handler = handle, .sa_flags = flags};
	pthread_t mover, other;

	sigaction(SIGUSR1, &action, NULL);
	if (open_pipe(&broken) || fcntl(broken.fd, F_SETPIPE_SZ, SIZE / 2) < 0)
		return 1;
	pthread_create(&mover, NULL, interrupted_mover, NULL);
	pthread_create(&other, NULL, interrupter, &mover);
	for (int i = 0; i < captures; i++) {
		if (capture())
			return 1;
		usleep(100);
	}
	printf("{\"transfer\": \"interrupted\", \"sent\": %d, \"lost\": %d, \"early\": %d, "
	       "\"failed\": %d}\n",
	       sent, lost, broken.early, broken.failed);
	return 0;
}

int main(int argc, char **argv)
{
	int captures = argc > 1 ? atoi(argv[1]) : 100;
	int result;

	fill_pattern();
	result = argc > 3 ? be_interrupted(captures, atoi(argv[3])) : move_much(captures);
	fflush(stdout);
	_exit(result);
}
