/* SPDX-License-Identifier: Apache-2.0 */
/* Does what is short nearly always without giving up the GIL for it. */
#ifndef GENCORE_MODULE_GIL_H
#define GENCORE_MODULE_GIL_H

/*
 * Call a function that uses no Python on another thread, on which no handler of the application
 * runs, and wait for it: with the GIL at first, and then without.
 */
void call_with_the_gil(void *(*function)(void *), void *argument);

#endif
