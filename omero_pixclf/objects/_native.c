/* Work on objects that goes pixel by pixel, because each step depends on the one before: scatter matrices and their
 * eigenvectors, skeletons, and flooding from seeds.
 *
 * Every function here has a twin in kernels_python.py that gives the same numbers; both follow the order of operations
 * of vigra's accumulators, skeletons and watersheds, on which signs and ties depend. The interpreter's lock is released
 * while they run.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- scatter matrices ------------------------------------------------------------------------------------------- */

/* The scatter matrix of rows begin..end, updated row by row. `sum` holds d values, `away` d more. */
static void scatter_of(const double *rows, const double *weights, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t d,
                       double *sum, double *away, double *out) {
    double total = 0;
    memset(sum, 0, (size_t)d * sizeof *sum);
    for (Py_ssize_t i = begin; i < end; i++) {
        const double *row = rows + i * d;
        double weight = weights ? weights[i] : 1.0;
        total += weight;
        for (Py_ssize_t k = 0; k < d; k++) sum[k] += weights ? weight * row[k] : row[k];
        if (!(total > weight)) continue;
        double factor = weights ? total * weight / (total - weight) : total / (total - 1.0);
        for (Py_ssize_t k = 0; k < d; k++) away[k] = sum[k] / total - row[k];
        for (Py_ssize_t j = 0; j < d; j++)
            for (Py_ssize_t k = j; k < d; k++) out[j * d + k] += factor * away[k] * away[j];
    }
    for (Py_ssize_t j = 0; j < d; j++)
        for (Py_ssize_t k = 0; k < j; k++) out[j * d + k] = out[k * d + j];
}

static PyObject *py_scatter(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer rows, weights, starts, out;
    Py_ssize_t d;
    if (!PyArg_ParseTuple(args, "y*y*y*w*n", &rows, &weights, &starts, &out, &d)) return NULL;
    Py_ssize_t objects = starts.len / 8 - 1, count = d > 0 ? rows.len / 8 / d : 0;
    const int64_t *at = starts.buf;
    int sound = d > 0 && objects >= 0 && out.len == objects * d * d * 8 && (!weights.len || weights.len == count * 8);
    for (Py_ssize_t i = 0; sound && i < objects; i++) sound = at[i] >= 0 && at[i] <= at[i + 1] && at[i + 1] <= count;
    double *work = sound ? PyMem_RawMalloc((size_t)d * 2 * sizeof(double)) : NULL;
    if (!sound) PyErr_SetString(PyExc_ValueError, "the arrays of a scatter matrix do not fit together");
    else if (!work) PyErr_NoMemory();
    else {
        Py_BEGIN_ALLOW_THREADS
        memset(out.buf, 0, (size_t)out.len);
        for (Py_ssize_t i = 0; i < objects; i++)
            scatter_of(rows.buf, weights.len ? weights.buf : NULL, at[i], at[i + 1], d, work, work + d,
                       (double *)out.buf + i * d * d);
        Py_END_ALLOW_THREADS
    }
    int done = work != NULL;
    PyMem_RawFree(work);
    PyBuffer_Release(&rows), PyBuffer_Release(&weights), PyBuffer_Release(&starts), PyBuffer_Release(&out);
    if (!done) return NULL;
    Py_RETURN_NONE;
}

/* ---- eigenvectors of symmetric matrices: EISPACK's tred2 and tql2 ------------------------------------------------- */

#define V(i, j) v[(i) * n + (j)]

static void tridiagonal(double *v, double *d, double *e, Py_ssize_t n) {
    for (Py_ssize_t j = 0; j < n; j++) d[j] = V(n - 1, j);
    for (Py_ssize_t i = n - 1; i > 0; i--) {
        double scale = 0, h = 0;
        for (Py_ssize_t k = 0; k < i; k++) scale += fabs(d[k]);
        if (scale == 0) {
            e[i] = d[i - 1];
            for (Py_ssize_t j = 0; j < i; j++) d[j] = V(i - 1, j), V(i, j) = 0, V(j, i) = 0;
        } else {
            for (Py_ssize_t k = 0; k < i; k++) d[k] /= scale, h += d[k] * d[k];
            double f = d[i - 1], g = f > 0 ? -sqrt(h) : sqrt(h);
            e[i] = scale * g;
            h -= f * g;
            d[i - 1] = f - g;
            for (Py_ssize_t j = 0; j < i; j++) e[j] = 0;
            for (Py_ssize_t j = 0; j < i; j++) {
                f = d[j];
                V(j, i) = f;
                g = e[j] + V(j, j) * f;
                for (Py_ssize_t k = j + 1; k < i; k++) g += V(k, j) * d[k], e[k] += V(k, j) * f;
                e[j] = g;
            }
            f = 0;
            for (Py_ssize_t j = 0; j < i; j++) e[j] /= h, f += e[j] * d[j];
            double half = f / (h + h);
            for (Py_ssize_t j = 0; j < i; j++) e[j] -= half * d[j];
            for (Py_ssize_t j = 0; j < i; j++) {
                f = d[j], g = e[j];
                for (Py_ssize_t k = j; k < i; k++) V(k, j) -= f * e[k] + g * d[k];
                d[j] = V(i - 1, j), V(i, j) = 0;
            }
        }
        d[i] = h;
    }
    for (Py_ssize_t i = 0; i < n - 1; i++) {
        V(n - 1, i) = V(i, i), V(i, i) = 1;
        double h = d[i + 1];
        if (h != 0) {
            for (Py_ssize_t k = 0; k <= i; k++) d[k] = V(k, i + 1) / h;
            for (Py_ssize_t j = 0; j <= i; j++) {
                double g = 0;
                for (Py_ssize_t k = 0; k <= i; k++) g += V(k, i + 1) * V(k, j);
                for (Py_ssize_t k = 0; k <= i; k++) V(k, j) -= g * d[k];
            }
        }
        for (Py_ssize_t k = 0; k <= i; k++) V(k, i + 1) = 0;
    }
    for (Py_ssize_t j = 0; j < n; j++) d[j] = V(n - 1, j), V(n - 1, j) = 0;
    V(n - 1, n - 1) = 1;
    e[0] = 0;
}

