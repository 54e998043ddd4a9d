"""Runs a GitHub workflow of ours on this machine: its jobs' `run` steps in order, with their conditions and outputs.

Only what our workflows use is known; anything else is an error. `uses` steps belong to the runner in the cloud
(checkout, sign-in) and are left out.
"""

import os
import pathlib
import re
import subprocess
import time

import yaml

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
TOKEN = re.compile(r"\s*(?:(&&|\|\||==|!=|!|\(|\)|'[^']*')|([a-z]+)\(\)|([A-Za-z_][\w.-]*))")


class Evaluator:
    """Expressions of `contexts`: names with dots, texts, == != && || ! ( ), success() failure() cancelled()
    always()."""

    def __init__(self, contexts, failed):
        self.contexts = contexts
        self.functions = {"success": not failed, "failure": failed, "cancelled": False, "always": True}

    def text(self, value):
        """A text of the workflow with every expression replaced."""
        def replaced(match):
            result = self.value(match[1])
            if isinstance(result, str):
                return result
            return {True: "true", False: "false", None: ""}.get(result, result)
        return EXPRESSION.sub(replaced, value)

    def value(self, expression):
        self.tokens, position = [], 0
        expression = expression.strip()
        while position < len(expression):
            match = TOKEN.match(expression, position)
            if not match:
                raise ValueError(f"cannot read the expression {expression!r} at {expression[position:]!r}")
            self.tokens.append(match)
            position = match.end()
        result = self.either()
        if self.tokens:
            raise ValueError(f"more than one value in {expression!r}")
        return result

    def take(self, *operators):
        if self.tokens and self.tokens[0][1] in operators:
            return self.tokens.pop(0)[1]
        return None

    def either(self):
        left = self.both()
        while self.take("||"):
            right = self.both()
            left = left or right
        return left

    def both(self):
        left = self.compared()
        while self.take("&&"):
            right = self.compared()
            left = left and right
        return left

    def compared(self):
        left = self.single()
        operator = self.take("==", "!=")
        if not operator:
            return left
        return (left == self.single()) == (operator == "==")

    def single(self):
        if self.take("!"):
            return not self.single()
        if self.take("("):
            inner = self.either()
            self.take(")")
            return inner
        token = self.tokens.pop(0)
        if token[1]:
            return token[1].strip("'")
        if token[2]:
            return self.functions[token[2]]
        found = self.contexts
        for name in token[3].split("."):
            found = found.get(name, "") if isinstance(found, dict) else ""
        return found


def step_runs(condition, evaluator):
    """A condition that asks for no state of the job holds only while nothing has failed."""
    if condition is None:
        return evaluator.functions["success"]
    condition = str(condition)
    condition = EXPRESSION.sub(r"\1", condition)
    if not any(f"{name}()" in condition for name in evaluator.functions):
        condition = f"success() && ({condition})"
    return bool(evaluator.value(condition))


def read_outputs(file):
    pairs = [line.partition("=") for line in file.read_text().splitlines()]
    return {name: value for name, _, value in pairs}


def run(path, contexts, environment, report, work):
    """Runs every job; returns whether all went well.

    contexts: {"vars", "inputs", "github"}; environment: what is set besides the workflow's own; report: called with
    (name of the step, seconds, exit code or None for one that was left out, its output).
    """
    workflow = yaml.safe_load(pathlib.Path(path).read_text())
    good = True
    for job in workflow["jobs"].values():
        if set(job) & {"needs", "strategy", "container", "services", "if"}:
            raise ValueError(f"{path}: a job has more than this runner knows")
        failed, steps = False, {}
        common = {}
        for level in (workflow.get("env", {}), job.get("env", {})):
            evaluator = Evaluator({**contexts, "env": common}, failed)
            common.update({name: evaluator.text(str(value)) for name, value in level.items()})
        common.update(environment)  # where the workflow meets this machine
        for step in job["steps"]:
            evaluator = Evaluator({**contexts, "env": common, "steps": steps}, failed)
            name = evaluator.text(step.get("name") or step.get("uses") or step["run"].splitlines()[0])
            if "uses" in step or not step_runs(step.get("if"), evaluator):
                report(name, 0.0, None, "")
                continue
            own = {key: evaluator.text(str(value)) for key, value in step.get("env", {}).items()}
            output_file = pathlib.Path(work) / "github_output"
            output_file.write_text("")
            begin = time.monotonic()
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", evaluator.text(step["run"])],
                env={**os.environ, **common, **own, "GITHUB_OUTPUT": str(output_file)},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            report(name, time.monotonic() - begin, done.returncode, done.stdout)
            if "id" in step:
                steps[step["id"]] = {"outputs": read_outputs(output_file)}
            failed = failed or done.returncode != 0
        good = good and not failed
    return good
