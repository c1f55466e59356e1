/* The inner loops, once per instruction set: included by _native.c with LEVEL and LANES set. No include guard. */

#if LANES == 16
#define VEC __m512
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define SPREAD(s) _mm512_set1_ps(s)
#define PLUS(a, b) _mm512_add_ps(a, b)
#define MINUS(a, b) _mm512_sub_ps(a, b)
#define TIMES(a, b) _mm512_mul_ps(a, b)
#define FUSE(a, b, c) _mm512_fmadd_ps(a, b, c)
#elif LANES == 8
#define VEC __m256
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define SPREAD(s) _mm256_set1_ps(s)
#define PLUS(a, b) _mm256_add_ps(a, b)
#define MINUS(a, b) _mm256_sub_ps(a, b)
#define TIMES(a, b) _mm256_mul_ps(a, b)
#define FUSE(a, b, c) _mm256_fmadd_ps(a, b, c)
#else
#define VEC float
#define LOAD(p) (*(p))
#define STORE(p, v) (*(p) = (v))
#define SPREAD(s) (s)
#define PLUS(a, b) ((a) + (b))
#define MINUS(a, b) ((a) - (b))
#define TIMES(a, b) ((a) * (b))
#define FUSE(a, b, c) fmaf(a, b, c)
#endif

/* dst[i] = w[0] base[i] + sum over k of w[k] (plus[k][i] +- minus[k][i]), from the centre outwards. */
static inline __attribute__((always_inline)) void NAMED(row)(float *dst, const float *base, const float *const *plus,
                                                             const float *const *minus, const float *w, int n,
                                                             Py_ssize_t len, const int odd, const int fuse) {
    Py_ssize_t i = 0;
#define STEP(sum, at)                                                                                                \
    {                                                                                                                \
        VEC right = LOAD(plus[k] + (at)), left = LOAD(minus[k] + (at));                                              \
        VEC both = odd ? MINUS(right, left) : PLUS(right, left);                                                     \
        sum = fuse ? FUSE(both, weight, sum) : PLUS(sum, TIMES(weight, both));                                       \
    }
    for (; i + 4 * LANES <= len; i += 4 * LANES) {
        VEC weight = SPREAD(w[0]);
        VEC a = TIMES(weight, LOAD(base + i)), b = TIMES(weight, LOAD(base + i + LANES));
        VEC c = TIMES(weight, LOAD(base + i + 2 * LANES)), d = TIMES(weight, LOAD(base + i + 3 * LANES));
        for (int k = 0; k < n; k++) {
            weight = SPREAD(w[k + 1]);
            STEP(a, i)
            STEP(b, i + LANES)
            STEP(c, i + 2 * LANES)
            STEP(d, i + 3 * LANES)
        }
        STORE(dst + i, a);
        STORE(dst + i + LANES, b);
        STORE(dst + i + 2 * LANES, c);
        STORE(dst + i + 3 * LANES, d);
    }
    for (; i + LANES <= len; i += LANES) {
        VEC weight = SPREAD(w[0]), a = TIMES(weight, LOAD(base + i));
        for (int k = 0; k < n; k++) {
            weight = SPREAD(w[k + 1]);
            STEP(a, i)
        }
        STORE(dst + i, a);
    }
    for (; i < len; i++) {
        float sum = w[0] * base[i];
        for (int k = 0; k < n; k++) {
            float both = odd ? plus[k][i] - minus[k][i] : plus[k][i] + minus[k][i];
            sum = fuse ? fmaf(both, w[k + 1], sum) : sum + w[k + 1] * both;
        }
        dst[i] = sum;
    }
#undef STEP
}

static void NAMED(row_fused)(float *dst, const float *base, const float *const *plus, const float *const *minus,
                             const float *w, int n, int odd, Py_ssize_t len) {
    if (odd) NAMED(row)(dst, base, plus, minus, w, n, len, 1, 1);
    else NAMED(row)(dst, base, plus, minus, w, n, len, 0, 1);
}

static void NAMED(row_plain)(float *dst, const float *base, const float *const *plus, const float *const *minus,
                             const float *w, int n, int odd, Py_ssize_t len) {
    if (odd) NAMED(row)(dst, base, plus, minus, w, n, len, 1, 0);
    else NAMED(row)(dst, base, plus, minus, w, n, len, 0, 0);
}

/* Pointwise loops: plain C that the compiler turns into vectors of this level. */
#define RESTRICT __restrict__

