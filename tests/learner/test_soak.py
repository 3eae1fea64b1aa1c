"""Soak: a run that trains for long, its table full and turning over, its parameters published and collected, evaluations on workers
and checkpoints on the way: the memory of server, learner and worker and the store's file stay flat, and it still trains at the end.
15 s; 30 minutes with HWM_FULL."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.environ["HWM_SOURCE_DIR"], "tests", "e2e"))
from runs import Scratch, children, expect, finish, last, wait_for  # noqa: E402

SECONDS = 1800 if os.getenv("HWM_FULL") == "1" else 15
PROGRAMS = ("hwm-server", "hwm-learner", "hwm-worker")
SLACK_MB, SLACK = 0.5, 0.02  # what a mean over a third may lie above that of the third before


def anonymous_mb(pid):
    """Resident memory that is not a mapped file, in MB."""
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:")) / 1024


def mean(values):
    return sum(values) / len(values)


with Scratch() as s:
    sets = {"replay.capacity_steps": 1500, "run.report_interval_s": 1, "run.checkpoint_interval_s": 2, "evaluation.every_updates": 50,
            "evaluation.episodes": 4, "run.max_env_steps": 0, "run.stop_return": 0, "model.units": 32, "train.versions_bytes": 200000, "train.warmup_updates": 50}
    words = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    process = s.train(*words)
    wait_for("a table that turns over", lambda: last(s.run_dir(), "env_steps") > 2500, 120, process)
    pids = {name: children(process, name)[0] for name in PROGRAMS}
    store = os.path.join(s.run_dir(), "replay", "data.mdb")
    seen = {name: [] for name in (*PROGRAMS, "store")}
    updates = last(s.run_dir(), "updates")
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for name in PROGRAMS:
            seen[name].append(anonymous_mb(pids[name]))
        seen["store"].append(os.stat(store).st_blocks / 2048)
        time.sleep(SECONDS / 300)
        expect(process.poll() is None, "`hwm train` ended")
    for name, values in seen.items():
        third = len(values) // 3
        begin, middle, late = (mean(values[k * third:(k + 1) * third]) for k in range(3))
        print(f"{name}: {begin:.2f}, {middle:.2f}, {late:.2f} MB in the three thirds of {SECONDS} s, at most {max(values):.2f}")
        expect(late <= middle * (1 + SLACK) + SLACK_MB, name, "grows:", begin, middle, late)
    steps, more = last(s.run_dir(), "env_steps"), last(s.run_dir(), "updates") - updates
    print(f"{steps:.0f} environment steps, {more:.0f} updates meanwhile")
    expect(more > SECONDS, "only", more, "updates")
    process.terminate()
    code, out, err = finish(process, 60)
    expect(code == 0, code, out, err)
