"""Makes docs/reference.md, docs/crossings.md and a picture in docs/design.md; --check fails if one is not up to date.

The reference comes from the fields of gateway/config/schema.py and gateway/wire/profile.py, the crossings from the
losses that the dialects declare, the picture from the state table of an exchange.
"""

import re
import sys
import typing
from pathlib import Path
from typing import Any

import attrs

from gateway.config import fields, provider_schema, server_schema
from gateway.config import schema as config
from gateway.config.checks import LIMIT_CLASSES
from gateway.proxy.exchange import FINAL, NEXT, State
from gateway.wire import DIALECTS
from gateway.wire.profile import Price, Profile

PAGE = Path(__file__).with_name("reference.md")
CROSSINGS = Path(__file__).with_name("crossings.md")
DESIGN = Path(__file__).with_name("design.md")
# The sections of the page, as (key path, class), in the order in which the keys stand in providers.yaml.
SECTIONS: list[tuple[str, type[Any]]] = [
    ("", config.Config),
    ("server", server_schema.Server),
    ("server.timeouts", server_schema.ClientTimeouts),
    ("server.cors", server_schema.Cors),
    ("server.expose", server_schema.Expose),
    ("store", config.Store),
    ("keys.NAME", config.Key),
    ("keys.NAME.budget", config.Budget),
    ("limits", config.Limits),
    ("limits.key.CLASS, limits.address.CLASS, keys.NAME.limits.CLASS", config.Limit),
    ("providers.NAME", provider_schema.Provider),
    ("providers.NAME.timeouts", provider_schema.Timeouts),
    ("providers.NAME.tls", provider_schema.Tls),
    ("providers.NAME.models.GLOB", Profile),
    ("providers.NAME.models.GLOB.price", Price),
    ("routes.ALIAS", config.Route),
    ("routes.ALIAS.targets[]", config.Target),
    ("routes.ALIAS.targets[].timeouts", provider_schema.TargetTimeouts),
    ("breaker", config.Breaker),
    ("retry, routes.ALIAS.retry", config.Retry),
    ("defaults", config.Defaults),
    ("compat", config.Compat),
]
HEAD = """# Every key of providers.yaml

Made from the program by `make reference`; `make check` compares. Unknown keys, wrong types and dangling names are
errors with their place. Durations are `250ms`, `30s`, `5m`, `24h`; sizes `512KiB`, `64MiB` or bytes; rates `60/minute`.
A secret is `{env: NAME}` or `{file: PATH}`, for client keys also `{sha256: HEX}`; it never stands in the file itself.

`providers.NAME.preset` takes what is known of a provider from the package (a provider with a known name has its preset
without saying so). Presets: PRESETS.

Endpoint classes of limits: CLASSES.
"""


CROSSINGS_HEAD = """# What is lost in translation

Made from the program by `make reference`. A client of one dialect may be answered by a provider of another; the
gateway translates requests, replies and streams. Most of what one dialect says the other can say. This page lists
what it cannot, in both directions.

Nothing is lost silently: what a request lost is named in the reply's header `x-gateway-dropped`. A route with
`on_shed: refuse` answers 400 in place of dropping, or uses its next target that can say it. What is refused in any
case stands here as refused. `gateway routes ALIAS` shows the lanes of each target.

Between equal dialects the body goes as it came, and none of this applies.
"""


def main() -> int:
    """Write the pages that have changed; with --check only name them. Return the exit status."""
    pages = {PAGE: write_page(), CROSSINGS: write_crossings(), DESIGN: write_design()}
    stale = [page for page, text in pages.items() if not page.exists() or page.read_text() != text]
    if "--check" not in sys.argv:
        for page in stale:
            page.write_text(pages[page])
        return 0
    for page in stale:
        print(f"docs/{page.name} is not up to date: run `make reference`", file=sys.stderr)
    return 1 if stale else 0


def write_design() -> str:
    """Return the text of docs/design.md with the picture of the state table as it is now."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.ROUTED.value}"]
    lines += [
        f"    {state.value} --> {after.value}: {step.value}"
        for state, steps in NEXT.items()
        for step, after in steps.items()
    ]
    lines += [f"    {state.value} --> [*]" for state in State if state in FINAL]
    picture = "\n".join(lines)
    return re.sub(r"stateDiagram-v2\n.*?(?=```)", lambda _: f"{picture}\n", DESIGN.read_text(), flags=re.DOTALL)


def write_crossings() -> str:
    """Return the text of docs/crossings.md: what a request loses between each pair of dialects."""
    parts = [CROSSINGS_HEAD]
    for client in DIALECTS.values():
        for upstream in DIALECTS.values():
            if client.client is None or upstream.upstream is None or client is upstream:
                continue
            if not (client.generates and upstream.generates):
                continue
            parts.append(f"\n## A client of `{client.path}` on a provider that speaks `{upstream.name}`\n\n")
            parts.append("| what was asked | what becomes of it |\n|---|---|\n")
            parts += [f"| {what} | {how} |\n" for what, how in upstream.upstream.losses_of(client.name).items()]
    return "".join(parts)


def write_page() -> str:
    """Return the text of docs/reference.md."""
    presets = [
        line.partition(":")[0]
        for line in (Path(__file__).parents[1] / "gateway" / "data" / "presets.yaml").read_text().splitlines()
        if line and line[0].isalpha()
    ]
    head = HEAD.replace("PRESETS", ", ".join(f"`{name}`" for name in presets))
    parts = [head.replace("CLASSES", ", ".join(f"`{name}`" for name in LIMIT_CLASSES))]
    for path, cls in SECTIONS:
        first = (cls.__doc__ or "").partition("\n")[0]
        parts.append(
            f"\n## {f'`{path}`' if path else 'The file'}\n\n{first}\n\n| key | type | default | |\n|---|---|---|---|\n"
        )
        parts += [row(field) for field in attrs.fields(cls) if not field.metadata.get("internal")]
    return "".join(parts)


def row(field: Any) -> str:
    """Return the row of one key."""
    doc = field.metadata["doc"].replace("|", "\\|")
    note = " *(not built yet: setting it is an error)*" if field.metadata.get("unbuilt") else ""
    return f"| `{field.name}` | {kind_of(field.type)} | {default_of(field)} | {doc}{note} |\n"


def kind_of(kind: Any) -> str:
    """Return the name of a type that the page shows."""
    names = {
        fields.Seconds: "duration", fields.Size: "size",
        fields.Share: "share", config.Rate: "rate", fields.Secret: "secret",
        fields.StoreUrl: "text or secret", str: "text",
        int: "number", float: "number", bool: "true/false", fields.ModelSettings: "settings",
        provider_schema.Auth: "auth",
        fields.HeaderValue: "text or secret", fields.Workers: "number or auto",
    }  # fmt: skip
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return f"list of {kind_of(arguments[0])}"
    if origin is dict:
        return f"mapping of {kind_of(arguments[1])}" if arguments[1] is not Any else "mapping"
    if type(None) in arguments:
        return kind_of(next(one for one in arguments if one is not type(None)))
    return names.get(kind) or getattr(kind, "__name__", str(kind)).lower()


def default_of(field: Any) -> str:
    """Return a default as YAML writes it; nothing for a key without a plain value as default."""
    value = field.default
    if value is attrs.NOTHING:
        return "**required**"
    if isinstance(value, attrs.Factory) or attrs.has(type(value)):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None or value == ():
        return ""
    if field.type is fields.Seconds:
        return f"`{value:g}s`"
    if field.type is fields.Size:
        return f"`{value // fields.MIB}MiB`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


if __name__ == "__main__":
    sys.exit(main())
