"""Parameters of notebooks: found, parsed, and checked by name and type."""

import pytest

from tests.tiny import tiny
from vsnn_lab.headless import runs
from vsnn_lab.headless.runs import Parameter, find_notebook
from vsnn_lab.headless.runs.parameters import all_parameters

# papermill warns about its own dependencies.
pytestmark = pytest.mark.filterwarnings("default")


class TestParameters:
    def test_a_notebooks_parameters_have_default_and_comment(self, tmp_path):
        path = tiny(tmp_path, parameters="EPOCHS = 3  # about 2 s each\nDATA = 'mnist'")
        assert runs.notebook_parameters(path) == {
            "EPOCHS": Parameter("EPOCHS", 3, "about 2 s each"),
            "DATA": Parameter("DATA", "mnist", ""),
        }

    @pytest.mark.parametrize(
        ("default", "text", "value"),
        [
            (3, "5", 5),
            (0.1, "2", 2.0),
            (0.1, "1e-3", 0.001),
            ("mnist", "5", "5"),
            (True, "False", False),
            ([0.5], "[1, 2.5]", [1.0, 2.5]),
            ([1], "4,5", [4, 5]),
            ([1, 0.5], "[2, 0.1]", [2, 0.1]),
            ([0.5, "auto"], "[1, 'auto']", [1.0, "auto"]),
            (["a", None], "[None, 'b']", [None, "b"]),
            ([None], "[1, 'b']", [1, "b"]),
            ([[], [1, 0.5]], "[[2.5]]", [[2.5]]),
            ([[0.5], [1]], "[[0.5], [1]]", [[0.5], [1]]),
            (None, "None", None),
            (None, "left", "left"),
            (None, "7", 7),
        ],
    )
    def test_text_becomes_a_value_of_the_defaults_type(self, default, text, value):
        found = Parameter("NAME", default).parse(text)
        assert repr(found) == repr(value)  # which shows the types of items, too

    @pytest.mark.parametrize(
        ("default", "value", "message"),
        [
            (3, 2.5, r"NAME must be an int, as its default 3 is, got 2\.5"),
            (3, True, "NAME must be an int, .* got True"),
            (True, 1, "NAME must be True or False, .* got 1"),
            (0.1, "much", "NAME must be a number, .* got 'much'"),
            ("mnist", 5, "NAME must be a text, .* got 5"),
            ([1], 5, "NAME must be a list, .* got 5"),
            ([1], [1, "a"], "each of NAME must be an int, as its default 1 is, got 'a'"),
            ([1, 0.5], ["a"], r"each of NAME must be an int or a number, as in .*5\], got 'a'"),
            (["a", None], [5], "each of NAME must be a text or None, as in its default .* got 5"),
            ([[1], [2]], [["a"]], "each of each of NAME must be an int, .* got 'a'"),
            ([1, 2.5], [True], "each of NAME must be an int or a number, .* got True"),
        ],
    )
    def test_a_value_of_another_type_is_refused(self, default, value, message):
        with pytest.raises(TypeError, match=message):
            Parameter("NAME", default).check(value)

    @pytest.mark.parametrize(
        "default", ["[1, 0.5]", "['a', None]", "[[0.5], [1]]", "[[], [1]]", "[None, None]", "(1,)"]
    )
    def test_what_a_notebook_has_by_default_is_never_refused(self, default, tmp_path):
        path = tiny(tmp_path, parameters=f"LRS = {default}")
        merged = all_parameters(path, {})
        assert repr(all_parameters(path, merged)) == repr(merged) == f"{{'LRS': {default}}}"

    def test_a_default_that_is_no_literal_is_refused(self, tmp_path):
        path = tiny(tmp_path, parameters="SEED = len('abc')")
        with pytest.raises(ValueError, match=r"SEED of tiny\.ipynb must have a number, .* len"):
            runs.notebook_parameters(path)

    def test_a_file_that_is_no_notebook_is_refused(self, tmp_path):
        (tmp_path / "text.ipynb").write_text("text")
        with pytest.raises(ValueError, match=r"notebook must be a Jupyter notebook, got .*text"):
            runs.notebook_parameters(tmp_path / "text.ipynb")

    def test_a_notebook_is_found_by_number_name_or_path(self, tmp_path):
        first, second = tiny(tmp_path, name="00_first"), tiny(tmp_path, name="01_second")
        assert find_notebook("00", tmp_path) == find_notebook("00_first", tmp_path) == first
        assert find_notebook(second, tmp_path / "elsewhere") == second
        with pytest.raises(ValueError, match="got 0, which begins 00_first, 01_second"):
            find_notebook("0", tmp_path)
        with pytest.raises(
            FileNotFoundError, match=r"00_first, 01_second; did you mean 00_first\?"
        ):
            find_notebook("00_frist", tmp_path)
