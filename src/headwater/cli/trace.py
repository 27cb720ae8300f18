"""`headwater trace`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from headwater.cli._common import Common, note, plain, show_json, show_table
from headwater.core.errors import BadInput, HeadwaterError

if TYPE_CHECKING:
    from headwater.cli._hub import Door

_WHAT = "owner/name[@revision] of the hub, a folder, a model file, or hf:owner/name[@revision] at HF_ENDPOINT."
_SURE = {"proof": "proof", "strong": "strong", "moderate": "moderate", "weak": "weak"}


def trace(
    model: Annotated[str, Parameter(help=_WHAT)],
    other: Annotated[str | None, Parameter(help="The model to compare it with; without one, all of the hub's.")] = None,
    /, *,
    whole: Annotated[bool, Parameter(negative="", help="Compare the files of two: all neurons, each tensor.")] = False,
    api: Annotated[str | None, Parameter(help="Address of a closed model's API (https://host/v1): hold its answers "
                                              "beside MODEL's. The key is read from HEADWATER_API_KEY.")] = None,
    model_there: Annotated[str | None, Parameter(name="--model", help="The closed model's name there.")] = None,
    control: Annotated[tuple[str, ...], Parameter(negative="", help="A model of the hub that is not related to it; "
                                                  "two or more. Without any, the hub picks.")] = (),
    prompts: Annotated[int, Parameter(help="How many questions are put to each, 100 to 1000.")] = 400,
    dry_run: Annotated[bool, Parameter(negative="", help="With --api: only say how many requests it takes.")] = False,
    common: Common = Common(),
) -> None:
    """Say where a model comes from, by its weights.

    With one model, among all that the hub knows; with two, of the pair.

    Two models that are not the hub's need no hub, and get the numbers the hub would get. Of hf: models only the ranges
    that are looked at are fetched, and nothing is kept.

    With --api, whether a model whose weights nobody shows answers like one of the hub, more than unrelated models do:
    something to be told beside weights, never instead of them. What breaks off goes on when it is run again.
    """
    if api is not None or model_there is not None:
        from headwater.cli._closed import check, hold_beside

        check(model, other, whole, api, model_there)
        hold_beside(model, api or "", model_there or "", control, prompts, dry_run, common)
        return
    if whole and other is None:
        raise BadInput("--whole compares two models.", hint="Name the second.")
    from headwater.cli._prints import is_of_hub, print_of

    if other is not None:
        first, second = (print_of(one, common) for one in (model, other))
        said = _judged(first.body, second.body) | {"a": first.name, "b": second.name, "read": [
            {"bytes_read": p.bytes_read, "total_bytes": p.total_bytes} for p in (first, second)]}
        if whole:
            from headwater.cli._whole import whole_of

            said["whole"] = whole_of((model, other), (first, second), common)
        if common.json:
            show_json(said)
        else:
            _show_pair(said)
        return
    found = _family(model, common) if is_of_hub(model) else _strangers(model, common)
    if common.json:
        show_json(found)
    else:
        _show_family(found)


def _judged(first: bytes, second: bytes) -> dict[str, Any]:
    from headwater.trace.fingerprint import Fingerprint
    from headwater.trace.judge import judge
    from headwater.trace.null import NullLibrary
    from headwater.trace.work import finite

    return finite(judge(Fingerprint.from_bytes(first), Fingerprint.from_bytes(second), NullLibrary.load()).as_json())


def _family(model: str, common: Common) -> dict[str, Any]:
    """The hub's answer; the model is read first where it was not."""
    from headwater.cli._hub import reach
    from headwater.cli._prints import family_of

    with reach(common, work=True) as door:
        found = family_of(door, model, quiet=common.json)
        if (found["closer"] or {}).get("job"):
            _look_closer(door, found["closer"]["job"], common)
            found = family_of(door, model, quiet=common.json)
    nearest = found["closest"] or found["nearest_unrelated"]
    return _summary(found["repo"], nearest, found["closest"] is not None) | {"lineage": found}


def _look_closer(door: Door, job: str, common: Common) -> None:
    """See the comparison of whole files to its end, which says more where no fingerprint is kin. The job is the hub's
    own: who is no administrator cannot watch it."""
    from headwater.cli._job import see_through

    try:
        see_through(door, door.get(f"/api/headwater/jobs/{job}"), quiet=common.json)
    except HeadwaterError:
        note("The hub compares whole files with models of its shape; ask again in a while.")


