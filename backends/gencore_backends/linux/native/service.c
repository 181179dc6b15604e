// SPDX-License-Identifier: Apache-2.0
/*
 * No function of CPython is called in this file, no lock is taken that a stopped thread could hold,
 * and nothing is allocated by malloc: the caller may be the only thread that still works.
 */
#define _GNU_SOURCE
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "descriptors.h"
#include "kernel_abi.h"
#include "mapped_file.h"
#include "names.h"
#include "packets.h"
#include "proc_text.h"
#include "python_stacks.h"
#include "steps.h"
#include "text.h"
#include "turn.h"

enum {
	VERSION = 1,
	PACKET = 16 * 1024, /* bytes: less than any socket's buffer */
	FILE_PART = 1024 * 1024,
	ANSWER_MS = 2000, /* for all packets of an answer: meanwhile nobody else gets one */
	MOST_TIMEOUT_MS = 10000,
};

/* The descriptors of a request, and of an answer with their names. */
enum { GIVEN_CORE, GIVEN_READER, GIVEN };
enum { TAKEN_MOST = 8 }; /* not more than PACKET_DESCRIPTORS */

/* A copy in memory of its own. Replaced only by who has the turn: a capture that uses it has it. */
struct block {
	void *data;
	size_t size;
};

static struct {
	struct block facts;
	struct block excluded;
	uint64_t captures; /* that succeeded */
	uint64_t last;	   /* seconds since 1970 */
} service;

struct descriptors {
	int fds[TAKEN_MOST];
	const char *names[TAKEN_MOST];
	size_t count;
};

/* ---------------------------------------------------------------------- what the process sets */

static int replace(struct block *block, const void *data, size_t size)
{
	struct block fresh = {.size = size}, old;
	uint64_t before;

	if (size) {
		fresh.data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (fresh.data == MAP_FAILED)
			return -1;
		memcpy(fresh.data, data, size);
	}
	before = turn_take();
	old = *block;
	*block = fresh;
	turn_give_back(before);
	if (old.data)
		munmap(old.data, old.size);
	return 0;
}

int service_set_facts(const char *json, size_t size)
{
	return replace(&service.facts, json, size);
}

int service_set_excluded(struct ranges excluded)
{
	return replace(&service.excluded, excluded.rows, excluded.count * sizeof(*excluded.rows));
}

/* ---------------------------------------------------------------------------------- a request */

static void close_given(const int *given)
{
	for (int i = 0; i < GIVEN; i++)
		if (given[i] >= 0)
			close(given[i]);
}

/* Note the descriptors of a packet; those that are too many are closed. */
static void take_given(struct msghdr *message, int *given)
{
	int next = 0;

	for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
		size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(part) + i * sizeof(fd), sizeof(fd));
			if (next < GIVEN)
				given[next++] = fd;
			else
				close(fd);
		}
	}
}

