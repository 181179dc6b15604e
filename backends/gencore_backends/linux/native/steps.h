/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a snapshot, as the code, the errors and the documentation name them. */
#ifndef GENCORE_STEPS_H
#define GENCORE_STEPS_H

/*
 * Every system call that can fail on either side of the clone has a step, and so has every part of
 * the clone's life in which a signal can end it. A row is STEP(constant, name, where it is done,
 * what fails there), in the order in which the documentation prints it; the name is that of
 * CoreFailed, and the last text is Markdown.
 */
#define STEPS(STEP)                                                                               \
	STEP(STEP_PIPE, "pipe", "service", "opening the pipe for messages")                        \
	STEP(STEP_PREPARE_THREADS, "prepare-threads", "service",                                   \
	     "finding a free real-time signal, two free descriptors, or memory for the threads' "  \
	     "table")                                                                              \
	STEP(STEP_BLOCK_SIGNALS, "block-signals", "service",                                       \
	     "blocking signals in the calling thread")                                             \
	STEP(STEP_STOP_THREADS, "stop-threads", "service",                                         \
	     "finding another signal, because the application uses the first one after all; or "   \
	     "getting memory shared with the clone")                                               \
	STEP(STEP_CLONE, "clone", "service",                                                       \
	     "the clone itself: no process or no memory left, or it ended before its first "       \
	     "message")                                                                            \
	STEP(STEP_HAND_OVER, "hand-over", "service",                                               \
	     "passing what leads to the clone to the recorder")                                    \
	STEP(STEP_LEAVE_SERVICE, "leave-service", "clone",                                         \
	     "a signal killed it there, most often SIGSYS from a seccomp filter")                  \
	STEP(STEP_MAKE_DUMPABLE, "make-dumpable", "clone", "making itself dumpable")               \
	STEP(STEP_ENTER_DIRECTORY, "enter-directory", "clone", "entering the private directory")   \
	STEP(STEP_CLOSE_DESCRIPTORS, "close-descriptors", "clone",                                 \
	     "closing descriptors: neither `close_range` nor /proc")                               \
	STEP(STEP_AWAIT_RELEASE, "await-release", "clone", "a signal killed it there")             \
	STEP(STEP_START_RECORDER, "start-recorder", "clone",                                       \
	     "starting the process that records the dump")                                         \
	STEP(STEP_FILE_SIZE_LIMIT, "file-size-limit", "clone",                                     \
	     "raising RLIMIT_FSIZE to its hard limit")                                             \
	STEP(STEP_READ_MAPS, "read-maps", "clone", "reading its own memory map")                   \
	STEP(STEP_EXCLUDE, "exclude", "clone",                                                     \
	     "covering or wiping what `gencore.exclude` keeps out")                                \
	STEP(STEP_MEMORY, "memory", "clone", "getting memory of its own")                          \
	STEP(STEP_WRITE_CORE, "write-core", "clone",                                               \
	     "writing the core: the disk is full, the pipe is closed, nothing was read for ten "   \
	     "minutes")                                                                            \
	STEP(STEP_READER_ENDED, "reader-ended", "clone",                                           \
	     "the reader ended before the core was written")                                       \
	STEP(STEP_WRITE_NOTES, "write-notes", "clone",                                             \
	     "writing the notes into the private directory")                                       \
	STEP(STEP_COREDUMP_FILTER, "coredump-filter", "clone",                                     \
	     "writing `/proc/self/coredump_filter`")                                               \
	STEP(STEP_CORE_LIMIT, "core-limit", "clone", "raising RLIMIT_CORE to its hard limit")      \
	STEP(STEP_RESET_SIGNAL, "reset-signal", "clone", "setting SIGSEGV to its default")         \
	STEP(STEP_UNBLOCK_SIGNAL, "unblock-signal", "clone", "unblocking SIGSEGV alone")           \
	STEP(STEP_RAISE, "raise", "clone", "sending itself SIGSEGV")

#define STEP_CONSTANT(constant, name, where, failed) constant,
enum snapshot_step { STEPS(STEP_CONSTANT) STEP_COUNT };
#undef STEP_CONSTANT

#endif
