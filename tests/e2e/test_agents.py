"""Every kind of agent through the same programs: a short run, then `hwm eval` on its checkpoint, with nothing else running, repeats
to the last digit; where weights change, its controls are there. What only a rule has, as a header or weights recovered from key
frames, is refused with a sentence.

Episodes shorter than a training sequence are trained on all the same, or the learner says why it has nothing.

usage: test_agents.py latent|dreamer|random|short
"""

import json
import os
import shutil
import subprocess
import sys
import time

from runs import HWM, SOURCE, Scratch, expect, finish, hwm

SMALL = [
    "train.prefill_steps=300", "train.warmup_updates=2", "run.max_updates=6", "run.report_interval_s=0.2", "evaluation.every_updates=2",
    "evaluation.episodes=4", "evaluation.confirm_episodes=4", "worker.environments=4", "model.sequences=4", "model.sequence_steps=8",
    "imagination.batch=8", "imagination.horizon=4",
]
KINDS = {
    "latent": ("cartpole_latent", []),
    "dreamer": ("cartpole_dreamer", []),
    "random": ("cartpole_latent", ["imagination.mode=explicit", "agent.kind=random"]),
}


def short_episodes():
    experiment = os.path.join(SOURCE, "deploy", "experiments", "cartpole_dreamer.yaml")
    sets = [word for item in SMALL + ["env.time_limit=5"] for word in ("--set", item)]
    with Scratch() as scratch:
        code, out, err = finish(scratch.train("--no-evaluation", *sets, run_dir=scratch.run_dir(), experiment=experiment), 200)
        expect(code == 0, out, err)
        expect("updates 6 " in out, out)
    with Scratch() as scratch:
        # a sequence of one episode is never there: a sentence with the numbers instead of silence
        run = scratch.run_dir()
        process = scratch.train("--no-evaluation", *sets, "--set", "model.cross_episodes=false", run_dir=run, experiment=experiment)
        said = ""
        for _ in range(300):
            time.sleep(0.2)
            path = os.path.join(run, "logs", "learner.log")
            said = open(path).read() if os.path.exists(path) else ""
            if "no batch" in said:
                break
        process.terminate()
        finish(process, 60)
        expect("rows=8" in said and "model.cross_episodes" in said, said)


def main(kind):
    name, more = KINDS[kind]
    experiment = os.path.join(SOURCE, "deploy", "experiments", name + ".yaml")
    sets = [word for item in SMALL + more for word in ("--set", item)]
    with Scratch() as scratch:
        run = scratch.run_dir()
        code, out, err = finish(scratch.train("--seed", "1", *sets, run_dir=run, experiment=experiment), 200)
        expect(code == 0, out, err)
        judged = json.load(open(os.path.join(run, "evaluation.json")))
        expect(judged["episodes"] == 100 and 8 <= judged["mean"] <= 500, judged)
        # the same on a machine that has no learner: what acts there is what acts in a worker
        alone = os.path.join(scratch.path, "hwm")
        shutil.copy(HWM, alone)
        words = [alone, "eval", "--checkpoint", run, "--json", "--controls"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=200)
        code, out, err = done.returncode, done.stdout, done.stderr
        expect(code == 0, err)
        again = json.loads(out)
        expect(again["mean"] == judged["mean"] and again.get("controls") == judged.get("controls"), again, judged)
        print(f"{kind}: return {again['mean']:.1f}")
        if kind == "dreamer":  # nothing in it is plastic
            expect(list(again["controls"]) == ["random_actions"], again)
        else:
            # the agent's updates are what is zeroed and frozen
            expect(again["controls"]["zeroed"]["mean"] == again["controls"]["frozen_at_0"]["mean"] != again["mean"], again)
        said = {"latent": "imagination.mode = latent", "dreamer": "agent.kind = dreamer", "random": "agent.kind = random"}[kind]
        for name, words in (("c.h", ["export", run, "--header"]), ("steps.npz", ["replay", "materialise", "--dir", run, "--out"])):
            path = os.path.join(scratch.path, name)
            code, out, err = hwm(*words, path, timeout_s=60)
            expect(code in (1, 2) and said in err and err.count("\n") == 1, words[0], code, out, err)
            expect(not os.path.exists(path), "it wrote", path)


if sys.argv[1] == "short":
    short_episodes()
else:
    main(sys.argv[1])
