/* An extension whose thread waits in a system call, without the GIL and without a retry on EINTR. */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <unistd.h>

/* Two frames, so that a frame pointer has something to lead to. Returns what read(2) did. */
__attribute__((noinline)) static long wait_inner(int fd)
{
	char byte;

	return read(fd, &byte, 1);
}

static PyObject *wait_in_extension(PyObject *module, PyObject *fd)
{
	long result, number = PyLong_AsLong(fd);

	(void)module;
	Py_BEGIN_ALLOW_THREADS
	result = wait_inner((int)number);
	Py_END_ALLOW_THREADS
	return PyLong_FromLong(result);
}

static PyMethodDef methods[] = {
	{"wait_in_extension", wait_in_extension, METH_O, "Read one byte from a descriptor."},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
	.m_base = PyModuleDef_HEAD_INIT, .m_name = "blocking", .m_size = -1, .m_methods = methods
};

PyMODINIT_FUNC PyInit_blocking(void)
{
	return PyModule_Create(&module);
}
