"""hwm envs and hwm trace from outside: the golden cart-pole, seeds, variants, and sentences for bad input."""

import csv
import io
import json
import os
import subprocess
import tempfile

HWM = os.path.join(os.environ["HWM_BIN_DIR"], "hwm")
GOLDEN = os.path.join(os.environ["HWM_SOURCE_DIR"], "tests/env/golden/cartpole.txt")


def run(*arguments, code=0):
    done = subprocess.run([HWM, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return done.stdout if code == 0 else done.stderr


def trace(*arguments):
    return list(csv.DictReader(io.StringIO(run("trace", *arguments))))


def golden_episodes():
    episodes = []
    for line in open(GOLDEN):
        v = [float(x) for x in line.split()]
        before, action, after, end = v[:4], v[4], v[5:9], int(v[9])
        if not episodes or episodes[-1][-1]["after"] != before:
            episodes.append([])
        episodes[-1].append({"before": before, "action": action, "after": after, "end": end})
    return episodes


def test_golden(folder):
    names = ["obs.x", "obs.x_dot", "obs.theta", "obs.theta_dot"]
    for episode in golden_episodes():
        actions = os.path.join(folder, "actions.csv")
        for right, left in ((1, -1), (1, 0)):
            with open(actions, "w") as f:
                f.writelines(f"{right if s['action'] > 0 else left}\n" for s in episode)
            start = ",".join(repr(v) for v in episode[0]["before"])
            rows = trace("--env", "cartpole", f"--init-state={start}", "--actions", actions)
            assert len(rows) == len(episode) + 1
            for row, following, step in zip(rows, rows[1:], episode):
                for k, name in enumerate(names):
                    for have, want in ((row, "before"), (following, "after")):
                        assert abs(float(have[name]) - step[want][k]) <= 1e-7 * (1 + abs(step[want][k]))
                assert float(row["reward"]) == 1.0
                assert int(row["terminated"]) == step["end"]
                assert int(row["truncated"]) == 0


def test_flip_is_the_other_action(folder):
    a, b = os.path.join(folder, "a.csv"), os.path.join(folder, "b.csv")
    signs = [1, -1, -1, 1, 1, 1, -1]
    open(a, "w").writelines(f"{s}\n" for s in signs)
    open(b, "w").writelines(f"{-s}\n" for s in signs)
    plain = trace("--seed", "4", "--actions", a)
    flipped = trace("--seed", "4", "--actions", b, "--variant", "flip")
    assert len(plain) == len(signs) + 1
    for p, f in zip(plain, flipped):
        assert all(p[k] == f[k] for k in p if k.startswith("obs."))


# Where on the floor an episode is made to begin changes no reward: the first speed counts from there.
def test_rewards_count_from_the_given_start():
    models = os.path.join(os.environ["HWM_SOURCE_DIR"], "common/env/models")
    bodies = [["quadruped"], ["mjcf", "--set", f"env.mjcf={models}/quadruped.xml"], ["halfcheetah"], ["hopper"],
              ["walker"], ["mjcf", "--set", f"env.mjcf={models}/walker.xml"]]
    for body in bodies:
        legged = body[0] == "quadruped" or body[-1].endswith("quadruped.xml")
        size = json.loads(run("envs", *body, "--json"))["init_dim"]
        rewards = []
        for x in (0.0, 7.0):
            start = [x] + (size - 1) * [0.0]
            start[1:4] = [0.0, 1.0, 1.0] if legged else [1.25, 0.0, 0.0]
            text = ",".join(str(v) for v in start)
            rows = trace("--env", *body, f"--init-state={text}", "--steps", "4")
            rewards.append([float(row["reward"]) for row in rows[:-1]])
        assert len(rewards[0]) >= 1 and len(rewards[0]) == len(rewards[1])
        assert all(abs(a - b) < 2e-4 and abs(a) < 20 for a, b in zip(*rewards)), (body, rewards)


def test_seed_and_steps():
    one = run("trace", "--env", "quadruped", "--seed", "3", "--steps", "4")
    assert one == run("trace", "--env", "quadruped", "--seed", "3", "--steps", "4")
    assert one != run("trace", "--env", "quadruped", "--seed", "4", "--steps", "4")
    assert len(one.splitlines()) == 6


def test_bad_input(folder):
    actions = os.path.join(folder, "bad.csv")
    open(actions, "w").write("1\nnan\n")
    two = os.path.join(folder, "two.csv")
    open(two, "w").write("1,1\n")
    for arguments, says in (
        (["--env", "cartpool"], "cartpool"),
        (["--actions", actions], "line 2: \"nan\""),
        (["--actions", two], "2 numbers"),
        (["--init-state", "1,2"], "2 numbers"),
        (["--init-state", "1,2,x,4"], "\"x\""),
        (["--variant", "wind=2"], "wind"),
        (["--set", "env.action_repeat=0"], "action_repeat"),
        (["--env", "mjcf", "--set", "env.mjcf=/nowhere/robot.xml"], "/nowhere/robot.xml"),
    ):
        assert says in run("trace", *arguments, code=2), arguments
    assert "missing.csv" in run("trace", "--actions", "missing.csv", code=1)


def test_envs():
    listed = [line.split()[0] for line in run("envs").splitlines()]
    specs = json.loads(run("envs", "--json"))
    assert {s["name"] for s in specs} == set(listed) - {"mjcf", "plugin"}
    for spec in specs:
        assert len(spec["observations"]) == spec["obs_dim"] and len(spec["actions"]) == spec["action_dim"]
        rows = trace("--env", spec["name"], "--steps", "2")
        columns = list(rows[0])
        assert columns[0] == "t" and columns[-3:] == ["reward", "terminated", "truncated"]
        assert columns[1 : 1 + spec["obs_dim"]] == ["obs." + o["name"] for o in spec["observations"]]
        assert columns[1 + spec["obs_dim"] : -3] == ["action." + a for a in spec["actions"]]
        assert all(o["scale"] > 0 for o in spec["observations"]) and spec["control_dt_s"] > 0
    assert json.loads(run("envs", "quadruped", "--json", "--set", "env.observation=antbullet"))["obs_dim"] == 28


with tempfile.TemporaryDirectory() as folder:
    test_golden(folder)
    test_flip_is_the_other_action(folder)
    test_rewards_count_from_the_given_start()
    test_seed_and_steps()
    test_bad_input(folder)
    test_envs()
print("ok")
