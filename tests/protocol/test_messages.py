import json
from typing import Any

import pytest
from msgspec import UNSET, Raw

from mcp_channels.protocol.errors import InvalidRequest, ParseError
from mcp_channels.protocol.messages import (
    BatchMessage,
    InvalidMessage,
    Message,
    NotificationMessage,
    RequestMessage,
    ResponseMessage,
    decode,
    decode_member,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    is_request_id,
    join_result,
)

PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'


def receive(text: str, max_depth: int = 64) -> Message | BatchMessage | None:
    return decode(text, max_depth=max_depth)


def refusal(text: str, max_depth: int = 64) -> tuple[Any, int]:
    """The id and the code of the error that answers a frame."""
    message = receive(text, max_depth)

    assert isinstance(message, InvalidMessage)
    return message.id, message.error.code


def request(text: str, max_depth: int = 64) -> RequestMessage:
    message = receive(text, max_depth)

    assert isinstance(message, RequestMessage)
    return message


# What a frame is


def test_method_with_an_id_is_a_request() -> None:
    message = request('{"jsonrpc":"2.0","id":7,"method":"a/b","params":{"c":[1]}}')

    assert (message.id, message.method) == (7, "a/b")
    assert bytes(message.params or b"") == b'{"c":[1]}'


def test_method_without_an_id_is_a_notification() -> None:
    message = receive('{"jsonrpc":"2.0","method":"a/b","params":{}}')

    assert isinstance(message, NotificationMessage)
    assert message.method == "a/b"
    assert bytes(message.params or b"") == b"{}"


@pytest.mark.parametrize("member", ["result", "error"])
@pytest.mark.parametrize("id", [7, "7"])
def test_id_with_an_outcome_is_a_response(member: str, id: int | str) -> None:
    message = receive(json.dumps({"jsonrpc": "2.0", "id": id, member: {"a": 1}}))

    assert isinstance(message, ResponseMessage)
    assert message.id == id
    assert {"result": message.result, "error": message.error}[member] is not UNSET
    assert [message.result, message.error].count(UNSET) == 1


def test_null_is_a_result() -> None:
    message = receive('{"jsonrpc":"2.0","id":1,"result":null}')

    assert isinstance(message, ResponseMessage)


def test_array_is_a_batch_of_what_is_not_read_yet() -> None:
    message = receive(f' [{PING}, 1, "x"] ')

    assert isinstance(message, BatchMessage)
    assert [bytes(member) for member in message.members] == [
        PING.encode(),
        b"1",
        b'"x"',
    ]


@pytest.mark.parametrize("params", ["", ',"params":null', ', "params" : null '])
@pytest.mark.parametrize("id", ["", '"id":1,'])
def test_null_params_are_absent(id: str, params: str) -> None:
    message = receive(f'{{"jsonrpc":"2.0",{id}"method":"m"{params}}}')

    assert isinstance(message, RequestMessage | NotificationMessage)
    assert message.params is None


@pytest.mark.parametrize("params", ["[]", "1", '"x"', "false"])
def test_params_are_for_others_to_judge(params: str) -> None:
    text = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}'

    assert bytes(request(text).params or b"") == params.encode()


def test_unknown_members_are_ignored() -> None:
    text = '{"mcpSessionId":"s","jsonrpc":"2.0","id":1,"method":"m","x":[{}]}'

    assert request(text) == RequestMessage(1, "m", None)


def test_last_of_two_equal_members_wins() -> None:
    text = '{"jsonrpc":"2.0","id":1,"id":2,"method":"a","method":"b"}'

    assert request(text) == RequestMessage(2, "b", None)


@pytest.mark.parametrize("text", [f"{PING}\n", f"\r\n\t {PING} ", PING])
def test_white_space_around_a_message_is_ignored(text: str) -> None:
    assert request(text).method == "ping"


def test_request_that_also_has_a_result_is_a_request() -> None:
    text = '{"jsonrpc":"2.0","id":1,"method":"m","result":{}}'

    assert request(text) == RequestMessage(1, "m", None)


# Ids


@pytest.mark.parametrize(
    "id",
    ["0", "-1", '""', '"1"', '"\\u00e9"', str(2**53 + 1), str(10**30), str(-(2**64))],
)
def test_strings_and_integers_are_ids(id: str) -> None:
    message = request(f'{{"jsonrpc":"2.0","id":{id},"method":"m"}}')

    assert message.id == json.loads(id)
    assert type(message.id) is type(json.loads(id))


