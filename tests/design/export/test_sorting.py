from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.design.export.sorting import sorting_network


def exchanged(numbers, largest=None):
    numbers = list(numbers)
    for layer in sorting_network(len(numbers), largest):
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


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=60), st.integers(1, 12))
def test_where_the_largest_are_enough_they_stand_first(numbers, largest):
    got = exchanged(numbers, largest)
    assert got[:largest] == sorted(numbers, reverse=True)[:largest]
    assert sorted(got) == sorted(numbers)


def test_the_largest_ten_of_a_hundred_take_fewer_exchanges():
    all_, ten = (sum(map(len, sorting_network(100, largest))) for largest in (None, 10))
    assert ten < 0.75 * all_
    assert sorting_network(10, 10) == sorting_network(10)