#define MOST_ROUNDS 1000 /* matrices that are not finite would never converge */

static void diagonal(double *v, double *d, double *e, Py_ssize_t n) {
    double f = 0, largest = 0, epsilon = DBL_EPSILON;
    for (Py_ssize_t i = 1; i < n; i++) e[i - 1] = e[i];
    e[n - 1] = 0;
    for (Py_ssize_t l = 0; l < n; l++) {
        double size = fabs(d[l]) + fabs(e[l]);
        if (size > largest) largest = size;
        Py_ssize_t m = l;
        while (m < n && !(fabs(e[m]) <= epsilon * largest)) m++;
        if (m >= n) m = n - 1;
        for (int round = 0; m > l && round < MOST_ROUNDS; round++) {
            double g = d[l], p = (d[l + 1] - g) / (2.0 * e[l]), r = hypot(p, 1.0);
            if (p < 0) r = -r;
            d[l] = e[l] / (p + r);
            d[l + 1] = e[l] * (p + r);
            double next = d[l + 1], h = g - d[l];
            for (Py_ssize_t i = l + 2; i < n; i++) d[i] -= h;
            f += h;
            p = d[m];
            double c = 1, c2 = c, c3 = c, first = e[l + 1], s = 0, s2 = 0;
            for (Py_ssize_t i = m - 1; i >= l; i--) {
                c3 = c2, c2 = c, s2 = s;
                g = c * e[i];
                h = c * p;
                r = hypot(p, e[i]);
                e[i + 1] = s * r;
                s = e[i] / r;
                c = p / r;
                p = c * d[i] - s * g;
                d[i + 1] = h + s * (c * g + s * d[i]);
                for (Py_ssize_t k = 0; k < n; k++) {
                    h = V(k, i + 1);
                    V(k, i + 1) = s * V(k, i) + c * h;
                    V(k, i) = c * V(k, i) - s * h;
                }
            }
            p = -s * s2 * c3 * first * e[l] / next;
            e[l] = s * p;
            d[l] = c * p;
            if (!(fabs(e[l]) > epsilon * largest)) break;
        }
        d[l] += f;
        e[l] = 0;
    }
    for (Py_ssize_t i = 0; i < n - 1; i++) {
        Py_ssize_t k = i;
        for (Py_ssize_t j = i + 1; j < n; j++)
            if (d[k] < d[j]) k = j;
        if (k == i) continue;
        double swap = d[k];
        d[k] = d[i], d[i] = swap;
        for (Py_ssize_t j = 0; j < n; j++) swap = V(j, i), V(j, i) = V(j, k), V(j, k) = swap;
    }
}

static PyObject *py_eigensystems(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer vectors, values;
    Py_ssize_t n;
    if (!PyArg_ParseTuple(args, "w*w*n", &vectors, &values, &n)) return NULL;
    Py_ssize_t count = n > 0 ? values.len / 8 / n : 0;
    int sound = n > 0 && values.len == count * n * 8 && vectors.len == count * n * n * 8;
    double *work = sound ? PyMem_RawMalloc((size_t)n * sizeof(double)) : NULL;
    if (!sound) PyErr_SetString(PyExc_ValueError, "the arrays of eigensystems do not fit together");
    else if (!work) PyErr_NoMemory();
    else {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < count; i++) {
            tridiagonal((double *)vectors.buf + i * n * n, (double *)values.buf + i * n, work, n);
            diagonal((double *)vectors.buf + i * n * n, (double *)values.buf + i * n, work, n);
        }
        Py_END_ALLOW_THREADS
    }
    int done = work != NULL;
    PyMem_RawFree(work);
    PyBuffer_Release(&vectors), PyBuffer_Release(&values);
    if (!done) return NULL;
    Py_RETURN_NONE;
}

/* ---- skeletons ----------------------------------------------------------------------------------------------------- */

#define INFINITE (0.5 * DBL_MAX)
#define NONE (-1)

static const int NX[8] = {-1, 0, 1, -1, 1, -1, 0, 1}, NY[8] = {-1, -1, -1, 0, 0, 1, 1, 1};

/* Neighbourhoods (a bit for each of the eight neighbours, the first one highest) in which a pixel can be removed
 * without changing the topology or shortening an end. */
