/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the text files of proc(5) with system calls only, on either side of the clone. */
#ifndef GENCORE_PROC_TEXT_H
#define GENCORE_PROC_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct thread_call;

/* Of /proc/PID/task/TID/status. Signal sets are bit masks, signal 1 is bit 0. */
struct thread_status {
	char state;
	uint64_t pending;	 /* for the thread itself */
	uint64_t shared_pending; /* for the process */
	uint64_t blocked;
	uint64_t switches;  /* voluntary and not */
	uint64_t voluntary; /* of them: it went to sleep */
	long threads;
};

/* A walk through an open /proc/PID/task. */
struct task_list {
	int fd;
	long size;
	long position;
	_Alignas(8) char entries[2048];
};

/* The next thread's tid, 0 at the end, -1 on error. */
pid_t next_task(struct task_list *list);

/* The number of threads of this process, or -1. */
int count_tasks(void);

/* These return 0, or -1 with errno set: ENOENT or ESRCH once the thread has ended. */
int read_thread_status(int directory, const char *path, struct thread_status *ret);
int read_task_status(int tasks, pid_t tid, struct thread_status *ret);

/* How often a thread was given a processor. Returns 0, or -1 if the kernel does not count that. */
int read_task_arrivals(int tasks, pid_t tid, uint64_t *ret);

/* Returns 0, or -1 if the thread is running or its file cannot be read. */
int read_task_call(int tasks, pid_t tid, struct thread_call *ret);

/* Pages of address space that this process has mapped (proc_pid_statm(5), size), or 0. */
uint64_t mapped_pages(void);

/* Read up to *size* bytes of a file. Returns their number, or -1 with errno set. */
long read_file(int directory, const char *path, char *buffer, size_t size);

/* Parse a number and move *text* behind it. */
uint64_t parse_hex(const char **text);
uint64_t parse_decimal(const char **text);

/* Append text, or a decimal number, at *end*; returns the new end. No terminator is written. */
char *append_text(char *end, const char *text);
char *append_decimal(char *end, uint64_t number);

#endif
