"""suite.sh: trains what is missing, judges, and keeps README's table: rows take each other's place or stand beside their kind, a second call trains nothing,
--quick leaves the table alone; and the row that `hwm report --summary` makes of known figures."""

import json
import os
import subprocess

from runs import HWM, SMALL, SOURCE, Scratch, expect, hwm

SUITE = os.path.join(SOURCE, "deploy", "experiments", "suite.sh")


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def known_run(folder, name, mean, passes, velocity=None, newest=500):
    """A finished run with figures of our own; newest: the last evaluation, which need not be the best."""
    def score(x):
        return {"mean": x, **({"velocity": x / 1000} if velocity else {})}
    controls = {key: score(mean - 10 * i) for i, key in enumerate(("zeroed", "shuffled", "frozen_at_0", "untrained", "random_actions"))}
    variants = [score(mean - 1), score(mean + 1)]
    write(f"{folder}/evaluation.json", json.dumps({**score(mean), "experiment": name, "run_seed": 0, "controls": controls, "variants": variants}))
    lines = [{"env_steps": 1000, "wall_s": 5, "eval_mean": 1}, {"env_steps": passes, "eval_env_steps": 9000, "wall_s": 60, "eval_mean": newest, "eval_best": 500}]
    write(f"{folder}/metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


def summary(s):
    a, b = s.run_dir("a"), s.run_dir("b")
    known_run(a, "task", 400, 2000)
    known_run(b, "task", 480, 30000)
    code, out, err = hwm("report", a, b, "--summary", "--threshold", "450", "--command", "again")
    want = "| `task` | 2 | **440 (400-480)** | 439 (399-479) | 30,000 (2,000-30,000) to 450 | 9,000 | 60 | 410, 400, - | 440 (400-480) | 430 (390-470) | 420 (380-460) | - | - | - | - | `again` |\n"
    expect(code == 0 and out == want, out, "instead of", want, err)
    code, out, err = hwm("report", a, b, "--summary", "--threshold", "600", "--name", "other", "--head")
    expect(code == 0 and out.startswith("| experiment | seeds |") and "| `other` | 2 |" in out and "| never 600 |" in out, out, err)
    known_run(b, "task", 480, 30000, newest=100)
    code, out, err = hwm("report", a, b, "--summary", "--threshold", "450")
    expect(code == 0 and "| 30,000 (2,000-30,000) to 450 |" in out, out, err)
    known_run(a, "walk", 1200, 2000, velocity=True)
    code, out, err = hwm("report", a, "--summary")
    expect(code == 0 and "**1.20 m/s**" in out and " 1.20 m/s |" in out and " 1.18 m/s |" in out and "| 1.17, 1.16, - m/s |" in out, out, err)
    known_run(a, "walk", -2, 2000, velocity=True)
    code, out, err = hwm("report", a, "--summary")
    expect(code == 0 and "**0.00 m/s**" in out and "-0.00" not in out, out, err)
    code, out, err = hwm("report", a, s.run_dir("none"), "--summary")
    expect(code == 1 and "is not a run" in err, code, out, err)


def suite(s, *arguments):
    done = subprocess.run([SUITE, *arguments], capture_output=True, text=True, timeout=200, env=os.environ | {"HWM_BIN_DIR": os.path.dirname(HWM)})
    return done.returncode, done.stdout, done.stderr


def rows(readme):
    with open(readme, encoding="utf-8") as f:
        return [line for line in f if line.startswith("| `")]


with Scratch() as s:
    summary(s)
    sections = {}
    for item in SMALL:
        key, value = item.split("=")
        section, field = key.split(".")
        sections.setdefault(section, []).append(f"  {field}: {value}")
    sections["env"] = ["  name: cartpole", '  variants: ["flip p=0.5"]']
    sections["run"] += ["  name: tiny", "  max_env_steps: 600"]
    text = "# suite: threshold=5 minutes=0.25 --episodes 4\n# suite static: minutes=0.25 --episodes 4 --set controller.plastic=[none]\n"
    text += "".join(f"{section}:\n" + "\n".join(lines) + "\n" for section, lines in sections.items())
    tiny = os.path.join(s.path, "tiny.yaml")
    write(tiny, text)
    readme = os.path.join(s.path, "README.md")
    before = "text\n<!-- suite -->\n| head |\n|---|\n| `tiny:old` | 1 |\n| `tiny_long` | 1 |\n<!-- /suite -->\nmore text\n"
    write(readme, before)
    common = ["--seeds", "2", "--out", s.run_dir("suite"), "--readme", readme]

    code, out, err = suite(s, "--quick", *common, tiny)
    expect(code == 0 and "hours in all" in err and "| `tiny` | 1 |" in out, code, out, err)
    with open(readme, encoding="utf-8") as f:
        expect(f.read() == before, "--quick wrote into the table")

    code, out, err = suite(s, *common, tiny, f"{tiny}:static", f"{tiny}@{tiny}")
    expect(code == 0, code, out, err)
    expect("about 0.0 hours in all" in err and "tiny: 2 of 2 runs to do, about 0.25 minutes" in err and "tiny@tiny: 0 of 2" in err, err)
    written = rows(readme)
    expect([line.split("`")[1] for line in written] == ["tiny:old", "tiny", "tiny:static", "tiny@tiny", "tiny_long"], "rows of one experiment side by side", written)
    expect(" to 5 |" in written[1] and " to 5 |" not in written[3], written)
    expect("suite.sh --seeds 2 " in written[1], "the row repeats with as many seeds", written)
    expect(written[2].count(" - |") >= 7, "a static network has no controls", written[2])
    expect(os.path.getsize(os.path.join(s.path, "tiny.png")) > 1000, "no curves")

    # once more: nothing is trained, the same rows stand where they stood
    code, out, err = suite(s, *common, tiny)
    expect(code == 0 and "0 of 2 runs to do" in err and "seed 0:" not in err, code, out, err)
    expect(rows(readme) == written, rows(readme), "instead of", written)

    for arguments, said in ((["--what"], "unknown option"), ([f"{tiny}:nothing"], "has no line"), (["nothing"], "cannot read"),
                            (["--readme", tiny, tiny], "<!-- suite -->")):
        code, out, err = suite(s, *arguments)
        expect(code == 2 and said in err, arguments, code, out, err)
print("ok")
