"""A client of STOMP, as the package `stomp.py` has it: PORT. It reads what it sends, and connects again where it is disconnected."""

import sys
import time

import stomp

connection = stomp.WSConnection(
    [("127.0.0.1", int(sys.argv[1]))],
    ws_path="/v1/endpoints/e/ws?transparent=true",
    reconnect_sleep_initial=0.1,
    reconnect_sleep_max=0.5,
    reconnect_attempts_max=-1,
    vhost="/",
)


def connect():
    connection.connect("keeper", "pass 1", wait=True)
    connection.subscribe("/topic/news", id="1")


class Listener(stomp.ConnectionListener):
    def on_connected(self, frame):
        print("connected", flush=True)

    def on_message(self, frame):
        print("heard", frame.body, flush=True)


connection.set_listener("", Listener())
while True:
    time.sleep(0.1)
    try:
        if not connection.is_connected():
            connect()
        connection.send("/topic/news", "hello")
    except stomp.exception.StompException as error:
        print("not connected:", repr(error), flush=True)
