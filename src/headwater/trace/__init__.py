"""Room: where a model comes from, told from its weights.

Reads files through `weights`; knows nothing of repos, accounts or pages.
"""
