"""datasets: load_dataset from CSV, JSON lines and Parquet, streamed too; push_to_hub and back."""

import io
import json

from datasets import Dataset, load_dataset
from huggingface_hub import HfApi

api = HfApi()
me = api.whoami()["name"]
rows = [{"text": f"line {n}, 模型", "n": n} for n in range(50)]
parquet = io.BytesIO()
Dataset.from_list(rows).to_parquet(parquet)
for ending, data in (("csv", "text,n\n" + "".join(f'"{r["text"]}",{r["n"]}\n' for r in rows)),
                     ("jsonl", "\n".join(json.dumps(r) for r in rows)), ("parquet", parquet.getvalue())):
    name = f"{me}/rows-{ending}"
    api.create_repo(name, repo_type="dataset")
    api.upload_file(path_or_fileobj=data.encode() if isinstance(data, str) else data, repo_id=name, repo_type="dataset",
                    path_in_repo=f"data/train.{ending}")
    assert load_dataset(name, split="train").to_list() == rows, ending
    assert list(load_dataset(name, split="train", streaming=True)) == rows, ending

name = f"{me}/rows-csv"
api.upload_file(path_or_fileobj=b"text,n\nheld out,7\n", repo_id=name, repo_type="dataset",
                path_in_repo="data/test.csv")
assert load_dataset(name)["test"].to_list() == [{"text": "held out", "n": 7}]

Dataset.from_list(rows).push_to_hub(f"{me}/pushed", private=True)
assert load_dataset(f"{me}/pushed", split="train").to_list() == rows
assert load_dataset(f"{me}/pushed", split="train[:5]").num_rows == 5
info = api.dataset_info(f"{me}/pushed")
assert info.private and info.card_data["dataset_info"], info
