"""PDFs made by reportlab, and spoilt ones: what people send, and what an attacker would."""

from __future__ import annotations

import io
import zlib


def pdf(*pages: str, password: str | None = None) -> bytes:
    """One line of text a page; Chinese is set in a Chinese font."""
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.pdfgen.canvas import Canvas

    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    made = io.BytesIO()
    canvas = Canvas(made, encrypt=StandardEncryption(password, ownerPassword="owner") if password is not None else None)
    for page in pages:
        canvas.setFont("Helvetica" if page.isascii() else "STSong-Light", 12)
        canvas.drawString(72, 720, page)
        canvas.showPage()
    canvas.save()
    return made.getvalue()


def _objects(*objects: bytes) -> bytes:
    """A PDF of these objects, numbered from 1, the first being the catalogue."""
    out, places = bytearray(b"%PDF-1.7\n"), []
    for n, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (n, body)
    at = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    for place in places:
        out += b"%010d 00000 n \n" % place
    return bytes(out + b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, at))


def _page(stream: bytes, filters: bytes) -> bytes:
    return _objects(
        b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /Font << /F1 << /Type /Font "
        b"/Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d /Filter %b >>\nstream\n%b\nendstream" % (len(stream), filters, stream))


def bomb() -> bytes:
    """A page of some 4 kB that unpacks to 4 GB, in two steps."""
    once = zlib.compress(b" " * 4_000_000, 9)
    return _page(zlib.compress(once * 1000, 9), b"[/FlateDecode /FlateDecode]")


def circle() -> bytes:
    """Pages whose parent is their child."""
    return _objects(b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 99999999 >>")


def endless_work() -> bytes:
    """A small page whose operators are ten seconds of work."""
    return _page(zlib.compress(b"BT (a) Tj ET q Q " * 200_000, 9), b"/FlateDecode")