static const uint8_t SIMPLE[32] = {0x01, 0x33, 0x33, 0x00, 0x00, 0x73, 0x00, 0x00, 0x00, 0xc0, 0x88, 0x00, 0x00, 0xc0, 0x88, 0x00,
                                   0x00, 0x00, 0x3b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x88, 0x00, 0x80, 0xc0, 0x88, 0x00};

typedef struct {
    int64_t x, y;
} Vector;

typedef struct {
    Vector point;
    double apex, left, center, right;
} Parabola;

typedef struct {
    int64_t cost, order, at;
} Removal;

typedef struct {
    Py_ssize_t width, height;   /* of the box */
    int64_t x0, y0, W, H, bound; /* where the box lies, the image's extents, the length of "no boundary" */
    uint8_t *own, *mark, *joined, *loop;
    Vector *vectors, *line;
    int64_t *square, *area;
    int32_t *parent, *child, *before, *order, *list, *heap, *slot;
    double *length, *salience, *distance;
    Parabola *stack;
    Removal *queue;
    Py_ssize_t queued, found, marks, queue_room;
    int32_t size; /* of the heap */
    int32_t low_x, low_y, high_x, high_y;
} Skeleton;

static double apex_of(Vector p, int axis) {
    double x = (double)p.x, y = (double)p.y;
    return axis ? x * x + y * y : x * x;
}

/* Nearest boundary along one axis for a run a..b of pixels (in the image's coordinates along the axis, whose extent is
 * w): the lower envelope of parabolas. */
static void envelope(const Skeleton *k, Vector *run, Py_ssize_t step, int64_t a, int64_t b, int64_t w, int axis) {
    Parabola *stack = k->stack;
    Vector border = {k->bound, k->bound}, here = {0, 0};
    Py_ssize_t top = 0;
    if (a == 0) stack[0] = (Parabola){border, apex_of(border, axis), 0.0, -1.0, (double)w};
    else stack[0] = (Parabola){here, 0.0, (double)(a - 1), (double)(a - 1), (double)w};
    for (int64_t at = a; at <= b; at++) {
        Vector point = at < b ? run[(at - a) * step] : b == w ? border : here;
        double apex = apex_of(point, axis), current = (double)at;
        for (;;) {
            Parabola *last = &stack[top];
            double away = current - last->center;
            double cut = current + (apex - last->apex - away * away) / (2.0 * away);
            if (cut < last->left) {
                if (top > 0) {
                    top--;
                    continue;
                }
                top = -1;
                cut = (double)a;
            } else if (cut < last->right) last->right = cut;
            if (cut < (double)w) stack[++top] = (Parabola){point, apex, cut, current, (double)w};
            break;
        }
    }
    const Parabola *now = stack;
    for (int64_t at = a; at < b; at++) {
        while ((double)at >= now->right) now++;
        Vector *out = &run[(at - a) * step];
        *out = now->point;
        *(axis ? &out->y : &out->x) = (int64_t)(now->center - (double)at);
    }
}

static void boundary_vectors(const Skeleton *k) {
    Py_ssize_t w = k->width, h = k->height;
    for (Py_ssize_t i = 0; i < w * h; i++) k->vectors[i] = (Vector){k->bound, k->bound};
    for (Py_ssize_t y = 0; y < h; y++)
        for (Py_ssize_t x = 0, end; x < w; x = end) {
            for (end = x; end < w && k->own[y * w + end]; end++) {}
            if (end == x) end++;
            else envelope(k, k->vectors + y * w + x, 1, x + k->x0, end + k->x0, k->W, 0);
        }
    for (Py_ssize_t x = 0; x < w; x++)
        for (Py_ssize_t y = 0, end; y < h; y = end) {
            for (end = y; end < h && k->own[end * w + x]; end++) {}
            if (end == y) end++;
            else envelope(k, k->vectors + y * w + x, w, y + k->y0, end + k->y0, k->H, 1);
        }
    for (Py_ssize_t i = 0; i < w * h; i++)
        k->square[i] = k->vectors[i].x * k->vectors[i].x + k->vectors[i].y * k->vectors[i].y;
}

static int64_t larger(int64_t a, int64_t b) {
    a = a < 0 ? -a : a, b = b < 0 ? -b : b;
    return a > b ? a : b;
}

static int inside(const Skeleton *k, Py_ssize_t x, Py_ssize_t y) {
    return x >= 0 && y >= 0 && x < k->width && y < k->height;
}

/* Of two neighbours whose nearest boundary points are neither equal nor adjacent, one is of the skeleton. */
static void mark_between(Skeleton *k, Py_ssize_t p, Py_ssize_t q, int dx, int dy, Py_ssize_t *ends) {
    Vector a = k->vectors[p], b = k->vectors[q], w = {b.x - a.x + dx, b.y - a.y + dy};
    if (larger(w.x, w.y) <= 1) return;
    int64_t along = w.x * dx + w.y * dy, across = w.x * (a.x + b.x) + w.y * (a.y + b.y);
    int first = along == 0 || across == 0 || (along < 0) != (across < 0);
    Py_ssize_t chosen = first ? p : q;
    k->mark[chosen] = 1;
    if (k->square[chosen] == 4) k->list[(*ends)++] = (int32_t)chosen;
}

