"""An order at another server, from placing it to the file that came: with patience, and never placed twice.

What was noted last decides where it begins again: nothing yet (order), "asked" (an order may have gone out: look for it
first), an id (wait for that one). Knows no form of API and no video.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from headwater.core.elsewhere import Errand
from headwater.core.errors import EngineFailed, HeadwaterError, NotFound
from headwater.core.film import FilmRequest, Step
from headwater.core.work import Cancelled
from headwater.film_engines.remote_videos._api import Api, Later, Seen
from headwater.film_engines.remote_videos._wire import Lost, Unsent, pause

VIDEO_MAX = 500_000_000
BACK_OFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
TOGETHER_S = 86_400.0
"""A film that is not made within a day is given up."""
WITHDRAW_TRIES = 3
log = logging.getLogger("headwater")
Found = TypeVar("Found")


class Watch:
    """One order. host: for people."""

    def __init__(self, api: Api, host: str, request: FilmRequest, errand: Errand):
        self._api, self._host, self._request, self._errand = api, host, request, errand
        self._noted = dict(errand.noted)
        self._step = Step("order", 0, 0)

    def bring(self, target: Path) -> tuple[str, Seen]:
        """(the order's id, what the server says of the film), the file being in `target`. Raises EngineFailed,
        BadInput, TooLarge, and Cancelled once the order is called back."""
        if self._noted.get("order") not in (None, self._errand.order):  # changed while it was held
            self._withdraw()
            self._noted = {}
        try:
            number = self._noted.get("id") or self._ordered()
            seen = self._made(number)
            self._told(Step("arrive", 99, 100))
            self._patiently(lambda: self._api.download(number, seen, target, VIDEO_MAX, lambda size: self._look()))
            return number, seen
        except Cancelled as end:
            if end.args == ("cancel",):  # otherwise the hub stops, or the film is held, and this begins again
                self._withdraw()
            raise

    def _ordered(self) -> str:
        self._look()
        if not self._noted.get("asked"):
            self._note(order=self._errand.order, asked=True, mark=self._patiently(self._api.mark))
        elif (number := self._lost()) is not None:
            return number
        return self._patiently(self._order_once)

    def _order_once(self) -> str:
        """Raises Unsent or Later when there is no order, so that it may be tried again; never Lost."""
        try:
            return self._known(self._api.order(self._request, self._errand.order))
        except Lost as error:
            log.warning("a film's order may have been lost: %s", error)
            if (number := self._lost()) is not None:
                return number
            raise Later(str(error), BACK_OFF_S[0]) from None  # the server says that it has no such order

    def _lost(self) -> str | None:
        number = self._patiently(lambda: self._api.lost(self._request, self._errand.order, self._noted.get("mark")))
        return self._known(number) if number is not None else None

    def _known(self, number: str) -> str:
        self._note(id=number)
        return number

    def _made(self, number: str) -> Seen:
        end = time.monotonic() + TOGETHER_S
        while True:
            seen = self._patiently(lambda: self._api.look(number, self._request))
            if seen.state == "made":
                return seen
            if seen.state == "failed":
                raise EngineFailed(seen.why)
            if time.monotonic() > end:
                self._withdraw()
                raise EngineFailed(f"{self._host} did not make the film in a day, and it was called back.")
            self._told(Step("elsewhere", seen.progress, 100))
            pause(seen.after, self._look)

    def _patiently(self, what: Callable[[], Found]) -> Found:
        """`what`, tried again while the server cannot be reached, at most for the setting film_remote_wait_s."""
        patience, began, tries = self._errand.settings.film_remote_wait_s, time.monotonic(), 0
        while True:
            self._look()
            try:
                return what()
            except (Unsent, Lost, Later) as error:
                wait = error.seconds if isinstance(error, Later) else BACK_OFF_S[min(tries, len(BACK_OFF_S) - 1)]
                tries += 1
                if time.monotonic() - began + wait > patience:
                    raise EngineFailed(f"{error}. It was tried {tries} times in {time.monotonic() - began:.0f} s.",
                                       hint="Order the film again when the server answers.") from None
                pause(wait, self._look)

    def _withdraw(self) -> None:
        """Call the order back, as far as there may be one; a sentence of why not is noted as `left`."""
        if not self._noted.get("asked"):
            return
        why: str | None = None
        for _ in range(WITHDRAW_TRIES):
            try:
                number = self._noted.get("id") or self._api.lost(self._request, self._noted["order"],
                                                                 self._noted.get("mark"))
                why = self._api.withdraw(str(number)) if number else None
                break
            except NotFound:
                return
            except (Unsent, Lost, Later) as error:
                why = f"The film could not be called back ({error}): it may go on being made there."
                time.sleep(BACK_OFF_S[0])
            except HeadwaterError as error:
                why = str(error)
                break
        if why:
            self._note(left=why)

    def _note(self, **more: Any) -> None:
        self._noted |= more
        self._errand.note(dict(self._noted))

    def _told(self, step: Step) -> None:
        self._step = step
        self._errand.tell(step)

    def _look(self) -> None:
        self._errand.tell(self._step)
