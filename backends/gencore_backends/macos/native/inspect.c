// SPDX-License-Identifier: Apache-2.0
/* What macOS says about this process: settings, signature, memory, threads, images. */
#include "inspect.h"

#include <errno.h>
#include <mach-o/dyld.h>
#include <mach-o/loader.h>
#include <mach/mach.h>
#include <pthread.h>
#include <string.h>
#include <sys/param.h>
#include <sys/sysctl.h>
#include <unistd.h>

#include "regions.h"

/* <sys/codesign.h> is not in the SDK; libSystem exports the function. */
#define CS_OPS_STATUS 0
int csops(pid_t pid, unsigned int operation, void *data, size_t size);

PyDoc_STRVAR(sysctl_text_doc,
"sysctl_text($module, name, /)\n--\n\n"
"Return a setting of sysctl(3) that is a text. Raises OSError.");

static PyObject *sysctl_text(PyObject *module, PyObject *args)
{
	char value[MAXPATHLEN + 1] = "";
	size_t size = sizeof(value) - 1;
	const char *name;

	(void)module;
	if (!PyArg_ParseTuple(args, "s", &name))
		return NULL;
	if (sysctlbyname(name, value, &size, NULL, 0))
		return PyErr_SetFromErrnoWithFilename(PyExc_OSError, name);
	return PyUnicode_DecodeFSDefault(value);
}

PyDoc_STRVAR(sysctl_number_doc,
"sysctl_number($module, name, /)\n--\n\n"
"Return a setting of sysctl(3) that is a number. Raises OSError.");

static PyObject *sysctl_number(PyObject *module, PyObject *args)
{
	int value = 0;
	size_t size = sizeof(value);
	const char *name;

	(void)module;
	if (!PyArg_ParseTuple(args, "s", &name))
		return NULL;
	if (sysctlbyname(name, &value, &size, NULL, 0))
		return PyErr_SetFromErrnoWithFilename(PyExc_OSError, name);
	return PyLong_FromLong(value);
}

PyDoc_STRVAR(code_signing_flags_doc,
"code_signing_flags($module, /)\n--\n\n"
"Return the flags CS_... of this process, see csops(2). Raises OSError.");

static PyObject *code_signing_flags(PyObject *module, PyObject *unused)
{
	uint32_t flags = 0;

	(void)module, (void)unused;
	if (csops(getpid(), CS_OPS_STATUS, &flags, sizeof(flags)))
		return PyErr_SetFromErrnoWithFilename(PyExc_OSError, "csops");
	return PyLong_FromUnsignedLong(flags);
}

PyDoc_STRVAR(identity_doc,
"identity($module, /)\n--\n\n"
"Return the kernel's name for this process, and whether saved and real ids differ.\n\n"
"Raises OSError.");

static PyObject *identity(PyObject *module, PyObject *unused)
{
	int query[] = {CTL_KERN, KERN_PROC, KERN_PROC_PID, getpid()};
	struct kinfo_proc found = {0};
	size_t size = sizeof(found);
	const struct _pcred *ids = &found.kp_eproc.e_pcred;
	int differ;

	(void)module, (void)unused;
	if (sysctl(query, 4, &found, &size, NULL, 0))
		return PyErr_SetFromErrnoWithFilename(PyExc_OSError, "kern.proc.pid");
	differ = ids->p_svuid != ids->p_ruid || ids->p_svgid != ids->p_rgid;
	found.kp_proc.p_comm[MAXCOMLEN] = '\0';
	return Py_BuildValue("NN", PyUnicode_DecodeFSDefault(found.kp_proc.p_comm),
			     PyBool_FromLong(differ));
}

PyDoc_STRVAR(memory_doc,
"memory($module, /)\n--\n\n"
"Return how many bytes a core of this process holds, and its whole address space.");

static PyObject *memory(PyObject *module, PyObject *unused)
{
	struct memory_size size = regions_measure();

	(void)module, (void)unused;
	return Py_BuildValue("KK", (unsigned long long)size.core,
			     (unsigned long long)size.address_space);
}

