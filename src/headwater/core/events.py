"""What rooms announce to one another, by name. Payloads are plain JSON."""

REVISION_STORED = "revision.stored"
"""{repo_id, kind, name, ref, revision}: a branch of a repo stands at a new commit."""

REPO_DELETED = "repo.deleted"
"""{repo_id, kind, name}"""
