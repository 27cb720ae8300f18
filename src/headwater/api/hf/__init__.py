"""The Hugging Face Hub's API, as its unmodified clients speak it."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.api.hf import accounts, commits, lfs, lists, repos, resolve, tree, unsupported, xet


def routers() -> list[APIRouter]:
    """In the order they are asked: the last ones answer what nothing before them did."""
    return [repos.router, accounts.router, commits.router, tree.router, lfs.router, xet.router, resolve.router,
            lists.router, unsupported.build()]
