/* SPDX-License-Identifier: Apache-2.0 */
/* Finds a file by where it is mapped into this process. */
#ifndef GENCORE_MAPPED_FILE_H
#define GENCORE_MAPPED_FILE_H

#include <stdint.h>

/*
 * Open the regular file of the mapping that begins at an address, for reading, by the name that the
 * kernel has for it. Returns a descriptor and its size in bytes, or -1 with errno set: ENOENT too
 * where the file was removed, and where nothing is mapped.
 */
int open_mapped_file(uint64_t start, uint64_t *size);

#endif
