"""What orders and engines of films say, as the catalogues hold it: sentences with places for what they name.

Engines speak English, to programs as to people, and are written without the pages; so their sentences are known again
here by their form (web/told.py). One that is not listed, or was worded anew, is shown in English and marked so.
"""

from __future__ import annotations

from collections.abc import Callable


def sentences(_: Callable[[str], str]) -> list[str]:
    return [*_notes(_), *_of_models(_), *_refusals(_), *_hints(_)]


def parts(_: Callable[[str], str]) -> list[str]:
    """What the places of the sentences are filled with, beside names and numbers."""
    return [_("walking about"), _("an opening mouth"), _("laughter, tears, a kiss or a frown"),
            _("hands and arms that move"), _("what the photo does not show"), _("a negative prompt"),
            _("the negative prompt"), _("camera moves"), _("steps"), _("guidance"), _("corrected points"), _(", ")]


def _notes(_: Callable[[str], str]) -> list[str]:
    return [
        _("The words name no camera move, so the camera comes slowly closer."),
        _("Brushes, last frames and references have no effect here."),
        _("Last frames and references have no effect here."),
        _("A negative prompt, steps and guidance have no effect here."),
        _("No face models are in use, so no face moves by itself. Add them with: %(command)s"),
        _("A photo set in motion cannot show %(what)s: nothing is generated."),
        _("Water, clouds and the like move where they are painted with the motion brush."),
        _("No word names a motion this engine knows, so everything moves gently."),
        _("%(size)s was taken for %(asked)s: both sides must be even."),
        _("%(n)s frames a second were taken for %(asked)s of the earlier film."),
        _("The engine %(name)s has no model, so these have no effect: %(what)s."),
    ]


def _of_models(_: Callable[[str], str]) -> list[str]:
    return [
        _("%(size)s pixels (asked %(asked)s: the model has learned this size alone)."),
        _("%(size)s pixels (asked %(asked)s: %(name)s needs multiples of %(n)s)."),
        _("%(n)s frames (asked %(asked)s: %(name)s needs %(form)s)."),
        _("The model was trained for %(n)s frames; what comes after may repeat or drift."),
        _("The model was trained for %(n)s frames a second; at %(fps)s it moves faster than it should."),
        _("The model was trained for %(n)s frames a second; at %(fps)s it moves slower than it should."),
        _("%(n)s steps, as the model was distilled for."), _("%(n)s steps, as %(file)s was distilled for."),
        _("A negative prompt has no effect on this model."), _("A negative prompt has no effect at a guidance of 1."),
        _("Camera and brushes have no effect on this model: say the move in words."),
        _("Reference pictures have no effect on this model."), _("These have no effect on this model: %(what)s."),
        _("%(name)s has no effect: this model has one expert."), _("These have no effect there: %(what)s."),
        _("%(seconds)s s (asked %(asked)s: %(name)s makes %(what)s)."),
        _("%(size)s (asked %(asked)s: what %(name)s makes)."),
        _("%(name)s is told no seed: ordered again, the film will be another."),
        _("%(host)s makes this film, not this hub: the words are sent there."),
        _("%(host)s makes this film, not this hub: the words and the pictures are sent there."),
    ]


def _refusals(_: Callable[[str], str]) -> list[str]:
    return [
        _("%(name)s cannot run here: %(what)s not installed: %(command)s"),
        _("%(what)s not installed: %(command)s"),
        _("This engine needs a photo to begin with."), _("This model makes films from words alone."),
        _("A film from words needs a model."), _("No model was named, and none is built in."),
        _("No model was named."),
        _("%(name)s has no motion brush."), _("%(name)s knows no points of a face."),
        _("%(name)s cannot end a film with a given picture."),
        _("This engine sets a photo in motion, and there is none."),
        _("The plain engine moves a camera over a picture, and there is none."),
        _("At most %(seconds)s s and %(n)s pixels a side."), _("At most %(n)s pixels a side."),
        _("At most %(n)s frames and %(seconds)s s."),
        _("%(n)s frames of %(size)s are more than any model takes at once."),
        _("The film would need about %(n)s MiB of memory; %(most)s MiB may be used."),
        _("You have as many films waiting as one account may."),
        _("A prompt has at most %(n)s characters."),
        _("%(name)s: %(value)s is not between %(low)s and %(high)s."),
        _("size: is not like 1280x720."), _("size: %(size)s; a side has %(low)s to %(high)s pixels."),
        _("%(name)s: must be a whole number."), _("%(name)s: must be a number."),
        _("%(name)s: a whole number from %(low)s to %(high)s."),
        _("lora: %(value)s is not like owner/name 0.8."),
        _("The photo cannot be read: it is no picture."), _("The photo cannot be read: %(why)s."),
        _("The photo has %(n)s megapixels; the most is %(most)s."),
        _("The photo this film was made of is gone."), _("A picture this film was made of is gone."),
        _("The film this one goes on from is gone."),
        _("people: this hub sets no photo in motion unless the order says who is in it."),
    ]


def _hints(_: Callable[[str], str]) -> list[str]:
    return [
        _("Choose another model."), _("Leave the masks out, or choose another model."), _("Leave the points out."),
        _("Leave the last picture out."), _("Ask for a smaller size or fewer seconds."),
        _("Ask for a smaller size or fewer seconds, or allow more by the setting film_memory_bytes."),
        _("Give it a photo, or choose a model that makes films from words."),
        _("Name one: owner/name of a film model in the hub."), _("Wait for one to be done, or cancel one."),
        _("Save it as JPEG, PNG or WebP."), _("Make it smaller first."), _("Order a new film with it."),
        _("Order a new film."), _("Leave one of them out."),
    ]
