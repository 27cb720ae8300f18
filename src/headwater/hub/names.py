"""Which names and paths are allowed. Knows the rules; knows nothing of what exists."""

from __future__ import annotations

import ipaddress
import re
import unicodedata

from headwater.core.errors import BadName, BadPath

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?\Z")
# Names a page or an API route already answers to; an account of that name would be unreachable.
RESERVED_OWNERS = frozenset({
    "api", "v1", "docs", "redoc", "openapi.json", "static", "models", "datasets", "spaces", "settings", "jobs",
    "chat", "film", "compare", "trace", "enhance", "new", "upload", "sign-in", "sign-out", "login", "logout",
    "signup", "join", "organizations", "orgs", "users", "admin", "help", "about", "healthz", "metrics",
    "favicon.ico", "robots.txt", "search", "tree", "tokens", "audit", "lineage", "none", "null", "undefined",
})
_REF = re.compile(r"[A-Za-z0-9._/+@=-]{1,200}\Z")
# The characters without a shape that real names need: Persian and Indic words and joined emoji hold them. The others
# turn the direction of what follows, so that a name reads as another.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"
MAX_PATH_BYTES = 1024
MAX_SEGMENT_BYTES = 255


def check_name(name: str, what: str = "repo") -> str:
    """A repo or account name: 1 to 96 of A-Z a-z 0-9 . _ -, no doubled dots or dashes, not ending in .git or .ipynb.

    Only ASCII, so two names cannot look alike by foreign letters. Raises BadName.
    """
    if not _NAME.match(name) or "--" in name or ".." in name or name.endswith((".git", ".ipynb")):
        raise BadName(
            f"{name[:120]!r} is not a {what} name.",
            hint="Use 1 to 96 letters, digits, '.', '_' or '-'; start and end with a letter or digit; no '--' or '..'.",
        )
    return name


def check_owner(name: str) -> str:
    check_name(name, "account")
    if name.lower() in RESERVED_OWNERS:
        raise BadName(f"{name!r} is a reserved name.", hint="Choose another.")
    return name


def split_full_name(full_name: str) -> tuple[str, str]:
    """'owner/name' in its two parts. Raises BadName."""
    owner, slash, name = full_name.partition("/")
    if not slash or "/" in name:
        raise BadName(f"{full_name[:200]!r} is not a repo.", hint="Write owner/name.")
    return check_name(owner, "account"), check_name(name)


def check_path(path: str) -> str:
    """A file's path in a repo: relative, '/' between segments, Unicode NFC, no climbing, no .git, printable.

    Raises BadPath naming what is wrong.
    """

    def refuse(why: str) -> BadPath:
        return BadPath(f"The path {path[:200]!r} {why}.", hint="Paths are relative to the repo, such as sub/file.txt.")

    if not path:
        raise refuse("is empty")
    if len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        raise refuse(f"is longer than {MAX_PATH_BYTES} bytes")
    if "\\" in path or any(unicodedata.category(c) in _UNSEEN and c not in _JOINERS for c in path):
        raise refuse("holds a backslash or a control character")
    if unicodedata.normalize("NFC", path) != path:
        raise refuse("is not in Unicode form NFC, so it could stand twice")
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            raise refuse("is absolute, or has an empty, '.' or '..' segment")
        # Some file systems do not see the joiners, and some know .git as git~1 too.
        if "".join(c for c in segment if c not in _JOINERS).lower() in (".git", "git~1"):
            raise refuse("holds a .git folder")
        if len(segment.encode("utf-8")) > MAX_SEGMENT_BYTES:
            raise refuse(f"has a segment longer than {MAX_SEGMENT_BYTES} bytes")
    return path


def check_ref(name: str, what: str = "branch") -> str:
    """A short branch or tag name, by git's rules and without what a URL could misread. Raises BadName."""
    bad = (
        not _REF.match(name) or ".." in name or "//" in name or "@{" in name or name.startswith(("/", "-", "."))
        or name.endswith(("/", ".", ".lock")) or "/." in name or name == "@" or name.startswith("refs/")
        or re.fullmatch(r"[0-9a-f]{40}", name)
    )
    if bad:
        raise BadName(f"{name[:120]!r} is not a {what} name.", hint="Use letters, digits, '.', '_', '-' and '/'.")
    return name


def branch_ref(name: str) -> str:
    return f"refs/heads/{check_ref(name)}"


def tag_ref(name: str) -> str:
    return f"refs/tags/{check_ref(name, 'tag')}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
