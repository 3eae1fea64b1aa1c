"""schedule: rounds. Two runs of the real programs with one seed end with the same parameters, optimisers and pool, bit for bit, and with
as much experience; another seed ends elsewhere; what cannot be repeated is refused."""

import os
import sys

sys.path.insert(0, os.path.join(os.environ["HWM_SOURCE_DIR"], "tests", "e2e"))
from runs import Scratch, expect, finish, last, small_set  # noqa: E402

FILES = ["controller", "model", "critic", "training"]


def run(scratch, name, seed, *more):
    arguments = ["--deterministic", "--seed", str(seed), "--max-env-steps", "700", "--episodes", "2", *small_set(run__round_steps=64), *more]
    return finish(scratch.train(*arguments, run_dir=scratch.run_dir(name)), 100)


def content(scratch, run_name, file):
    with open(os.path.join(scratch.run_dir(run_name), "checkpoints", "latest", file + ".safetensors"), "rb") as f:
        return f.read()


with Scratch() as s:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        code, out, err = run(s, name, seed)
        expect(code == 0, name, "exit", code, out, err)
    for file in FILES:
        expect(content(s, "a", file) == content(s, "b", file), file, "differs between two runs with one seed")
        expect(content(s, "a", file) != content(s, "c", file), file, "is the same for two seeds")
    for key in ("env_steps", "updates", "eval_mean", "model_loss", "actor_loss", "replay_steps"):
        expect(last(s.run_dir("a"), key) == last(s.run_dir("b"), key), key, last(s.run_dir("a"), key), last(s.run_dir("b"), key))
    expect(last(s.run_dir("a"), "env_steps") >= 700, last(s.run_dir("a"), "env_steps"))
    # a run of this kind is not resumed, and says so
    code, out, err = run(s, "a", 5, "--set", "run.max_env_steps=2000")
    expect(code != 0, "resumed", out, err)
    with open(os.path.join(s.run_dir("a"), "logs", "learner.log"), encoding="utf-8") as f:
        expect("cannot be resumed" in f.read(), "learner.log does not say that the run cannot be resumed")
    code, out, err = run(s, "d", 5, "--set", "worker.flush_ms=5")
    expect(code == 2 and "flush_ms" in err, "flush_ms", code, err)
print("ok")
