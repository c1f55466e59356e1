/* The passes that cost time: separable convolutions, eigenvalues, and random forests over blocks of pixels.
 *
 * Every function here has a twin in pure.py that gives the same numbers, bit for bit. What is fused (one rounding for
 * a multiply and an add) is fused explicitly; the build forbids the compiler to fuse anything else. The loops are
 * written once, in _native_loops.h, and compiled for plain C, for AVX2 and for AVX-512; the processor decides at import.
 * The interpreter's lock is released while they run.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if (defined(__x86_64__) || defined(_M_X64)) && defined(__GNUC__)
#define HAVE_X86 1
#include <immintrin.h>
#endif

#define MAX_RADIUS 8192
#define BLOCK 32 /* pixels that go through the forest together */

/* A node of the forest as bit vectors see it: where the feature is not below the threshold, only the leaves in `keep`
 * of that word remain possible. */
typedef struct {
    float threshold;
    uint32_t word;
    uint32_t keep;
} Entry;

/* A node of a tree that is walked; references to leaves are -1 - index. */
typedef struct {
    float threshold;
    int32_t column, left, right;
} Node;

typedef struct {
    const float *features;       /* (columns, pixels), columns `stride` apart */
    const Entry *entries;        /* sorted by column, then by threshold */
    const int32_t *column_ends;  /* (columns,) end of each column's entries */
    const int32_t *word_ends;    /* (trees,) end of each tree's words */
    const uint32_t *initial;     /* (words,) the leaves that exist */
    const uint32_t *votes;       /* (words, classes) which leaves vote for a class; NULL when leaves are not pure */
    const double *leaves;        /* (words * 32, classes) what a leaf adds */
    const int32_t *forest_ends;  /* (forests,) end of each forest's trees */
    const int32_t *channels;     /* (classes,) where a class goes in the output */
    const Node *nodes;
    const int32_t *roots;        /* (trees,) for walks; NULL when bits are used */
    float *out;                  /* (pixels, out_channels) */
    Py_ssize_t columns, trees, words, classes, forests, pixels, out_channels, stride;
} Forest;

typedef void (*RowFn)(float *, const float *, const float *const *, const float *const *, const float *, int, int,
                      Py_ssize_t);
typedef void (*ForestFn)(const Forest *, Py_ssize_t, Py_ssize_t, uint32_t *, float *);
typedef void (*Eigen2Fn)(const float *, const float *, const float *, float *, float *, Py_ssize_t);
typedef void (*Eigen3Fn)(const float *, const float *, const float *, const float *, const float *, const float *,
                         float *, float *, float *, Py_ssize_t);
typedef void (*Combine2Fn)(const float *, const float *, float *, Py_ssize_t);
typedef void (*Combine3Fn)(const float *, const float *, const float *, float *, Py_ssize_t);

typedef struct {
    const char *name;
    RowFn fused, plain;
    ForestFn forest;
    Eigen2Fn eigen2;
    Eigen3Fn eigen3;
    Combine2Fn multiply, subtract, add2, norm2;
    Combine3Fn add3, norm3;
} Loops;

/* Choices without branches, which compilers turn into vector blends. */
static inline uint32_t mask_of(int condition) { return 0u - (uint32_t)condition; }

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline uint32_t sign_mask(float value) { return 0u - (bits_of(value) >> 31); }