def _strangers(model: str, common: Common) -> dict[str, Any]:
    from headwater.cli._hub import reach
    from headwater.cli._prints import print_of

    made = print_of(model, common)
    with reach(common, work=True) as door:
        matches = _matches(door, made.body)
    kin = [m for m in matches if _is_kin(m["judgement"])]
    nearest = (kin or matches or [None])[0]
    shown = None if nearest is None else {**nearest, "a": model, "b": nearest["repo"]}
    return _summary(model, shown, bool(kin)) | {"matches": matches}


def _matches(door: Door, body: bytes) -> list[dict[str, Any]]:
    return door.ask("POST", "/api/headwater/lineage/find", content=body,
                    headers={"content-type": "application/octet-stream"})


def _is_kin(judgement: dict[str, Any]) -> bool:
    from headwater.trace.judgement import Verdict

    return Verdict(judgement["verdict"]).kin


def _summary(model: str, nearest: dict[str, Any] | None, kin: bool) -> dict[str, Any]:
    """The keys every answer has, of the closest kin or else of the nearest that is not."""
    said = nearest["judgement"] if nearest else {}
    return {"model": model, "parent": nearest["repo"] if kin and nearest else None,
            "nearest": nearest["repo"] if nearest else None, "a": nearest["a"] if nearest else model,
            "b": nearest["b"] if nearest else None, "verdict": said.get("verdict", "unrelated"),
            "direction": said.get("direction", "unknown"), "agreement": said.get("agreement"),
            "null": said.get("null", {"n": 0, "max": 0.0, "as_high": 0, "kind": ""}),
            "layers": said.get("layers", []), "evidence": said.get("evidence", [])}


# --- for people


def _show_pair(said: dict[str, Any]) -> None:
    print(f"A  {plain(said['a'])}\nB  {plain(said['b'])}\n")
    if (whole := said.get("whole")) and whole["verdict"] != said["verdict"]:
        print(f"{whole['verdict']}, by the whole files (below)\n{plain(whole['says'])}\n\nby the fingerprints alone:")
    _show_judgement(said)
    if whole := said.get("whole"):
        from headwater.cli._whole import show_whole

        show_whole(whole)


def _show_judgement(said: dict[str, Any]) -> None:
    null, agreement = said["null"], said["agreement"]
    print(f"{said['verdict']}" + (f", {said['direction']}" if said["direction"] != "unknown" else ""))
    print(plain(said.get("says", "")))
    if agreement is not None:
        print(f"agreement {agreement:.3f}; {null['as_high']} of {null['n']:,} independent pairs as high, the most "
              f"{null['max']:.3f}")
    print()
    rows = [(e["name"], _SURE[sure], e["says"]) for sure in _SURE for e in said["evidence"] if e["strength"] == sure]
    show_table(["evidence", "strength", "what"], rows, "No evidence of kinship.")
    if said["layers"]:
        pairs = " ".join(f"{a}~{b}:{share:.2f}" for a, b, share in said["layers"])
        print(f"\nlayers (of A ~ of B: agreement)\n{pairs}")


def _show_family(found: dict[str, Any]) -> None:
    family = found.get("lineage")
    if family is None:
        rows = [(m["repo"], m["judgement"]["verdict"], _share(m["judgement"]["agreement"])) for m in found["matches"]]
        show_table(["model", "verdict", "#agreement"], rows, "The hub has nothing to compare it with.")
        return
    status = family["status"]
    print(f"{family['repo']}@{family['revision'][:12]}: {status['state']}"
          + (f" ({plain(status['problem'])})" if status["problem"] else ""))
    rows = [(_WORDS[which], r["repo"], r["verdict"], _figure(r), "yes" if r["declared"] else "no")
            for which in ("parents", "kin", "children") for r in family[which]]
    rows += [("same files", name, "identical", "1.000", "") for name in family["same"]]
    if nearest := family["nearest_unrelated"]:
        rows.append(("unrelated", nearest["repo"], nearest["verdict"], _share(nearest["agreement"]), ""))
    show_table(["", "model", "verdict", "#agreement", "declared"], rows, "Nothing here is kin to it.")
    if compared := (family["closer"] or {}).get("compared"):
        note(f"Compared in whole, too, with {', '.join(compared[:8])}: not kin.")
    for one in family["declared"]:
        note(f"The card declares {one['name']}: {one['state']}.")
    for conflict in family["duties"]["conflicts"]:
        note(conflict)


_WORDS = {"parents": "parent", "kin": "kin, order open", "children": "child"}


def _figure(relative: dict[str, Any]) -> str:
    """What the two share; of a part of a merge, how much of it that is."""
    return f"{relative['share']:.1%} of it" if relative.get("share") is not None else _share(relative["agreement"])


def _share(agreement: float | None) -> str:
    return "" if agreement is None else f"{agreement:.3f}"
