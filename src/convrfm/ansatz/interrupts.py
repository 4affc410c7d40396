"""Ctrl-C at places where it leaves everything as it should be."""

import signal
import threading
from collections.abc import Callable
from typing import Any, Self

__all__ = ["HeldInterrupts"]


class HeldInterrupts:
    """Holds Ctrl-C back until `answer` is called, or until the end of the block.

    Weights that are put into a network for a while must be taken out again, and an interrupt just then would leave the
    network without its parameters. In threads other than the main one, and where a program has no handler in Python,
    nothing is changed.
    """

    def __init__(self) -> None:
        self._waiting = False
        self._handler: Callable[[int, Any], Any] | None = None

    def __enter__(self) -> Self:
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread() and callable(handler):
            self._handler = handler
            signal.signal(signal.SIGINT, self._hold)
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self.answer()

    def answer(self) -> None:
        """Do now what an interrupt that came meanwhile should have done: as a rule, raise KeyboardInterrupt."""
        if self._waiting and self._handler is not None:
            self._waiting = False
            self._handler(signal.SIGINT, None)

    def _hold(self, _number: int, _frame: Any) -> None:
        self._waiting = True
