"""What can be read in a file, and that a hostile one costs little."""

from __future__ import annotations

import hashlib
import time

import pdf_made
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import BadInput, TooLarge
from headwater.talks import reading
from headwater.talks.reading import Reader, decode, picture


def read(tmp_path, data: bytes, name="a.bin", reader=None):
    path = tmp_path / "file"
    path.write_bytes(data)
    return (reader or Reader()).read(path, hashlib.sha256(data).hexdigest(), name)


def test_a_pdf_is_read_page_by_page_in_chinese_too(tmp_path):
    found = read(tmp_path, pdf_made.pdf("The river rises.", "长江是亚洲第一长河"))
    assert found.media_type == "application/pdf" and found.text == "The river rises.\n\n长江是亚洲第一长河"


@pytest.mark.parametrize("made, why", [
    (lambda: pdf_made.pdf("secret", password="open sesame"), "encrypted"),
    (pdf_made.bomb, "memory|time|hold together|no text"), (pdf_made.circle, "time|hold together|no text"),
    (lambda: pdf_made.pdf(""), "holds no text"), (lambda: b"%PDF-1.7\nnothing", "hold together"),
    (lambda: pdf_made.pdf("cut short")[:300], "hold together|no text")])
def test_a_pdf_that_cannot_be_read_is_refused_with_the_reason(tmp_path, made, why):
    with pytest.raises(BadInput, match=why):
        read(tmp_path, made())


def test_an_encrypted_pdf_that_opens_without_a_password_is_read(tmp_path):
    assert read(tmp_path, pdf_made.pdf("Only printing is forbidden", password="")).text == "Only printing is forbidden"


def test_work_without_end_is_ended_and_leaves_no_process(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CPU_S", 1)
    monkeypatch.setattr(reading, "WALL_S", 4)
    begun, before = time.monotonic(), {child.pid for child in psutil.Process().children()}
    with pytest.raises(BadInput, match=r"too much|too long"):
        read(tmp_path, pdf_made.endless_work())
    assert time.monotonic() - begun < 10
    assert {child.pid for child in psutil.Process().children()} <= before


def test_pages_beyond_the_limit_are_told_not_dropped_in_silence(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "PAGES_MAX", 2)
    text = read(tmp_path, pdf_made.pdf("one", "two", "three")).text
    assert text == "one\n\ntwo\n\n[cut: 2 of 3 pages were read]"


def test_a_long_pdf_is_read_as_far_as_there_is_time(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "CPU_S", 0)
    assert read(tmp_path, pdf_made.pdf("one", "two")).text == "one\n\n[cut: 1 of 2 pages were read]"


def test_the_same_file_is_read_once(tmp_path, monkeypatch):
    reader, data = Reader(), pdf_made.pdf("once")
    first = read(tmp_path, data, reader=reader)
    monkeypatch.setattr(reading, "read_pdf", None)
    assert read(tmp_path, data, reader=reader) is first


@pytest.mark.parametrize("data, kind", [
    (b"\x89PNG\r\n\x1a\n...", "image/png"), (b"\xff\xd8\xff\xe0", "image/jpeg"), (b"GIF89a", "image/gif"),
    (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"), (b"PK\x03\x04\0\0", "application/octet-stream")])
def test_pictures_and_unknown_bytes_are_told_by_their_first_bytes(tmp_path, data, kind):
    found = read(tmp_path, data)
    assert (found.media_type, found.text) == (kind, None)
    assert (picture(data) or "application/octet-stream") == kind


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_chinese_text_is_read_in_the_codings_it_comes_in(codec):
    assert decode("长江 river\r\nruns".encode(codec)) == "长江 river\nruns"


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"])))
def test_any_text_in_utf_8_is_text(text):
    # A first U+FEFF is the mark of the coding, and only that.
    assert decode(text.encode()) == text.removeprefix("\ufeff") or text.startswith(("\ufffe", "\ufeff"))


@given(st.binary(max_size=300))
def test_bytes_never_break_the_reader(data):
    text = decode(data)
    assert text is None or "\0" not in text


def test_too_long_a_text_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "TEXT_MAX", 10)
    with pytest.raises(TooLarge, match="at most 10"):
        read(tmp_path, b"eleven chars", "a.txt")
