"""Terraform's files without its providers: they parse, what is declared is used and described, what is used is
declared, calls of modules fit the modules. Which attributes a resource has, only `terraform validate` knows."""

import functools
import pathlib
import re

import hcl2

# The types that are used, so that a misspelled one is seen. Add yours.
TYPES = set("""
google_artifact_registry_repository google_artifact_registry_repository_iam_member google_billing_budget
google_cloud_run_v2_service google_cloud_run_v2_service_iam_member google_compute_firewall google_compute_global_address
google_compute_instance google_compute_network google_compute_router google_compute_router_nat google_compute_subnetwork
google_iam_workload_identity_pool google_iam_workload_identity_pool_provider google_iap_tunnel_instance_iam_member
google_logging_metric google_monitoring_alert_policy google_monitoring_notification_channel
google_monitoring_uptime_check_config google_project google_project_iam_member google_project_service
google_secret_manager_secret google_secret_manager_secret_iam_member google_secret_manager_secret_version
google_service_account google_service_account_iam_member google_service_networking_connection google_sql_database
google_sql_database_instance google_sql_user google_storage_bucket google_storage_bucket_iam_member random_password
terraform_data
""".split())
OF_CALLS = {"source", "version", "providers", "for_each", "count", "depends_on"}


def plain(value):
    """The same without the quotes that the parser leaves on names, and without its own keys."""
    if isinstance(value, dict):
        return {key.strip('"'): plain(item) for key, item in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.strip('"') if isinstance(value, str) else value


@functools.cache
def parsed(text):
    return plain(hcl2.loads(text))


class Module:
    """One folder of files."""

    def __init__(self, root, files):
        self.text = "\n".join((root / file).read_text() for file in files)
        self.code = re.sub(r"(?m)(^|\s)#.*$", "", self.text)
        self.blocks = {}
        for file in files:
            for kind, blocks in parsed((root / file).read_text()).items():
                self.blocks.setdefault(kind, []).extend(blocks)

    def named(self, kind):
        return {name: body for block in self.blocks.get(kind, []) for name, body in block.items()}


def check_module(folder, module):
    variables, outputs = module.named("variable"), module.named("output")
    for name, body in variables.items():
        if not body.get("description"):
            yield f"{folder}: variable {name} has no description"
        if "type" not in body:
            yield f"{folder}: variable {name} has no type"
        if not re.search(rf"\bvar\.{name}\b",
                         re.sub(rf'variable "{name}" {{.*?\n}}', "", module.code, flags=re.DOTALL)):
            yield f"{folder}: variable {name} is not used"
    for name, body in outputs.items():
        if not body.get("description"):
            yield f"{folder}: output {name} has no description"
    for kind in ("resource", "data"):
        declared = module.named(kind)
        yield from (f"{folder}: tests/deploy/terraform_files.py does not know the type {name}" for name in declared
                    if name not in TYPES)
    for name in set(re.findall(r"\bvar\.(\w+)", module.code)) - variables.keys():
        yield f"{folder}: there is no variable {name}"
    known = {name for block in module.blocks.get("locals", []) for name in block}
    used = set(re.findall(r"\blocal\.(\w+)", module.code))
    yield from (f"{folder}: there is no local {name}" for name in used - known)
    yield from (f"{folder}: local {name} is not used" for name in known - used)
    resources = {(kind, name) for block in module.blocks.get("resource", []) for kind, named in block.items()
                 for name in named}
    for kind, name in set(re.findall(r"\b((?:google|random)_\w+|terraform_data)\.(\w+)",
                                     re.sub(r"data\.\w+\.\w+", "", module.code))):
        if (kind, name) not in resources:
            yield f"{folder}: there is no resource {kind}.{name}"
    providers = {name for block in module.blocks.get("terraform", [])
                 for one in block.get("required_providers", []) for name in one}
    needed = {kind.split("_")[0] for kind, _ in resources} - {"terraform"}
    yield from (f"{folder}: required_providers does not name {name}" for name in needed - providers)


def check_calls(folder, module, modules):
    for name, call in module.named("module").items():
        target = pathlib.Path("/", folder, call["source"]).resolve().relative_to("/")
        if target not in modules:
            yield f"{folder}: module {name}: there is no {target}"
            continue
        variables = modules[target].named("variable")
        given = call.keys() - OF_CALLS
        yield from (f"{folder}: module {name} has no variable {one}" for one in given - variables.keys())
        yield from (f"{folder}: module {name} needs {one}" for one, body in variables.items()
                    if one not in given and "default" not in body)
        outputs = modules[target].named("output").keys()
        for one in set(re.findall(rf"\bmodule\.{name}(?:\[[^]]*\])?\.(\w+)", module.code)) - outputs:
            yield f"{folder}: module {name} has no output {one}"
    used = set(re.findall(r"\bmodule\.(\w+)", module.code))
    yield from (f"{folder}: there is no module {name}" for name in used - module.named("module").keys())


def check_example(root, folder, module):
    """terraform.tfvars.example sets variables that there are, and all without a default."""
    example = root / folder / "terraform.tfvars.example"
    if not example.is_file():
        yield f"{folder}: there is no terraform.tfvars.example"
        return
    given = parsed(example.read_text()).keys()
    variables = module.named("variable")
    yield from (f"{example.relative_to(root)}: there is no variable {name}" for name in given - variables.keys())
    yield from (f"{example.relative_to(root)}: does not set {name}" for name, body in variables.items()
                if "default" not in body and name not in given)


def check(root, files):
    modules = {folder: Module(root, [file for file in files if file.parent == folder])
               for folder in sorted({file.parent for file in files})}
    problems = []
    for folder, module in modules.items():
        problems += check_module(folder, module)
        problems += check_calls(folder, module, modules)
        if "environments" in folder.parts:
            problems += check_example(root, folder, module)
    called = {pathlib.Path("/", folder, call["source"]).resolve().relative_to("/") for folder, module in modules.items()
              for call in module.named("module").values()}
    problems += [f"{folder}: nobody uses this module" for folder in modules
                 if "modules" in folder.parts and folder not in called]
    return problems
