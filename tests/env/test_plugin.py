"""The example of an environment of one's own: built with its own CMake file, run, and what is refused."""

import csv
import io
import json
import os
import subprocess
import tempfile

SOURCE = os.environ["HWM_SOURCE_DIR"]
HWM = os.path.join(os.environ["HWM_BIN_DIR"], "hwm")
EXAMPLE = os.path.join(SOURCE, "deploy/plugin-example")


def run(*arguments, code=0, environment=None):
    done = subprocess.run([HWM, *arguments], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **(environment or {})})
    assert done.returncode == code, (arguments, done.returncode, done.stderr)
    return done.stdout if code == 0 else done.stderr


def build(folder):
    subprocess.run(["cmake", "-S", EXAMPLE, "-B", folder, f"-DHWM_INCLUDE={SOURCE}/common"],
                   check=True, capture_output=True, timeout=60)
    subprocess.run(["cmake", "--build", folder], check=True, capture_output=True, timeout=60)
    assert os.path.exists(os.path.join(folder, "spring.so"))


def compile_variant(folder, name, change):
    text = change(open(os.path.join(EXAMPLE, "spring.c")).read())
    path = os.path.join(folder, name + ".c")
    open(path, "w").write(text)
    subprocess.run(["cc", "-std=c11", "-shared", "-fPIC", "-I", SOURCE + "/common", "-o",
                    os.path.join(folder, name + ".so"), path, "-lm"], check=True, timeout=60)


def test_runs(folder):
    use = ["--plugin-dir", folder, "--set", "env.plugin=spring"]
    spec = json.loads(run("envs", "plugin", "--json", *use))
    assert spec["obs_dim"] == 3 and spec["action_dim"] == 1 and not spec["discrete"]
    actions = os.path.join(folder, "actions.csv")
    forces = [0.5, -1.0, 0.25, 7.0]
    open(actions, "w").writelines(f"{u}\n" for u in forces)
    arguments = ["trace", "--env", "plugin", "--init-state", "0.5,-0.25,0.1", "--actions", actions, *use]
    rows = list(csv.DictReader(io.StringIO(run(*arguments))))
    # the equations of the example, once more
    x, v = 0.5, -0.25
    for row, u in zip(rows, forces):
        assert abs(float(row["obs.x"]) - x) < 1e-6 and abs(float(row["obs.v"]) - v) < 1e-6
        v += 0.05 * (2.0 * max(-1.0, min(1.0, u)) - x)
        x += 0.05 * v
        assert abs(float(row["reward"]) - (1 - min(1, (x - 0.1) ** 2 + 0.1 * v * v))) < 1e-6
    flipped = list(csv.DictReader(io.StringIO(run(*arguments, "--variant", "flip"))))
    assert float(flipped[1]["obs.v"]) < float(rows[1]["obs.v"])
    random = ["trace", "--env", "plugin", "--seed", "3", *use]
    assert run(*random) == run(*random) and len(run(*random).splitlines()) == 202
    from_environment = run("trace", "--env", "plugin", "--seed", "3", "--set", "env.plugin=spring",
                           environment={"HWM_PLUGIN_DIR": folder})
    assert from_environment == run(*random)


def test_refusals(folder):
    compile_variant(folder, "newer", lambda s: s.replace(".abi = HWM_ENV_PLUGIN_ABI", ".abi = 7"))
    compile_variant(folder, "silent", lambda s: s.replace("hwm_env_plugin_entry", "another_entry"))
    compile_variant(folder, "wide", lambda s: s.replace(".obs_dim = 3", ".obs_dim = 3000"))
    open(os.path.join(folder, "text.so"), "w").write("not a shared object")
    for name, says in (
        ("newer", "interface 7"),
        ("silent", "hwm_env_plugin_entry"),
        ("wide", "obs_dim"),
        ("text", "text.so"),
        ("missing", "missing.so"),
        ("../spring", "base name"),
        ("", "base name"),
    ):
        failed = 1 if name == "newer" else 2
        text = run("trace", "--env", "plugin", "--plugin-dir", folder, "--set", f"env.plugin={name}", code=failed)
        assert says in text, (name, text)
    assert "--plugin-dir" in run("trace", "--env", "plugin", "--set", "env.plugin=spring", code=2)


def test_what_is_not_finite_ends_the_episode(folder):
    compile_variant(folder, "wild", lambda s: s.replace("*reward = (float)(", "*reward = (float)(s->x / 0.0 + "))
    done = subprocess.run([HWM, "trace", "--env", "plugin", "--plugin-dir", folder, "--set", "env.plugin=wild"],
                          capture_output=True, text=True, timeout=60)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert done.returncode == 0 and len(rows) == 2
    assert rows[0]["truncated"] == "1" and float(rows[0]["reward"]) == 0.0
    assert "diverged" in done.stderr


# What every environment must do (test_env.c), the plug-in does: seeds, threads, saved states, and long
# random runs, with every variant that it can have as well. HWM_FULL makes them 10^6 decisions long.
def test_is_an_environment_like_any_other(folder):
    program = os.path.join(os.environ["HWM_BIN_DIR"], "../tests/test_env")
    done = subprocess.run([program], capture_output=True, text=True,
                          env={**os.environ, "HWM_PLUGIN_DIR": folder})
    assert done.returncode == 0 and "PASSED" in done.stdout + done.stderr, done.stdout + done.stderr


with tempfile.TemporaryDirectory() as folder:
    build(folder)
    test_is_an_environment_like_any_other(folder)
    test_runs(folder)
    test_refusals(folder)
    test_what_is_not_finite_ends_the_episode(folder)
print("ok")