static inline float pick(uint32_t mask, float yes, float no) {
    uint32_t bits = (bits_of(yes) & mask) | (bits_of(no) & ~mask);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define NAMED(a) JOIN(a, LEVEL)

/* Plain C: one lane. */
#define LEVEL portable
#define LEVEL_NAME "portable"
#define LANES 1
#include "_native_loops.h"
#undef LEVEL
#undef LEVEL_NAME
#undef LANES

#ifdef HAVE_X86
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define LEVEL avx2
#define LEVEL_NAME "avx2"
#define LANES 8
#include "_native_loops.h"
#undef LEVEL
#undef LEVEL_NAME
#undef LANES
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512")
#endif
#define LEVEL avx512
#define LEVEL_NAME "avx512"
#define LANES 16
#include "_native_loops.h"
#undef LEVEL
#undef LEVEL_NAME
#undef LANES
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

static const Loops *loops = &loops_portable;

static const Loops *best_loops(const char *wanted) {
#ifdef HAVE_X86
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                 __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (avx512 && (!wanted || !strcmp(wanted, "avx512"))) return &loops_avx512;
    if (avx2 && (!wanted || !strcmp(wanted, "avx2"))) return &loops_avx2;
#endif
    if (!wanted || !strcmp(wanted, "portable")) return &loops_portable;
    return NULL;
}

/* ---- separable convolution ------------------------------------------------------------------------------------ */

typedef struct {
    const float *src;
    float *dst;
    const float *weights;
    Py_ssize_t src_shape[3], dst_shape[3], offset[3];
    Py_ssize_t first, length; /* where dst begins along the axis, in the image, and the image's extent */
    int axis, odd, radius;
} Pass;

static Py_ssize_t mirrored(Py_ssize_t at, Py_ssize_t length) {
    if (at < 0) at = -at;
    return at >= length ? 2 * (length - 1) - at : at;
}

/* Along y or z: a row is a sum of whole rows. */
static void rows_across(const Pass *p) {
    const float *plus[MAX_RADIUS], *minus[MAX_RADIUS];
    Py_ssize_t width = p->dst_shape[2], begin = p->first - p->offset[p->axis];
    Py_ssize_t stride = p->axis == 1 ? p->src_shape[2] : p->src_shape[1] * p->src_shape[2];
    for (Py_ssize_t z = 0; z < p->dst_shape[0]; z++)
        for (Py_ssize_t y = 0; y < p->dst_shape[1]; y++) {
            Py_ssize_t sz = p->axis == 0 ? 0 : z + p->offset[0], sy = p->axis == 1 ? 0 : y + p->offset[1];
            const float *home = p->src + (sz * p->src_shape[1] + sy) * p->src_shape[2] + p->offset[2];
            Py_ssize_t at = p->first + (p->axis == 0 ? z : y);
            for (int k = 1; k <= p->radius; k++) {
                plus[k - 1] = home + (mirrored(at + k, p->length) - begin) * stride;
                minus[k - 1] = home + (mirrored(at - k, p->length) - begin) * stride;
            }
            loops->fused(p->dst + (z * p->dst_shape[1] + y) * width, home + (at - begin) * stride, plus, minus,
                         p->weights, p->radius, p->odd, width);
        }
}

/* One pixel near the image's edge, where ilastik does not fuse. */
static float edge_pixel(const Pass *p, const float *line, Py_ssize_t at) {
    Py_ssize_t begin = p->first - p->offset[2];
    float sum = p->weights[0] * line[at - begin];
    for (int k = 1; k <= p->radius; k++) {
        float right = line[mirrored(at + k, p->length) - begin], left = line[mirrored(at - k, p->length) - begin];
        float product = p->weights[k] * (p->odd ? right - left : right + left);
        sum = sum + product;
    }
    return sum;
}

static Py_ssize_t clamped(Py_ssize_t v, Py_ssize_t low, Py_ssize_t high) { return v < low ? low : v > high ? high : v; }

/* Along x: mirrored ends, plain up to the first group of 8, fused groups of 32, plain rest, as ilastik's filters. */
static void rows_along(const Pass *p) {
    const float *plus[MAX_RADIUS], *minus[MAX_RADIUS];
    Py_ssize_t n = p->radius, end = p->first + p->dst_shape[2], begin = p->first - p->offset[2];
    Py_ssize_t low = (n + 7) & ~(Py_ssize_t)7, high = p->length > n ? (p->length - n) & ~(Py_ssize_t)31 : 0;
    if (high <= ((low + 31) & ~(Py_ssize_t)31)) low = high = n;
    Py_ssize_t inner = p->length - n > n ? p->length - n : n;
    Py_ssize_t cuts[5] = {clamped(n, p->first, end), clamped(low, p->first, end), clamped(high, p->first, end),
                          clamped(inner, p->first, end), end};
    for (Py_ssize_t row = 0; row < p->dst_shape[0] * p->dst_shape[1]; row++) {
        Py_ssize_t z = row / p->dst_shape[1] + p->offset[0], y = row % p->dst_shape[1] + p->offset[1];
        const float *line = p->src + (z * p->src_shape[1] + y) * p->src_shape[2];
        float *out = p->dst + row * p->dst_shape[2] - p->first;
        Py_ssize_t at = p->first;
        for (; at < cuts[0]; at++) out[at] = edge_pixel(p, line, at);
        for (int part = 1; part <= 3; part++) {
            if (at >= cuts[part]) continue;
            const float *home = line + (at - begin);
            for (int k = 1; k <= n; k++) plus[k - 1] = home + k, minus[k - 1] = home - k;
            (part == 2 ? loops->fused : loops->plain)(out + at, home, plus, minus, p->weights, p->radius, p->odd,
                                                      cuts[part] - at);
            at = cuts[part];
        }
        for (; at < end; at++) out[at] = edge_pixel(p, line, at);
    }
}

static void copy_rows(const Pass *p) {
    for (Py_ssize_t z = 0; z < p->dst_shape[0]; z++)
        for (Py_ssize_t y = 0; y < p->dst_shape[1]; y++)
            memcpy(p->dst + (z * p->dst_shape[1] + y) * p->dst_shape[2],
                   p->src + ((z + p->offset[0]) * p->src_shape[1] + y + p->offset[1]) * p->src_shape[2] + p->offset[2],
                   (size_t)p->dst_shape[2] * sizeof(float));
}

/* Whether everything that the pass will read lies in src. */
static int pass_fits(const Pass *p) {
    for (int d = 0; d < 3; d++) {
        if (p->offset[d] < (d == p->axis ? -p->radius : 0)) return 0;
        if (d != p->axis && p->offset[d] + p->dst_shape[d] > p->src_shape[d]) return 0;
    }
    Py_ssize_t begin = p->first - p->offset[p->axis], extent = p->dst_shape[p->axis], stop = begin + p->src_shape[p->axis];
    if (begin < 0 || p->first < 0 || p->first + extent > p->length || stop > p->length) return 0;
    if (p->radius >= MAX_RADIUS || (p->radius > 0 && p->radius >= p->length)) return 0;
    for (Py_ssize_t i = 0; i < extent; i++) {
        for (int side = -1; side <= 1; side++) {
            Py_ssize_t at = mirrored(p->first + i + side * p->radius, p->length);
            if (at < begin || at >= stop) return 0;
        }
        if (p->first + i - p->radius < 0 && begin > 0) return 0;
        if (p->first + i + p->radius >= p->length && stop < p->length) return 0;
    }
    return 1;
}

static int float_buffer(PyObject *object, Py_buffer *view, int writable, int dims) {
    int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) < 0) return 0;
    if (view->itemsize == 4 && view->format && !strcmp(view->format, "f") && (dims == 0 || view->ndim == dims)) return 1;
    PyErr_Format(PyExc_ValueError, "expected a float32 array of %d dimensions", dims);
    PyBuffer_Release(view);
    return 0;
}