/* Insert (thread id, name); the calling thread comes first. A thread that has ended has no row. */
static int add_thread(PyObject *list, thread_act_t thread, uint64_t own_id)
{
	thread_identifier_info_data_t identifier = {0};
	thread_extended_info_data_t extended = {0};
	mach_msg_type_number_t count = THREAD_IDENTIFIER_INFO_COUNT;
	PyObject *row;
	int failed;

	if (thread_info(thread, THREAD_IDENTIFIER_INFO, (thread_info_t)&identifier, &count))
		return 0;
	count = THREAD_EXTENDED_INFO_COUNT;
	(void)thread_info(thread, THREAD_EXTENDED_INFO, (thread_info_t)&extended, &count);
	row = Py_BuildValue("KN", (unsigned long long)identifier.thread_id,
			    PyUnicode_DecodeUTF8(extended.pth_name,
						 (Py_ssize_t)strnlen(extended.pth_name,
								     sizeof(extended.pth_name)),
						 "replace"));
	if (!row)
		return -1;
	failed = identifier.thread_id == own_id ? PyList_Insert(list, 0, row)
						: PyList_Append(list, row);
	Py_DECREF(row);
	return failed;
}

PyDoc_STRVAR(threads_doc,
"threads($module, /)\n--\n\n"
"Return (thread id, name) of every thread, the calling one first. Raises OSError.");

static PyObject *threads(PyObject *module, PyObject *unused)
{
	thread_act_array_t found;
	mach_msg_type_number_t count;
	PyObject *list;
	uint64_t own_id = 0;

	(void)module, (void)unused;
	pthread_threadid_np(NULL, &own_id);
	if (task_threads(mach_task_self(), &found, &count)) {
		errno = EPERM;
		return PyErr_SetFromErrnoWithFilename(PyExc_OSError, "task_threads");
	}
	list = PyList_New(0);
	for (mach_msg_type_number_t i = 0; i < count; i++) {
		if (list && add_thread(list, found[i], own_id))
			Py_CLEAR(list);
		mach_port_deallocate(mach_task_self(), found[i]);
	}
	vm_deallocate(mach_task_self(), (vm_address_t)found, count * sizeof(*found));
	return list;
}

PyDoc_STRVAR(images_doc,
"images($module, /)\n--\n\n"
"Return the paths of all images that dyld has loaded, the executable first.");

static PyObject *images(PyObject *module, PyObject *unused)
{
	PyObject *list = PyList_New(0);

	(void)module, (void)unused;
	/* Another thread may unload one meanwhile: the last names are then NULL. */
	for (uint32_t i = 0; list && i < _dyld_image_count(); i++) {
		const struct mach_header *header = _dyld_get_image_header(i);
		const char *name = _dyld_get_image_name(i);
		PyObject *path = header && name ? PyUnicode_DecodeFSDefault(name) : NULL;
		int failed;

		if (!path && PyErr_Occurred())
			Py_CLEAR(list);
		if (!path)
			continue;
		failed = header->filetype == MH_EXECUTE ? PyList_Insert(list, 0, path)
							: PyList_Append(list, path);
		Py_DECREF(path);
		if (failed)
			Py_CLEAR(list);
	}
	return list;
}

PyMethodDef inspect_methods[] = {
	{"sysctl_text", sysctl_text, METH_VARARGS, sysctl_text_doc},
	{"sysctl_number", sysctl_number, METH_VARARGS, sysctl_number_doc},
	{"code_signing_flags", code_signing_flags, METH_NOARGS, code_signing_flags_doc},
	{"identity", identity, METH_NOARGS, identity_doc},
	{"memory", memory, METH_NOARGS, memory_doc},
	{"threads", threads, METH_NOARGS, threads_doc},
	{"images", images, METH_NOARGS, images_doc},
	{NULL, NULL, 0, NULL},
};