static bool is_name(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool is_for(const struct capture_request *request, const char *action)
{
	return !strcmp(request->action, action);
}

static bool is_understood(const struct capture_request *request)
{
	if (memcmp(request->magic, "gencore", sizeof(request->magic)) ||
	    !is_name(request->action, sizeof(request->action)))
		return false;
	if (is_for(request, "file") || is_for(request, "names") || is_for(request, "describe") ||
	    is_for(request, "collapse"))
		return true;
	return is_for(request, "capture") && is_name(request->content, sizeof(request->content)) &&
	       is_name(request->threads, sizeof(request->threads));
}

/* Returns whether it is a request that this version understands. */
static bool read_request(int connection, struct capture_request *ret, int *given)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec part = {ret, sizeof(*ret)};
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t size = recvmsg(connection, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (size < 0)
		return false;
	take_given(&message, given);
	return size == (ssize_t)sizeof(*ret) && !(message.msg_flags & MSG_TRUNC) &&
	       is_understood(ret);
}

/* Why nothing is captured, in a word that the other end explains; NULL if it is. */
static const char *refusal(const struct capture_request *request, const int *given)
{
	int content = find_name(content_names, CONTENTS, request->content);

	if (request->version != VERSION)
		return "version";
	if (given[GIVEN_CORE] < 0 || given[GIVEN_READER] < 0)
		return "descriptors";
	if (content < 0 || find_name(mode_names, THREADS_MODES, request->threads) < 0)
		return "names";
	if (is_limited((enum core_content)content) && !python_stacks_are_known())
		return "stacks";
	if (request->timeout_ms > MOST_TIMEOUT_MS)
		return "timeout";
	if (!request->allow_undumpable && prctl(PR_GET_DUMPABLE) != 1)
		return "undumpable";
	if (geteuid() != getuid() || getegid() != getgid())
		return "set-user-id";
	return userfaultfd_reports_forks() ? "userfaultfd" : NULL;
}

/* --------------------------------------------------------------------------------- the answer */

/* Gives up where the other end does not read in time, or the bytes cannot be read. */
static void send_all(int connection, const char *data, size_t size,
		     const struct descriptors *passed)
{
	uint64_t end = now_ns() + ANSWER_MS * 1000000ull;

	for (size_t done = 0; done < size && now_ns() < end;) {
		size_t part = size - done < PACKET ? size - done : PACKET;

		if (packet_send(connection, data + done, part, passed->fds,
				done ? 0 : passed->count) < 0)
			return;
		done += part;
	}
}

static void send_answer(int connection, const struct text *text, const struct descriptors *passed)
{
	send_all(connection, text->data, text->size, passed);
}

static void pass(struct descriptors *descriptors, const char *name, int fd)
{
	if (fd < 0)
		return;
	descriptors->names[descriptors->count] = name;
	descriptors->fds[descriptors->count++] = fd;
}

static void add_names(struct text *text, const struct descriptors *descriptors)
{
	text_add(text, ",\"descriptors\":[");
	for (size_t i = 0; i < descriptors->count; i++) {
		text_add(text, i ? "," : "");
		text_add_string(text, descriptors->names[i]);
	}
	text_add(text, "]");
}

static void add_field(struct text *text, const char *name, uint64_t number)
{
	text_add(text, ",\"");
	text_add(text, name);
	text_add(text, "\":");
	text_add_number(text, number);
}

static void add_excluded(struct text *text, const struct ranges *excluded)
{
	text_add(text, ",\"excluded\":[");
	for (size_t i = 0; i < excluded->count; i++) {
		text_add(text, i ? ",[" : "[");
		text_add_number(text, excluded->rows[i].start);
		text_add(text, ",");
		text_add_number(text, excluded->rows[i].end);
		text_add(text, "]");
	}
	text_add(text, "]");
}

static void add_threads(struct text *text, const struct thread_table *table)
{
	const char *separator = "";

	text_add(text, ",\"threads\":[");
	for (uint32_t i = 0; i < table->count; i++) {
		const struct thread *thread = &table->threads[i];

		if (thread_state(thread) == THREAD_ENDED)
			continue;
		text_add(text, separator);
		text_add(text, "[");
		text_add_number(text, (uint64_t)thread->tid);
		text_add(text, ",");
		text_add_string(text, thread_quality(thread));
		text_add(text, ",");
		text_add_string(text, reason_texts[thread->reason]);
		text_add(text, "]");
		separator = ",";
	}
	text_add(text, "]");
}

static void add_failure(struct text *text, const struct step_failure *failure)
{
	text_add(text, ",\"failed\":[");
	text_add_string(text, steps[failure->step].name);
	text_add(text, ",");
	text_add_number(text, (uint64_t)failure->err);
	text_add(text, "]");
}

static void add_snapshot(struct text *text, const struct snapshot *snapshot)
{
	add_field(text, "clone", (uint64_t)snapshot->pid);
	add_field(text, "stop_ns", snapshot->stop_ns);
	add_field(text, "clone_ns", snapshot->clone_ns);
	add_field(text, "release_ns", snapshot->release_ns);
	add_field(text, "unlisted", snapshot->threads.unlisted);
	add_threads(text, &snapshot->threads);
}

/* ------------------------------------------------------------------------------- the capture */

struct own_file {
	const char *name;
	const char *path;
};

static const struct own_file captured_files[] = {
	{"memory", "/proc/thread-self/mem"},
	{"maps", "/proc/thread-self/maps"},
	{"auxv", "/proc/thread-self/auxv"},
	{"executable", "/proc/self/exe"},
	{NULL, NULL},
};

/* What /proc shows of a process to those who see it. */
static const struct own_file described_files[] = {
	{"status", "/proc/self/status"},
	{"stat", "/proc/self/stat"},
	{"maps", "/proc/thread-self/maps"},
	{"environ", "/proc/thread-self/environ"},
	{"cgroup", "/proc/self/cgroup"},
	{"mountinfo", "/proc/thread-self/mountinfo"},
	{NULL, NULL},
};

static void pass_file(struct descriptors *passed, const char *name, const char *path)
{
	pass(passed, name, open(path, O_RDONLY | O_CLOEXEC));
}

static void pass_files(struct descriptors *passed, const struct own_file *file)
{
	for (; file->name; file++)
		pass_file(passed, file->name, file->path);
}

/* What only smaps says of the mappings. To read it takes long, and delays but the clone. */
static void pass_smaps(struct descriptors *passed, pid_t clone)
{
	char path[48];

	*append_text(append_decimal(append_text(path, "/proc/"), (uint64_t)clone), "/smaps") = '\0';
	pass_file(passed, "smaps", path);
}

static uint64_t now_s(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec;
}

/* The clone waits for that; who reads its core may not be able to signal it. */
static void let_clone_begin(int pidfd)
{
	syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, NULL, 0);
}