/* ---- a tape of kernels ------------------------------------------------------------------------------------------ */

enum { CONVOLVE, MULTIPLY, SUBTRACT, ADD2, NORM2, ADD3, NORM3, EIGEN2, EIGEN3, KERNELS };
static const struct {
    const char *name;
    int arrays, outputs, others;
} kernels[KERNELS] = {{"convolve", 2, 1, 6}, {"multiply", 3, 1, 0}, {"subtract", 3, 1, 0},
                      {"add2", 3, 1, 0},     {"norm2", 3, 1, 0},    {"add3", 4, 1, 0},
                      {"norm3", 4, 1, 0},    {"eigen2", 5, 2, 0},   {"eigen3", 9, 3, 0}};

typedef struct {
    int kernel, held;
    Py_buffer views[9];
    Pass pass;
} Call;

/* The other arguments of a convolution: weights, axis, odd, offset (z, y, x), first, length. */
static int read_pass(Call *call, PyObject *tuple) {
    Pass *p = &call->pass;
    PyObject *offset = PyTuple_GET_ITEM(tuple, 6);
    if (!float_buffer(PyTuple_GET_ITEM(tuple, 3), &call->views[2], 0, 1)) return 0;
    call->held = 3;
    p->axis = (int)PyLong_AsLong(PyTuple_GET_ITEM(tuple, 4));
    p->odd = PyObject_IsTrue(PyTuple_GET_ITEM(tuple, 5));
    if (!PyTuple_Check(offset) || PyTuple_GET_SIZE(offset) != 3) {
        PyErr_SetString(PyExc_TypeError, "expected an offset (z, y, x)");
        return 0;
    }
    for (int d = 0; d < 3; d++) p->offset[d] = PyLong_AsSsize_t(PyTuple_GET_ITEM(offset, d));
    p->first = PyLong_AsSsize_t(PyTuple_GET_ITEM(tuple, 7));
    p->length = PyLong_AsSsize_t(PyTuple_GET_ITEM(tuple, 8));
    if (PyErr_Occurred()) return 0;
    memcpy(p->src_shape, call->views[0].shape, sizeof p->src_shape);
    memcpy(p->dst_shape, call->views[1].shape, sizeof p->dst_shape);
    p->src = call->views[0].buf, p->dst = call->views[1].buf, p->weights = call->views[2].buf;
    p->radius = (int)call->views[2].shape[0] - 1;
    if (p->axis >= 0 && p->axis <= 2 && p->radius >= 0 && pass_fits(p)) return 1;
    PyErr_SetString(PyExc_ValueError, "the pass reads outside of its source");
    return 0;
}

