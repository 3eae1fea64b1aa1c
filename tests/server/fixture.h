// Tables and chunks for the tests of the replay: every row carries numbers from which its place can
// be told, so a test that looks at a batch knows what it must hold.
#ifndef HWM_TESTS_SERVER_FIXTURE_H
#define HWM_TESTS_SERVER_FIXTURE_H

#include "server/replay.h"

enum { OBS = 3, ACTION = 1, ACT = 4, KEY = 5, CHUNK_BYTES_MAX = 1 << 16 };

typedef struct scratch_dir {
    char path[128];
} scratch_dir;
scratch_dir scratch_make(void);
void scratch_remove(scratch_dir* dir);

hwm_signature fixture_signature(void);
hwm_table_config fixture_table(int64_t capacity_steps);
hwm_replay_config fixture_config(const char* dir);

// One stream that is written chunk by chunk.
typedef struct writer_state {
    hwm_stream stream;
    uint64_t sequence, step;
    uint32_t episode, episode_step;
    uint64_t version;
    bool running;  // an episode is open
} writer_state;
writer_state writer_begin(uint32_t env, uint32_t incarnation);

// The next chunk of `steps` rows; end: 0 goes on, HWM_FLAG_LAST, or HWM_FLAG_LAST |
// HWM_FLAG_TERMINAL. Writes the bytes to `bytes` and the view to *chunk; returns the size.
size_t writer_chunk(writer_state* w, uint32_t steps, int end, uint8_t* bytes, hwm_chunk* chunk);

// What row `step` of a stream holds in obs[0..2]: env, step, episode; reward: step % 1000.
float fixture_obs(hwm_stream stream, uint64_t step, uint32_t episode, int i);
float fixture_key(hwm_stream stream, uint64_t step, int i);

// Waits for the next completion; fails the test after 10 s.
hwm_completion fixture_wait(hwm_replay* replay);
// Appends and waits for its completion.
hwm_status fixture_append(hwm_replay* replay, int table, writer_state* w, uint32_t steps, int end);
// Asks for a batch and waits; NULL and *status where it was refused.
hwm_batch* fixture_sample(hwm_replay* replay, int table, const hwm_sample_request* request,
                          hwm_status* status);
// Checks every row of a batch against what was written: consecutive steps, one stream, one episode
// or the next one where it ended, key frames.
void fixture_check(const hwm_batch* batch, const hwm_signature* signature);

#endif
