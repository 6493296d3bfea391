from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.design.export.sorting import sorting_network


def exchanged(numbers):
    numbers = list(numbers)
    for layer in sorting_network(len(numbers)):
        for first, second in layer:
            if numbers[first] < numbers[second]:
                numbers[first], numbers[second] = numbers[second], numbers[first]
    return numbers


@pytest.mark.parametrize("count", range(1, 12))
def test_networks_sort_all_zeros_and_ones_and_so_everything(count):
    for numbers in product((0, 1), repeat=count):
        assert exchanged(numbers) == sorted(numbers, reverse=True)


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=40))
def test_any_numbers_are_sorted(numbers):
    assert exchanged(numbers) == sorted(numbers, reverse=True)


@given(st.integers(1, 40))
def test_no_layer_names_a_number_twice(count):
    for layer in sorting_network(count):
        ends = [end for pair in layer for end in pair]
        assert len(ends) == len(set(ends))


def test_ten_numbers_take_seven_layers():
    assert len(sorting_network(10)) == 7
