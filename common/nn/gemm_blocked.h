// Driver of the matrix kernel, included after gemm_template.h and the strips: cuts k into pieces of
// KC and rows into pieces of about MC, so that a piece of a stays in the L2 cache while strips of b
// pass through the L1 cache; copies a piece into the order in which it is read where its own order
// would touch too many cache lines (a transposed, b with wide or transposed rows). Of a packed
// weight, which lies as it is read but mostly outside the cache, each strip fetches the one after
// it where few rows leave no time for waiting.
enum { KC = 256, KC_FEW_ROWS = 128, FEW_ROWS = 64, MC = VL == 16 ? 768 : 384, NC = NV * VL };
enum { LINE = 16 };  // floats of a cache line

// a (rows 0 .. rows, columns 0 .. kc) as [row block][k][mr]
static void pack_a(float* to, nn_matrix a, const short* mr, int blocks, int rows, int kc) {
    if (a.row == 1) {  // transposed: whole lines of a at a time
        for (int p = 0; p < kc; p++) {
            const float* from = a.p + p * a.col;
            for (int i = 0; i < rows; i += LINE)
                __builtin_prefetch(from + 4 * a.col + i, 0, 3);
            float* row = to;
            for (int r = 0; r < blocks; r++) {
                float* at = row + p * mr[r];
                if (mr[r] == 6)  // nearly always, and worth two moves instead of a loop
                    memcpy(at, from, 6 * sizeof *at);
                else if (mr[r] == 5)
                    memcpy(at, from, 5 * sizeof *at);
                else
                    for (int q = 0; q < mr[r]; q++)
                        at[q] = from[q];
                from += mr[r];
                row += mr[r] * kc;
            }
        }
        return;
    }
    for (int r = 0, i = 0; r < blocks; i += mr[r], r++) {
        const float* from = a.p + i * a.row;
        for (int p = 0; p < kc; p++, from += a.col)
            for (int q = 0; q < mr[r]; q++)
                *to++ = from[q * a.row];
    }
}

// b (k0 .. k0+kc, j0 .. j0+width) as [k][NC], the rest of a row zero
static void pack_b(float* to, nn_matrix b, int kc, int width) {
    if (b.col == 1) {
        for (int p = 0; p < kc; p++, to += NC) {
            for (int j = 0; j < width; j += LINE)
                __builtin_prefetch(b.p + (p + 12) * b.row + j, 0, 3);
            memcpy(to, b.p + p * b.row, (size_t)width * sizeof *to);
        }
        return;
    }
    // transposed: tiles of 8 x 8, so that both sides touch whole lines
    for (int j = 0; j < width; j += 8)
        for (int p = 0; p < kc; p += 8)
            for (int pp = p; pp < p + 8 && pp < kc; pp++)
                for (int jj = j; jj < j + 8 && jj < width; jj++)
                    to[pp * NC + jj] = b.p[pp * b.row + jj * b.col];
}

void GEMM_NAME(int m, int n, int k, nn_matrix a, nn_matrix b, float* c, ptrdiff_t ldc,
               const float* bias, bool add) {
    static _Thread_local _Alignas(64) float packed_a[MC * KC];
    static _Thread_local _Alignas(64) float packed_b[KC * NC];
    const int vectors_all = (n + VL - 1) / VL;
    const int row_pieces = (m + MC - 1) / MC;
    const int most_k = m <= FEW_ROWS ? KC_FEW_ROWS : KC;
    for (int k0 = 0, kn = (k + most_k - 1) / most_k; k0 < k; kn--) {
        // pieces of equal size
        const int kc = (k - k0 + kn - 1) / kn;
        const bool more = add || k0 > 0;
        for (int i0 = 0, piece = row_pieces; i0 < m; piece--) {
            const int mc = (m - i0 + piece - 1) / piece;
            const nn_matrix ai = {a.p + i0 * a.row + k0 * a.col, a.row, a.col, 0};
            int packed_rows = 0;  // the height of blocks for which a is packed
            int vectors = vectors_all;
            for (int j = 0; j < n;) {
                // columns in strips of at most NV vectors, of equal width: 5 vectors are 3 and 2
                const int strip_count = (vectors + NV - 1) / NV;
                const int nv = (vectors + strip_count - 1) / strip_count;
                const int left = n - j, width = left < nv * VL ? left : nv * VL;
                const v_mask mask = v_first(width - (nv - 1) * VL);
                // rows in equal blocks: 32 rows by 6 are 6 6 5 5 5 5
                const int most = strip_rows[nv], blocks = (mc + most - 1) / most;
                short mr[MC];
                for (int r = 0, i = 0; r < blocks; i += mr[r], r++)
                    mr[r] = (short)((mc - i) / (blocks - r) + ((mc - i) % (blocks - r) != 0));

                // a copy pays when several strips read it; rows far apart (a transposed) already
                // with two
                const bool pack_rows = kc >= 32 && a.col != 1 && vectors_all > nv;
                if (pack_rows && packed_rows != most) {
                    pack_a(packed_a, ai, mr, blocks, mc, kc);
                    packed_rows = most;
                }
                const float* bj = nn_column(&b, j) + k0 * b.row;
                ptrdiff_t ldb = b.row;
                if (b.col != 1 || (b.row > NC && kc >= 32 && mc >= 96)) {
                    pack_b(packed_b, (nn_matrix){bj, b.row, b.col, 0}, kc, width);
                    bj = packed_b;
                    ldb = NC;
                }
                nn_ahead ahead = {.at = bj, .step = ldb == NC ? LINE : ldb};
                int fetch = 0;  // places that are left to fetch
                if (b.block && width == NC && m <= FEW_ROWS) {
                    // after the last strip what lies behind it, often the next weight
                    ahead.at = j + width < n ? nn_column(&b, j + width) + k0 * b.row
                               : k0 + kc < k ? b.p + (k0 + kc) * b.row
                                             : bj + (ptrdiff_t)kc * ldb;
                    fetch = ldb == NC ? kc * (NC / LINE) : kc;
                }
                const strip_fn strip = fetch > 0 ? strip_fetch : strips[nv];
                for (int r = 0, i = 0; r < blocks; i += mr[r], r++) {
                    const int quads = (kc + 3) / 4, todo = (fetch + blocks - r - 1) / (blocks - r);
                    ahead.rows = r + 1 < blocks;
                    ahead.lines = (todo + quads - 1) / quads;
                    strip(mr[r], kc, pack_rows ? packed_a + i * kc : ai.p + i * a.row,
                          pack_rows ? 1 : a.row, pack_rows ? mr[r] : a.col, bj, ldb, mask,
                          c + (i0 + i) * ldc + j, ldc, bias ? bias + j : NULL, more, &ahead);
                    ahead.at += ahead.lines * quads * ahead.step;
                    fetch -= ahead.lines * quads;
                    fetch = fetch > 0 ? fetch : 0;
                }
                j += nv * VL;
                vectors -= nv;
            }
            i0 += mc;
        }
        k0 += kc;
    }
}
