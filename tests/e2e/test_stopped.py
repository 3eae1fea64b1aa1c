"""Three trainings at once, and of each another program is stopped (SIGSTOP): the learner, the worker, the server. What the other two hold in
memory stays bounded for as long as it lasts (60 s; ten minutes with HWM_FULL), none of them dies, and when it goes on, so does training."""

import os
import signal
import sys
import time

from rpc import FULL
from runs import Scratch, children, expect, finish, last, small_set, wait_for

SECONDS = 600 if FULL else 60
PROGRAMS = ("hwm-learner", "hwm-worker", "hwm-server")
# a worker that cannot send keeps 64 MiB of chunks, and its allocator something beside each
GROWTH_MAX_BYTES = {"hwm-learner": 64 << 20, "hwm-worker": 160 << 20, "hwm-server": 64 << 20}


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def main():
    with Scratch() as s:
        trains = {name: s.train("--max-env-steps", "1000000", run_dir=s.run_dir(name), *small_set()) for name in PROGRAMS}
        for name, train in trains.items():
            wait_for("the first updates", lambda: last(s.run_dir(name), "updates") >= 5, 120, train)
        pids = {name: {program: children(train, program)[0] for program in PROGRAMS} for name, train in trains.items()}
        stopped = [pids[name][name] for name in PROGRAMS]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(5)  # what was under way has arrived
            before = {name: {p: resident_bytes(pid) for p, pid in pids[name].items()} for name in PROGRAMS}
            at = {name: last(s.run_dir(name), "updates") for name in PROGRAMS}
            time.sleep(SECONDS)
            for name in PROGRAMS:
                expect(trains[name].poll() is None, name, "stopped, and training ended:", trains[name].poll())
                for program in PROGRAMS:
                    pid = pids[name][program]
                    growth = resident_bytes(pid) - before[name][program]
                    expect(growth < GROWTH_MAX_BYTES[program], program, "grew by", growth, "bytes beside a stopped", name)
                    print(f"{name} stopped for {SECONDS} s: {program} grew by {growth / 2**20:.1f} MiB")
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        start = time.time()
        for name, train in trains.items():
            wait_for("more updates", lambda: last(s.run_dir(name), "updates") > at[name] + 5, 60, train)
            print(f"{name} went on: updates again after at most {time.time() - start:.1f} s")
        for name, train in trains.items():
            expect({p: children(train, p)[0] for p in PROGRAMS} == pids[name], "a program was started again beside a stopped", name)
            train.terminate()
        for name, train in trains.items():
            code, out, err = finish(train, 60)
            expect(code == 0, name, "was stopped; exit", code, out, err)


if __name__ == "__main__":
    main()
    print(f"{sys.argv[0]}: passed")