static int read_call(Call *call, PyObject *tuple) {
    const char *name = PyTuple_Check(tuple) && PyTuple_GET_SIZE(tuple) ? PyUnicode_AsUTF8(PyTuple_GET_ITEM(tuple, 0)) : NULL;
    for (call->kernel = 0; name && call->kernel < KERNELS; call->kernel++)
        if (!strcmp(name, kernels[call->kernel].name)) break;
    int count = name && call->kernel < KERNELS ? kernels[call->kernel].arrays : -1;
    if (count < 0 || PyTuple_GET_SIZE(tuple) != 1 + count + kernels[call->kernel].others) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "expected a kernel's name and its arguments");
        return 0;
    }
    for (int i = 0; i < count; i++) {
        int written = i >= count - kernels[call->kernel].outputs;
        if (!float_buffer(PyTuple_GET_ITEM(tuple, 1 + i), &call->views[i], written, 3)) return 0;
        call->held = i + 1;
        if (call->kernel != CONVOLVE && call->views[i].len != call->views[0].len) {
            PyErr_SetString(PyExc_ValueError, "arrays differ in size");
            return 0;
        }
    }
    return call->kernel != CONVOLVE || read_pass(call, tuple);
}

static void run_call(const Call *call) {
    const Py_buffer *v = call->views;
    Py_ssize_t n = v[0].len / 4;
    switch (call->kernel) {
    case CONVOLVE:
        if (call->pass.radius == 0) copy_rows(&call->pass);
        else if (call->pass.axis == 2) rows_along(&call->pass);
        else rows_across(&call->pass);
        break;
    case MULTIPLY: loops->multiply(v[0].buf, v[1].buf, v[2].buf, n); break;
    case SUBTRACT: loops->subtract(v[0].buf, v[1].buf, v[2].buf, n); break;
    case ADD2: loops->add2(v[0].buf, v[1].buf, v[2].buf, n); break;
    case NORM2: loops->norm2(v[0].buf, v[1].buf, v[2].buf, n); break;
    case ADD3: loops->add3(v[0].buf, v[1].buf, v[2].buf, v[3].buf, n); break;
    case NORM3: loops->norm3(v[0].buf, v[1].buf, v[2].buf, v[3].buf, n); break;
    case EIGEN2: loops->eigen2(v[0].buf, v[1].buf, v[2].buf, v[3].buf, v[4].buf, n); break;
    case EIGEN3:
        loops->eigen3(v[0].buf, v[1].buf, v[2].buf, v[3].buf, v[4].buf, v[5].buf, v[6].buf, v[7].buf, v[8].buf, n);
    }
}

