"""Every error a person or a client can be shown, in one tree.

    HeadwaterError                       500
    ├── BadInput                         400   the request says something that cannot be
    │   ├── BadName, BadPath             400
    │   ├── CorruptFile                  400   a model file that does not hold together
    │   └── Unprocessable                422
    ├── NotSignedIn                      401
    ├── Forbidden                        403   the account may see this but not do that
    ├── NotFound                         404   absent, or private: never told apart
    │   ├── RepoNotFound
    │   ├── RevisionNotFound
    │   ├── EntryNotFound
    │   └── ModelNotFound
    ├── Conflict                         409
    │   └── RepoExists
    ├── StaleParent                      412   the branch moved since the client looked
    ├── TooLarge                         413
    ├── BadRange                         416
    ├── Busy                             429   try again, later
    ├── NotBuilt                         501   Headwater does not do this; says why
    ├── Unavailable                      503
    │   ├── EngineFailed
    │   └── Damaged                       bytes that are kept are not what was kept
    └── DiskFull                         507

`code` is what the Hugging Face clients read from X-Error-Code (they turn four of them into named
exceptions); `hint` is the next step, and is shown after the message in every client, page and terminal.
"""


class HeadwaterError(Exception):
    """Base of all. `status` is the HTTP status, `code` the wire name, `hint` the next step or None."""

    status = 500
    code = "InternalError"

    def __init__(self, message: str, *, hint: str | None = None):
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class BadInput(HeadwaterError):
    status, code = 400, "BadRequest"


class BadName(BadInput):
    """A repo, account, branch or tag name that is not allowed."""


class BadPath(BadInput):
    """A file path that is absolute, climbs out, hides or clashes."""


class CorruptFile(BadInput):
    """A model file that does not hold together; the message names the byte and what was expected."""

    code = "CorruptFile"


class Unprocessable(BadInput):
    status, code = 422, "Unprocessable"


class NotSignedIn(HeadwaterError):
    status, code = 401, "NotSignedIn"


class Forbidden(HeadwaterError):
    status, code = 403, "Forbidden"


class NotFound(HeadwaterError):
    status, code = 404, "NotFound"


class RepoNotFound(NotFound):
    code = "RepoNotFound"


class RevisionNotFound(NotFound):
    code = "RevisionNotFound"


class EntryNotFound(NotFound):
    code = "EntryNotFound"


class ModelNotFound(NotFound):
    """No model of that name can be run here. The wire code is OpenAI's."""

    code = "model_not_found"


class Conflict(HeadwaterError):
    status, code = 409, "Conflict"


class RepoExists(Conflict):
    code = "RepoExists"


class StaleParent(HeadwaterError):
    """The branch is not where the client thought. Nothing was written."""

    status, code = 412, "StaleParent"


class TooLarge(HeadwaterError):
    status, code = 413, "TooLarge"


class BadRange(HeadwaterError):
    """`size` is what the client must know to ask again: how many bytes there are."""

    status, code = 416, "BadRange"

    def __init__(self, message: str, *, size: int, hint: str | None = None):
        super().__init__(message, hint=hint)
        self.size = size


class Busy(HeadwaterError):
    """Too much at once. `retry_after` is in seconds."""

    status, code = 429, "Busy"

    def __init__(self, message: str, *, retry_after: int = 1, hint: str | None = None):
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class NotBuilt(HeadwaterError):
    """A part of somebody's API that Headwater does not have, on purpose or not yet."""

    status, code = 501, "NotBuilt"


class Unavailable(HeadwaterError):
    status, code = 503, "Unavailable"


class EngineFailed(Unavailable):
    """A worker did not start, or died. The message ends with its last log lines."""

    code = "EngineFailed"


class Damaged(Unavailable):
    """Bytes that are kept turned out not to be what was kept."""

    code = "Damaged"


class DiskFull(HeadwaterError):
    status, code = 507, "DiskFull"
