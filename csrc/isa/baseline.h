/* What every x86-64 (SSE2) has, and what an unknown machine gets: 16 registers of 16 bytes. */
#define FC_VEC_BYTES 16
/* Rows of a tile that is 1, 2 or 3 vectors wide: accumulators + a row of B + one broadcast fit the registers. */
#define FC_MR1 12
#define FC_MR2 6
#define FC_MR3 4
