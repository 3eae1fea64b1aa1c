"""The system on a one-node Swarm: it comes up, secrets arrive, scaling works."""

import os
import shutil
import tempfile

from engine import DEPLOY, IMAGE, gateway, image, keys, run, say, stats, table, wait, workers_alive

STACK = f"hwmstack{os.getpid()}"
PORT = "15555"


def main():
    image()
    joined = run("docker", "info", "-f", "{{.Swarm.LocalNodeState}}").strip() == "active"
    folder = tempfile.mkdtemp(prefix="hwm-keys-")
    keys(folder)
    try:
        if not joined:
            run("docker", "swarm", "init", "--advertise-addr", "127.0.0.1")
        node = run("docker", "node", "ls", "-q").split()[0]
        run("docker", "node", "update", "--label-add", "hwm.data=true", node)
        run("docker", "stack", "deploy", "--resolve-image", "never", "-c", os.path.join(DEPLOY, "stack.yaml"), STACK,
            env=dict(os.environ, HWM_IMAGE=IMAGE, HWM_KEYS=folder, HWM_PORT=PORT))
        ask = lambda: stats(f"tcp://{gateway()}:{PORT}", folder)
        wait("the node's worker stores experience", lambda: (a := ask()) and workers_alive(a) == 1 and a["replay"]["tables"]
             and table(a)["steps"] > 500, 120)
        run("docker", "service", "scale", "-d", f"{STACK}_extra=2")
        answer = wait("two more workers", lambda: (a := ask()) and workers_alive(a) == 3 and a, 60)
        say(f"swarm: {workers_alive(answer)} workers, {table(answer)['steps']} steps stored")
    except BaseException:
        for service in ("server", "learner", "worker"):
            print(run("docker", "service", "ps", "--no-trunc", f"{STACK}_{service}", check=False))
            print(run("docker", "service", "logs", "--tail", "20", f"{STACK}_{service}", check=False))
        raise
    finally:
        run("docker", "stack", "rm", STACK, check=False)
        wait("the stack's containers are gone", lambda: not run("docker", "ps", "-q", "-f", f"name={STACK}_").strip(), 60)
        if not joined:
            run("docker", "swarm", "leave", "--force", check=False)
        for volume in run("docker", "volume", "ls", "-q", "-f", f"name={STACK}_").split():
            run("docker", "volume", "rm", volume, check=False)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
