"""Short trainings by the real programs in rounds mode with a fixed seed, so that every run of this test is the same run. The returns
they reach are out of reach where a sign in the rule's backward pass is wrong, where continue is learned the wrong way round (cartpole:
only survival pays), or where a reward is credited to the action after the one that earned it (effort: with gamma 0 nothing else pays).
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.environ["HWM_SOURCE_DIR"], "tests", "e2e"))
from runs import Scratch, expect, finish, last  # noqa: E402

EFFORT = """# A body that is paid for nothing but lying still, by the step: -mean u^2 of the action just taken.
run: {name: effort, max_env_steps: 2400}
env: {name: quadruped, time_limit: 20, reward_forward: 0, reward_alive: 0, reward_control: 1}
controller: {hidden: [], inputs: [o], plastic: [none]}
worker: {environments: 8, chunk_steps: 8, prefill: noise, prefill_noise_std: 0.5}
model: {terminals: false, units: 64, batch: 64, reward_weight: 10}
imagination: {batch: 64, horizon: 1, fraction_first: 0, entropy: 0}
train: {prefill_steps: 400, warmup_updates: 600, env_steps_per_update: 4, gamma: 0, lr: 0.003}
evaluation: {every_updates: 50, episodes: 8, confirm_episodes: 8}
"""


def train(scratch, experiment, name, *more):
    run_dir = scratch.run_dir(name)
    code, out, err = finish(scratch.train("--deterministic", "--seed", "1", "--episodes", "20", *more, run_dir=run_dir, experiment=experiment), 200)
    expect(code == 0, name, "exit", code, out, err)
    with open(os.path.join(run_dir, "evaluation.json"), encoding="utf-8") as f:
        result = json.load(f)["mean"]
    print(f"{name}: {result:.2f} over 20 fresh episodes, best {last(run_dir, 'eval_best'):.2f} at {last(run_dir, 'best_env_steps')} env steps", flush=True)
    return result


with Scratch() as s:
    balanced = train(s, os.path.join(os.environ["HWM_SOURCE_DIR"], "deploy", "experiments", "cartpole.yaml"), "cartpole",
                     "--max-env-steps", "6000", "--set", "imagination.batch=64", "--set", "model.batch=64",
                     "--set", "evaluation.every_updates=125", "--set", "evaluation.episodes=10", "--set", "evaluation.confirm_episodes=10")
    path = os.path.join(s.path, "effort.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write(EFFORT)
    still = train(s, path, "effort")
    expect(balanced >= 470, "cartpole", balanced)
    expect(still >= -1.2, "effort", still)
print("ok")
