"""Numbers, sizes and times as people read them, in their language. Pure functions; unknown is None and says so."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from babel import dates, numbers

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: int | None, language: str = "en") -> str:
    """1_234_567 -> '1.23 MB'. Decimal units, three figures, as model hubs count."""
    if count is None:
        return "–"
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return f"{numbers.format_decimal(value, pattern, locale=language)} {_UNITS[unit]}"


def count(value: int | None, language: str = "en") -> str:
    """1234567 -> '1,234,567'."""
    return "–" if value is None else numbers.format_decimal(value, locale=language)


def short(value: int | None) -> str:
    """Parameters as the field writes them: 134515008 -> '135M', 6738415616 -> '6.74B'."""
    if value is None:
        return "–"
    for unit, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if value >= unit:
            figure = value / unit
            return f"{figure:.3g}{letter}" if figure < 999.5 else f"{figure:.0f}{letter}"
    return str(value)


def ago(at: float | None, language: str = "en", now: float | None = None) -> str:
    """'3 hours ago'."""
    if at is None:
        return "–"
    passed = (time.time() if now is None else now) - at
    return dates.format_timedelta(-max(passed, 0), add_direction=True, locale=language)


def moment(at: float | None, language: str = "en") -> str:
    """'22 Nov 2026, 14:03 UTC', for the title of a time and for paper."""
    if at is None:
        return "–"
    text = dates.format_datetime(datetime.fromtimestamp(at, UTC), "medium", locale=language)
    return f"{text} UTC"


def stamp(at: float) -> str:
    """ISO 8601 for <time datetime>."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(at: float, language: str = "en") -> str:
    """'22 Nov 2026'."""
    return dates.format_date(datetime.fromtimestamp(at, UTC), "medium", locale=language)


def lasted(seconds: float, language: str = "en") -> str:
    """'0.4 s', '12 s', '3 min 20 s', '2 h 5 min'."""
    if seconds < 10:
        return f"{numbers.format_decimal(seconds, '0.0', locale=language)} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
