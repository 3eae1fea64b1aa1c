// Driver of the matrix kernel, included after gemm_template.h and the strips: cuts k into pieces of
// KC and rows into pieces of MC, so that the piece of a stays in the L2 cache and a strip of b in
// the L1 cache; copies a piece into the order in which it is read where its own order would touch
// too many cache lines (a transposed, b with wide or transposed rows).
enum { KC = VL == 16 ? 128 : 256, MC = 192, NC = NV * VL };

// a (rows i0 .. i0+mc, columns k0 .. k0+kc) as [row block][k][mr]
static void pack_a(float* to, nn_matrix a, const int* mr, int blocks, int kc) {
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
        for (int p = 0; p < kc; p++, to += NC)
            memcpy(to, b.p + p * b.row, (size_t)width * sizeof *to);
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
    int vectors_all = (n + VL - 1) / VL;
    for (int k0 = 0; k0 < k; k0 += KC) {
        const int kc = k - k0 < KC ? k - k0 : KC;
        const bool more = add || k0 > 0;
        for (int i0 = 0; i0 < m; i0 += MC) {
            const int mc = m - i0 < MC ? m - i0 : MC;
            const nn_matrix ai = {a.p + i0 * a.row + k0 * a.col, a.row, a.col};
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
                int mr[MC];
                for (int r = 0, i = 0; r < blocks; i += mr[r], r++)
                    mr[r] = (mc - i) / (blocks - r) + ((mc - i) % (blocks - r) != 0);

                // a copy pays when several strips read it; rows far apart (a transposed) already
                // with two
                const bool pack_rows = kc >= 32 && vectors_all > (a.col != 1 ? 1 : 7) * nv;
                if (pack_rows && packed_rows != most) {
                    pack_a(packed_a, ai, mr, blocks, kc);
                    packed_rows = most;
                }
                const float* bj = b.p + k0 * b.row + j * b.col;
                ptrdiff_t ldb = b.row;
                if (b.col != 1 || (b.row >= 1024 && kc >= 32 && mc >= MC)) {
                    pack_b(packed_b, (nn_matrix){bj, b.row, b.col}, kc, width);
                    bj = packed_b;
                    ldb = NC;
                }
                for (int r = 0, i = 0; r < blocks; i += mr[r], r++)
                    strips[nv](mr[r], kc, pack_rows ? packed_a + i * kc : ai.p + i * a.row,
                               pack_rows ? 1 : a.row, pack_rows ? mr[r] : a.col, bj, ldb, mask,
                               c + (i0 + i) * ldc + j, ldc, bias ? bias + j : NULL, more);
                j += nv * VL;
                vectors -= nv;
            }
        }
    }
}
