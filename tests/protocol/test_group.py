import pytest

from fanout.protocol.errors import NotRepresentableError
from fanout.protocol.group import Group, interface_fault, parse_group


def test_a_group_is_an_address_and_a_port() -> None:
    assert parse_group("239.10.1.1:9100") == Group("239.10.1.1", 9100)
    assert parse_group("224.0.0.0:1") == Group("224.0.0.0", 1)
    assert str(parse_group("239.255.255.255:65535")) == "239.255.255.255:65535"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "239.1.1.1",
        "239.1.1.1:",
        "239.1.1.1:0",
        "239.1.1.1:65536",
        "239.1.1.1:1000000",
        "239.1.1.1:9x",
        "239.1.1.1:-1",
        "239.1.1.1:\u0661",
        "223.255.255.255:1",
        "240.0.0.0:1",
        "239.1.1:1",
        "239.01.1.1:1",
        "[ff02::1]:1",
        "localhost:1",
        "x" * 100,
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(NotRepresentableError, match=r"no group: .* such as 239\.10\.1\.1:9100"):
        parse_group(text)


def test_channels_have_the_addresses_behind_the_first() -> None:
    first = Group("239.1.1.254", 9100)
    assert [str(first.of_channel(each)) for each in range(3)] == [
        "239.1.1.254:9100",
        "239.1.1.255:9100",
        "239.1.2.0:9100",
    ]
    with pytest.raises(NotRepresentableError, match="channel 2 has no group: counted up from"):
        Group("239.255.255.254", 9100).of_channel(2)


def test_an_interface_is_an_address_of_this_machine() -> None:
    assert interface_fault("") is None
    assert interface_fault("10.0.0.5") is None
    assert "no address of an interface" in str(interface_fault("eth0"))
