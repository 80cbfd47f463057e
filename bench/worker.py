"""One long-lived process per system, so that runs can be interleaved system by system, repeat by repeat.

``Worker`` is the side of the benchmark; run as a script, this file is the side of the system.  They exchange one line
of JSON per call; arrays travel as .npy files and are read into memory, never timed.  What a library prints goes to a
log that is shown when the process fails.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class WorkerFailed(RuntimeError):
    """The system raised, died or took too long; the message is one line."""


def environment(n_threads: int, **more: str) -> dict[str, str]:
    """Environment of a measured process: every library gets the same threads, the checkout comes first on the path."""
    env = dict(os.environ)
    env.update(dict.fromkeys(THREAD_VARIABLES, str(n_threads)))
    env["PYTHONFAULTHANDLER"] = "1"
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), env.get("PYTHONPATH"))))
    env.update(more)
    return env


def pin(n_threads: int) -> None:
    """Keep this process on its first CPUs, for the libraries that look at the mask alone (Linux)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n_threads])


def last_words(log: str) -> str:
    """The line of a log that says most: where a fatal error struck, or the last one."""
    lines = [line.strip() for line in log.strip().splitlines()]
    fatal = next((i for i, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
    if fatal is not None:
        where = next((line for line in lines[fatal:] if line.startswith("File ")), "")
        return f"{lines[fatal]} {where}".strip()
    return lines[-1][:200] if lines else "nothing on stderr"


class Worker:
    """A process that holds one system and one data set.

    Parameters
    ----------
    system : str
        Name in ``systems.SYSTEMS``.
    n_threads : int
        Threads every library in it may use.
    time_limit : float
        Seconds after which a call is given up and the process ended.
    **more
        Further environment variables.
    """

    def __init__(self, system: str, n_threads: int, time_limit: float, **more: str) -> None:
        self.system = system
        self.time_limit = time_limit
        self._log = tempfile.TemporaryFile("w+", errors="replace")
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), system, str(n_threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(n_threads, **more),
            text=True,
        )
        self._replies: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._replies.put(line)
        self._replies.put("")  # end of file: the process is gone

    def call(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Run a command in the process and return its answer; WorkerFailed where there is none."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._replies.get(timeout=self.time_limit)
        except queue.Empty:
            self.close()
            raise WorkerFailed(f"over {self.time_limit:g} s") from None
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._process.wait()
            raise WorkerFailed(f"process ended with status {status}: {self._last_words()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerFailed(answer["error"])
        return answer

    def _last_words(self) -> str:
        self._log.seek(0)
        return last_words(self._log.read())

    def close(self) -> None:
        """End the process; safe to call twice."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:  # an unread command was left in the pipe
                    continue
        self._log.close()


class _Server:
    """The commands of the process that holds a system."""

    def __init__(self, system: str, n_threads: int) -> None:
        from systems import SYSTEMS

        self.n_threads = n_threads
        self.system = SYSTEMS[system](n_threads)

    def hello(self) -> dict[str, Any]:
        began = time.perf_counter()
        self.system.load()
        return {"version": self.system.version(), "import_seconds": time.perf_counter() - began}

    def data(self, path: str, start: str | None = None, dtype: str = "float32") -> dict[str, Any]:
        import numpy as np

        self.X = self.start = None  # the old set goes before the new one comes
        gc.collect()
        self.X = self.system.prepare(np.ascontiguousarray(np.load(path), dtype=dtype))
        self.start = None if start is None else np.load(start).astype(dtype)
        return {}

    def warm(self, n_clusters: int | None = None, task: str = "seed") -> dict[str, Any]:
        """Two small runs on the kernels of the timed one: the second tells how much of the first was compiling."""
        assert self.X is not None
        rows = self.X if self.system.warm_rows is None else self.X[: max(self.system.warm_rows, 4 * (n_clusters or 0))]
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            if self.start is None:
                run = self.system.default if task == "default" else self.system.seed
                run(rows, min(n_clusters or 2, self.system.warm_clusters or 10**9), 0)
            else:
                self.system.warm(rows, self.start.copy())
            seconds.append(time.perf_counter() - began)
        return {"first": seconds[0], "second": seconds[1], **self.system.details()}

    def fit(
        self, max_iter: int, out: str | None = None, n_threads: int | None = None, tol: float = 0.0
    ) -> dict[str, Any]:
        assert self.X is not None and self.start is not None
        start = self.start.copy()
        gc.collect()
        began = time.perf_counter()
        outcome = self.system.fit(self.X, start, max_iter, n_threads, tol)
        return self._answer(time.perf_counter() - began, outcome, out)

    def seed(self, n_clusters: int, seed: int, out: str | None = None) -> dict[str, Any]:
        assert self.X is not None
        gc.collect()
        began = time.perf_counter()
        outcome = self.system.seed(self.X, n_clusters, seed)
        return self._answer(time.perf_counter() - began, outcome, out)

    def default(self, n_clusters: int, seed: int, out: str | None = None) -> dict[str, Any]:
        assert self.X is not None
        gc.collect()
        began = time.perf_counter()
        outcome = self.system.default(self.X, n_clusters, seed)
        return self._answer(time.perf_counter() - began, outcome, out)

    @staticmethod
    def _answer(seconds: float, outcome: Any, out: str | None) -> dict[str, Any]:
        import numpy as np

        if out is not None:
            np.save(out, outcome.centers)
        n_iter = None if outcome.n_iter is None else int(outcome.n_iter)
        return {"seconds": seconds, "n_iter": n_iter, "pass_seconds": [float(s) for s in outcome.pass_seconds]}

    def sgemm(self, size: int, repeats: int) -> dict[str, Any]:
        """GFLOP/s of the float32 product of two square matrices, best of several."""
        import numpy as np

        rng = np.random.default_rng(0)
        A = rng.standard_normal((size, size), dtype=np.float32)
        B = rng.standard_normal((size, size), dtype=np.float32)
        C = np.empty_like(A)
        seconds = []
        for _ in range(repeats + 1):  # the first one warms up
            began = time.perf_counter()
            np.matmul(A, B, out=C)
            seconds.append(time.perf_counter() - began)
        return {"gflops": 2e-9 * size**3 / min(seconds[1:])}


def serve(system: str, n_threads: int) -> None:
    """Answer the lines on standard input until it ends; errors are answers too."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print must not mix with the answers
    pin(n_threads)
    server = _Server(system, n_threads)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(server, request.pop("command"))(**request)
        except Exception as error:  # any failure of a peer is a row of the table, not the end of the benchmark
            text = " ".join(str(error).split())
            answer = {"error": f"{type(error).__name__}: {text[:200]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
