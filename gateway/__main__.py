"""The command line: reads the arguments, calls the other packages, prints, and returns the exit code."""

import argparse
import asyncio
import json
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from gateway import __version__
from gateway.accounts.prices import price_warnings
from gateway.accounts.report import SINCE, read_query
from gateway.clock import Clock
from gateway.config.checks import split_address
from gateway.config.files import packaged, packaged_file, packaged_prices, read_config
from gateway.config.keys import mint
from gateway.config.problems import ConfigError, problem_at
from gateway.config.schema import Config
from gateway.config.state import CONTROL, find_state_dir
from gateway.errors import GatewayError
from gateway.mock.script import Script, read_script
from gateway.mock.server import MockServer
from gateway.proxy.snapshot import make_snapshot
from gateway.server.control import NoGateway, ask
from gateway.server.daemon import start
from gateway.server.ground import EXIT_CONFIG, EXIT_FAILED, EXIT_OK
from gateway.server.probe import probe
from gateway.server.report import keys_table, write_keys, write_route, write_routes
from gateway.server.usage_report import NoUsage, find_usage, write_csv, write_table
from gateway.store.sums import NAMES
from gateway.upstream.oauth import token_warnings

DEFAULT_CONFIG = "providers.yaml"
UNITS = ("gateway.service", "gateway.socket")
RED, PLAIN = "\x1b[31m", "\x1b[0m"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = _parser().parse_args(argv)
    code: int = arguments.call(arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gateway", description="A lightweight gateway to LLM providers.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="the daemon, in the foreground")
    run.add_argument("--config", default=DEFAULT_CONFIG, help=f"default: {DEFAULT_CONFIG}")
    run.add_argument("--listen", action="append", default=[], metavar="HOST:PORT", help="instead of server.listen")
    run.add_argument("--log-format", choices=("json", "console"), help="default: console on a terminal, else json")
    run.add_argument("--worker", default="", help=argparse.SUPPRESS)  # what the supervisor tells its workers
    run.set_defaults(call=_run)

    check = commands.add_parser("check", help="validate a configuration: every problem with its place")
    check.add_argument(
        "config", nargs="?", default=DEFAULT_CONFIG, help=f"default: {DEFAULT_CONFIG}; -: standard input"
    )
    check.add_argument("--strict", action="store_true", help="a warning is a problem: exit 78")
    check.add_argument("--probe", action="store_true", help="ask each provider for its model list")
    check.set_defaults(call=_check)

    routes = commands.add_parser("routes", help="how model names are resolved now")
    routes.add_argument("alias", nargs="?", help="one name, in detail; without it all aliases")
    routes.add_argument("--config", default=DEFAULT_CONFIG)
    routes.set_defaults(call=_routes)

    rest = commands.add_parser("rest", help="what rests in the running gateway, since when, for how long and why")
    rest.add_argument("--config", default=DEFAULT_CONFIG)
    rest.set_defaults(call=_rest, clear=None)
    clear = rest.add_subparsers(metavar="COMMAND").add_parser("clear", help="end a rest by hand")
    clear.add_argument("clear", metavar="TARGET", help="provider:model, or the id of a credential")
    clear.add_argument("--config", default=DEFAULT_CONFIG)

    _add_accounts(commands)

    init = commands.add_parser("init", help="write a commented configuration to begin with")
    init.add_argument("folder", nargs="?", default=".", metavar="DIR")
    init.add_argument("--systemd", action="store_true", help="and the units of a service")
    init.set_defaults(call=_init)

    mock = commands.add_parser("mock", help="a scripted provider, for demos and tests")
    mock.add_argument("--listen", default="127.0.0.1:9100", metavar="HOST:PORT")
    mock.add_argument("--script", metavar="FILE", help="YAML list of {when, then, times}")
    mock.set_defaults(call=_mock)

    version = commands.add_parser("version", help="of gateway, python, aiohttp")
    version.set_defaults(call=_version)
    return parser


def _add_accounts(commands: Any) -> None:
    """Add the commands that are about clients' keys, and what they use."""
    keys = commands.add_parser("keys", help="client keys").add_subparsers(required=True, metavar="COMMAND")
    new = keys.add_parser("new", help="mint a key: shown once, only its hash is kept")
    new.add_argument("name")
    new.set_defaults(call=_new_key)
    listed = keys.add_parser("list", help="the keys with their limits, budgets and expiry; no secret is shown")
    listed.add_argument("--config", default=DEFAULT_CONFIG)
    listed.add_argument("--json", action="store_true")
    listed.set_defaults(call=_list_keys)

    usage = commands.add_parser("usage", help="requests, tokens and cost, from the gateway's sums")
    usage.add_argument("--by", default="key", metavar="NAMES", help=f"of {', '.join(NAMES)}; commas between")
    usage.add_argument("--since", default=SINCE, metavar="WHEN", help="7d, 24h, 2w, or a day as 2026-11-28 (UTC)")
    usage.add_argument("--until", default="", metavar="DAY", help="the last day; default: today")
    usage.add_argument("--config", default=DEFAULT_CONFIG)
    form = usage.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--csv", action="store_true")
    usage.set_defaults(call=_usage)


def _run(arguments: argparse.Namespace) -> int:
    for address in arguments.listen:
        if not address.startswith("unix:"):
            try:
                split_address(address)
            except ValueError as error:
                return _fail(f"--listen: {error}")
    style = arguments.log_format or ("console" if sys.stdout.isatty() else "json")
    return start(arguments.config, arguments.listen, style, arguments.worker)


