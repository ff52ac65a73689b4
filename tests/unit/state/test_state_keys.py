"""Names of keys: one slot per user, no collision, and nothing from a user that could forge a hash tag."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from state.keys import UserKeys

ids = st.text("abAZ09._:@-", min_size=1, max_size=128)


@given(user=ids, session=ids, key=ids)
def test_all_keys_of_a_user_are_in_one_slot(user: str, session: str, key: str) -> None:
    keys = UserKeys("ohlora", user).turn(session, key)
    assert len({key_slot(name.encode()) for name in keys}) == 1
    assert all(name.startswith(f"ohlora:{{{user}}}:") for name in keys)


@given(one=st.tuples(ids, ids, st.none() | ids), other=st.tuples(ids, ids, st.none() | ids))
def test_two_sessions_or_requests_share_no_key_by_accident(
    one: tuple[str, str, str | None], other: tuple[str, str, str | None]
) -> None:
    keys = [UserKeys("ohlora", user) for user, _, _ in (one, other)]
    sessions = [set(keys[i].session(name)) for i, (_, name, _) in enumerate((one, other))]
    assert (sessions[0] == sessions[1]) == (one[:2] == other[:2])
    assert sessions[0] == sessions[1] or not sessions[0] & sessions[1]
    assert not sessions[0] & set(keys[1].all())


@pytest.mark.parametrize("bad", ["", "a" * 129, "a{b}", "a b", "민아", "a\n", "a*"])
def test_ids_that_are_no_ids_are_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="user_id"):
        UserKeys("ohlora", bad)
    with pytest.raises(ValueError, match="session"):
        UserKeys("ohlora", "u").session(bad)
    with pytest.raises(ValueError, match="idem"):
        UserKeys("ohlora", "u").turn("s", bad)