static void raw_skeleton(Skeleton *k) {
    Py_ssize_t w = k->width, h = k->height, ends = 0;
    for (Py_ssize_t i = 0; i < w * h; i++) k->mark[i] = 0;
    for (Py_ssize_t y = 0; y < h; y++)
        for (Py_ssize_t x = 0; x < w; x++) {
            Py_ssize_t p = y * w + x;
            if (!k->own[p]) continue;
            for (int n = 0; n < 4; n++) { /* up, left, right, down */
                static const int DX[4] = {0, -1, 1, 0}, DY[4] = {-1, 0, 0, 1};
                if (!inside(k, x + DX[n], y + DY[n])) continue;
                Py_ssize_t q = p + DY[n] * w + DX[n];
                if (!k->own[q]) {
                    if (larger(k->vectors[p].x - DX[n], k->vectors[p].y - DY[n]) > 1) k->mark[p] = 1;
                } else if (n < 2) mark_between(k, p, q, DX[n], DY[n], &ends);
            }
        }
    for (Py_ssize_t i = 0; i < ends; i++) {
        Py_ssize_t p = k->list[i], x = p % w, y = p / w;
        int reached = 0;
        for (int n = 0; n < 8 && !reached; n++)
            if (inside(k, x + NX[n], y + NY[n])) {
                Py_ssize_t q = p + NY[n] * w + NX[n];
                reached = k->mark[q] && k->square[q] < 4;
            }
        if (!reached) k->mark[p + k->vectors[p].y / 2 * w + k->vectors[p].x / 2] = 1;
    }
}

static int is_simple(const Skeleton *k, Py_ssize_t p) {
    unsigned bits = 0;
    for (int n = 0; n < 8; n++) bits = bits << 1 | k->mark[p + NY[n] * k->width + NX[n]];
    return SIMPLE[bits >> 3] >> (7 - (bits & 7)) & 1;
}

/* The box has a pixel more than the object on every side but those where the image ends. */
static int off_rim(const Skeleton *k, Py_ssize_t p) {
    Py_ssize_t x = p % k->width, y = p / k->width;
    return x > 0 && y > 0 && x < k->width - 1 && y < k->height - 1;
}

static int sooner(const Removal *a, const Removal *b) {
    return a->cost < b->cost || (a->cost == b->cost && a->order < b->order);
}

static int push_removal(Skeleton *k, Py_ssize_t p, int64_t order) {
    if (k->queued == k->queue_room) {
        Removal *more = PyMem_RawRealloc(k->queue, (size_t)k->queue_room * 2 * sizeof(Removal));
        if (!more) return 0;
        k->queue = more, k->queue_room *= 2;
    }
    Removal item = {k->square[p], order, p};
    Py_ssize_t at = k->queued++;
    for (; at > 0 && sooner(&item, &k->queue[(at - 1) / 2]); at = (at - 1) / 2) k->queue[at] = k->queue[(at - 1) / 2];
    k->queue[at] = item;
    return 1;
}

static Py_ssize_t pop_removal(Skeleton *k) {
    Py_ssize_t result = k->queue[0].at, at = 0, child;
    Removal item = k->queue[--k->queued];
    for (; (child = 2 * at + 1) < k->queued; at = child) {
        if (child + 1 < k->queued && sooner(&k->queue[child + 1], &k->queue[child])) child++;
        if (!sooner(&k->queue[child], &item)) break;
        k->queue[at] = k->queue[child];
    }
    k->queue[at] = item;
    return result;
}

static int thin(Skeleton *k) {
    int64_t order = 0;
    k->queued = 0;
    for (Py_ssize_t p = 0; p < k->width * k->height; p++)
        if (k->mark[p] && off_rim(k, p) && is_simple(k, p) && !push_removal(k, p, order++)) return 0;
    while (k->queued) {
        Py_ssize_t p = pop_removal(k);
        if (!k->mark[p] || !is_simple(k, p)) continue;
        k->mark[p] = 0;
        for (int n = 0; n < 8; n++) {
            Py_ssize_t q = p + NY[n] * k->width + NX[n];
            if (k->mark[q] && off_rim(k, q) && is_simple(k, q) && !push_removal(k, q, order++)) return 0;
        }
    }
    return 1;
}

/* A heap of pixels by distance, as vigra's: 1-based, with a slot for each pixel. */
static void swap_slots(Skeleton *k, int32_t i, int32_t j) {
    int32_t keep = k->heap[i];
    k->heap[i] = k->heap[j], k->heap[j] = keep;
    k->slot[k->heap[i]] = i, k->slot[k->heap[j]] = j;
}

static void rise(Skeleton *k, int32_t at) {
    for (; at > 1 && k->distance[k->heap[at / 2]] > k->distance[k->heap[at]]; at /= 2) swap_slots(k, at, at / 2);
}

static int32_t pop_nearest(Skeleton *k) {
    int32_t nearest = k->heap[1], at = 1, child;
    swap_slots(k, 1, k->size--);
    for (; (child = 2 * at) <= k->size; at = child) {
        if (child < k->size && k->distance[k->heap[child]] > k->distance[k->heap[child + 1]]) child++;
        if (k->distance[k->heap[at]] <= k->distance[k->heap[child]]) break;
        swap_slots(k, at, child);
    }
    k->slot[nearest] = 0;
    return nearest;
}

static double step_of(int n) { return NX[n] && NY[n] ? sqrt(2.0) : 1.0; }