static void NAMED(multiply)(const float *RESTRICT a, const float *RESTRICT b, float *RESTRICT out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) out[i] = a[i] * b[i];
}

static void NAMED(subtract)(const float *RESTRICT a, const float *RESTRICT b, float *RESTRICT out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) out[i] = a[i] - b[i];
}

static void NAMED(add2)(const float *RESTRICT a, const float *RESTRICT b, float *RESTRICT out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) out[i] = a[i] + b[i];
}

static void NAMED(norm2)(const float *RESTRICT a, const float *RESTRICT b, float *RESTRICT out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) out[i] = sqrtf(a[i] * a[i] + b[i] * b[i]);
}

static void NAMED(add3)(const float *RESTRICT a, const float *RESTRICT b, const float *RESTRICT c,
                        float *RESTRICT out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) out[i] = (a[i] + b[i]) + c[i];
}

static void NAMED(norm3)(const float *RESTRICT a, const float *RESTRICT b, const float *RESTRICT c,
                         float *RESTRICT out, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) out[i] = sqrtf((a[i] * a[i] + b[i] * b[i]) + c[i] * c[i]);
}

#define LESSER(a, b) ((a) < (b) ? (a) : (b))
#define GREATER(a, b) ((a) > (b) ? (a) : (b))

/* Eigenvalues of ((a, b), (b, c)), the greater first. */
static void NAMED(eigen2)(const float *RESTRICT a, const float *RESTRICT b, const float *RESTRICT c,
                          float *RESTRICT great, float *RESTRICT small, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++) {
        float mean = (a[i] + c[i]) * 0.5f, half = (a[i] - c[i]) * 0.5f;
        float root = sqrtf(half * half + b[i] * b[i]);
        float one = mean + root, two = mean - root;
        great[i] = GREATER(one, two);
        small[i] = LESSER(one, two);
    }
}

/* Eigenvalues of the symmetric matrix with rows (a, b, c), (b, d, e), (c, e, f), greatest first: the trigonometric
 * solution of the characteristic cubic (Eberly), in single precision, with arctangent, sine and cosine as polynomials,
 * in the order of operations of ilastik's filters: near-degenerate matrices make every rounding visible. */
static void NAMED(eigen3)(const float *RESTRICT pa, const float *RESTRICT pb, const float *RESTRICT pc,
                          const float *RESTRICT pd, const float *RESTRICT pe, const float *RESTRICT pf,
                          float *RESTRICT first, float *RESTRICT second, float *RESTRICT third, Py_ssize_t n) {
    const float inv3 = (float)(1.0 / 3.0), root3 = sqrtf(3.0f);
    for (Py_ssize_t i = 0; i < n; i++) {
        float a = pa[i], b = pb[i], c = pc[i], d = pd[i], e = pe[i], f = pf[i];
        float m0 = GREATER(fabsf(a), fabsf(b)), m1 = GREATER(fabsf(c), fabsf(d)), m2 = GREATER(fabsf(e), fabsf(f));
        float m01 = GREATER(m0, m1), most = GREATER(m01, m2);
        most = pick(mask_of(most == 0.0f), 1.0f, most);
        a = a / most, b = b / most, c = c / most, d = d / most, e = e / most, f = f / most;
        float c0 = a * d * f + 2.0f * b * c * e - a * e * e - d * c * c - f * b * b;
        float c1 = a * d - b * b + a * f - c * c + d * f - e * e;
        float c2 = a + d + f;
        float p = c2 * inv3;
        float third_a = (c1 - c2 * p) * inv3;
        third_a = LESSER(third_a, 0.0f);
        float half_b = 0.5f * (c0 + p * (2.0f * p * p - c1));
        float q = half_b * half_b + third_a * third_a * third_a;
        q = LESSER(q, 0.0f);
        float magnitude = sqrtf(-third_a), up = sqrtf(-q);
        /* arctangent of up / half_b, in [0, pi] */
        float x = fabsf(half_b), y = fabsf(up);
        uint32_t negative = sign_mask(half_b), steep = mask_of(y > x);
        float turns = pick(negative, -2.0f, 0.0f) + pick(steep, 1.0f, 0.0f);
        float den = pick(steep, y, x), num = pick(steep, -x, y);
        float s = num / den, t = s * s;
        float u = 0.00282363896258175373077393f;
        u = t * u + -0.0159569028764963150024414f;
        u = t * u + 0.0425049886107444763183594f;
        u = t * u + -0.0748900920152664184570312f;
        u = t * u + 0.106347933411598205566406f;
        u = t * u + -0.142027363181114196777344f;
        u = t * u + 0.199926957488059997558594f;
        u = t * u + -0.333331018686294555664062f;
        t = (t * s) * u + s;
        t = turns * 1.57079632679489661923f + t;
        t = pick(negative, -t, t);
        t = pick(mask_of(den == 0.0f), 1.57079632679489661923f, t);
        t = pick(mask_of(num == 0.0f), pick(negative, 3.14159265358979323846f, 0.0f), t);
        /* sine and cosine of an angle in [0, pi/3] */
        float angle = t * inv3;
        uint32_t far = mask_of(angle * 1.27323954473516f >= 1.0f);
        float octants = pick(far, 2.0f, 0.0f);
        float r = angle + octants * -0.78515625f;
        r = r + octants * -2.4187564849853515625e-4f;
        r = r + octants * -3.77489497744594108e-8f;
        float z = r * r;
        float cosine = 2.443315711809948e-5f;
        cosine = cosine * z + -1.388731625493765e-3f;
        cosine = cosine * z + 4.166664568298827e-2f;
        cosine = cosine * z * z;
        cosine = cosine - z * 0.5f;
        cosine = cosine + 1.0f;
        float sine = -1.9515295891e-4f;
        sine = sine * z + 8.3321608736e-3f;
        sine = sine * z + -1.6666654611e-1f;
        sine = sine * z * r;
        sine = sine + r;
        float cs = pick(far, -sine, cosine), sn = pick(far, cosine, sine);
        float r0 = p + 2.0f * magnitude * cs;
        float r1 = p - magnitude * (cs + root3 * sn);
        float r2 = p - magnitude * (cs - root3 * sn);
        float low01 = LESSER(r0, r1), high01 = GREATER(r0, r1);
        float lowest = LESSER(low01, r2), rest = GREATER(low01, r2);
        float middle = LESSER(high01, rest), highest = GREATER(high01, rest);
        first[i] = highest * most;
        second[i] = middle * most;
        third[i] = lowest * most;
    }
}

