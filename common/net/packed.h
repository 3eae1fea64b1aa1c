// data path  [4] wire
//
// Columns that travel compressed (hwm_codec): whoever writes a chunk packs them, whoever reads a
// batch unpacks them, and the server between only cuts and copies.
//
//   layout   u32 end[rows]: where the frame of each row ends, counted from the first frame; then
//   the
//            frames, one zstd frame per row. So rows [a, b) are one run of bytes.
//   values   wider than one byte are split by place (all lowest bytes first, and so on), because
//            the high bytes of neighbouring numbers resemble each other.
//
// Threads: one owner per packer.
#ifndef HWM_NET_PACKED_H
#define HWM_NET_PACKED_H

#include "record/chunk.h"

typedef struct hwm_packer hwm_packer;
hwm_status hwm_packer_create(hwm_packer** out, hwm_error* err);
void hwm_packer_destroy(hwm_packer** packer);

// True where a column of the signature has a codec.
bool hwm_signature_packs(const hwm_signature* signature);
// Bytes of column c as it stands in the chunk.
size_t hwm_chunk_column_bytes(const hwm_signature* signature, const hwm_chunk* chunk, int c);
// *packed: the chunk with those columns packed that have a codec and are not packed yet; they lie
// in the packer, borrowed until its next call. HWM_ENOMEM.
hwm_status hwm_packer_pack(hwm_packer* packer, const hwm_signature* signature,
                           const hwm_chunk* chunk, hwm_chunk* packed, hwm_error* err);
// Ends ascending and within the column, every frame as large unpacked as a row: what can be told
// without unpacking. HWM_EPROTO with the row.
hwm_status hwm_packed_check(const hwm_tensor_spec* spec, uint32_t rows, const void* column,
                            size_t size, hwm_error* err);
// Into `out`, rows * bytes of a row. HWM_EPROTO as above, HWM_ECORRUPT: a frame does not unpack.
hwm_status hwm_packer_unpack(hwm_packer* packer, const hwm_tensor_spec* spec, uint32_t rows,
                             const void* column, size_t size, void* out, hwm_error* err);

#endif