def _check(arguments: argparse.Namespace) -> int:
    config = _read(arguments.config)
    if config is None:
        return EXIT_CONFIG
    name, kind = arguments.config, "" if arguments.strict else "warning: "
    warnings = [*config.warnings, *token_warnings(config, Clock()), *price_warnings(config, packaged_prices())]
    if arguments.probe:
        for probed in asyncio.run(probe(config)):
            if probed.problem:
                warnings.append(problem_at(config.places, ("providers", probed.provider), probed.problem))
            elif probed.models is None:
                print(f"{name}: providers.{probed.provider}: not asked, {probed.reason}")
            else:
                print(f"{name}: providers.{probed.provider}: answers, with {probed.models} models")
    for warning in warnings:
        print(warning.said(name, kind), file=sys.stderr if arguments.strict else sys.stdout)
    if warnings and arguments.strict:
        return EXIT_CONFIG
    print(f"{name}: good ({len(config.providers)} providers, {len(config.routes)} routes)")
    return EXIT_OK


def _routes(arguments: argparse.Namespace) -> int:
    config = _read(arguments.config)
    if config is None:
        return EXIT_CONFIG
    snapshot = make_snapshot(config, packaged("models.yaml"))
    if arguments.alias is None:
        print(write_routes(snapshot))
        return EXIT_OK
    try:
        print(write_route(snapshot, snapshot.table.resolve(arguments.alias)))
    except GatewayError as error:
        return _fail(error.message)
    return EXIT_OK


def _rest(arguments: argparse.Namespace) -> int:
    config = _read(arguments.config)
    if config is None:
        return EXIT_CONFIG
    if (folder := find_state_dir(config)) is None:
        return _fail("a gateway with store.url memory: has no state directory, and so no control socket")
    method, query = ("GET", {}) if arguments.clear is None else ("DELETE", {"name": arguments.clear})
    try:
        found = asyncio.run(ask(folder / CONTROL, "/rests", method, **query))
    except NoGateway as error:
        return _fail(str(error))
    if "error" in found:
        return _fail(found["error"]["message"])
    if not found["data"]:
        print("nothing rests")
    for rest in found["data"]:
        what = " at ".join(filter(None, (rest["credential"], rest["target"])))
        left = f"{rest['seconds_left']:g} s left" if arguments.clear is None else "its rest is ended"
        print(f"{what}  {left}, since {rest['since']}: {rest['why']}")
    return EXIT_OK


def _new_key(arguments: argparse.Namespace) -> int:
    key, yaml = mint(arguments.name)
    print(f"{key}\n\nKeep it now: it is shown this once. In providers.yaml:\n\n{yaml}")
    return EXIT_OK


def _list_keys(arguments: argparse.Namespace) -> int:
    config = _read(arguments.config)
    if config is None:
        return EXIT_CONFIG
    keys = write_keys(config, datetime.now(UTC).date())
    if arguments.json:
        print(json.dumps(keys, indent=2, ensure_ascii=False))
    else:
        print(keys_table(keys) if keys else "no keys: this gateway is open")
    return EXIT_OK


def _usage(arguments: argparse.Namespace) -> int:
    config = _read(arguments.config)
    if config is None:
        return EXIT_CONFIG
    given = {"by": arguments.by, "since": arguments.since, "until": arguments.until}
    now = Clock().time()
    try:
        query = read_query(**given, now=now)
        found = asyncio.run(find_usage(config, query, given, now))
    except (ValueError, NoUsage) as error:
        return _fail(str(error))
    if arguments.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif arguments.csv:
        print(write_csv(found, query.by), end="")
    else:
        print(write_table(found, query.by))
    return EXIT_OK


def _init(arguments: argparse.Namespace) -> int:
    names = [DEFAULT_CONFIG, *(UNITS if arguments.systemd else ())]
    folder = Path(arguments.folder)
    for name in names:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("xb") as file:
                file.write(packaged_file(name))
        except FileExistsError:
            return _fail(f"{folder / name} is there already, and stays as it is")
        except OSError as error:
            return _fail(f"{folder / name}: {error.strerror}")
        print(f"{folder / name}")
    return EXIT_OK


def _mock(arguments: argparse.Namespace) -> int:
    try:
        host, port = split_address(arguments.listen)
        script = read_script(Path(arguments.script).read_text(encoding="utf-8")) if arguments.script else Script()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        return _fail(str(error))

    async def serve() -> None:
        server = MockServer(script, keeps=False)
        print(f"mock provider on {await server.start(host, port)}", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            await server.stop()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        return EXIT_OK
    except OSError as error:
        return _fail(f"cannot listen on {arguments.listen}: {error.strerror}")
    return EXIT_OK


def _version(arguments: argparse.Namespace) -> int:
    print(f"gateway {__version__}, python {platform.python_version()}, aiohttp {aiohttp.__version__}")
    return EXIT_OK


def _read(path: str) -> Config | None:
    try:
        return read_config(path)
    except ConfigError as error:
        colour, plain = (RED, PLAIN) if sys.stderr.isatty() else ("", "")
        for line in error.lines():
            print(f"{colour}{line}{plain}", file=sys.stderr)
        return None


def _fail(line: str) -> int:
    print(f"gateway: {line}", file=sys.stderr)
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