/* Shortest paths from a pixel of the skeleton along its edges; `target` ends the search (NONE: all are reached).
 * With a target, pixels beside the skeleton enter the heap behind all others, as in vigra. */
static void search(Skeleton *k, int32_t from, int32_t target) {
    for (Py_ssize_t i = 0; i < k->width * k->height; i++) k->before[i] = NONE, k->slot[i] = 0;
    k->found = 0, k->size = 1;
    k->heap[1] = from, k->slot[from] = 1, k->distance[from] = 0, k->before[from] = from;
    while (k->size) {
        int32_t p = pop_nearest(k);
        if (k->distance[p] >= INFINITE) break;
        k->order[k->found++] = p;
        if (p == target) break;
        for (int n = 0; n < 8; n++) {
            int edge = k->joined[p] >> n & 1;
            int32_t x = (int32_t)(p % k->width) + NX[n], y = (int32_t)(p / k->width) + NY[n];
            if (!edge && (target == NONE || x < k->low_x || y < k->low_y || x > k->high_x || y > k->high_y)) continue;
            int32_t q = (int32_t)(y * k->width + x);
            double distance = k->distance[p] + (edge ? step_of(n) : INFINITE);
            if (k->slot[q]) {
                if (!(distance < k->distance[q])) continue;
            } else if (k->before[q] != NONE) continue;
            else k->heap[++k->size] = q, k->slot[q] = k->size;
            k->distance[q] = distance, k->before[q] = p;
            rise(k, k->slot[q]);
        }
    }
}

static void cut_edge(Skeleton *k, Py_ssize_t p, int n) {
    k->joined[p] &= (uint8_t)~(1u << n);
    k->joined[p + NY[n] * k->width + NX[n]] &= (uint8_t)~(1u << (7 - n));
}

static void join_marks(Skeleton *k) {
    k->marks = 0;
    k->low_x = k->low_y = INT32_MAX, k->high_x = k->high_y = -1;
    for (Py_ssize_t p = 0; p < k->width * k->height; p++) {
        k->joined[p] = 0;
        if (!k->mark[p]) continue;
        int32_t x = (int32_t)(p % k->width), y = (int32_t)(p / k->width);
        if (x < k->low_x) k->low_x = x;
        if (y < k->low_y) k->low_y = y;
        if (x > k->high_x) k->high_x = x;
        if (y > k->high_y) k->high_y = y;
        k->marks++;
        k->list[0] = (int32_t)p; /* at last: the last one in scan order */
        for (int n = 0; n < 8; n++)
            if (inside(k, x + NX[n], y + NY[n]) && k->mark[p + NY[n] * k->width + NX[n]]) k->joined[p] |= (uint8_t)(1 << n);
        k->parent[p] = (int32_t)p, k->child[p] = NONE, k->loop[p] = 0, k->area[p] = 0;
        k->length[p] = 0, k->salience[p] = 1;
    }
}

static double between(const Skeleton *k, int32_t p, int32_t q) {
    double x = (double)(p % k->width - q % k->width), y = (double)(p / k->width - q / k->width);
    return sqrt(x * x + y * y);
}

static int64_t cross(const Skeleton *k, int32_t p, int32_t q) {
    return (int64_t)(p % k->width) * (q / k->width) - (int64_t)(p / k->width) * (q % k->width);
}

/* From the outside to the centre: lengths and saliences of the longest branches below each pixel. */
static void grow_tree(Skeleton *k) {
    for (Py_ssize_t i = k->found - 1; i >= 0; i--) {
        int32_t p = k->order[i], parent = k->before[p];
        k->parent[p] = parent;
        for (int n = 0; n < 4; n++) {
            if (!(k->joined[p] >> n & 1)) continue;
            int32_t q = (int32_t)(p + NY[n] * k->width + NX[n]);
            if (q == parent || k->before[q] == p || k->child[p] == NONE || k->child[q] == NONE) continue;
            cut_edge(k, p, n);
        }
        double length = k->length[p] + between(k, p, parent);
        if (k->length[parent] < length) k->length[parent] = length, k->child[parent] = p;
        if (k->length[p] >= 4.0) {
            double salience = (k->length[p] + 0.5) / sqrt((double)k->square[p]);
            if (salience > k->salience[p]) k->salience[p] = salience;
            if (k->salience[parent] < k->salience[p]) k->salience[parent] = k->salience[p];
        }
    }
    for (Py_ssize_t i = 0; i < k->found; i++) {
        int32_t p = k->order[i], parent = k->parent[p];
        if (k->child[parent] == p) k->length[p] = k->length[parent], k->salience[p] = k->salience[parent];
        else k->length[p] += between(k, parent, p);
        k->area[p] = k->area[parent] + cross(k, p, parent);
    }
}

/* Whether a pixel of another label lies inside the closed path in `line` (in the box's coordinates). */
static int encloses_other(Skeleton *k, Py_ssize_t count) {
    int64_t low = INT64_MAX, high = -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (k->line[i].y < low) low = k->line[i].y;
        if (k->line[i].y > high) high = k->line[i].y;
    }
    for (int64_t y = low; y <= high; y++) {
        int inner = 0;
        uint8_t *turns = k->joined + k->width * k->height; /* a row of parities beside the edges */
        memset(turns, 0, (size_t)k->width);
        for (Py_ssize_t i = 0; i < count; i++) {
            Vector a = k->line[i], b = k->line[(i + 1) % count];
            if (a.y == y && b.y == y + 1) turns[a.x] ^= 1;
            else if (b.y == y && a.y == y + 1) turns[b.x] ^= 1;
        }
        for (Py_ssize_t x = 0; x < k->width; x++) {
            inner ^= turns[x];
            if (inner && !k->own[y * k->width + x]) return 1;
        }
    }
    return 0;
}

