"""Clients of a service that ask all the while, and what came of it."""

import http.client
import threading
import time
import urllib.parse

SENTENCES = ["The team won the cup final after a late goal", "Shares fell after the company warned of lower profit",
             "The president met rebel leaders for peace talks", "Scientists found a planet with a new telescope"]


class Traffic:
    """`clients` threads, each asking `pause` seconds after its last answer, until stop()."""

    def __init__(self, url, model, clients=4, pause=0.01):
        parts = urllib.parse.urlsplit(url)
        self.address = (parts.hostname, parts.port)
        self.path = f"/predictions/{model}"
        self.pause = pause
        self.lock = threading.Lock()
        self.answers = {}
        self.faults = []  # what a client would call a failure, with the time
        self.slowest = 0.0
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(i,), daemon=True) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def ask(self, index):
        while not self.ending.wait(self.pause):
            begin = time.monotonic()
            connection = http.client.HTTPConnection(*self.address, timeout=30)
            try:
                connection.request("POST", self.path, SENTENCES[index % 4].encode(), {"Content-Type": "text/plain"})
                response = connection.getresponse()
                body, status = response.read(), response.status
            except (OSError, http.client.HTTPException) as error:
                body, status = str(error).encode(), type(error).__name__
            finally:
                connection.close()
            index += 1
            with self.lock:
                self.answers[status] = self.answers.get(status, 0) + 1
                self.slowest = max(self.slowest, time.monotonic() - begin)
                if status != 200:
                    self.faults.append((time.strftime("%H:%M:%S"), status, body[:200]))

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()
