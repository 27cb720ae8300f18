"""list_models and list_datasets: search, author, filter, sort, limit, pages; infos with every property there is."""

import typing
import uuid

from huggingface_hub import hf_api
from kit import ME, api, push

mark = "m" + uuid.uuid4().hex[:8]
card = "---\nlicense: {0}\ntags: [{1}, t{2}]\nlanguage: [zh]\nlibrary_name: transformers\npipeline_tag: {3}\n---\nhi\n"
for kind, lists in (("model", api.list_models), ("dataset", api.list_datasets)):
    names = []
    for n in range(7):
        name = f"{ME}/{mark}-{n}"
        api.create_repo(name, repo_type=kind)
        names.append(name)
        push(name, {"README.md": card.format("mit", mark, n, "text-generation").encode(), "config.json": b"{}"}, kind)

    def ids(lists=lists, **options):
        return [r.id for r in lists(**options)]

    assert sorted(ids(search=mark)) == names
    assert ids(search=mark.upper() + "-3") == [f"{ME}/{mark}-3"]
    assert sorted(ids(author=ME, filter=mark)) == names and ids(author="nobody", filter=mark) == []
    assert ids(filter=[mark, "t3"]) == [f"{ME}/{mark}-3"]
    assert sorted(ids(filter=[mark, "license:mit"])) == names and ids(filter=[mark, "license:gpl"]) == []
    assert ids(search=mark, sort="created_at") == names[::-1], ids(search=mark, sort="created_at")
    assert ids(search=mark, sort="last_modified") == names[::-1]
    assert len(ids(search=mark, limit=3)) == 3
    assert sorted(ids(search=mark, sort="likes")) == names and sorted(ids(search=mark, sort="downloads")) == names
    full = list(lists(search=mark, full=True))
    assert all({s.rfilename for s in r.siblings} == {"README.md", "config.json"} and r.sha for r in full)
    assert all(r.card_data is None or r.card_data.license == "mit" for r in full)
    one = api.repo_info(names[0], repo_type=kind, files_metadata=True)
    sizes = {s.rfilename: (s.size, s.blob_id) for s in one.siblings}
    assert sizes["config.json"][0] == 2 and sizes["config.json"][1]
    assert one.card_data.license == "mit" and mark in one.tags and one.author == ME
    assert one.created_at and one.last_modified and one.downloads is not None and one.likes == 0
    values = typing.get_args(getattr(hf_api, f"Expand{kind.capitalize()}Property_T"))
    info = api.model_info if kind == "model" else api.dataset_info
    for value in values:
        assert info(names[0], expand=[value]).id == names[0]
        assert list(lists(search=mark, expand=[value], limit=2))
    assert info(names[0], expand=list(values)).sha == one.sha

assert sorted(m.id for m in api.list_models(search=mark, pipeline_tag="text-generation")) == \
    sorted(f"{ME}/{mark}-{n}" for n in range(7))
assert not list(api.list_models(search=mark, pipeline_tag="image-to-video"))
info = api.model_info(f"{ME}/{mark}-0")
assert info.library_name == "transformers" and info.pipeline_tag == "text-generation"
assert not list(api.list_models(search=mark, gated=True)) and len(list(api.list_models(search=mark, gated=False))) == 7