static PyObject *py_run(PyObject *self, PyObject *list) {
    (void)self;
    if (!PyList_Check(list)) return PyErr_Format(PyExc_TypeError, "expected a list of calls");
    Py_ssize_t count = PyList_GET_SIZE(list), ready = 0;
    Call *calls = PyMem_RawCalloc((size_t)count + 1, sizeof(Call));
    if (!calls) return PyErr_NoMemory();
    while (ready < count && read_call(&calls[ready], PyList_GET_ITEM(list, ready))) ready++;
    if (ready == count) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++) run_call(&calls[i]);
        Py_END_ALLOW_THREADS
    }
    for (Py_ssize_t i = 0; i <= ready && i < count; i++)
        for (int k = 0; k < calls[i].held; k++) PyBuffer_Release(&calls[i].views[k]);
    PyMem_RawFree(calls);
    if (ready < count) return NULL;
    Py_RETURN_NONE;
}

/* ---- forest ----------------------------------------------------------------------------------------------------- */

/* Children come after their parents, so that every walk ends. */
static int reference_is_sound(int32_t to, Py_ssize_t low, Py_ssize_t nodes, Py_ssize_t words) {
    return to >= 0 ? to >= low && to < nodes : -1 - (Py_ssize_t)to < words * 32;
}

static int forest_is_sound(const Forest *f, Py_ssize_t entries, Py_ssize_t leaves, Py_ssize_t votes, Py_ssize_t nodes) {
    Py_ssize_t before = 0;
    for (Py_ssize_t i = 0; i < f->columns; before = f->column_ends[i++])
        if (f->column_ends[i] < before || f->column_ends[i] > entries) return 0;
    before = 0;
    for (Py_ssize_t i = 0; i < f->trees; before = f->word_ends[i++])
        if (f->word_ends[i] <= before || f->word_ends[i] > f->words) return 0;
    before = 0;
    for (Py_ssize_t i = 0; i < f->forests; before = f->forest_ends[i++])
        if (f->forest_ends[i] <= before || f->forest_ends[i] > f->trees) return 0;
    for (Py_ssize_t i = 0; i < entries; i++)
        if (f->entries[i].word >= f->words) return 0;
    for (Py_ssize_t i = 0; i < nodes; i++) {
        const Node *node = &f->nodes[i];
        if (node->column < 0 || node->column >= f->columns) return 0;
        if (!reference_is_sound(node->left, i + 1, nodes, f->words)) return 0;
        if (!reference_is_sound(node->right, i + 1, nodes, f->words)) return 0;
    }
    for (Py_ssize_t i = 0; f->roots && i < f->trees; i++)
        if (!reference_is_sound(f->roots[i], 0, nodes, f->words)) return 0;
    for (Py_ssize_t i = 0; i < f->classes; i++)
        if (f->channels[i] < 0 || f->channels[i] >= f->out_channels) return 0;
    return leaves == f->words * 32 * f->classes && (!f->votes || votes == f->words * f->classes);
}

