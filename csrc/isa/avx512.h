/* AVX-512 (F, VL, DQ, BW): 32 registers of 64 bytes. */
#define FC_VEC_BYTES 64
/* Rows of a tile that is 1, 2 or 3 vectors wide: accumulators + a row of B + one broadcast fit the registers. */
#define FC_MR1 14
#define FC_MR2 14
#define FC_MR3 9
