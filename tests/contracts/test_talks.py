"""What every store of conversations and of files keeps to. On SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import hashlib
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.core.errors import BadInput, Conflict, HeadwaterError, NotFound, TooLarge
from headwater.core.ports import Conversations, Files
from headwater.core.types import Conversation, KeptFile, Message, Preset
from headwater.storage.dump import SqlArchive
from headwater.storage.records import open_records
from headwater.storage.records._found import fold


def named(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def begun(world, title="River", owner=None, messages=(), **fields) -> Conversation:
    """A conversation; each later than the one before."""
    world.clock.at += 1
    given = {"folder": "", "system": "", "model": "ann/yi", "settings": {"seed": 1}, "leaf": None, "share_key": None,
             "created_at": world.clock(), "updated_at": world.clock(), **fields}
    made = Conversation(named(f"{title} {world.clock()}"), (owner or world.ann).id, title, **given)
    world.records.conversations.create(made, messages, most=1000)
    return made


def said(text, parent=None, role="user", name=None) -> Message:
    return Message(named(name or str(text)), parent and parent.id, role, text, "", "", {}, 1.5)


def add(world, talk, message, most=2000):
    world.clock.at += 1
    return world.records.conversations.add(talk, message, most=most)


def titles(world, **asked):
    found, _ = world.records.conversations.page(world.ann, **asked)
    return [one.conversation.title for one in found]


@pytest.mark.parametrize("port", [Conversations, Files])
def test_every_verb_of_the_port_is_there(world, port):
    store = getattr(world.records, port.__name__.lower())
    verbs = [name for name in vars(port) if not name.startswith("_")]
    assert verbs and all(callable(getattr(store, verb)) for verb in verbs)


# --- conversations


def test_a_message_added_becomes_the_leaf_and_moves_its_conversation_to_the_front(world):
    first, second = begun(world, "first"), begun(world, "second")
    question = add(world, first, said("Why is the sky blue?"))
    answer = add(world, first, said([{"type": "text", "text": "Scattering."}], question, "assistant"))
    talks = world.records.conversations
    assert talks.get(world.ann, first.id).leaf == answer.id
    assert talks.messages(first) == [question, answer] and talks.messages(second) == []
    assert titles(world) == ["first", "second"]


def test_adding_the_same_message_again_adds_nothing_and_another_of_its_id_is_a_conflict(world):
    talk = begun(world)
    question = add(world, talk, said("hello"))
    answer = add(world, talk, said("hi", question, "assistant"))
    assert add(world, talk, question) == question
    assert world.records.conversations.get(world.ann, talk.id).leaf == answer.id
    with pytest.raises(Conflict):
        add(world, talk, dataclasses.replace(question, content="other"))
    assert world.records.conversations.messages(talk) == [question, answer]


def test_a_message_that_answers_none_of_this_conversation_is_refused(world):
    talk, other = begun(world), begun(world)
    elsewhere = add(world, other, said("elsewhere"))
    with pytest.raises(NotFound):
        add(world, talk, said("here", elsewhere))
    with pytest.raises(NotFound):
        world.records.conversations.update(world.ann, talk.id, leaf=elsewhere.id)


def test_a_full_conversation_and_a_full_account_say_so(world):
    talk = begun(world)
    add(world, talk, said("one"), most=1)
    with pytest.raises(TooLarge, match="at most 1 messages"):
        add(world, talk, said("two"), most=1)
    with pytest.raises(TooLarge, match="at most 1 conversations"):
        world.records.conversations.create(dataclasses.replace(talk, id=named("x")), most=1)


def test_a_branch_is_removed_with_all_that_answers_it_and_the_leaf_steps_back(world):
    talk = begun(world)
    root = add(world, talk, said("root"))
    left = add(world, talk, said("left", root, "assistant"))
    under = add(world, talk, said("under", left))
    right = add(world, talk, said("right", root, "assistant"))
    talks = world.records.conversations
    assert talks.prune(talk, left.id) and not talks.prune(talk, under.id)
    assert talks.messages(talk) == [root, right] and talks.get(world.ann, talk.id).leaf == right.id
    assert talks.prune(talk, right.id) and talks.get(world.ann, talk.id).leaf == root.id
    assert talks.prune(talk, root.id) and talks.get(world.ann, talk.id).leaf is None


def test_what_is_found_by_its_words_whatever_their_case_in_chinese_too(world):
    talk = begun(world, "Über Flüsse")
    question = add(world, talk, said("Tell me of the YANGTZE and 100% of its_water"))
    add(world, talk, said([{"type": "text", "text": "长江是亚洲第一长河,流经上海。"}], question, "assistant"))
    begun(world, "empty")
    for words in (["yangtze"], ["über"], ["长河"], ["上海", "tell"], ["100%"], ["its_water"], ["FLÜSSE", "长江"]):
        assert titles(world, words=words) == ["Über Flüsse"], words
    for words in (["yang_ze"], ["rhine"], ["长江", "rhine"], ["%", "nowhere"]):
        assert titles(world, words=words) == [], words
    found, _ = world.records.conversations.page(world.ann, words=["YANGTZE"])
    assert found[0].snippet == "Tell me of the YANGTZE and 100% of its_water"
    assert "长江是亚洲" in world.records.conversations.page(world.ann)[0][1].snippet  # of the leaf


def test_a_snippet_of_a_long_message_stands_around_the_word(world):
    talk = begun(world)
    add(world, talk, said("a " * 5000 + "Needle" + " z" * 5000))
    (found,), _ = world.records.conversations.page(world.ann, words=["nEEDLE"])
    assert "a Needle z" in found.snippet and len(found.snippet) <= 160
    add(world, talk, said("b " * 40_000 + "Haystack"))
    (found,), _ = world.records.conversations.page(world.ann, words=["haystack"])
    assert "b haystack" in found.snippet  # too long to be fetched whole


def test_pages_follow_each_other_without_gap_or_repeat_and_a_bad_cursor_is_refused(world):
    made = [begun(world, f"t{n}", folder="a" if n % 2 else "") for n in range(7)]
    seen, before = [], None
    while True:
        found, before = world.records.conversations.page(world.ann, before=before, limit=3)
        seen += [one.conversation for one in found]
        if before is None:
            break
    assert seen == made[::-1]
    assert titles(world, folder="a") == ["t5", "t3", "t1"] and titles(world, folder="b") == []
    assert world.records.conversations.folders(world.ann) == [("a", 3)]
    for bad in ("", "nonsense", "W10", "WzEsIDJd", "é"):
        with pytest.raises(BadInput):
            world.records.conversations.page(world.ann, before=bad)


def test_nobody_reaches_the_conversation_of_another(world):
    talk, bob = begun(world), world.account("bob")
    talks = world.records.conversations
    assert talks.get(bob, talk.id) is None and talks.update(bob, talk.id, title="mine") is None
    assert not talks.delete(bob, talk.id) and talks.share(bob, talk.id, "k" * 32, by=world.me) is None
    assert talks.page(bob) == ([], None) and talks.get(world.ann, talk.id) == talk


def test_sharing_keeps_the_first_key_is_written_down_and_ends(world):
    talk, talks = begun(world), world.records.conversations
    assert talks.share(world.ann, talk.id, "k" * 32, by=world.me).share_key == "k" * 32
    assert talks.share(world.ann, talk.id, "other", by=world.me).share_key == "k" * 32
    assert talks.shared("k" * 32)[0].id == talk.id and talks.shared("k" * 32)[1] == world.ann
    assert talks.share(world.ann, talk.id, None, by=world.me).share_key is None and talks.shared("k" * 32) is None
    assert [row.action for row in world.records.accounts.audit(limit=2)] == ["conversation.unshare",
                                                                            "conversation.share"]


def test_presets_are_kept_changed_and_named_once(world):
    talks = world.records.conversations
    mine = Preset(named("p"), world.ann.id, "Poet", {"temperature": 1.2}, 1.0)
    talks.keep_preset(mine, most=1)
    talks.keep_preset(dataclasses.replace(mine, name="Bard"), most=1)
    assert [one.name for one in talks.presets(world.ann)] == ["Bard"]
    with pytest.raises(TooLarge):
        talks.keep_preset(dataclasses.replace(mine, id=named("q"), name="Second"), most=1)
    with pytest.raises(Conflict):
        talks.keep_preset(dataclasses.replace(mine, id=named("q"), name="Bard"), most=9)
    assert talks.delete_preset(world.ann, mine.id) and not talks.delete_preset(world.ann, mine.id)


def test_many_windows_may_write_at_once_and_every_message_is_there(world):
    talk, troubles = begun(world), []
    root = add(world, talk, said("root"))

    def write(n):
        try:
            for k in range(5):
                world.records.conversations.add(talk, said(f"{n} {k}", root), most=2000)
        except BaseException as error:  # a thread's error must reach the test
            troubles.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles and len(world.records.conversations.messages(talk)) == 21


@given(st.text())
def test_folding_keeps_every_letter_in_its_place(text):
    assert len(fold(text)) == len(text) and fold(fold(text)) == fold(text)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1), data=st.data())
def test_any_piece_of_any_text_is_found(world, text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    piece = text[start:data.draw(st.integers(start + 1, len(text)))]
    talk = begun(world)
    world.records.conversations.add(talk, said(text), most=9)
    assert talk.id in [one.conversation.id for one in world.records.conversations.page(world.ann, words=[piece])[0]]


# --- files


def handed(world, content="bytes", name="a.txt", owner=None, arrive=True) -> KeptFile:
    world.clock.at += 1
    digest = hashlib.sha256(content.encode()).hexdigest()
    made = KeptFile("file-" + named(f"{name} {world.clock()}"), (owner or world.ann).id, name, "user_data",
                    "text/plain", digest, len(content), content, world.clock())
    world.records.files.claim(made, most=100, most_bytes=10_000)
    if arrive:
        world.records.files.arrived(made)
    return made


def test_a_file_is_there_once_its_bytes_have_arrived(world):
    file = handed(world, arrive=False)
    assert world.records.files.get(world.ann.id, file.id) is None
    world.records.files.arrived(file)
    assert world.records.files.get(world.ann.id, file.id) == file
    assert world.records.files.page(world.ann) == ([dataclasses.replace(file, text=None)], False)
    assert world.records.files.get(world.account("bob").id, file.id) is None


def test_the_sweep_keeps_exactly_the_bytes_that_files_name(world):
    one, two, other = handed(world), handed(world, name="b.txt"), handed(world, "more", arrive=False)
    world.clock.at += 3600
    assert world.sweep() == set()
    assert world.records.files.delete(world.ann, one.id) and world.sweep() == set()
    assert world.records.files.delete(world.ann, two.id) and world.sweep() == {one.digest}
    world.clock.at += 86_400  # what never arrived is given up
    assert world.sweep() == {other.digest}
    with pytest.raises(NotFound):
        world.records.files.arrived(other)
    assert {digest for digest, _ in world.records.holdings.all()} == set()


def test_bytes_a_repo_holds_too_outlive_the_file_and_the_other_way_round(world):
    file, repo = handed(world, "both"), world.repo()
    world.push(repo, {"a.txt": "both"})
    world.clock.at += 86_400
    world.records.files.delete(world.ann, file.id)
    assert world.sweep() == set()
    again = handed(world, "both")
    world.records.repos.delete(repo, by=world.me)
    world.clock.at += 86_400
    assert again.digest not in world.sweep()


def test_a_deleted_account_leaves_no_conversation_no_preset_and_no_byte(world):
    bob = world.account("bob")
    talk, file = begun(world, owner=bob), handed(world, "bob's", owner=bob)
    world.records.conversations.add(talk, said("whispered"), most=9)
    world.records.conversations.keep_preset(Preset(named("p"), bob.id, "p", {}, 1.0), most=9)
    world.records.accounts.delete(bob, by=world.me)
    world.clock.at += 3600
    assert world.sweep() == {file.digest}
    dump = b"".join(SqlArchive(world.records.database).dump())
    assert b"whispered" not in dump and file.id.encode() not in dump


def test_files_are_lent_over_the_same_bytes_while_those_are_kept(world):
    file, bob = handed(world), world.account("bob")
    copy = dataclasses.replace(file, id="file-" + named("copy"), account_id=bob.id)
    assert world.records.files.lend(file, copy, most=9, most_bytes=100)
    world.records.files.delete(world.ann, file.id)
    world.clock.at += 3600
    assert world.sweep() == set() and world.records.files.get(bob.id, copy.id) == copy
    world.records.holdings.damaged(file.digest)
    assert not world.records.files.lend(copy, dataclasses.replace(copy, id="file-x"), most=9, most_bytes=100)


def test_an_account_keeps_so_many_files_and_bytes(world):
    file = handed(world)
    for most, most_bytes in ((1, 1000), (9, file.size + 1)):
        with pytest.raises(TooLarge):
            world.records.files.claim(dataclasses.replace(file, id="file-y"), most=most, most_bytes=most_bytes)


def test_pages_of_files_go_both_ways_and_by_purpose(world):
    made = [dataclasses.replace(handed(world, f"{n}"), text=None) for n in range(5)]
    page = world.records.files.page
    assert page(world.ann, limit=2) == (made[:2:-1], True)
    assert page(world.ann, after=made[3].id, limit=3) == (made[2::-1], False)
    assert page(world.ann, after=made[0].id, newest_first=False) == (made[1:], False)
    assert page(world.ann, purpose="vision") == ([], False)
    with pytest.raises(NotFound):
        page(world.ann, after="file-nowhere")


# --- backup


def test_a_dump_of_one_database_brings_conversations_and_files_into_another(world, tmp_path):
    talk, file = begun(world), handed(world)
    root = add(world, talk, said("root"))
    add(world, talk, dataclasses.replace(said([{"type": "text", "text": "回答"}], root, "assistant"),
                                         made={"revision": "a" * 40, "seconds": 1.5}))
    world.records.conversations.keep_preset(Preset(named("p"), world.ann.id, "p", {"seed": 7}, 1.0), most=9)
    archive = SqlArchive(world.records.database)
    lines = list(archive.dump())
    assert dict(archive.blobs(lines)) == {file.digest: file.size}
    (tmp_path / "other").mkdir()
    from headwater.storage.database import Database, open_engine
    engine = open_engine(None, tmp_path / "other")
    SqlArchive(Database(engine, world.clock)).load(lines)
    engine.dispose()
    other = open_records(None, tmp_path / "other", world.clock)
    assert other.conversations.messages(talk) == world.records.conversations.messages(talk)
    assert other.conversations.get(world.ann, talk.id) == world.records.conversations.get(world.ann, talk.id)
    assert other.conversations.presets(world.ann) == world.records.conversations.presets(world.ann)
    assert other.files.get(world.ann.id, file.id) == file
    other.close()


def test_unknown_fields_and_lost_conversations_are_told(world):
    talk = begun(world)
    with pytest.raises(TypeError):
        world.records.conversations.update(world.ann, talk.id, share_key="mine")
    assert world.records.conversations.delete(world.ann, talk.id)
    with pytest.raises(HeadwaterError):
        add(world, talk, said("late"))
