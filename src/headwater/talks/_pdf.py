"""The text of a PDF: `python -I _pdf.py MEMORY_BYTES CPU_S PAGES CHARACTERS < file`. One JSON object on stdout.

A program of its own, because a PDF is a stranger's and may ask for any amount of work: the limits are the
operating system's. It imports nothing of Headwater.
"""

import io
import json
import resource
import sys
import time


def limit(memory: int, seconds: int) -> None:
    for what, value in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0),
                        (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, 64)):
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(what, (value, value))
        except (OSError, ValueError) as error:  # macOS does not know every limit
            print(f"limit {what} is not set: {error}", file=sys.stderr)


def read(data: bytes, seconds: int, pages_max: int, characters_max: int) -> dict[str, object]:
    """{"text", "pages", "read": pages that were read, "broken": those that could not be} or {"error": why}.

    After so many seconds of work no further page is begun."""
    import pypdf

    try:
        found = pypdf.PdfReader(io.BytesIO(data))
        # Many PDFs are encrypted with an empty password, only to forbid printing; those open.
        if found.is_encrypted and not found.decrypt(""):
            return {"error": "it is encrypted"}
        pages = len(found.pages)
    except pypdf.errors.DependencyError:
        return {"error": "it is encrypted"}
    texts: list[str] = []
    size = broken = done = 0
    for page in found.pages[:pages_max]:
        if done and time.process_time() > seconds:
            break
        try:
            text = page.extract_text()
        except MemoryError:
            raise
        except Exception:  # a page may be broken in any way; the others are still worth reading
            text, broken = "", broken + 1
        done += 1
        texts.append(text.strip())
        size += len(text)
        if size >= characters_max:
            break
    joined = "\n\n".join(text for text in texts if text)
    return {"text": joined[:characters_max], "pages": pages, "read": done, "broken": broken,
            "cut": len(joined) > characters_max}


def main() -> None:
    memory, seconds, pages, characters = map(int, sys.argv[1:5])
    limit(memory, 2 * seconds + 1)  # a single page may take longer than all
    try:
        told = read(sys.stdin.buffer.read(), seconds, pages, characters)
    except MemoryError:
        told = {"error": "it needs too much memory"}
    except Exception as error:  # whatever a hostile file provokes, the answer is one line
        told = {"error": f"it does not hold together ({type(error).__name__})"}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
