"""An address for every page on the shelf, made from its routes, so that a new page is tested unasked."""

from __future__ import annotations

import re

from headwater.web import PAGES

# What stands for each parameter of a route; a page with another one adds it here.
SAMPLES = {"owner": "reader", "name": "Streamlet-8K", "revision": "main", "path": "README.md", "org": "watershed",
           "key": "s" * 32, "conversation": "c" * 32, "with_owner": "reader", "with_name": "brook-markov",
           "film": f"video_{'f' * 32}"}
SPECIAL = {
    "/{owner}/{name}/tree/{revision}/{path:path}": "/reader/Streamlet-8K/tree/main/notes",
    "/datasets/{owner}/{name}/tree/{revision}/{path:path}": None,
}


def addresses() -> list[str]:
    """Every GET page once, and a few more for the states a page can be in."""
    found = []
    for router in PAGES:
        for route in router.routes:
            if "GET" not in route.methods or "/raw/" in route.path or route.path.endswith("/trace"):
                # Raw is a stranger's text, and trace alone leads on: no pages.
                continue
            path = SPECIAL.get(route.path, route.path)
            if path is None:
                continue
            sample = re.sub(r"{(\w+)(:path)?}", lambda m: SAMPLES[m[1]], path)
            if sample.startswith("/datasets/reader/"):
                sample = sample.replace("Streamlet-8K", "streams")
            found.append(sample)
    assert not PAGES.broken, PAGES.broken
    return sorted(set(found) | {
        "/models?tag=toy", "/models?q=nothing-like-this", "/reader/old-pickle", "/reader/bare", "/reader/nothing-yet",
        "/reader/xiliu", "/reader/brook-markov/use", "/reader/Streamlet-8K/blob/main/model.safetensors",
        "/reader/Streamlet-8K/blob/main/course.png", "/reader/old-pickle/blob/main/pytorch_model.bin",
        "/reader/old-pickle/blob/main/broken.safetensors", "/reader/hidden", "/watershed", "/chat?model=reader/bare",
        "/reader/nothing-yet/tree/main", "/reader/Streamlet-8K/tree/v1", "/nothing/here",
        "/reader/rill", "/reader/rill/lineage", "/reader/brooklet/lineage", "/reader/brooklet/trace/reader/rill",
        "/reader/headspring/trace/reader/stranger", "/reader/stranger/lineage", "/lineage?undeclared=1",
        "/lineage?q=nothing-like-this",
    })
