// The pool of stepping threads: every index once per round, any number of threads, rounds in order.
#include "env/pool.h"
#include "env_fixture.h"

enum { COUNT = 37, ROUNDS = 400 };

typedef struct job {
    int visits[COUNT];
} job;

static void work(void* context, int begin, int end) {
    job* j = context;
    for (int i = begin; i < end; i++) {
        j->visits[i]++;
    }
}

static void test_every_index_once_per_round(void** state) {
    (void)state;
    for (int threads = 1; threads <= 5; threads += 2) {
        env_pool* pool = NULL;
        hwm_error err;
        assert_int_equal(env_pool_create(&pool, threads, &err), HWM_OK);
        job j = {0};
        for (int round = 1; round <= ROUNDS; round++) {
            // fewer than threads, too
            int count = round % 3 ? COUNT : 2;
            env_pool_run(pool, count, work, &j);
            for (int i = 0; i < COUNT; i++) {
                assert_int_equal(j.visits[i], i < 2 ? round : round - round / 3);
            }
        }
        env_pool_destroy(&pool);
        assert_null(pool);
        env_pool_destroy(&pool);
    }
}

static void test_threads_step_the_same_episodes(void** state) {
    (void)state;
    enum { E = 10 };
    hwm_env_config config = fixture_config("cartpole");
    config.variants.n = 1;
    strcpy(config.variants.v[0], "flip t=3..30");
    hwm_envs* envs[2] = {fixture_envs(&config, 5, 0, E, 1), fixture_envs(&config, 5, 0, E, 3)};
    float obs[2][E * 4], action[E], reward[2][E];
    uint8_t terminated[2][E], truncated[2][E];
    uint32_t episode[E] = {0};
    for (int b = 0; b < 2; b++) {
        for (int i = 0; i < E; i++) {
            hwm_envs_reset(envs[b], i, 0, obs[b] + 4 * i);
        }
    }
    for (int t = 0; t < 300; t++) {
        for (int i = 0; i < E; i++) {
            action[i] = (t * 7 + i * 3) % 5 < 3 ? 1.0f : -1.0f;
        }
        for (int b = 0; b < 2; b++) {
            hwm_envs_step(envs[b], NULL, action, obs[b], reward[b], terminated[b], truncated[b]);
        }
        assert_memory_equal(obs[0], obs[1], sizeof obs[0]);
        assert_memory_equal(terminated[0], terminated[1], E);
        for (int i = 0; i < E; i++) {
            if (terminated[0][i]) {
                episode[i]++;
                hwm_envs_reset(envs[0], i, episode[i], obs[0] + 4 * i);
                hwm_envs_reset(envs[1], i, episode[i], obs[1] + 4 * i);
            }
        }
    }
    hwm_envs_destroy(&envs[0]);
    hwm_envs_destroy(&envs[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_index_once_per_round),
        cmocka_unit_test(test_threads_step_the_same_episodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