/* A loop of the skeleton through the edge from p to q: whether it holds a hole; then its pixels are marked as loop. */
static int close_loop(Skeleton *k, int32_t p, int32_t q, double *total) {
    search(k, p, q);
    if (!k->found || k->order[k->found - 1] != q) return 0;
    Py_ssize_t count = 0;
    for (int32_t at = q;; at = k->before[at]) {
        k->line[count++] = (Vector){at % k->width, at / k->width};
        if (at == p) break;
    }
    if (!encloses_other(k, count)) return 0;
    *total += k->length[p] + k->length[q];
    double salience = k->salience[p] > k->salience[q] ? k->salience[p] : k->salience[q];
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_ssize_t at = k->line[i].y * k->width + k->line[i].x;
        k->loop[at] = 1;
        if (k->salience[at] < salience) k->salience[at] = salience;
    }
    return 1;
}

static void remove_branch(Skeleton *k, int32_t p) {
    for (;;) {
        k->salience[p] = 0;
        for (int n = 0; n < 8; n++)
            if (k->joined[p] >> n & 1) cut_edge(k, p, n);
        if (k->child[k->parent[p]] != p) return;
        p = k->parent[p];
    }
}

static int find_holes(Skeleton *k, const int32_t *order, Py_ssize_t count, double *total) {
    int holes = 0;
    for (Py_ssize_t i = count - 1; i >= 0; i--) {
        int32_t p = order[i];
        if (k->child[p] == NONE) {
            for (int n = 0; n < 8; n++) {
                if (!(k->joined[p] >> n & 1)) continue;
                int32_t q = (int32_t)(p + NY[n] * k->width + NX[n]);
                int64_t area = k->area[p] - cross(k, p, q) - k->area[q];
                if (q == k->parent[p] || (area < 0 ? -area : area) <= 3) continue;
                cut_edge(k, p, n);
                holes += close_loop(k, p, q, total);
            }
            if (!k->loop[p] && k->square[p] >= 4) remove_branch(k, p);
        }
        if (k->loop[p]) k->loop[k->parent[p]] = 1;
    }
    return holes;
}

enum { DIAMETER, EUCLIDEAN, TOTAL, AVERAGE, BRANCHES, HOLES, CENTER_X, CENTER_Y, ONE_X, ONE_Y, TWO_X, TWO_Y, RESULTS };

/* The longest path, from its second end to its first; returns its pixel in the middle. */
static int32_t longest_path(Skeleton *k, double *out) {
    search(k, k->list[0], NONE);
    search(k, k->order[k->found - 1], NONE);
    int32_t end = k->order[k->found - 1], start = k->order[0], at = end, middle;
    double length = 0, before = 0, after = 0;
    for (; at != start; at = k->before[at]) length += between(k, at, k->before[at]);
    Py_ssize_t steps = 0;
    for (middle = at = end; at != start; at = k->before[at], steps++) {
        before = after;
        after += between(k, at, k->before[at]);
        if (after >= 0.5 * length) {
            double part = (double)steps + (0.5 * length - before) / (after - before);
            middle = floor(part + 0.5) > (double)steps ? k->before[at] : at;
            break;
        }
    }
    out[DIAMETER] = length, out[EUCLIDEAN] = between(k, end, start);
    out[ONE_X] = (double)(k->x0 + end % k->width), out[ONE_Y] = (double)(k->y0 + end / k->width);
    out[TWO_X] = (double)(k->x0 + start % k->width), out[TWO_Y] = (double)(k->y0 + start / k->width);
    out[CENTER_X] = (double)(k->x0 + middle % k->width), out[CENTER_Y] = (double)(k->y0 + middle / k->width);
    return middle;
}

static int describe(Skeleton *k, double *out) {
    boundary_vectors(k);
    raw_skeleton(k);
    if (!thin(k)) return 0;
    join_marks(k);
    memset(out, 0, RESULTS * sizeof *out);
    if (!k->marks) return 1;
    int32_t center = longest_path(k, out);
    search(k, center, NONE);
    grow_tree(k);
    k->loop[center] = 1;
    Py_ssize_t count = k->found;
    int32_t *order = k->list;
    memcpy(order, k->order, (size_t)count * sizeof *order);
    out[HOLES] = find_holes(k, order, count, &out[TOTAL]);
    double threshold = 0.2 * k->salience[center];
    for (Py_ssize_t i = 0; i < count; i++) {
        int32_t p = order[i];
        if (k->child[p] != NONE || k->loop[p] || k->salience[p] < threshold) continue;
        out[BRANCHES] += 1, out[AVERAGE] += k->length[p], out[TOTAL] += k->length[p];
    }
    if (out[BRANCHES] > 0) out[AVERAGE] /= out[BRANCHES];
    return 1;
}

