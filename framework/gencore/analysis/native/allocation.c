/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of the malloc of this process. See docs/decisions/0039.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

/* Without an effect where another malloc than glibc's is used. */
static PyObject *keep_freed(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(arguments))
{
#ifdef __GLIBC__
	mallopt(M_MMAP_MAX, 0); /* a mapping of its own goes back to the kernel when it is freed */
	mallopt(M_TRIM_THRESHOLD, -1);
#endif
	return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
	{"keep_freed", keep_freed, METH_NOARGS,
	 "keep_freed(): let malloc give back no memory to the kernel, but reuse it."},
	{NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
	{0, NULL},
};

static struct PyModuleDef definition = {
	.m_base = PyModuleDef_HEAD_INIT,
	.m_name = "_allocation",
	.m_doc = "Settings of the malloc of this process.",
	.m_methods = methods,
	.m_slots = slots,
};

PyMODINIT_FUNC PyInit__allocation(void)
{
	return PyModuleDef_Init(&definition);
}
