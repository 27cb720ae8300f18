"""whoami, likes, overviews of users and organisations, members, the list of one's repos."""

import os

from kit import ENDPOINT, ME, api, fails, repo

me = api.whoami()
assert me["name"] == ME and me["type"] == "user" and me["auth"]["accessToken"]["role"] == "write", me
name = repo()
data = repo("dataset")


def like(full_name, kind):
    # Clients have no like() any more (it was misused); people like through the page, so ask as it does.
    import urllib.request

    request = urllib.request.Request(f"{ENDPOINT}/api/{kind}s/{full_name}/like", method="POST",
                                     headers={"authorization": "Bearer " + os.environ["HF_TOKEN"]})
    assert urllib.request.urlopen(request).status == 200


like(name, "model")
like(data, "dataset")
likes = api.list_liked_repos()
assert name in likes.models and data in likes.datasets and likes.user == ME
assert [u.username for u in api.list_repo_likers(name)] == [ME]
assert api.model_info(name).likes == 1
api.unlike(name)
assert name not in api.list_liked_repos(ME).models and api.model_info(name).likes == 0

overview = api.get_user_overview(ME)
assert overview.username == ME and overview.num_models >= 1 and overview.num_datasets >= 1
fails(404, api.get_user_overview, "nobody-here")
org = f"org-{name.split('-')[1]}"
api.create_repo(f"{org}/first")
found = api.get_organization_overview(org)
assert (found.name, found.num_models) == (org, 1) if hasattr(found, "num_models") else found.name == org
assert [m.username for m in api.list_organization_members(org)] == [ME]
assert org in [o["name"] for o in api.whoami()["orgs"]]
if hasattr(api, "list_user_repos"):
    mine = {r.id for r in api.list_user_repos()}
    assert {name, data} <= mine and [r.id for r in api.list_user_repos(org)] == [f"{org}/first"]
fails(501, api.list_user_followers, ME)
fails(501, api.list_user_following, ME)
