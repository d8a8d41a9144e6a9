import numpy as np
import pytest
import torch

from vsnn_lab.explore.image_picker import ImagePicker
from vsnn_lab.explore.unit_slider import UnitSlider

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = ["left", "right", "up"]
LABELS = torch.arange(30) % 3


class TestImagePicker:
    def test_a_class_leaves_only_its_images(self):
        picker = ImagePicker(30, LABELS, NAMES)
        picker.position.value = 20
        seen = []
        picker.observe(lambda change: seen.append(change.new), "value")
        picker.category.value = 1
        picker.position.value = 3
        assert picker.position.max == 9
        assert picker.indices.tolist() == list(range(1, 30, 3))
        assert seen == [1, 10]
        assert picker.class_name == "right"
        picker.category.index = 0
        assert picker.position.max == 29

    def test_without_names_a_class_is_its_number(self):
        picker = ImagePicker(2, np.array([4, 9]))
        assert [name for name, _ in picker.category.options] == ["all", "class 4", "class 9"]
        assert picker.class_name == "class 4"

    def test_a_single_image_has_a_slider_that_stands_still(self):
        picker = ImagePicker(1)
        assert picker.position.disabled
        assert picker.value == 0
        assert picker.class_name == ""


class TestUnitSlider:
    def test_the_browsers_positions_run_from_end_to_end(self):
        slider = UnitSlider("unit 1", -1.0, 3.0)
        slider.set_range(-1.0, 3.0, 0.123)
        seen = []
        slider.observe(lambda change: seen.append(change.new), "value")
        for place in (0, 200, 100):
            slider.position.value = place
        assert seen == [-1, 3, 1]
        assert slider.number.value == "+1.00"

    def test_it_returns_home_exactly(self):
        slider = UnitSlider("unit 1", -1.0, 3.0)
        slider.set_range(-1.0, 3.0, 0.123)
        home = slider.position.value
        assert slider.value == 0.123
        assert home == round(200 * 1.123 / 4)
        slider.position.value = home + 1
        assert slider.value == pytest.approx(0.123, abs=0.04)
        assert slider.value != 0.123
        slider.position.value = home
        assert slider.value == 0.123

    def test_disabled_it_shows_no_number(self):
        slider = UnitSlider("unit 1", 0.0, 4.0)
        slider.disabled = True
        slider.set_range(0.0, 4.0, 3.0)
        assert slider.number.value == "–"  # noqa: RUF001
        slider.disabled = False
        assert slider.number.value == "+3.00"

    def test_it_reaches_a_home_beyond_its_ends(self):
        slider = UnitSlider("unit 1", 0.0, 1.0)
        slider.set_range(0.0, 1.0, 5.0)
        assert (slider.low, slider.high, slider.position.value) == (0, 5, 200)
        slider.set_range(0.0, 1.0, 0.5, -1.0)
        assert (slider.low, slider.high, slider.value, slider.position.value) == (-1, 1, -1, 0)
