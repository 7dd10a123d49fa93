"""What a text encoder reads: against CLIP's own truncation, and the kitchen's words."""

import pytest

from recipevis.data.vocabulary import Vocabulary, show_cut
from recipevis.errors import InputError
from recipevis.kitchen import recipes
from recipevis.model.networks import Backbone


@pytest.fixture(scope="module")
def tokenizer(root):
    return Backbone(root / "recipevis/kitchen/networks/backbone").tokenizer


def test_what_is_read_has_the_tokens_that_the_encoder_gets(tokenizer):
    vocabulary = Vocabulary(tokenizer)
    for text in ("stir the rice " * 20, "Zest, 2 crème brûlées 把胡萝卜 🥕! " * 5, "把" * 50, "a" * 300):
        end = vocabulary.end(text)
        kept = tokenizer(text, truncation=True).input_ids
        whole = tokenizer(text, truncation=False, verbose=False).input_ids
        assert len(kept) == 40 < len(whole)
        read = tokenizer(text[:end], truncation=False).input_ids[1:-1]
        assert 30 < len(read) <= 38
        assert read[:-1] == kept[1 : len(read)]  # the last word may be cut inside


def test_the_last_sentence_that_fits(tokenizer):
    vocabulary = Vocabulary(tokenizer)
    assert vocabulary.length == 40
    assert vocabulary.end("stir " * 38) is None
    assert vocabulary.end("stir " * 39) == len("stir " * 38)
    assert vocabulary.end("") is None


def test_the_kitchen_knows_the_words_of_its_recipes_and_no_others(tokenizer):
    vocabulary = Vocabulary(tokenizer)
    said = [step.sentence for number in range(40) for step in recipes.recipe(0, f"training-{number}").steps]
    assert vocabulary.unknown(said) == []
    assert vocabulary.unknown(["Add Saffron, zest and saffron!", "把胡 2 🥕"]) == ["saffron", "zest", "把胡"]


def test_a_tokenizer_that_spells_knows_no_word_and_names_none(tiny_backbone):
    assert Vocabulary.load(tiny_backbone / "tokenizer").unknown(["saffron"]) == []


def test_a_large_vocabulary_knows_all_words():
    class Large:
        all_special_tokens = ("<|endoftext|>",)

        def get_vocab(self):
            return {f"word{number}</w>": number for number in range(49_408)}

        def tokenize(self, text):
            return list(text)

    assert Vocabulary(Large()).unknown(["saffron"]) == []


def test_the_place_of_the_cut_is_one_line():
    assert show_cut("stir it well", 8) == "stir it | well"
    shown = show_cut("a" * 100 + "\n\t" + "b" * 100, 100)
    assert shown == f"... {'a' * 40} | {'b' * 38} ..."


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(InputError, match="tokenizer"):
        Vocabulary.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(InputError, match="tokenizer") as error:
        Vocabulary.load(tmp_path)
    assert "\n" not in str(error.value)
