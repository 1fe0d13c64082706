/* AArch64 Advanced SIMD: 32 registers of 16 bytes. */
#define FC_VEC_BYTES 16
/* Rows of a tile that is 1, 2 or 3 vectors wide: accumulators + a row of B + one broadcast fit the registers. */
#define FC_MR1 14
#define FC_MR2 12
#define FC_MR3 8
