"""ModelCard and DatasetCard: load, validate, push, metadata_update; what they say is what search finds.

Clients before 2 ask huggingface.co itself, whatever HF_ENDPOINT says, whether a card is valid; so with those the card
is pushed as the file it is.
"""

from huggingface_hub import (
    DatasetCard,
    DatasetCardData,
    ModelCard,
    ModelCardData,
    hf_hub_download,
    metadata_load,
    metadata_update,
)
from kit import VERSION, api, repo


def put(card, full_name, kind="model"):
    if VERSION >= (2, 0):
        card.validate(repo_type=kind)
        card.push_to_hub(full_name, repo_type=kind)
    else:
        api.upload_file(path_or_fileobj=str(card).encode(), path_in_repo="README.md", repo_id=full_name,
                        repo_type=kind)


name = repo()
meta = ModelCardData(license="apache-2.0", language="zh", base_model="local/yi", tags=["t-one"])
card = ModelCard(f"---\n{meta.to_yaml()}\n---\n# hello\n")
put(card, name)
loaded = ModelCard.load(name)
assert loaded.data.license == "apache-2.0" and "# hello" in loaded.text
assert {"license:apache-2.0", "t-one", "zh", "base_model:local/yi"} <= set(api.model_info(name).tags)
if VERSION >= (2, 0):
    metadata_update(name, {"datasets": ["local/d-two"]})
    assert metadata_load(hf_hub_download(name, "README.md"))["datasets"] == ["local/d-two"]
if VERSION >= (2, 0):
    try:
        ModelCard("---\nlanguage: zh\nlicense: {a: b}\n---\n").validate()
    except ValueError as error:
        assert "license" in str(error), error
    else:
        raise AssertionError("a card whose licence is a mapping was called valid")

data = repo("dataset")
meta = DatasetCardData(license="mit", task_categories=["text-generation"])
put(DatasetCard(f"---\n{meta.to_yaml()}\n---\n# data\n"), data, "dataset")
assert DatasetCard.load(data).data.license == "mit"
assert "task_categories:text-generation" in api.dataset_info(data).tags