/* Features (columns, pixels): pixels side by side, columns any distance apart. */
static int column_buffer(PyObject *object, Py_buffer *view) {
    if (PyObject_GetBuffer(object, view, PyBUF_STRIDES | PyBUF_FORMAT) < 0) return 0;
    if (view->itemsize == 4 && view->format && !strcmp(view->format, "f") && view->ndim == 2 &&
        (view->strides[1] == 4 || view->shape[1] < 2) && view->strides[0] % 4 == 0)
        return 1;
    PyErr_SetString(PyExc_ValueError, "expected float32 features (columns, pixels) with adjacent pixels");
    PyBuffer_Release(view);
    return 0;
}

static PyObject *py_evaluate(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *features, *out;
    Py_buffer b[10];
    memset(b, 0, sizeof b);
    if (!PyArg_ParseTuple(args, "OOy*y*y*y*y*y*y*y*y*y*", &features, &out, &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
                          &b[6], &b[7], &b[8], &b[9]))
        return NULL;
    Py_buffer in, to;
    int got_in = column_buffer(features, &in), got_out = got_in && float_buffer(out, &to, 1, 2), sound = 0;
    if (got_out) {
        Forest f = {in.buf,   b[0].buf, b[1].buf, b[2].buf, b[3].buf, b[4].len ? b[4].buf : NULL, b[5].buf, b[7].buf,
                    b[6].buf, b[8].buf, b[9].len ? b[9].buf : NULL, to.buf,   in.shape[0], b[2].len / 4, b[3].len / 4, b[6].len / 4, b[7].len / 4, in.shape[1],
                    to.shape[1], in.strides[0] / 4};
        sound = b[1].len / 4 == f.columns && to.shape[0] == f.pixels && f.classes > 0 && f.trees > 0 &&
                (!b[9].len || b[9].len / 4 == f.trees) &&
                forest_is_sound(&f, b[0].len / (Py_ssize_t)sizeof(Entry), b[5].len / 8, b[4].len / 4,
                                b[8].len / (Py_ssize_t)sizeof(Node));
        size_t cells = (size_t)(f.roots ? f.columns : f.words);
        uint32_t *state = sound ? PyMem_RawMalloc(cells * BLOCK * 4 + 64) : NULL;
        float *sums = sound ? PyMem_RawMalloc((size_t)f.classes * BLOCK * 16 + 64) : NULL;
        if (!sound) PyErr_SetString(PyExc_ValueError, "the forest's tables do not fit together");
        else if (!state || !sums) PyErr_NoMemory(), sound = 0;
        else {
            Py_BEGIN_ALLOW_THREADS
            loops->forest(&f, 0, f.pixels, (uint32_t *)(((uintptr_t)state + 63) & ~(uintptr_t)63),
                          (float *)(((uintptr_t)sums + 63) & ~(uintptr_t)63));
            Py_END_ALLOW_THREADS
        }
        PyMem_RawFree(state);
        PyMem_RawFree(sums);
        PyBuffer_Release(&to);
    }
    if (got_in) PyBuffer_Release(&in);
    for (int i = 0; i < 10; i++) PyBuffer_Release(&b[i]);
    if (!sound) return NULL;
    Py_RETURN_NONE;
}

/* ---- module ----------------------------------------------------------------------------------------------------- */

static PyObject *py_level(PyObject *self, PyObject *ignored) {
    (void)self, (void)ignored;
    return PyUnicode_FromString(loops->name);
}

static PyObject *py_use(PyObject *self, PyObject *wanted) {
    (void)self;
    const char *name = PyUnicode_AsUTF8(wanted);
    if (!name) return NULL;
    const Loops *found = best_loops(name);
    if (!found) return PyErr_Format(PyExc_ValueError, "this processor has no %s", name);
    loops = found;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"run", py_run, METH_O, "run([(kernel, arrays read, arrays written, other arguments), ...])"},
    {"evaluate", py_evaluate, METH_VARARGS, "evaluate(features, out, *tables)"},
    {"level", py_level, METH_NOARGS, "Which instructions are in use."},
    {"use", py_use, METH_O, "Use 'portable', 'avx2' or 'avx512' instructions from now on (for tests)."},
    {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) {
    loops = best_loops(NULL);
    return PyModule_Create(&module);
}
