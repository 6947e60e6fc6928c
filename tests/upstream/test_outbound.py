"""Each provider has connections of its own, which last over reloads that leave its way as it is."""

from attrs import evolve

from gateway.config.provider_schema import Provider, Tls
from gateway.upstream.outbound import Ways, outbound_of

ONE = Provider("https://x.example", name="one")


async def test_each_provider_has_a_way_of_its_own() -> None:
    """Two providers at one address share nothing; an equal way is the same one, a changed one is another."""
    ways = Ways()
    first = ways.to(outbound_of(ONE))
    assert ways.to(outbound_of(evolve(ONE, name="two"))).connector is not first.connector
    assert ways.to(outbound_of(evolve(ONE, max_connections=7))) is first
    assert ways.to(outbound_of(evolve(ONE, proxy="http://p:1"))) is not first
    assert ways.to(outbound_of(ONE)) is first, "an exchange that began before the reload"
    renewed = evolve(ONE, tls=Tls(stamp="1")), evolve(ONE, tls=Tls(stamp="2"))
    assert ways.to(outbound_of(renewed[0])) is not ways.to(outbound_of(renewed[1])), "a renewed file"
    await ways.close()
    assert first.connector.closed


async def test_what_reloads_leave_behind_is_closed() -> None:
    """A way of an earlier configuration stays open for its exchanges, and is closed when they are over."""
    ways = Ways()
    made = [ways.to(outbound_of(evolve(ONE, tls=Tls(server_name=f"n{number}")))) for number in range(5)]
    await ways.close_unused({made[4].outbound})
    assert [way.connector.closed for way in made] == [True] * 4 + [False]
    await ways.close()
