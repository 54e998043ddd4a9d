"""Grafana boards, and expressions of Prometheus that stand outside its rules."""

import json
import re

import yaml


def panels(board):
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def check(root, file):
    board = json.loads((root / file).read_text())
    ids = [panel["id"] for panel in panels(board)]
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    if len(ids) != len(set(ids)):
        yield f"{file}: two panels have the same id"
    if variables.get("datasource", {}).get("type") != "datasource":
        yield f"{file}: there is no variable `datasource`"
    if not re.fullmatch(r"[a-z0-9-]{1,40}", board.get("uid", "")):
        yield f"{file}: uid is not a short word"
    for name in set(re.findall(r"\$\{?(\w+)", json.dumps([board["panels"], board["annotations"]]))):
        if name not in variables and not name.startswith("__"):
            yield f"{file}: there is no variable {name}"
    taken = []
    for panel in panels(board):
        where, at = f"{file}: panel `{panel['title']}`", panel["gridPos"]
        if panel["type"] == "row":
            continue
        if panel["datasource"]["uid"] != "${datasource}" or any(
                target["datasource"]["uid"] != "${datasource}" for target in panel["targets"]):
            yield f"{where} has a data source of its own"
        if at["x"] + at["w"] > 24:
            yield f"{where} is wider than the board"
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        if any(cells & other for other in taken):
            yield f"{where} lies on another one"
        taken.append(cells)


def expressions(root, file):
    if file.suffix == ".json":
        board = json.loads((root / file).read_text())
        for panel in panels(board):
            yield from (target["expr"] for target in panel.get("targets", []))
        yield from (one["expr"] for one in board["annotations"]["list"] if "expr" in one)
        return
    for manifest in yaml.safe_load_all((root / file).read_text()):  # values of prometheus-adapter
        rules = manifest.get("rules", {}) if isinstance(manifest, dict) and "kind" not in manifest else {}
        for rule in rules.get("custom", []):
            query = rule["metricsQuery"].replace("<<.LabelMatchers>>", 'pod=~"a"').replace("<<.GroupBy>>", "pod")
            yield query.replace("<<.Series>>", re.match(r"\w+", rule["seriesQuery"])[0])


def as_rules(root, files):
    """A file of rules with the expressions, for promtool."""
    def plain(text):
        return re.sub(r"\$__(rate_)?interval", "5m", re.sub(r"\$(job|instance|model|version)\b", ".*", text))
    rules = [{"record": f"expression:number_{number}", "expr": plain(text)} for number, text in enumerate(
        text for file in files for text in expressions(root, file))]
    return yaml.safe_dump({"groups": [{"name": "expressions", "rules": rules}]})
