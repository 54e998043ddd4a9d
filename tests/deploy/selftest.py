"""Whether the checks of our own see a fault: each is planted in a copy of a real file."""

import json
import pathlib
import shutil
import tempfile

# check, file, what is replaced, by what, what must be said
MANIFESTS = [
    ("deploy/kserve/servingruntime.yaml", "priority: 2", "priority: high", "is not of type int"),
    ("deploy/kserve/servingruntime.yaml", "[v1, v2]", "[v3]", "is none of v1"),
    ("deploy/kserve/servingruntime.yaml", "      args:", "      arguments:", "'arguments' was unexpected"),
    ("deploy/kserve/servingruntime.yaml", "supportedModelFormats", "formats", "has no supportedModelFormats"),
    ("deploy/knative/service.yaml", "containerConcurrency", "concurrency", "there is no such field"),
    ("deploy/kubernetes/base/deployment.yaml", "startupProbe", "startUpProbe", "was unexpected"),
    ("deploy/kubernetes/base/service.yaml", "port: 8082", "port: 8081", "port of the management API"),
]
TERRAFORM = [
    ("environments/production/main.tf", "var.network_range", "var.netwrk", "there is no variable netwrk"),
    ("environments/production/outputs.tf", "module.registry.url", "module.registry.uri", "has no output uri"),
    ("environments/production/main.tf", "  source  = \"../../modules/services\"",
     "  source  = \"../../modules/servics\"", "there is no"),
    ("environments/production/terraform.tfvars.example", "github_repository", "github_repo",
     "there is no variable github_repo"),
    ("modules/storage/variables.tf", "  description = \"Where they lie.\"\n", "", "variable region has no description"),
    ("modules/storage/main.tf", "\"google_storage_bucket\"", "\"google_storage_buket\"", "does not know the type"),
    ("modules/identity/main.tf", "var.github_environment", "\"production\"", "variable github_environment is not used"),
]
BOARDS = [
    ('"id": 2', '"id": 1', "same id"),
    ("${datasource}", "prometheus", "data source of its own"),
    ("$instance", "$instances", "there is no variable instances"),
]


def replaced(text, old, new):
    assert old in text, f"selftest: {old!r} is not there any more"
    return text.replace(old, new)


def check(root):
    import boards
    import manifests
    import terraform_files

    def expect(where, problems, text):
        if not any(text in problem for problem in problems):
            yield f"a fault in {where} is not seen ({text}): {problems}"

    for file, old, new, text in MANIFESTS:
        yield from expect(file, manifests.check_text(file, replaced((root / file).read_text(), old, new)), text)
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, "deploy/terraform")
        shutil.copytree(root / "deploy/terraform", copy, ignore=shutil.ignore_patterns(".terraform"))
        files = [path.relative_to(folder) for path in sorted(copy.rglob("*.tf"))]
        for name, old, new, text in TERRAFORM:
            before = (copy / name).read_text()
            (copy / name).write_text(replaced(before, old, new))
            yield from expect(name, terraform_files.check(pathlib.Path(folder), files), text)
            (copy / name).write_text(before)
        board = json.dumps(json.loads((root / "deploy/grafana/flambeau.json").read_text()))
        for old, new, text in BOARDS:
            pathlib.Path(folder, "board.json").write_text(replaced(board, old, new))
            yield from expect("a board", list(boards.check(pathlib.Path(folder), "board.json")), text)
