"""A line on the terminal whenever nothing has been printed for some seconds: the name of the running test."""

from __future__ import annotations

import os
import threading
import time

import pytest

MOST_SILENCE_S = 8.0


class Heartbeat:
    """A pytest plugin that names the test that is running, and for how long, while the terminal is silent."""

    def __init__(self, terminal: int, most_silence_s: float = MOST_SILENCE_S) -> None:
        """`terminal` is a descriptor of the terminal that stays one while pytest captures standard output."""
        self.terminal = terminal
        self.most_silence_s = most_silence_s
        self.running = "collecting the tests, which imports PyTorch"
        self.started_s = self.printed_s = time.monotonic()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.beat, name="heartbeat", daemon=True)
        self.thread.start()

    def beat(self) -> None:
        """Print a line at the end of each silence, until the session is over."""
        while not self.over.wait(self.most_silence_s / 8):
            now_s = time.monotonic()
            if now_s - self.printed_s >= self.most_silence_s:
                line = f"\n{now_s - self.started_s:4.0f} s  {self.running}\n"
                os.write(self.terminal, line.encode(errors="replace"))
                self.printed_s = now_s

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note which test runs now."""
        self.running, self.started_s = nodeid, time.monotonic()

    def pytest_runtest_logfinish(self) -> None:
        """Note that pytest has printed a dot."""
        self.printed_s = time.monotonic()

    def pytest_sessionfinish(self) -> None:
        """Note that no test runs any more."""
        self.running, self.started_s = "ending", time.monotonic()

    def pytest_unconfigure(self) -> None:
        """End the thread."""
        self.over.set()
        self.thread.join()
        os.close(self.terminal)


def register(config: pytest.Config) -> None:
    """Start the plugin; to be called while pytest does not capture, as in `pytest_configure`."""
    config.pluginmanager.register(Heartbeat(os.dup(1)), "heartbeat")
