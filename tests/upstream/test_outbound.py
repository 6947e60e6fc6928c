"""Each provider has connections of its own, which last over reloads that leave its way as it is."""

from attrs import evolve

from gateway.config.provider_schema import Provider, Tls
from gateway.upstream.outbound import MAX_RETIRED, Ways, outbound_of

ONE = Provider("https://x.example", name="one")


async def test_each_provider_has_a_way_of_its_own() -> None:
    """Two providers at one address share nothing; an equal way is the same one, a changed one is another."""
    ways = Ways()
    first = ways.to(outbound_of(ONE))
    assert ways.to(outbound_of(evolve(ONE, name="two"))).connector is not first.connector
    assert ways.to(outbound_of(evolve(ONE, max_connections=7))) is first
    assert ways.to(outbound_of(evolve(ONE, proxy="http://p:1"))) is not first
    assert ways.to(outbound_of(ONE)) is not first
    await ways.close()
    assert first.connector.closed


async def test_what_reloads_leave_behind_is_bounded() -> None:
    """A connector of an earlier configuration stays open for its exchanges; only the last few do."""
    ways = Ways()
    made = [ways.to(outbound_of(evolve(ONE, tls=Tls(server_name=f"n{number}")))) for number in range(MAX_RETIRED + 3)]
    await ways.close_retired()
    assert [way.connector.closed for way in made] == [True] * 2 + [False] * (MAX_RETIRED + 1)
    await ways.close()