static int make_room(Skeleton *k, Py_ssize_t pixels, Py_ssize_t across) {
    size_t n = (size_t)pixels + (size_t)across + 8;
    k->queue_room = pixels + 8;
    return (k->own = PyMem_RawMalloc(n)) && (k->mark = PyMem_RawMalloc(n)) && (k->joined = PyMem_RawMalloc(n)) &&
           (k->loop = PyMem_RawMalloc(n)) && (k->vectors = PyMem_RawMalloc(n * sizeof(Vector))) &&
           (k->line = PyMem_RawMalloc(n * sizeof(Vector))) && (k->square = PyMem_RawMalloc(n * 8)) &&
           (k->area = PyMem_RawMalloc(n * 8)) && (k->parent = PyMem_RawMalloc(n * 4)) &&
           (k->child = PyMem_RawMalloc(n * 4)) && (k->before = PyMem_RawMalloc(n * 4)) &&
           (k->order = PyMem_RawMalloc(n * 4)) && (k->list = PyMem_RawMalloc(n * 2 * 4)) &&
           (k->heap = PyMem_RawMalloc(n * 4)) && (k->slot = PyMem_RawMalloc(n * 4)) &&
           (k->length = PyMem_RawMalloc(n * 8)) && (k->salience = PyMem_RawMalloc(n * 8)) &&
           (k->distance = PyMem_RawMalloc(n * 8)) && (k->stack = PyMem_RawMalloc((size_t)(across + 8) * sizeof(Parabola))) &&
           (k->queue = PyMem_RawMalloc((size_t)k->queue_room * sizeof(Removal)));
}

static void free_room(Skeleton *k) {
    void *all[] = {k->own,   k->mark,  k->joined, k->loop, k->vectors, k->line,   k->square,   k->area,  k->parent, k->child,
                   k->before, k->order, k->list,  k->heap, k->slot,    k->length, k->salience, k->distance, k->stack, k->queue};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) PyMem_RawFree(all[i]);
}

typedef struct {
    const int32_t *labels, *numbers;
    const int64_t *boxes; /* y0, x0, y1, x1 of each object */
    double *out;
    Py_ssize_t width, height, objects;
    int64_t offset_y, offset_x, W, H; /* where the labels lie in their image, and its extents */
} Task;

/* An object's box with one pixel more on each side, as far as the labels go. */
static void place_box(const Task *t, Py_ssize_t i, Skeleton *k, int64_t *top, int64_t *left) {
    const int64_t *box = t->boxes + 4 * i;
    *top = box[0] > 0 ? box[0] - 1 : 0, *left = box[1] > 0 ? box[1] - 1 : 0;
    k->height = (Py_ssize_t)((box[2] < t->height ? box[2] + 1 : t->height) - *top);
    k->width = (Py_ssize_t)((box[3] < t->width ? box[3] + 1 : t->width) - *left);
    k->y0 = *top + t->offset_y, k->x0 = *left + t->offset_x;
}

static int skeletons(const Task *t) {
    Skeleton k;
    Py_ssize_t pixels = 0, across = 0;
    int64_t top, left;
    memset(&k, 0, sizeof k);
    for (Py_ssize_t i = 0; i < t->objects; i++) {
        place_box(t, i, &k, &top, &left);
        if (k.width * k.height > pixels) pixels = k.width * k.height;
        if (k.width > across) across = k.width;
        if (k.height > across) across = k.height;
    }
    k.W = t->W, k.H = t->H, k.bound = 2 * (t->W + t->H);
    int done = make_room(&k, pixels, across);
    for (Py_ssize_t i = 0; done && i < t->objects; i++) {
        place_box(t, i, &k, &top, &left);
        for (Py_ssize_t y = 0; y < k.height; y++) {
            const int32_t *row = t->labels + (top + y) * t->width + left;
            for (Py_ssize_t x = 0; x < k.width; x++) k.own[y * k.width + x] = row[x] == t->numbers[i];
        }
        done = describe(&k, t->out + i * RESULTS);
    }
    free_room(&k);
    return done;
}

static PyObject *py_skeletons(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer labels, numbers, boxes, out;
    Task t;
    long long offset_y, offset_x, W, H;
    if (!PyArg_ParseTuple(args, "y*ny*y*w*(LL)(LL)", &labels, &t.width, &numbers, &boxes, &out, &offset_y, &offset_x, &H, &W))
        return NULL;
    t.labels = labels.buf, t.numbers = numbers.buf, t.boxes = boxes.buf, t.out = out.buf;
    t.objects = numbers.len / 4, t.height = t.width > 0 ? labels.len / 4 / t.width : 0;
    t.offset_y = offset_y, t.offset_x = offset_x, t.W = W, t.H = H;
    int sound = t.width > 0 && labels.len == t.width * t.height * 4 && boxes.len == t.objects * 32 &&
                out.len == t.objects * RESULTS * 8 && offset_y >= 0 && offset_x >= 0 &&
                offset_y + t.height <= H && offset_x + t.width <= W;
    for (Py_ssize_t i = 0; sound && i < t.objects; i++) {
        const int64_t *box = t.boxes + 4 * i;
        sound = box[0] >= 0 && box[1] >= 0 && box[0] < box[2] && box[1] < box[3] && box[2] <= t.height && box[3] <= t.width &&
                (box[2] - box[0] + 2) * (box[3] - box[1] + 2) < INT32_MAX / 4;
    }
    int done = 0;
    if (!sound) PyErr_SetString(PyExc_ValueError, "the arrays of skeletons do not fit together");
    else {
        Py_BEGIN_ALLOW_THREADS
        done = skeletons(&t);
        Py_END_ALLOW_THREADS
        if (!done) PyErr_NoMemory();
    }
    PyBuffer_Release(&labels), PyBuffer_Release(&numbers), PyBuffer_Release(&boxes), PyBuffer_Release(&out);
    if (!done) return NULL;
    Py_RETURN_NONE;
}

