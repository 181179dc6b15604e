/* An extension that waits with a timeout, without the GIL and without a retry on EINTR. */
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <errno.h>
#include <poll.h>

/* Returns 0 after so many milliseconds, or an errno value. */
static PyObject *wait_in_extension(PyObject *module, PyObject *milliseconds)
{
	int result, timeout = (int)PyLong_AsLong(milliseconds);

	(void)module;
	Py_BEGIN_ALLOW_THREADS
	result = poll(NULL, 0, timeout) < 0 ? errno : 0;
	Py_END_ALLOW_THREADS
	return PyLong_FromLong(result);
}

static PyMethodDef methods[] = {
	{"wait_in_extension", wait_in_extension, METH_O, "Wait for so many milliseconds."},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
	.m_base = PyModuleDef_HEAD_INIT, .m_name = "polling", .m_size = -1, .m_methods = methods
};

PyMODINIT_FUNC PyInit_polling(void)
{
	return PyModule_Create(&module);
}