/* Called with the turn. Returns the clone's pidfd, or -1. */
static int capture(const struct capture_request *request, const int *given, struct text *text,
		   struct descriptors *passed)
{
	const struct block *excluded = &service.excluded;
	const struct snapshot_order order = {
		.core_fd = given[GIVEN_CORE],
		.reader = given[GIVEN_READER],
		.content = (enum core_content)find_name(content_names, CONTENTS, request->content),
		.threads = (enum thread_mode)find_name(mode_names, THREADS_MODES, request->threads),
		.excluded = {excluded->data, excluded->size / sizeof(struct range)},
		.with_dontdump = request->with_dontdump,
		.allow_undumpable = request->allow_undumpable,
		.timeout_ms = request->timeout_ms,
		.main_first = true,
	};
	struct step_failure failure;
	struct snapshot snapshot;

	if (snapshot_take(&order, &snapshot, &failure)) {
		add_failure(text, &failure);
		return -1;
	}
	pass_smaps(passed, snapshot.pid);
	let_clone_begin(snapshot.pidfd);
	service.captures++;
	service.last = now_s();
	add_snapshot(text, &snapshot);
	add_excluded(text, &order.excluded);
	pass(passed, "clone", snapshot.pidfd);
	pass(passed, "status", snapshot.status_fd);
	pass_files(passed, captured_files);
	return snapshot.pidfd;
}

static void add_description(struct text *text)
{
	add_field(text, "pid", (uint64_t)getpid());
	add_field(text, "captures", service.captures);
	add_field(text, "last", service.last);
	text_add(text, ",\"facts\":");
	if (service.facts.size)
		text_add_bytes(text, service.facts.data, service.facts.size);
	else
		text_add(text, "null");
}

static void close_passed(const struct descriptors *passed, int kept)
{
	for (size_t i = 0; i < passed->count; i++)
		if (passed->fds[i] != kept)
			close(passed->fds[i]);
}

static struct text begin_answer(void)
{
	struct text text = {.data = NULL};

	text_add(&text, "{\"version\":");
	text_add_number(&text, VERSION);
	return text;
}

static int answer(int connection, const struct capture_request *request, const int *given)
{
	struct descriptors passed = {.count = 0};
	struct text text = begin_answer();
	const char *refused = NULL;
	uint64_t before = turn_take();
	int pidfd = -1;

	if (is_for(request, "capture")) {
		refused = refusal(request, given);
		if (!refused)
			pidfd = capture(request, given, &text, &passed);
	} else {
		pass_files(&passed, described_files);
	}
	add_description(&text);
	turn_give_back(before);
	if (refused) {
		text_add(&text, ",\"refused\":");
		text_add_string(&text, refused);
	}
	add_names(&text, &passed);
	text_add(&text, "}");
	send_answer(connection, &text, &passed);
	close_passed(&passed, pidfd);
	text_free(&text);
	return pidfd;
}

/* -------------------------------------------------- for who does not see this process in /proc */