/* ---- flooding from seeds -------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t at;
    float cost;
} Front;

typedef struct {
    Front *items;
    Py_ssize_t count, room;
} Queue;

/* The order of equal costs is that of the C++ library's priority queue, which vigra uses. */
static void sift_up(Front *items, Py_ssize_t hole, Front item) {
    for (; hole > 0 && items[(hole - 1) / 2].cost > item.cost; hole = (hole - 1) / 2) items[hole] = items[(hole - 1) / 2];
    items[hole] = item;
}

static int push_front(Queue *q, int64_t at, float cost) {
    if (q->count == q->room) {
        Py_ssize_t room = q->room ? q->room * 2 : 1024;
        Front *more = PyMem_RawRealloc(q->items, (size_t)room * sizeof(Front));
        if (!more) return 0;
        q->items = more, q->room = room;
    }
    q->count++;
    sift_up(q->items, q->count - 1, (Front){at, cost});
    return 1;
}

static Front pop_front(Queue *q) {
    Front first = q->items[0], item = q->items[--q->count];
    Py_ssize_t hole = 0, child = 0, n = q->count;
    while (child < (n - 1) / 2) {
        child = 2 * (child + 1);
        if (q->items[child].cost > q->items[child - 1].cost) child--;
        q->items[hole] = q->items[child];
        hole = child;
    }
    if (n > 0 && n % 2 == 0 && child == (n - 2) / 2) {
        child = 2 * (child + 1);
        q->items[hole] = q->items[child - 1];
        hole = child - 1;
    }
    if (n > 0) sift_up(q->items, hole, item);
    return first;
}

/* The direct neighbours of a pixel: below along z, y, x, then above along x, y, z. */
static int around(const Py_ssize_t *shape, int64_t p, int64_t *out) {
    int64_t x = p % shape[2], y = p / shape[2] % shape[1], z = p / shape[2] / shape[1], row = shape[2], plane = row * shape[1];
    int count = 0;
    if (z > 0) out[count++] = p - plane;
    if (y > 0) out[count++] = p - row;
    if (x > 0) out[count++] = p - 1;
    if (x + 1 < shape[2]) out[count++] = p + 1;
    if (y + 1 < shape[1]) out[count++] = p + row;
    if (z + 1 < shape[0]) out[count++] = p + plane;
    return count;
}

static int flood(const float *cost, int32_t *labels, const Py_ssize_t *shape, double most) {
    Queue q = {NULL, 0, 0};
    Py_ssize_t n = shape[0] * shape[1] * shape[2];
    int64_t next[6];
    int done = 1;
    for (Py_ssize_t p = 0; done && p < n; p++) {
        if (!labels[p]) continue;
        int count = around(shape, p, next), open = 0;
        for (int i = 0; i < count && !open; i++) open = !labels[next[i]];
        if (open) done = push_front(&q, p, cost[p]);
    }
    while (done && q.count) {
        Front front = pop_front(&q);
        if ((double)front.cost > most) break;
        int count = around(shape, front.at, next);
        for (int i = 0; done && i < count; i++) {
            if (labels[next[i]]) continue;
            labels[next[i]] = labels[front.at];
            float own = cost[next[i]];
            done = push_front(&q, next[i], own < front.cost ? front.cost : own);
        }
    }
    PyMem_RawFree(q.items);
    return done;
}

static PyObject *py_flood(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer cost, labels;
    Py_ssize_t shape[3];
    double most;
    if (!PyArg_ParseTuple(args, "y*w*(nnn)d", &cost, &labels, &shape[0], &shape[1], &shape[2], &most)) return NULL;
    int sound = shape[0] >= 0 && shape[1] >= 0 && shape[2] >= 0 && cost.len == shape[0] * shape[1] * shape[2] * 4 &&
                labels.len == cost.len;
    int done = 0;
    if (!sound) PyErr_SetString(PyExc_ValueError, "expected float32 costs and int32 labels of the given shape");
    else {
        Py_BEGIN_ALLOW_THREADS
        done = flood(cost.buf, labels.buf, shape, most);
        Py_END_ALLOW_THREADS
        if (!done) PyErr_NoMemory();
    }
    PyBuffer_Release(&cost), PyBuffer_Release(&labels);
    if (!done) return NULL;
    Py_RETURN_NONE;
}

/* ---- module ----------------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"scatter", py_scatter, METH_VARARGS, "scatter(rows, weights, starts, out, dimensions)"},
    {"eigensystems", py_eigensystems, METH_VARARGS, "eigensystems(matrices to vectors, values, dimensions)"},
    {"skeletons", py_skeletons, METH_VARARGS, "skeletons(labels, width, numbers, boxes, out, offset, image)"},
    {"flood", py_flood, METH_VARARGS, "flood(cost, labels, shape, most)"},
    {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&module); }
