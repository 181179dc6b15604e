/* An extension whose thread waits in a system call, without the GIL and without a retry on EINTR. */
#include <poll.h>
#include <unistd.h>

/* Two frames, so that a frame pointer has something to lead to. Returns what read(2) did. */
__attribute__((noinline)) static long wait_inner(int fd)
{
	char byte;

	return read(fd, &byte, 1);
}

long wait_in_extension(int fd)
{
	volatile long result = wait_inner(fd);

	return result;
}