@pytest.mark.parametrize("id", ["1.5", "1.0", "1e2", "true", "null", "{}", "[]"])
def test_anything_else_is_no_id(id: str) -> None:
    assert refusal(f'{{"jsonrpc":"2.0","id":{id},"method":"m"}}') == (None, -32600)


@pytest.mark.parametrize("id", ["1e999", "9" * 5_000])
def test_number_that_python_cannot_hold_is_no_id(id: str) -> None:
    assert refusal(f'{{"jsonrpc":"2.0","id":{id},"method":"m"}}') == (None, -32600)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, True),
        ("", True),
        (True, False),
        (1.0, False),
        (None, False),
        (UNSET, False),
        ([], False),
    ],
)
def test_request_id_is_told_by_its_type(value: object, expected: bool) -> None:
    assert is_request_id(value) is expected


# What is wrong


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nonsense",
        "{",
        PING[:-1],
        f"{PING}{PING}",
        f"{PING},",
        f"[{PING},]",
        f"[{PING}",
        "[1,2",
        f"\ufeff{PING}",
        "NaN",
        "[NaN]",
        '{"jsonrpc":"2.0","id":NaN,"method":"m"}',
        '{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":-Infinity}}',
        '{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":01}}',
        '{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\n"}}',
        "{'jsonrpc':'2.0','id':1,'method':'m'}",
        f"{PING}\x00",
        '"unfinished',
        '{"jsonrpc":1e999',
    ],
)
def test_what_is_not_one_document_is_a_parse_error(text: str) -> None:
    message = receive(text)

    assert isinstance(message, InvalidMessage)
    assert isinstance(message.error, ParseError)
    assert message.id is None


@pytest.mark.parametrize(
    "text",
    [
        r'{"jsonrpc":"2.0","id":1,"method":"\ud800"}',
        r'{"jsonrpc":"2.0","id":"\ud800x","method":"m"}',
        r'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"\udc00\ud800"}}',
        r'{"jsonrpc":"2.0","id":1,"method":"m","params":{"\ud800":1}}',
        r'{"jsonrpc":"2.0","id":1,"method":"m","unknown":"\udfff"}',
        r'["\ud800"]',
        '{"jsonrpc":"2.0","id":1,"method":"\ud800"}',
    ],
)
def test_half_a_character_is_a_parse_error(text: str) -> None:
    assert refusal(text) == (None, -32700)


def test_pair_of_surrogates_is_one_character() -> None:
    text = r'{"jsonrpc":"2.0","id":"\ud83d\ude00","method":"m"}'

    assert request(text).id == "\N{GRINNING FACE}"


@pytest.mark.parametrize("text", ["null", "1", '"ping"', "true", " 1e999", "{}"])
def test_other_json_is_no_message(text: str) -> None:
    assert refusal(text) == (None, -32600)


@pytest.mark.parametrize("version", ["", '"jsonrpc":"1.0",', '"jsonrpc":2.0,'])
@pytest.mark.parametrize(
    ("id", "echoed"),
    [('"id":5,', 5), ('"id":"",', ""), ('"id":1.5,', None), ("", None)],
)
def test_other_version_of_json_rpc_is_refused(
    version: str, id: str, echoed: Any
) -> None:
    assert refusal(f'{{{version}{id}"method":"m"}}') == (echoed, -32600)


@pytest.mark.parametrize(
    "members", ['"method":5', '"method":null', '"method":{}', '"params":{}']
)
@pytest.mark.parametrize(("id", "echoed"), [('"id":5,', 5), ("", None)])
def test_method_must_be_a_string(members: str, id: str, echoed: Any) -> None:
    assert refusal(f'{{"jsonrpc":"2.0",{id}{members}}}') == (echoed, -32600)


def test_empty_method_is_a_method() -> None:
    assert request('{"jsonrpc":"2.0","id":1,"method":""}').method == ""


@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
        '{"jsonrpc":"2.0","id":1}',
        '{"id":1}',
        '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"?"}}',
        '{"jsonrpc":"2.0","error":{"code":-32700,"message":"?"}}',
        '{"jsonrpc":"2.0","result":{}}',
        '{"jsonrpc":"2.0","id":1.5,"result":{}}',
        '{"jsonrpc":"1.0","id":1,"result":{}}',
        '{"id":1,"result":{}}',
        '{"jsonrpc":"2.0","id":1,"params":{},"error":{}}',
    ],
)
def test_broken_response_is_ignored_lest_it_be_answered_for_ever(text: str) -> None:
    assert receive(text) is None


