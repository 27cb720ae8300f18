"""What a prompt asks of a photo: which of the motions there are, which way, and what cannot be done.

English and Chinese. Left and right are those of the picture, as whoever watches sees them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MOTIONS = ("turn", "nod", "shake", "tilt", "smile", "blink", "breathe", "sway")
_CAMERA = (
    (r"zoom(s|ing)? out|pull(s|ing)? (back|out)|拉远|后退|镜头拉远", ("zoom", -6.0)),
    (r"zoom(s|ing)?( in)?\b|push(es|ing)? in|(camera|moves?|comes?) closer|拉近|推近|推进|放大|镜头靠近",
     ("zoom", 6.0)),
    (r"camera (moves?|slides?|tracks?|goes) (to the )?left|track(s|ing)? left|镜头左移|镜头向左", ("horizontal", -6.0)),
    (r"camera (moves?|slides?|tracks?|goes) (to the )?right|track(s|ing)? right|镜头右移|镜头向右",
     ("horizontal", 6.0)),
    (r"pan(s|ning)? (to the )?left|左摇", ("pan", -6.0)),
    (r"pan(s|ning)?( to the)?( right)?\b|右摇|摇镜", ("pan", 6.0)),
    (r"(crane|pedestal|camera (moves?|goes|rises?))s? up|camera rises|升镜|镜头上移|镜头向上", ("vertical", 6.0)),
    (r"camera (moves?|goes|sinks?) down|降镜|镜头下移|镜头向下", ("vertical", -6.0)),
    (r"(camera )?tilt(s|ing)? up|上摇|仰", ("tilt", 6.0)),
    (r"(camera )?tilt(s|ing)? down|下摇|俯", ("tilt", -6.0)),
    (r"camera (rolls?|rotates?)|rotat(e|es|ing) camera|旋转镜头|镜头旋转", ("roll", 4.0)),
)
_NOT = r"(?:\b(?:no|not|without|never|doesn't|don't|does not|do not|isn't)\s+(?:\w+\s+)?|不要?|别|没有?|无)"
_MOVES = (
    ("turn", r"(turn|look|glanc|gaz|fac)(s|es|e|ing|ed)?( (her|his|their|its|the) (head|face))?( \w+)? (to(wards?)? )?"
             r"(the )?left|(向|往|朝)?左(边|侧)?(转|看|望)|(转|看|望)(向)?左|(向|往|朝)左", -1.0),
    ("turn", r"(turn|look|glanc|gaz|fac)(s|es|e|ing|ed)?( (her|his|their|its|the) (head|face))?( \w+)? (to(wards?)? )?"
             r"(the )?right|(向|往|朝)?右(边|侧)?(转|看|望)|(转|看|望)(向)?右|(向|往|朝)右", 1.0),
    ("shake", r"(shak|wagg?)(e|es|ing)( (her|his|their|its|the))? heads?|摇头", 1.0),
    ("turn", r"\b(turn|look)(s|ing|ed)?\b(?!.{0,25}\b(up|down|left|right)\b)|转头|转身|回头|扭头|转过", 0.0),
    ("nod", r"\bnod(s|ding|ded)?\b|点头", 1.0),
    ("nod", r"look(s|ing)? down|bow(s|ing)?( (her|his|their))? heads?|低头", 2.0),
    ("nod", r"look(s|ing)? up|rais(e|es|ing)( (her|his|their))? heads?|抬头", -2.0),
    ("tilt", r"(tilt|cock|lean|inclin)(s|es|e|ing)?( (her|his|their|its|the))? heads?|歪头|侧头", 1.0),
    ("smile", r"\b(smil|grin|beam)(es?|s|ing|ed)?\b|happy|happily|微笑|笑|高兴|开心", 1.0),
    ("blink", r"\bblink(s|ing|ed)?\b|clos(e|es|ing)( (her|his|their))? eyes|眨眼|眨|闭眼", 1.0),
    ("blink", r"\bwink(s|ing|ed)?\b", -1.0),
    ("breathe", r"\bbreath(e|es|ing)?\b|sigh(s|ing)?|呼吸|喘", 1.0),
    ("sway", r"\bsway(s|ing)?\b|mov(e|es|ing) (gently|slightly|softly|a little)|轻轻(地)?(动|摇|晃)|摇晃|晃动", 1.0),
)
_ALIVE = r"come(s)? (alive|to life)|bring(s)? to life|animate|liv(e|ing) photo|活(起来|过来)|动起来"
_STILL = r"\b(stand|stay|hold|keep|remain|sit)s? still\b|\bmotionless\b|\bno motion\b|静止|不动"
_FLOWS = r"\b(water|sea|ocean|river|waves?|stream|clouds?|smoke|hair|grass|leaves|flags?|fire|flames?|snow|rain)\b|" \
         r"水|海|河|浪|云|烟|头发|草|树叶|旗|火|雪|雨"
_BEYOND = (
    (r"\b(walk|run|jump|danc|fly|swim|climb|rid|driv)(s|es|e|ning|ming|ping|ing)?\b|走|跑|跳|飞|游泳", "walking about"),
    (r"\b(speak|talk|say|sing|shout|whisper|yawn)(s|ing)?\b|open(s|ing)?( (her|his|their))? mouth|说话|唱|张嘴|喊",
     "an opening mouth"),
    (r"\b(laugh|cry|weep|kiss|frown)(s|es|ing)?\b|大笑|哭|吻|皱眉", "laughter, tears, a kiss or a frown"),
    (r"\b(wav(e|es|ing) (her|his|their|a|to|at|good|hello)|hug|clap|point|salut|rais(e|es|ing) (her|his|their) "
     r"(hand|arm))(s|es|ging|ping|ing)?\b|挥手|拥抱|鼓掌|举手", "hands and arms that move"),
    (r"\b(turn(s|ing)? around|turns? (her|his|their) back|stand(s|ing)? up|sit(s|ting)? down|appear|disappear|enter|"
     r"leav|transform|becom|morph)(s|es|e|ing)?\b|转过身|站起|坐下|出现|消失|变成", "what the photo does not show"),
)


@dataclass(frozen=True)
class Wish:
    """moves: motion → direction or strength (0: either way). camera: of FilmRequest, or empty. flows: something that
    flows is named. still: nothing in the picture is to move. plain: no word said which motions, so all gentle ones."""

    moves: dict[str, float] = field(default_factory=dict)
    camera: dict[str, float] = field(default_factory=dict)
    beyond: tuple[str, ...] = ()
    flows: bool = False
    still: bool = False
    plain: bool = True
    understood: bool = False


def read_words(prompt: str) -> Wish:
    """Never fails; what is not understood is said by `understood` and `beyond`."""
    text = " ".join(prompt.lower().split())
    camera: dict[str, float] = {}
    for pattern, (axis, value) in _CAMERA:
        if axis == "tilt" and re.search(r"\bheads?\b", text):
            continue
        if found := re.search(pattern, text):
            if not _denied(text, found.start()):
                camera = {axis: value}
            text = text[:found.start()] + "," + text[found.end():]
            break
    moves: dict[str, float] = {}
    for name, pattern, value in _MOVES:
        found = re.search(pattern, text)
        if found and name not in moves and not _denied(text, found.start()):
            moves[name] = value
    if re.search(r"\bheads? (tilts?|turns?|shakes?)", text):
        moves.setdefault("tilt" if "tilt" in text else "turn", 0.0)
    still = re.search(_STILL, text) is not None
    beyond = tuple(what for pattern, what in _BEYOND if re.search(pattern, text))
    flows = re.search(_FLOWS, text) is not None
    alive = re.search(_ALIVE, text) is not None
    return Wish(moves, camera, beyond, flows, still, not moves and not still,
                bool(moves or camera or still or alive or not text))


def _denied(text: str, at: int) -> bool:
    """Whether a "no", "without" or 不 stands right before."""
    return re.search(_NOT + r"\Z", text[:at]) is not None
