"""providers.yaml: its shape, its reading, its problems.

- **schema**: the shape, as frozen values; each field carries the sentence that docs/reference.md shows.
- **load**: YAML text to a configuration, or every problem with its place; `structure`, `scalars`, `yaml_marks`,
  `route_targets` and `checks` are its steps.
- **files**, **state**: the only modules here that open anything: the file itself, secrets and packaged data; the state
  directory and what is made in it.

May import `wire` (for the names of dialects) and `store.schemes` (for the kinds of stores).
"""
