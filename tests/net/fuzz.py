"""Builds the libFuzzer program of every message with clang, AddressSanitizer and UBSan, and runs each for a while.

usage: fuzz.py BUILD_DIR CLANG   (1 s a message; 30 s with HWM_FULL=1)
"""

import os
import re
import subprocess
import sys
import tempfile

SOURCE = os.environ["HWM_SOURCE_DIR"]
SECONDS = 30 if os.environ.get("HWM_FULL") == "1" else 1


def oneof(message):
    """Names of the bodies of Request or Reply in hwm.proto."""
    with open(os.path.join(SOURCE, "proto", "hwm.proto")) as f:
        text = re.search(rf"^message {message} {{.*?^}}", f.read(), re.M | re.S).group(0)
    return re.findall(r"^    \w+ (\w+) = \d+;", text, re.M)


def main(build, clang):
    subprocess.run(["cmake", "-S", SOURCE, "-B", build, "-G", "Ninja", f"-DCMAKE_C_COMPILER={clang}", "-DHWM_TESTS=on", "-DHWM_BENCH=off",
                    "-DHWM_FUZZ=on", "-DHWM_SANITIZE=address,undefined", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS_DEBUG=-O1"],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    subprocess.run(["ninja", "-C", build, "fuzzers"], check=True, stdout=subprocess.DEVNULL)
    folder = os.path.join(build, "tests")
    found = sorted(name for name in os.listdir(folder) if name.startswith("fuzz_"))
    wanted = {f"fuzz_request_{name}" for name in oneof("Request")} | {f"fuzz_reply_{name}" for name in oneof("Reply")}
    wanted |= {"fuzz_reply_none", "fuzz_chunk", "fuzz_batch"}
    assert set(found) == wanted, f"no program for {wanted - set(found)}, none wanted for {set(found) - wanted}"
    runs = 0
    with tempfile.TemporaryDirectory() as corpus:
        for name in found:
            done = subprocess.run(
                [os.path.join(folder, name), "-max_len=4096", f"-max_total_time={SECONDS}", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0",
                 f"-artifact_prefix={corpus}/"], capture_output=True, text=True, cwd=corpus)
            if done.returncode != 0:
                print(done.stderr[-6000:])
                raise AssertionError(f"{name} ended with {done.returncode}")
            runs += int(re.search(r"number_of_executed_units: (\d+)", done.stderr).group(1))
    print(f"{len(found)} messages, {runs} inputs, {SECONDS} s each")


main(*sys.argv[1:])
