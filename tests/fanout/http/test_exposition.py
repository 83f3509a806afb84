import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from fanout.http.exposition import PIECE_LINES, Kind, histogram_pieces, labels, pieces


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("kind", [Kind.GAUGE, Kind.COUNTER])
def test_values_come_back_from_prometheus_own_parsers(kind: Kind, is_open: bool) -> None:
    odd = 'a "b" \\ c\nd, 币安人生'
    samples = [(labels(name=odd), 1.5), (labels(name="x"), 2**53), (labels(name="y"), True)]
    text = "".join(pieces("fanout_it", kind, "What it is.", samples, is_open=is_open))
    (family,) = parse_open(text + "# EOF\n") if is_open else parse_plain(text)
    assert (family.name, family.type, family.documentation) == ("fanout_it", kind, "What it is.")
    found = {each.labels["name"]: each.value for each in family.samples}
    assert found == {odd: 1.5, "x": 2**53, "y": 1}


@pytest.mark.parametrize("is_open", [True, False])
def test_an_info_is_a_gauge_where_there_are_no_infos(is_open: bool) -> None:
    text = "".join(pieces("it", Kind.INFO, "W.", [(labels(v="1"), 1)], is_open=is_open))
    (family,) = parse_open(text + "# EOF\n") if is_open else parse_plain(text)
    (sample,) = family.samples
    assert (sample.name, sample.labels, sample.value) == ("it_info", {"v": "1"}, 1)


@pytest.mark.parametrize("shown", ["", labels(symbol="BTCUSDT")])
def test_a_histogram_has_its_buckets_a_count_and_a_sum(shown: str) -> None:
    text = "".join(histogram_pieces("it", "W.", [(shown, [("0.1", 3), ("+Inf", 5)], 1.25)]))
    for family in (next(iter(parse_plain(text))), next(iter(parse_open(text + "# EOF\n")))):
        values = [(each.name, each.labels.get("le"), each.value) for each in family.samples]
        assert values == [
            ("it_bucket", "0.1", 3),
            ("it_bucket", "+Inf", 5),
            ("it_count", None, 5),
            ("it_sum", None, 1.25),
        ]
        assert {each.labels.get("symbol") for each in family.samples} == {
            "BTCUSDT" if shown else None
        }


def test_no_piece_is_long_however_many_samples_there_are() -> None:
    samples = [(labels(symbol=f"S{i}"), i) for i in range(5 * PIECE_LINES + 1)]
    found = list(pieces("it", Kind.GAUGE, "W.", samples, is_open=False))
    assert max(each.count("\n") for each in found) == PIECE_LINES
    assert sum(each.count("\n") for each in found) == len(samples) + 2