/* Words of leaves: every pixel of a block starts with all leaves; a node whose test fails strikes out those to its
 * left (QuickScorer; Lucchese et al., SIGIR 2015). The lowest leaf that remains is where the walk ends. */
static inline __attribute__((always_inline)) void NAMED(strike)(const Forest *f, Py_ssize_t at, Py_ssize_t count,
                                                                uint32_t *state, uint32_t *broken) {
    for (Py_ssize_t w = 0; w < f->words; w++)
        for (int j = 0; j < BLOCK; j++) state[w * BLOCK + j] = f->initial[w];
    Py_ssize_t k = 0;
#if LANES == 16
    __mmask16 in0 = count >= 16 ? 0xffff : (__mmask16)((1u << count) - 1);
    __mmask16 in1 = count >= 32 ? 0xffff : count <= 16 ? 0 : (__mmask16)((1u << (count - 16)) - 1);
    __mmask16 nan0 = 0, nan1 = 0;
    for (Py_ssize_t column = 0; column < f->columns; column++) {
        const float *values = f->features + column * f->stride + at;
        __m512 v0 = _mm512_maskz_loadu_ps(in0, values), v1 = _mm512_maskz_loadu_ps(in1, values + 16);
        _mm_prefetch((const char *)(values + BLOCK), _MM_HINT_T0);
        _mm_prefetch((const char *)(values + BLOCK + 16), _MM_HINT_T0);
        nan0 |= _mm512_cmp_ps_mask(v0, v0, _CMP_UNORD_Q), nan1 |= _mm512_cmp_ps_mask(v1, v1, _CMP_UNORD_Q);
        for (const Py_ssize_t end = f->column_ends[column]; k < end; k++) {
            const Entry *entry = &f->entries[k];
            __m512 threshold = _mm512_set1_ps(entry->threshold);
            __mmask16 fail0 = _mm512_cmp_ps_mask(v0, threshold, _CMP_NLT_UQ);
            __mmask16 fail1 = _mm512_cmp_ps_mask(v1, threshold, _CMP_NLT_UQ);
            if (!(fail0 | fail1)) break;
            __m512i keep = _mm512_set1_epi32((int)entry->keep);
            __m512i *word = (__m512i *)(state + (size_t)entry->word * BLOCK);
            word[0] = _mm512_mask_and_epi32(word[0], fail0, word[0], keep);
            word[1] = _mm512_mask_and_epi32(word[1], fail1, word[1], keep);
        }
        k = f->column_ends[column];
    }
    for (int j = 0; j < 16; j++) broken[j] = nan0 >> j & 1, broken[j + 16] = nan1 >> j & 1;
#elif LANES == 8
    float values[BLOCK] __attribute__((aligned(64)));
    __m256 nan[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    memset(values, 0, sizeof values);
    for (Py_ssize_t column = 0; column < f->columns; column++) {
        memcpy(values, f->features + column * f->stride + at, (size_t)count * sizeof(float));
        __m256 v[4];
        for (int j = 0; j < 4; j++) {
            v[j] = _mm256_load_ps(values + 8 * j);
            nan[j] = _mm256_or_ps(nan[j], _mm256_cmp_ps(v[j], v[j], _CMP_UNORD_Q));
        }
        for (const Py_ssize_t end = f->column_ends[column]; k < end; k++) {
            const Entry *entry = &f->entries[k];
            __m256 threshold = _mm256_set1_ps(entry->threshold), below[4];
            for (int j = 0; j < 4; j++) below[j] = _mm256_cmp_ps(v[j], threshold, _CMP_LT_OQ);
            __m256 all = _mm256_and_ps(_mm256_and_ps(below[0], below[1]), _mm256_and_ps(below[2], below[3]));
            if (_mm256_movemask_ps(all) == 0xff) break;
            __m256i keep = _mm256_set1_epi32((int)entry->keep);
            __m256i *word = (__m256i *)(state + (size_t)entry->word * BLOCK);
            for (int j = 0; j < 4; j++)
                word[j] = _mm256_and_si256(word[j], _mm256_or_si256(keep, _mm256_castps_si256(below[j])));
        }
        k = f->column_ends[column];
    }
    for (int j = 0; j < BLOCK; j++) broken[j] = _mm256_movemask_ps(nan[j / 8]) >> j % 8 & 1;
#else
    for (int j = 0; j < BLOCK; j++) broken[j] = 0;
    for (Py_ssize_t column = 0; column < f->columns; column++) {
        float values[BLOCK] = {0};
        memcpy(values, f->features + column * f->stride + at, (size_t)count * sizeof(float));
        for (int j = 0; j < BLOCK; j++) broken[j] |= values[j] != values[j];
        for (const Py_ssize_t end = f->column_ends[column]; k < end; k++) {
            const Entry *entry = &f->entries[k];
            uint32_t *word = state + (size_t)entry->word * BLOCK, failed = 0;
            for (int j = 0; j < BLOCK; j++) {
                uint32_t below = values[j] < entry->threshold ? 0xffffffffu : 0;
                failed |= ~below;
                word[j] &= entry->keep | below;
            }
            if (!failed) break;
        }
        k = f->column_ends[column];
    }
#endif
}

/* Each leaf votes for exactly one class: a tree adds 1 where its last leaf is among the class's. */
static inline __attribute__((always_inline)) void NAMED(vote)(const Forest *f, Py_ssize_t tree, const uint32_t *state,
                                                              float *sums) {
    Py_ssize_t begin = tree ? f->word_ends[tree - 1] : 0, end = f->word_ends[tree];
    uint32_t found[BLOCK] __attribute__((aligned(64))) = {0};
    for (Py_ssize_t w = begin; w < end; w++) {
        const uint32_t *word = state + (size_t)w * BLOCK;
        uint32_t leaf[BLOCK] __attribute__((aligned(64)));
        for (int j = 0; j < BLOCK; j++) {
            uint32_t low = word[j] & (0u - word[j]);
            leaf[j] = found[j] ? 0 : low;
            found[j] |= low;
        }
        for (Py_ssize_t c = 0; c < f->classes; c++) {
            uint32_t votes = f->votes[w * f->classes + c];
            float *sum = sums + c * BLOCK;
            for (int j = 0; j < BLOCK; j++) sum[j] += (leaf[j] & votes) ? 1.0f : 0.0f;
        }
    }
}

/* The general case: a leaf adds its probabilities, in single precision, and their sum to the total, in double. */
static inline __attribute__((always_inline)) void NAMED(add_leaf)(const Forest *f, Py_ssize_t leaf, int j, float *sums,
                                                                  double *totals) {
    const double *own = f->leaves + leaf * f->classes;
    for (Py_ssize_t c = 0; c < f->classes; c++) {
        sums[c * BLOCK + j] += (float)own[c];
        totals[j] += own[c];
    }
}

static void NAMED(add_leaves)(const Forest *f, Py_ssize_t tree, const uint32_t *state, float *sums, double *totals) {
    Py_ssize_t begin = tree ? f->word_ends[tree - 1] : 0, end = f->word_ends[tree];
    for (int j = 0; j < BLOCK; j++) {
        Py_ssize_t w = begin;
        while (w < end - 1 && !state[(size_t)w * BLOCK + j]) w++;
        uint32_t word = state[(size_t)w * BLOCK + j];
        NAMED(add_leaf)(f, w * 32 + (word ? __builtin_ctz(word) : 0), j, sums, totals);
    }
}

/* Large trees: down from the root, on features of the block side by side. */
static void NAMED(gather)(const Forest *f, Py_ssize_t at, Py_ssize_t count, float *values, uint32_t *broken) {
    memset(broken, 0, BLOCK * sizeof *broken);
    for (Py_ssize_t column = 0; column < f->columns; column++)
        for (int j = 0; j < BLOCK; j++) {
            float value = j < count ? f->features[column * f->stride + at + j] : 0.0f;
            values[j * f->columns + column] = value;
            broken[j] |= value != value;
        }
}

static void NAMED(walk)(const Forest *f, Py_ssize_t tree, const float *values, float *sums, double *totals) {
    for (int j = 0; j < BLOCK; j++) {
        const float *own = values + j * f->columns;
        int32_t at = f->roots[tree];
        while (at >= 0) {
            const Node *node = &f->nodes[at];
            at = own[node->column] < node->threshold ? node->left : node->right;
        }
        NAMED(add_leaf)(f, -1 - (Py_ssize_t)at, j, sums, totals);
    }
}

/* Forest by forest: sum over its trees, divide by its total, weigh by its number of trees. */
static void NAMED(block)(const Forest *f, Py_ssize_t at, Py_ssize_t count, uint32_t *state, float *sums) {
    uint32_t broken[BLOCK];
    float *mean = sums + f->classes * BLOCK;
    if (f->roots) NAMED(gather)(f, at, count, (float *)state, broken);
    else NAMED(strike)(f, at, count, state, broken);
    memset(mean, 0, (size_t)f->classes * BLOCK * sizeof(float));
    Py_ssize_t tree = 0;
    for (Py_ssize_t forest = 0; forest < f->forests; forest++) {
        float weight = (float)(f->forest_ends[forest] - tree);
        double totals[BLOCK] = {0};
        memset(sums, 0, (size_t)f->classes * BLOCK * sizeof(float));
        for (; tree < f->forest_ends[forest]; tree++)
            if (f->roots) NAMED(walk)(f, tree, (const float *)state, sums, totals);
            else if (f->votes) NAMED(vote)(f, tree, state, sums);
            else NAMED(add_leaves)(f, tree, state, sums, totals);
        if (f->votes && !f->roots)
            for (int j = 0; j < BLOCK; j++) totals[j] = weight;
        for (Py_ssize_t c = 0; c < f->classes; c++)
            for (int j = 0; j < BLOCK; j++)
                mean[c * BLOCK + j] += sums[c * BLOCK + j] / (float)totals[j] * weight;
    }
    float trees = (float)f->trees;
    for (Py_ssize_t j = 0; j < count; j++) {
        float *out = f->out + (at + j) * f->out_channels;
        for (Py_ssize_t c = 0; c < f->out_channels; c++) out[c] = 0.0f;
        if (broken[j]) continue;
        for (Py_ssize_t c = 0; c < f->classes; c++) out[f->channels[c]] = mean[c * BLOCK + j] / trees;
    }
}

static void NAMED(forest)(const Forest *f, Py_ssize_t at, Py_ssize_t end, uint32_t *state, float *sums) {
    for (; at < end; at += BLOCK) NAMED(block)(f, at, end - at < BLOCK ? end - at : BLOCK, state, sums);
}

static const Loops NAMED(loops) = {LEVEL_NAME,      NAMED(row_fused), NAMED(row_plain), NAMED(forest),
                                   NAMED(eigen2),   NAMED(eigen3),    NAMED(multiply),  NAMED(subtract),
                                   NAMED(add2),     NAMED(norm2),     NAMED(add3),      NAMED(norm3)};

#undef VEC
#undef LOAD
#undef STORE
#undef SPREAD
#undef PLUS
#undef MINUS
#undef TIMES
#undef FUSE
#undef RESTRICT
#undef LESSER
#undef GREATER
