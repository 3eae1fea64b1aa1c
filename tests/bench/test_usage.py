"""Every benchmark says how it is used (--help, exit code 0), and refuses what it does not know with a sentence (exit code 2)."""

import os
import subprocess
import sys

FOLDER = os.environ["HWM_BIN_DIR"]
CASES = {"bench_replay": ["--case", "--durability", "--clients"], "bench_nn": ["--preset"], "bench_learner": ["--model"]}


def call(name, *arguments):
    return subprocess.run([os.path.join(FOLDER, name), *arguments], capture_output=True, text=True, timeout=60)


def main():
    names = sys.argv[1:]
    assert names
    for name in names:
        answer = call(name, "--help")
        assert answer.returncode == 0 and answer.stdout.startswith(f"usage: {name}"), answer
        answer = call(name, "--no-such-option")
        assert answer.returncode == 2 and "--no-such-option" in answer.stderr and not answer.stdout, answer
        for option in CASES.get(name, []):
            answer = call(name, option, "nonsense")
            assert answer.returncode == 2 and "nonsense" in answer.stderr and not answer.stdout, answer
    known = call("bench_replay", "--case", "nonsense").stderr
    assert all(case in known for case in ("step_1k", "step_64k", "frame_84x84x3", "message_64k")), known


main()