# Depth


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


@pytest.mark.parametrize(
    "params",
    [
        nested(5),
        f"[{nested(4)},{nested(4)},{nested(1)}]",
        '{"a":{"b":[{"c":[]}]},"d":[[[[]]]]}',
        '{"a":"[[[[[[[[\\"[[[[[[[[","{{{{{{{{\\\\":"]]"}',
    ],
)
def test_depth_at_the_limit_is_accepted(params: str) -> None:
    text = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}'

    assert request(text, max_depth=6).id == 1


@pytest.mark.parametrize(
    "params", [nested(6), '{"a":{"b":[{"c":[[]]}]}}', f"[[],{nested(5)}]"]
)
def test_depth_beyond_the_limit_is_a_parse_error(params: str) -> None:
    text = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}'

    assert refusal(text, max_depth=6) == (None, -32700)


def test_batch_is_a_level_of_its_own() -> None:
    assert isinstance(receive("[[[]]]", max_depth=3), BatchMessage)
    assert refusal("[[[]]]", max_depth=2) == (None, -32700)


def test_wide_is_not_deep() -> None:
    text = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":[{"[]," * 9_999}[]]}}'

    assert request(text, max_depth=3).id == 1


def test_greatest_depth_can_be_read() -> None:
    text = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{nested(499)}}}'

    assert request(text, max_depth=10**9).id == 1


@pytest.mark.parametrize("depth", [500, 600, 900, 990, 1_000, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_no_limit_goes_beyond_what_can_be_read_again(opening: str, depth: int) -> None:
    closing = "]" if opening == "[" else "}"
    value = f"{opening * depth}1{closing * depth}"
    text = f'{{"jsonrpc":"2.0","id":1,"method":"m","params":{value}}}'

    assert refusal(text, max_depth=10**9) == (None, -32700)


# Members of a batch


def member(text: str) -> Message | None:
    return decode_member(Raw(text.encode()))


def test_member_of_a_batch_is_a_message() -> None:
    assert member(PING) == RequestMessage(1, "ping", None)
    assert member('{"jsonrpc":"2.0","id":1}') is None


@pytest.mark.parametrize("text", ["1", "null", '"x"', "[]", f"[{PING}]", "1e999", "{}"])
def test_other_json_is_no_member(text: str) -> None:
    message = member(text)

    assert isinstance(message, InvalidMessage)
    assert isinstance(message.error, InvalidRequest)
    assert message.id is None


# Out


@pytest.mark.parametrize("id", [0, "", "1", 10**30, 'a"\\\n\u2028\N{GRINNING FACE}'])
def test_result_echoes_the_id_verbatim(id: int | str) -> None:
    expected = {"jsonrpc": "2.0", "id": id, "result": {"a": [None]}}

    assert json.loads(encode_result(id, {"a": [None]})) == expected
    assert json.loads(join_result(id, '{"a":[null]}')) == expected


@pytest.mark.parametrize("id", [None, 0, ""])
def test_error_has_data_only_when_there_is_some(id: int | str | None) -> None:
    bare = json.loads(encode_error(id, -32600, "No", UNSET))
    null = json.loads(encode_error(id, -32600, "No", None))

    assert bare == {
        "jsonrpc": "2.0",
        "id": id,
        "error": {"code": -32600, "message": "No"},
    }
    assert null["error"] == {"code": -32600, "message": "No", "data": None}


def test_request_and_notification_are_told_apart_by_the_id() -> None:
    assert json.loads(encode_request(1, "roots/list", {})) == {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "roots/list",
        "params": {},
    }
    assert json.loads(encode_notification("notifications/x", {"a": 1})) == {
        "jsonrpc": "2.0",
        "method": "notifications/x",
        "params": {"a": 1},
    }


def test_what_json_cannot_say_raises() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(TypeError):
        encode_result(1, object())
    with pytest.raises(ValueError, match="surrogates"):
        encode_notification("m", "\ud800")
    with pytest.raises(RecursionError):
        encode_request(1, "m", endless)


def test_frame_is_one_line() -> None:
    assert "\n" not in encode_result(1, {"a": "x\ny"})
