"""What the container tests share: the engine, the image, keys, and questions to the server from outside."""

import ipaddress
import json
import os
import socket
import subprocess
import sys
import time

SOURCE = os.environ["HWM_SOURCE_DIR"]
DEPLOY = os.path.join(SOURCE, "deploy")
BASE = os.environ.get("HWM_BASE", "debian:bookworm-slim")
IMAGE = "hwm:test"


def run(*command, timeout_s=120, check=True, env=None):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=env)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def image():
    """The image under test, from the Dockerfile; its base is made with debootstrap when the engine has none."""
    if not run("docker", "images", "-q", BASE).strip():
        run(os.path.join(DEPLOY, "base-image.sh"), BASE, timeout_s=400)
    environment = dict(os.environ, DOCKER_BUILDKIT="0")
    run("docker", "build", "-q", "--build-arg", f"BASE={BASE}", "--build-arg", "REVISION=tested", "-f", os.path.join(DEPLOY, "Dockerfile"), "-t", IMAGE, SOURCE,
        timeout_s=900, env=environment)
    size = int(run("docker", "image", "inspect", "-f", "{{.Size}}", IMAGE))
    assert size < 250e6, f"the image has {size / 1e6:.0f} MB, 250 are allowed"
    labels = json.loads(run("docker", "image", "inspect", "-f", "{{json .Config.Labels}}", IMAGE))
    assert labels["org.opencontainers.image.base.name"] == BASE and labels["org.opencontainers.image.revision"] == "tested", labels
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0", labels
    print(f"image: {size / 1e6:.0f} MB")


def keys(folder):
    run(os.path.join(DEPLOY, "keys.sh"), folder, env=dict(os.environ, HWM_IMAGE=IMAGE))


def wait(what, probe, timeout_s=60, pause_s=0.5):
    """The first true answer of probe; an assertion with its last answer otherwise."""
    end = time.monotonic() + timeout_s
    answer = None
    while time.monotonic() < end:
        answer = probe()
        if answer:
            return answer
        time.sleep(pause_s)
    raise AssertionError(f"not within {timeout_s} s: {what} (last answer {answer!r})")


def gateway():
    """The address under which a container on any of the engine's networks reaches a published port of this machine: the first of
    the default bridge's subnet."""
    subnet = run("docker", "network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Subnet}}").strip()
    return str(next(ipaddress.ip_network(subnet).hosts()))


def stats(endpoint, folder):
    """`hwm stats` from a container that belongs to no project, with the operator's key; None while the server is away."""
    done = subprocess.run(
        ["docker", "run", "--rm", "-v", f"{folder}:/keys:ro", IMAGE, "hwm", "stats", "--server", endpoint, "--key-dir", "/keys", "--json"],
        capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout) if done.returncode == 0 else None


def stats_here(port, folder):
    """The same from a process of this machine, quickly: with the programs that were just built."""
    done = subprocess.run(
        [os.path.join(os.environ["HWM_BIN_DIR"], "hwm"), "stats", "--server", f"tcp://127.0.0.1:{port}", "--key-dir", folder, "--json"],
        capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout) if done.returncode == 0 else None


class Project:
    """One docker-compose project."""

    def __init__(self, name, file, *more, **environment):
        self.name = name
        self.command = ["docker-compose", "-p", name, "-f", os.path.join(DEPLOY, file), *(word for path in more for word in ("-f", path))]
        self.environment = dict(os.environ, HWM_IMAGE=IMAGE, **environment)

    def __call__(self, *arguments, timeout_s=180, check=True):
        return run(*self.command, *arguments, timeout_s=timeout_s, check=check, env=self.environment)

    def containers(self, service):
        return self("ps", "-q", service).split()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def experiment(folder):
    """cartpole without an end, with frequent checkpoints."""
    path = os.path.join(folder, "experiment.yaml")
    with open(os.path.join(DEPLOY, "experiments", "cartpole.yaml")) as f:
        text = f.read().replace("max_env_steps: 20000", "max_env_steps: 0\n  checkpoint_interval_s: 2")
    assert "checkpoint_interval_s" in text
    with open(path, "w") as f:
        f.write(text)
    return path


def metrics(project):
    """The learner's metrics so far."""
    done = subprocess.run([*project.command, "exec", "-T", "learner", "cat", "/data/run/metrics.jsonl"], capture_output=True, text=True,
                          timeout=30, env=project.environment)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{") and line.endswith("}")]


def table(answer):
    return answer["replay"]["tables"][0]


def workers_alive(answer):
    return sum(1 for worker in answer["workers"] if worker["alive"])


def kill_program(container):
    """kill -9 of the program itself: the child of the container's init."""
    init = int(run("docker", "inspect", "-f", "{{.State.Pid}}", container))
    with open(f"/proc/{init}/task/{init}/children") as f:
        children = f.read().split()
    assert children, f"{container} runs nothing"
    for child in children:
        os.kill(int(child), 9)


def say(text):
    print(text)
    sys.stdout.flush()
