#!/usr/bin/env python3
"""Instances of Flambeau: build images, deploy, divide traffic, look, remove. Answers are JSON on standard output.

FLAMBEAU_PLATFORM chooses where: cloud-run (default) or local; see deploy/platform/README.md for their settings.

Example:
  services.py deploy news --image news_classification-7 --tag candidate --no-traffic
  services.py traffic news candidate=10
  services.py stats news
  services.py traffic news candidate=100
"""

import argparse
import json
import os
import sys

from base import Platform, PlatformError


def choose() -> Platform:
    name = os.environ.get("FLAMBEAU_PLATFORM", "cloud-run")
    if name == "cloud-run":
        from cloud_run import CloudRun
        return CloudRun(os.environ)
    if name == "local":
        from local import Local
        return Local(os.environ)
    raise PlatformError(f"FLAMBEAU_PLATFORM is {name!r}; known are cloud-run and local")


def pairs(texts: list, convert=str) -> dict:
    result = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            result[name] = convert(value)
        except ValueError:
            equals = ""
        if not (name and equals):
            raise PlatformError(f"{text!r} should be NAME=VALUE")
    return result


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = parser.add_subparsers(dest="word", required=True, metavar="COMMAND")

    def word(name, text, service=True):
        one = words.add_parser(name, help=text, description=text)
        if service:
            one.add_argument("service")
        return one

    word("training-image", "make the image to train in", service=False)
    one = word("build", "make an image that serves one model", service=False)
    one.add_argument("image", help="NAME-VERSION")
    one.add_argument("source", help="an archive, or what flambeau fetch knows: models:/NAME/VERSION")
    one.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
    one = word("has-image", "exit code 1 unless the image is there", service=False)
    one.add_argument("image", help="NAME-VERSION")
    one = word("deploy", "start a revision and wait until it is ready")
    one.add_argument("--image", required=True, help="NAME-VERSION")
    one.add_argument("--tag", default="", help="gives the revision a URL of its own")
    one.add_argument("--no-traffic", action="store_true", help="none of the service's requests for now")
    one.add_argument("--label", action="append", default=[], metavar="NAME=VALUE", help="of the service")
    one = word("traffic", "divide the requests")
    one.add_argument("share", nargs="+", metavar="TAG=PERCENT")
    word("describe", "show revisions, shares and URLs")
    one = word("remove-tag", "take a tag from its revision")
    one.add_argument("tag")
    one = word("stats", "requests, errors and times by revision")
    one.add_argument("--seconds", type=int, default=600, help="how far back; default: %(default)s")
    one = word("logs", "what a revision wrote last")
    one.add_argument("revision")
    one.add_argument("--lines", type=int, default=20)
    word("delete", "remove a service and all that belongs to it")
    one = word("list", "list services", service=False)
    one.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
    one = word("headers", "what a caller of a URL has to send, one line each", service=False)
    one.add_argument("url")
    return parser.parse_args(arguments)


def run(platform: Platform, options):
    """The JSON value to print, or None; what has-image answers is the exit code."""
    word = options.word
    if word == "training-image":
        return platform.training_image()
    if word == "build":
        return platform.build(options.image, options.source, pairs(options.label))
    if word == "has-image":
        if not platform.has_image(options.image):
            raise PlatformError(f"there is no image {options.image}")
        return None
    if word == "deploy":
        return platform.deploy(options.service, options.image, options.tag, not options.no_traffic,
                               pairs(options.label))
    if word == "traffic":
        return platform.traffic(options.service, pairs(options.share, int))
    if word == "describe":
        return platform.describe(options.service)
    if word == "remove-tag":
        return platform.remove_tag(options.service, options.tag)
    if word == "stats":
        return platform.stats(options.service, options.seconds)
    if word == "logs":
        print("\n".join(platform.logs(options.service, options.revision, options.lines)))
        return None
    if word == "delete":
        return platform.delete(options.service)
    if word == "list":
        return platform.list(pairs(options.label))
    print("\n".join(platform.headers(options.url)))
    return None


def main():
    options = parse(sys.argv[1:])
    try:
        answer = run(choose(), options)
    except PlatformError as error:
        sys.exit(f"platform: {error}")
    if answer is not None:
        print(json.dumps(answer, indent=1))


if __name__ == "__main__":
    main()
