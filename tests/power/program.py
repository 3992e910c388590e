"""Sends durable messages and notes each that was acknowledged, or looks whether all of those are there."""

import http.client
import os
import socket
import sys
import threading
import time

API = "/run/api.sock"
CALLERS = 8


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(API)


def ask(connection, method, path, body=None):
    connection.request(method, path, body, {"content-type": "text/plain"} if body else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def until_ready():
    for _ in range(600):
        try:
            status, body = ask(Connection("localhost"), "GET", "/readyz")
            if status == 200:
                return None
        except OSError as error:
            body = str(error)
        time.sleep(0.05)
    return body


def send(work):
    notes = os.open(f"{work}/acknowledged", os.O_WRONLY | os.O_APPEND)

    def caller(number):
        connection = Connection("localhost")
        for count in range(1_000_000):
            status, body = ask(connection, "POST", "/v1/endpoints/e/messages", f"message {number} {count}")
            if status == 202:
                # One write, in this machine's files: it outlives the system.
                os.write(notes, (body.split('"id":"')[1].split('"')[0] + "\n").encode())

    for number in range(CALLERS):
        threading.Thread(target=caller, args=(number,)).start()


def check(work):
    connection, missing = Connection("localhost"), []
    ids = open(f"{work}/acknowledged").read().split()
    for name in ids:
        status, body = ask(connection, "GET", f"/v1/messages/{name}")
        if status != 200 or '"state":"stored"' not in body:
            missing.append(name)
    return f"all there: {len(ids)}" if not missing else f"{len(missing)} missing, the first {missing[0]}"


mode, work = sys.argv[1:]
fault = until_ready()
if fault is not None:
    open(f"{work}/verdict", "w").write(f"the daemon is not ready: {fault}\n")
elif mode == "send":
    send(work)
else:
    open(f"{work}/verdict", "w").write(check(work) + "\n")
