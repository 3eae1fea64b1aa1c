"""A worker behind a bad link, in a network namespace of its own: 100 ms, 5 % of all packets lost, and 60 s of a cut line.

Nothing is lost or stored twice, the worker is at work again within 10 s of the line's healing, those beside it are never held up,
its open episode is closed and not stitched, and SIGTERM over such a link still ends with everything acknowledged within 10 s.

usage: test_links.py far_worker   (needs root)
"""

import sys
import time

from link import Link, Namespace, enter
from rpc import STEPS, Server
from test_faults import Appender, make_table, stats

CUT_S = 60
SERVER_IP, WORKER_IP = "10.77.0.1", "10.77.0.2"
RATE = 50  # chunks a second of the far worker


def until(what, condition, seconds):
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - start


def far_worker():
    with Namespace("s") as here, Namespace("w") as there, Server(curve=True) as server:
        link = Link(here.path, there.path, SERVER_IP, WORKER_IP)
        enter(here.path)  # from here on everything lives beside the server, except what nsenter starts elsewhere
        server.listen = "tcp://0.0.0.0:*"
        server.start()
        port = server.endpoint.rsplit(":", 1)[1]
        server.endpoint = f"tcp://127.0.0.1:{port}"
        learner = make_table(server)
        away = ["nsenter", f"--net={there.path}"]
        near = Appender(server, 100)
        far = Appender(server, RATE, endpoint=f"tcp://{SERVER_IP}:{port}", prefix=away)
        try:
            until("a first chunk of either worker", lambda: near.read()[1] > 0 and far.read()[1] > 0, 5)
            link.delay_s.value, link.loss.value = 0.1, 0.05
            at = far.read()[1]
            time.sleep(10)
            slow = (far.read()[1] - at) / 10
            assert far.read()[2] == 0, "100 ms and 5 % are no reason to be given up"
            assert slow > 0.5 * RATE, f"{slow:.1f} of {RATE} chunks a second came through"

            link.cut.value = 1
            cut_at = far.read()[1]
            time.sleep(CUT_S)
            assert far.read()[1] <= cut_at + RATE, "the line is not cut"
            assert [w["alive"] for w in stats(learner)["workers"] if w["steps_per_s"] == 0] == [False]
            link.cut.value = 0
            again = until("the far worker is back", lambda: far.read()[2] == 1 and far.read()[1] > cut_at + RATE, 10)
            waited = max(line[3] for line in near.lines)
            assert waited < 2000, f"the worker beside the server waited {waited} ms for an acknowledgement"

            start = time.monotonic()
            total = far.stop(10)
            stopping = time.monotonic() - start
            chunks = near.stop() + total
            table = stats(learner)["replay"]["tables"][0]
            assert table["inserted_steps"] == STEPS * chunks, (table["inserted_steps"], STEPS * chunks)
            # the far worker's old stream ends where the line was cut, the new one begins an episode of its own
            assert table["streams"] == 3 and table["gaps"] == 0, table
            print(f"{slow:.0f} of {RATE} chunks a second at 100 ms and 5 %; back {again:.1f} s after {CUT_S} s of a cut line; "
                  f"{chunks} chunks stored once; the near worker waited at most {waited} ms; stopped in {stopping:.1f} s; "
                  f"{link.lost.value} packets lost")
        finally:
            for worker in (near, far):
                worker.process.kill()
                worker.process.wait()
            link.close()


if __name__ == "__main__":
    {"far_worker": far_worker}[sys.argv[1]]()
