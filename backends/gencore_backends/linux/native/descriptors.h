/* SPDX-License-Identifier: Apache-2.0 */
/* The open files of this process: closed in the clone, looked at before it. */
#ifndef GENCORE_DESCRIPTORS_H
#define GENCORE_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Runs in the child. Close every descriptor but those in *kept*, which is put in order; negative
 * ones are ignored. Returns 0, or -1 with errno set.
 */
int clone_close_all_but(int *kept, size_t count);

/*
 * Whether a userfaultfd(2) in this process reports forks. A clone would then wait until that report
 * is read, by a thread that is stopped for the clone. False if /proc cannot be read.
 */
bool userfaultfd_reports_forks(void);

/* How many are open; 0 if /proc cannot be read. */
uint64_t count_descriptors(void);

/*
 * Move a new descriptor from where a program expects its standard streams, whatever it has closed.
 * Returns where it is; -1 if it was -1, or cannot be moved.
 */
int above_standard_streams(int fd);

/* Like pipe2(2) with O_CLOEXEC, but with neither end among the standard streams. */
int pipe_above_standard_streams(int *ends);

/* Whether it can be read without waiting. */
bool can_be_read(int fd);

#endif