/* A name may hold any byte: those that JSON has no way for are sent as Latin-1's. */
static void add_name(struct text *text, const char *name, long size)
{
	static const char digits[] = "0123456789abcdef";

	text_add(text, "\"");
	for (long i = 0; i < size && name[i] != '\n'; i++) {
		unsigned char byte = (unsigned char)name[i];
		char escaped[] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};

		text_add_bytes(text, escaped, sizeof(escaped));
	}
	text_add(text, "\"");
}

static void add_thread_name(struct text *text, int tasks, pid_t tid, const char *separator)
{
	char path[40], name[64];
	long size;

	*append_text(append_decimal(path, (uint64_t)tid), "/comm") = '\0';
	size = read_file(tasks, path, name, sizeof(name));
	text_add(text, separator);
	text_add(text, "[");
	text_add_number(text, (uint64_t)tid);
	text_add(text, ",");
	add_name(text, name, size);
	text_add(text, "]");
}

static void send_names(int connection)
{
	const struct descriptors none = {.count = 0};
	struct task_list list = {.fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	struct text text = begin_answer();
	const char *separator = "";
	pid_t tid;

	text_add(&text, ",\"names\":[");
	while (list.fd >= 0 && (tid = next_task(&list)) > 0) {
		add_thread_name(&text, list.fd, tid, separator);
		separator = ",";
	}
	text_add(&text, "]}");
	if (list.fd >= 0)
		close(list.fd);
	send_answer(connection, &text, &none);
	text_free(&text);
}

/* Sent from the file's own pages: where it ends, or cannot be read, sendmsg(2) says EFAULT. */
static void send_part(int connection, int file, uint64_t size, uint64_t offset)
{
	const struct descriptors none = {.count = 0};
	size_t part = size - offset < FILE_PART ? (size_t)(size - offset) : FILE_PART;
	void *data = mmap(NULL, part, PROT_READ, MAP_PRIVATE, file, (off_t)offset);

	if (data == MAP_FAILED)
		return;
	send_all(connection, data, part, &none);
	munmap(data, part);
}

static void send_file(int connection, const struct capture_request *request)
{
	const struct descriptors none = {.count = 0};
	struct text text = begin_answer();
	uint64_t size = 0, offset = request->file.offset;
	int file = open_mapped_file(request->file.start, &size);

	if (file < 0)
		add_field(&text, "errno", (uint64_t)errno);
	add_field(&text, "size", size);
	text_add(&text, "}");
	send_answer(connection, &text, &none);
	text_free(&text);
	if (file < 0)
		return;
	if (offset < size)
		send_part(connection, file, size, offset);
	close(file);
}

/* ---------------------------------------------------------------------------------- huge pages */

/*
 * Without the turn: others may capture this process meanwhile. Ends when the asker hangs up: whoever
 * could not wait for it wants to dump now.
 */
static struct collapse_result collapse_until(const struct collapse_limits *limits, int connection,
					     bool (*is_needed)(void))
{
	struct collapse collapse;

	collapse_begin(&collapse, limits);
	while (collapse_next(&collapse))
		if (can_be_read(connection) || is_needed())
			collapse_stop(&collapse, "interrupted", 0);
	collapse_end(&collapse);
	return collapse.result;
}

static void add_amount(struct text *text, uint64_t number)
{
	text_add_number(text, number);
	text_add(text, ",");
}

/* In the order of the fields. */
static void add_result(struct text *text, const struct collapse_result *result)
{
	text_add(text, ",\"huge_pages\":[");
	add_amount(text, result->huge_before);
	add_amount(text, result->huge_after);
	add_amount(text, result->private_after);
	add_amount(text, result->shared);
	add_amount(text, result->steps);
	add_amount(text, result->longest_ns);
	add_amount(text, result->total_ns);
	text_add_string(text, result->stopped);
	text_add(text, ",");
	text_add_number(text, (uint64_t)result->err);
	text_add(text, "]");
}

static void send_collapsed(int connection, const struct collapse_limits *limits,
			   bool (*is_needed)(void))
{
	const struct descriptors none = {.count = 0};
	struct text text = begin_answer();
	struct collapse_result result = collapse_until(limits, connection, is_needed);

	add_result(&text, &result);
	text_add(&text, "}");
	send_answer(connection, &text, &none);
	text_free(&text);
}

/* ------------------------------------------------------------------------------- what comes in */

void service_refuse(int connection, const char *word)
{
	struct descriptors none = {.count = 0};
	struct capture_request request;
	struct text text = begin_answer();
	int given[GIVEN] = {-1, -1};

	read_request(connection, &request, given);
	close_given(given);
	text_add(&text, ",\"refused\":");
	text_add_string(&text, word);
	text_add(&text, "}");
	send_answer(connection, &text, &none);
	text_free(&text);
}

int service_answer(int connection, bool (*is_needed)(void))
{
	struct capture_request request;
	int given[GIVEN] = {-1, -1};
	int pidfd = -1;

	if (!read_request(connection, &request, given))
		;
	else if (is_for(&request, "file"))
		send_file(connection, &request);
	else if (is_for(&request, "names"))
		send_names(connection);
	else if (is_for(&request, "collapse"))
		send_collapsed(connection, &request.collapse, is_needed);
	else
		pidfd = answer(connection, &request, given);
	close_given(given);
	return pidfd;
}

/* --------------------------------------------------------------------------- for a recorder */

enum { CORE_PIPE = 1024 * 1024 }; /* bytes; more than an unprivileged user may have */

/*
 * Opened before the pause: what could not be handed over is not taken. The process's own files are
 * opened after it, when the capture has closed as many descriptors of its own. Returns 0, or -1 with
 * errno set.
 */
static int open_core(int ends[2])
{
	if (pipe_above_standard_streams(ends))
		return -1;
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	fcntl(ends[1], F_SETPIPE_SZ, CORE_PIPE);
	return 0;
}

/* That the recorder has died is no failure: its pidfd tells. Returns 0, or -1 with errno set. */
static int send_or_note_death(int channel, const struct text *text, const struct descriptors *passed)
{
	if (!text->data) { /* no memory */
		errno = ENOMEM;
		return -1;
	}
	if (!message_send(channel, text->data, text->size, passed->fds, passed->count))
		return 0;
	return errno == EPIPE || errno == ECONNRESET ? 0 : -1;
}

/* Returns 0, or -1 with errno set. */
static int send_capture(int channel, const struct order_facts *facts, const struct snapshot_order *order,
			const struct handover *handover)
{
	const struct snapshot *snapshot = &handover->snapshot;
	struct descriptors passed = {.count = 0};
	struct descriptors own;
	struct text text = {.data = NULL};
	int result, err;

	pass_files(&passed, captured_files);
	own = passed;
	pass(&passed, "core", handover->core);
	pass(&passed, "clone", snapshot->pidfd);
	pass(&passed, "status", snapshot->status_fd);
	text_add(&text, "{\"facts\":");
	text_add_bytes(&text, facts->json, facts->size);
	add_field(&text, "began_ns", handover->began);
	add_snapshot(&text, snapshot);
	add_excluded(&text, &order->excluded);
	add_names(&text, &passed);
	text_add(&text, "}");
	result = send_or_note_death(channel, &text, &passed);
	err = errno;
	text_free(&text);
	close_passed(&own, -1);
	errno = err;
	return result;
}

static void kill_clone(int pidfd)
{
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

void service_end_clone(int pidfd, int status_fd)
{
	siginfo_t info;

	kill_clone(pidfd);
	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) && errno == EINTR)
		;
	close(pidfd);
	close(status_fd);
}

int service_take(struct snapshot_order *order, struct handover *ret, struct step_failure *failure)
{
	int core[2];
	int result;

	ret->began = now_ns();
	if (open_core(core)) {
		*failure = (struct step_failure){STEP_PIPE, errno};
		return -1;
	}
	order->core_fd = core[1];
	result = snapshot_take(order, &ret->snapshot, failure);
	close(core[1]);
	ret->core = core[0];
	if (result)
		close(core[0]);
	return result;
}

int service_hand_over(int channel, const struct snapshot_order *order, const struct order_facts *facts,
		      const struct handover *handover, struct step_failure *failure)
{
	int result = send_capture(channel, facts, order, handover);

	*failure = (struct step_failure){STEP_HAND_OVER, errno};
	if (result)
		kill_clone(handover->snapshot.pidfd);
	else
		let_clone_begin(handover->snapshot.pidfd);
	close(handover->core);
	return result;
}
