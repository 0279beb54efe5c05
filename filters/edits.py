"""Whether an edit in words is a good one: every check, in order, with the reason of the first that fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from filters.agreement import Entails, disagreement, normalised
from filters.moderation import Moderator, offence
from filters.wording import content, words

MAX_EDIT_WORDS, MAX_CAPTION_WORDS = 30, 60
LONGER, SHORTER = 2.5, 0.34  # the edited caption over the caption, in words; and six words are always allowed
_VIETNAMESE = re.compile(r"[ăâđêôơưàáảãạằắẳẵặầấẩẫậèéẻẽẹềếểễệìíỉĩịòóỏõọồốổỗộờớởỡợùúủũụừứửữựỳýỷỹỵ]", re.I)
# The model talks about its task, or repeats the form that it was to fill in.
_LEAK = re.compile(
    r"\b(as an ai|i cannot|i can't|i'm sorry|here is|here's the|edited caption|original caption|the caption|"
    r"instruction|language model|user|assistant|json|prompt)\b|[{}<>\[\]\\]|\.\.\.$|^n/?a$",
    re.I,
)
# It tells what was done in place of asking for it.
_TOLD = re.compile(r"(?:made|turned|changed|added|removed|painted|replaced|gave|moved|swapped)\b", re.I)


@dataclass(frozen=True, slots=True)
class TextEdit:
    """A caption, an instruction, and the caption after it. language: of the instruction, "en" or "vi"; captions
    are English."""

    before: str
    edit: str
    after: str
    language: str = "en"


@dataclass(frozen=True, slots=True)
class EditChecks:
    """moderator, entails: models that may be asked beside the word lists. seen: whether the same edit came before, in
    this run (it remembers); None where that is judged later, over the whole run."""

    moderator: Moderator | None = None
    entails: Entails | None = None
    is_new: Callable[[str], bool] | None = None

    def reason(self, edit: TextEdit) -> str | None:
        """The first rule that fails, None for a good edit.

        "empty", "not_an_edit", "length", "language", "moderation_<what>", those of `filters.agreement`, "duplicate".
        """
        texts = (edit.before, edit.edit, edit.after)
        if not all(text.strip() for text in texts) or not content(words(edit.after)):
            return "empty"
        if _LEAK.search(edit.edit) or (_LEAK.search(edit.after) and not _LEAK.search(edit.before)):
            return "not_an_edit"
        if normalised(edit.edit) in (normalised(edit.before), normalised(edit.after)):
            return "not_an_edit"
        if edit.language == "en" and _TOLD.match(edit.edit):
            return "not_an_edit"
        if normalised(edit.before) == normalised(edit.after):
            return "unchanged"
        if not _fits(edit):
            return "length"
        if not _in_language(edit):
            return "language"
        for text in texts:
            if (what := offence(text, self.moderator)) is not None:
                return f"moderation_{what}"
        if (reason := _agreement(edit, self.entails)) is not None:
            return reason
        if self.is_new is not None and not self.is_new(" | ".join(texts)):
            return "duplicate"
        return None


def _fits(edit: TextEdit) -> bool:
    before, said, after = (len(text.split()) for text in (edit.before, edit.edit, edit.after))
    if not (1 <= said <= MAX_EDIT_WORDS and after <= MAX_CAPTION_WORDS):
        return False
    return SHORTER * before - 6 <= after <= LONGER * before + 6


def _in_language(edit: TextEdit) -> bool:
    """Letters tell the two languages apart; anything beyond Latin script is neither."""
    letters = [c for c in edit.edit if c.isalpha()]
    foreign = sum(ord(c) > 0x24F and not 0x1E00 <= ord(c) <= 0x1EFF for c in letters)
    if not letters or foreign > 0.1 * len(letters):
        return False
    vietnamese = bool(_VIETNAMESE.search(edit.edit))
    if edit.language == "vi":
        return vietnamese
    return not re.search(r"[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]", edit.edit, re.I)


def _agreement(edit: TextEdit, entails: Entails | None) -> str | None:
    if edit.language == "en":
        return disagreement(edit.before, edit.edit, edit.after, entails)
    # An instruction in another language than the captions: what can be told without a dictionary.
    was, now = content(words(edit.before)), content(words(edit.after))
    return "not_kept" if len(set(was) & set(now)) < 0.5 * len(set(was)) - 1 else None
